# Graphs of requests: the loop, its C++ face, and the programs made of them.
# Opening and syncing files takes workers of io_uring's, which a loop in these kernels starts unable to move to another CPU; with more
# than one, the kernel warns about that.
ringstep_add_test(loops/chain_results USER KERNELS MAIN LOOPS chain TIMEOUT 500 VM_OPTIONS --cpus 1)
ringstep_add_test(loops/chain_retries USER KERNELS LOOPS chain TIMEOUT 500 VM_OPTIONS --cpus 1)
ringstep_add_test(loops/chain_branches USER KERNELS LOOPS chain TIMEOUT 500 VM_OPTIONS --cpus 1)
ringstep_add_test(loops/chain_ends USER KERNELS MAIN LOOPS chain TIMEOUT 500 VM_OPTIONS --cpus 1)
ringstep_add_test(loops/chain_many USER KERNELS LOOPS chain chain_large TIMEOUT 500 VM_OPTIONS --cpus 1)
ringstep_add_test(loops/chain_refusals USER KERNELS LOOPS chain TIMEOUT 500 VM_OPTIONS --cpus 1)
ringstep_add_test(loops/chain_model USER KERNELS LOOPS chain chain_large TIMEOUT 500)
ringstep_add_test(loops/chain_files USER KERNELS LOOPS chain chain_large TIMEOUT 500 VM_OPTIONS --cpus 1)
ringstep_add_test(loops/chain_numbers USER KERNELS LOOPS chain TIMEOUT 500 VM_OPTIONS --cpus 1 --disk 512)
ringstep_add_loop(full_chain SOURCE loops/full_chain.bpf.c STATE "${PROJECT_SOURCE_DIR}/include/ringstep/c/loops/chain.h")
ringstep_add_test(loops/chain_full HOST LOOPS full_chain chain)
target_include_directories(test-loops-chain_files PRIVATE "${PROJECT_SOURCE_DIR}/bench")

# Graphs that are compiled, and the same graphs read from tables.
set(ringstep_test_graphs compiled_file compiled_relay compiled_meeting compiled_sequence_1 compiled_sequence_2 compiled_sequence_3
                         compiled_sequence_4 compiled_model_1 compiled_model_2 compiled_nops compiled_hostile)
foreach(graph IN LISTS ringstep_test_graphs)
  ringstep_add_graph(${graph} SOURCE loops/graphs/compiled.hpp INCLUDE_DIRECTORIES "${CMAKE_CURRENT_SOURCE_DIR}")
endforeach()
# Graphs that no loop can be made of: the build says why.
add_executable(graph-refusals loops/graphs/refusals.cpp)
target_link_libraries(graph-refusals PRIVATE ringstep::ringstep ringstep_development)
add_test(NAME host/graph_refusals COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/loops/graphs/refusals.sh" "$<TARGET_FILE:graph-refusals>")
set_tests_properties(host/graph_refusals PROPERTIES LABELS host TIMEOUT 300)
ringstep_add_test(loops/chain_compiled USER KERNELS MAIN LOOPS chain ${ringstep_test_graphs} TIMEOUT 500 VM_OPTIONS --cpus 1)

ringstep_add_example(relay relay VM_OPTIONS --cpus 1
                     EXPECT "8 connections, 2400000 bytes relayed, 2400000 of them arrived in order. The loop stopped with code 0")
ringstep_add_example(write_ahead_log write-ahead-log VM_OPTIONS --cpus 1
                     EXPECT "100 records, 100 of them safe when their writers were told, 100 chains completed. The loop stopped with code 0")
ringstep_add_example(send_all send-all VM_OPTIONS --cpus 1
                     EXPECT "1000000 bytes sent, 1000000 of them arrived as they were.*The loop stopped with code 0")
ringstep_add_example(read_files read-files VM_OPTIONS --cpus 1 SCRIPT read_files.sh)
