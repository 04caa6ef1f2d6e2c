# Requests with a bounded depth.
ringstep_add_test(loops/gate USER KERNELS LOOPS gate gate_large)
ringstep_add_example(read_all read-all SCRIPT read_all.sh)

# SIGPIPE of requests.
ringstep_add_test(sigpipe USER KERNELS LOOPS gate LIBRARIES ringstep_check)
