# Servers, and the blocks that they are made of.
ringstep_add_test(net/key_value USER KERNELS MAIN LOOPS kv TIMEOUT 600)
ringstep_add_test(net/frames USER KERNELS MAIN LOOPS frames TIMEOUT 400)
ringstep_add_test(net/proxy USER KERNELS MAIN LOOPS proxy TIMEOUT 400)
ringstep_add_loop(slices SOURCE net/slices.bpf.c STATE net/slices.h)
ringstep_add_test(net/slices USER KERNELS MAIN LOOPS slices)
ringstep_add_example(key_value key-value SCRIPT key_value.sh)
