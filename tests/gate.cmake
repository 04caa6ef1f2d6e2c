# Requests with a bounded depth.
ringstep_add_test(loops/gate USER KERNELS LOOPS gate)
