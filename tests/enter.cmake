# Waiting with a deadline, and the loops that stand on it: enter and stages.
ringstep_add_loop(timed SOURCE loops/timed.bpf.c STATE loops/timed.h)
ringstep_add_test(kit/timer USER KERNELS LOOPS timed nop_chain)
