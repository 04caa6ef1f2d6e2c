# Order between requests: barriers and links.
ringstep_add_test(loops/drain USER KERNELS LOOPS drain)
ringstep_add_test(loops/link USER KERNELS LOOPS link)

# The examples, as they stand.
function(ringstep_add_order_example name expected)
  add_test(NAME "user/examples/${name}" COMMAND "$<TARGET_FILE:${name}>")
  set_tests_properties("user/examples/${name}" PROPERTIES LABELS "host;user" TIMEOUT 60 ENVIRONMENT RINGSTEP_ENGINE=user
                                                          PASS_REGULAR_EXPRESSION "${expected}")
  foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
    ringstep_add_vm_test(${kernel} "examples/${name}" COMMAND "$<TARGET_FILE:${name}>")
    set_tests_properties("${kernel}/examples/${name}" PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel
                                                                 PASS_REGULAR_EXPRESSION "${expected}")
  endforeach()
endfunction()
ringstep_add_order_example(barriers "2097152 bytes in 8 files, 9 barriers, 0 failed, marker of 9 bytes. The loop stopped with code 0")
ringstep_add_order_example(linked "99 of 100 records are safe and announced, 2 requests were cancelled. The loop stopped with code 0")
