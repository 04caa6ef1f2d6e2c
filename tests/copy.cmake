# Copying: the loop, its C++ face, and the tool made of them.
ringstep_add_test(loops/copy USER KERNELS LOOPS copy)
ringstep_add_test(loops/copy_file USER KERNELS LOOPS copy TIMEOUT 500 VM_OPTIONS --disk 512)
ringstep_add_test(loops/copy_changes USER KERNELS LOOPS copy TIMEOUT 500 VM_OPTIONS --disk 512)

foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
  ringstep_add_vm_test(${kernel} examples/ringstep_cp TIMEOUT 400 VM_OPTIONS --disk 512
                       COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/examples/ringstep_cp.sh" "$<TARGET_FILE:ringstep-cp>")
  set_tests_properties("${kernel}/examples/ringstep_cp" PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel)
endforeach()

# The same by the user engine, and as an ordinary user.
add_test(NAME user/examples/ringstep_cp COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/examples/ringstep_cp.sh" "$<TARGET_FILE:ringstep-cp>")
set_tests_properties(user/examples/ringstep_cp PROPERTIES LABELS "host;user" TIMEOUT 200 ENVIRONMENT RINGSTEP_ENGINE=user)
