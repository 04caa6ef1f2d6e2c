# Requests with a bounded depth.
ringstep_add_test(loops/gate USER KERNELS LOOPS gate)

# The example, by both engines.
add_test(NAME user/examples/read_all COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/examples/read_all.sh" "$<TARGET_FILE:read-all>")
set_tests_properties(user/examples/read_all PROPERTIES LABELS "host;user" TIMEOUT 100 ENVIRONMENT RINGSTEP_ENGINE=user)
foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
  ringstep_add_vm_test(${kernel} examples/read_all TIMEOUT 200
                       COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/examples/read_all.sh" "$<TARGET_FILE:read-all>")
  set_tests_properties("${kernel}/examples/read_all" PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel)
endforeach()
