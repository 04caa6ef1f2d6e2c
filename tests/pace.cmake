# Requests at given rates.
ringstep_add_test(loops/pace USER KERNELS LOOPS pace)

# The example, by both engines.
add_test(NAME user/examples/background_copy COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/examples/background_copy.sh" "$<TARGET_FILE:background-copy>")
set_tests_properties(user/examples/background_copy PROPERTIES LABELS "host;user" TIMEOUT 100 ENVIRONMENT RINGSTEP_ENGINE=user)
foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
  ringstep_add_vm_test(${kernel} examples/background_copy TIMEOUT 200
                       COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/examples/background_copy.sh" "$<TARGET_FILE:background-copy>")
  set_tests_properties("${kernel}/examples/background_copy" PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel)
endforeach()
