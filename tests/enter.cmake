# Waiting with a deadline, and the loops that stand on it: enter and stages.
ringstep_add_loop(timed SOURCE loops/timed.bpf.c STATE loops/timed.h)
ringstep_add_test(kit/timer USER KERNELS MAIN LOOPS timed nop_chain)
ringstep_add_loop(hooked SOURCE loops/hooked.bpf.c STATE loops/hooked.h)
ringstep_add_test(loops/enter USER KERNELS MAIN LOOPS enter hooked nop_chain)
ringstep_add_test(loops/enter_model USER KERNELS LOOPS enter hooked)
ringstep_add_test(loops/stages USER KERNELS MAIN LOOPS stages)
ringstep_add_test(loops/stages_model USER KERNELS LOOPS stages)
# All classes of loops, side by side.
ringstep_add_test(loops/faces USER KERNELS LOOPS gate pace drain link chain enter stages copy hooked)

# The examples check what they do and say so.
ringstep_add_example(retry ringstep-retry EXPECT "4 requests received a byte, 4 did not in 101 tries. 404 were made again.")
ringstep_add_example(latency ringstep-latency EXPECT "READ +12000.*failed +0.*[0-9]+ were timed")
ringstep_add_example(stages ringstep-stages EXPECT "2 of 3 copies are on disk.*All 3 are.*48 of 48 reads found it")
