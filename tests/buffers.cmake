# What kernel/next has for loops, and what the kit does where it is not.
ringstep_add_loop(sorter SOURCE loops/sorter.bpf.c STATE loops/sorter.h)
ringstep_add_test(kit/buffers USER KERNELS LOOPS sorter)
