# Graphs of requests: the loop, its C++ face, and the programs made of them.
# Opening and syncing files takes workers of io_uring's, which a loop in these kernels starts unable to move to another CPU; with more
# than one, the kernel warns about that.
ringstep_add_test(loops/chain USER KERNELS LOOPS chain TIMEOUT 500 VM_OPTIONS --cpus 1)
ringstep_add_test(loops/chain_model USER KERNELS LOOPS chain TIMEOUT 500)
ringstep_add_test(loops/chain_files USER KERNELS LOOPS chain TIMEOUT 500 VM_OPTIONS --cpus 1)
target_include_directories(test-loops-chain_files PRIVATE "${PROJECT_SOURCE_DIR}/bench")

# The examples, as they stand, by both engines.
function(ringstep_add_chain_example name target expected)
  add_test(NAME user/examples/${name} COMMAND ${ARGN} "$<TARGET_FILE:${target}>")
  set(properties ENVIRONMENT RINGSTEP_ENGINE=user)
  if(expected)
    list(APPEND properties PASS_REGULAR_EXPRESSION "${expected}")
  endif()
  set_tests_properties(user/examples/${name} PROPERTIES LABELS "host;user" TIMEOUT 120 ${properties})
  foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
    ringstep_add_vm_test(${kernel} examples/${name} TIMEOUT 200 VM_OPTIONS --cpus 1 COMMAND ${ARGN} "$<TARGET_FILE:${target}>")
    list(TRANSFORM properties REPLACE "=user" "=kernel")
    set_tests_properties(${kernel}/examples/${name} PROPERTIES ${properties})
  endforeach()
endfunction()
ringstep_add_chain_example(relay relay "8 connections, 2400000 bytes relayed, 2400000 of them arrived in order. The loop stopped with code 0")
ringstep_add_chain_example(write_ahead_log write-ahead-log
                           "100 records, 100 of them safe when their writers were told, 100 chains completed. The loop stopped with code 0")
ringstep_add_chain_example(send_all send-all "1000000 bytes sent, 1000000 of them arrived as they were.*The loop stopped with code 0")
ringstep_add_chain_example(read_files read-files "" "${CMAKE_CURRENT_SOURCE_DIR}/examples/read_files.sh")
