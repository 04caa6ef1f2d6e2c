# Waiting with a deadline, and the loops that stand on it: enter and stages.
ringstep_add_loop(timed SOURCE loops/timed.bpf.c STATE loops/timed.h)
ringstep_add_test(kit/timer USER KERNELS LOOPS timed nop_chain)
ringstep_add_loop(hooked SOURCE loops/hooked.bpf.c STATE loops/hooked.h)
ringstep_add_test(loops/enter USER KERNELS LOOPS enter hooked nop_chain)
ringstep_add_test(loops/stages USER KERNELS LOOPS stages)
