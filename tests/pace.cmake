# Requests at given rates.
ringstep_add_test(loops/pace USER KERNELS MAIN LOOPS pace)
ringstep_add_example(background_copy background-copy SCRIPT background_copy.sh)
