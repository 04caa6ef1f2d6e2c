# Graphs of requests: the loop, its C++ face, and the programs made of them.
ringstep_add_test(loops/chain USER KERNELS LOOPS chain TIMEOUT 500)
ringstep_add_test(loops/chain_model USER KERNELS LOOPS chain TIMEOUT 500)
ringstep_add_test(loops/chain_files USER KERNELS LOOPS chain TIMEOUT 500)
target_include_directories(test-loops-chain_files PRIVATE "${PROJECT_SOURCE_DIR}/bench")
