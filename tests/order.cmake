# Order between requests: barriers and links.
ringstep_add_test(loops/drain USER KERNELS LOOPS drain)
ringstep_add_test(loops/link USER KERNELS LOOPS link)
