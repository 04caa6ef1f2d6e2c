# Order between requests: barriers and links.
ringstep_add_test(loops/drain USER KERNELS LOOPS drain)
ringstep_add_test(loops/circles USER KERNELS LOOPS gate drain link)
ringstep_add_test(loops/link_results USER KERNELS MAIN LOOPS link)
ringstep_add_test(loops/link_order USER KERNELS MAIN LOOPS link)
ringstep_add_test(loops/link_cancel USER KERNELS MAIN LOOPS link)
ringstep_add_test(loops/link_open USER KERNELS LOOPS link)
ringstep_add_test(loops/link_refusals USER KERNELS LOOPS link)
ringstep_add_test(loops/link_model USER KERNELS LOOPS link)
ringstep_add_example(barriers barriers
                     EXPECT "2097152 bytes in 8 files, 9 barriers, 0 failed, marker of 9 bytes. The loop stopped with code 0")
ringstep_add_example(linked linked EXPECT "99 of 100 records are safe and announced, 2 requests were cancelled. The loop stopped with code 0")
