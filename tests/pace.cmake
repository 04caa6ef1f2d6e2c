# Requests at given rates.
ringstep_add_test(loops/pace USER KERNELS LOOPS pace)
