# Copying: the loop, its C++ face, and the tool made of them.
ringstep_add_test(loops/copy USER KERNELS MAIN LOOPS copy)
ringstep_add_test(loops/copy_file USER KERNELS LOOPS copy TIMEOUT 500 VM_OPTIONS --disk 512)
ringstep_add_test(loops/copy_changes USER KERNELS LOOPS copy gate TIMEOUT 500 VM_OPTIONS --disk 512)
ringstep_add_test(loops/copy_device USER KERNELS LOOPS copy TIMEOUT 500 VM_OPTIONS --disk 64)
# 4: all of it was skipped, for want of a disk that may be overwritten.
set_tests_properties(user/loops/copy_device PROPERTIES SKIP_RETURN_CODE 4)
ringstep_add_test(loops/copy_kinds USER KERNELS MAIN LOOPS copy TIMEOUT 400 VM_OPTIONS --disk 512)

# By both engines; by the user engine also as an ordinary user.
# With more than one processor, the kernel warns about workers of io_uring: see chain.cmake.
ringstep_add_example(ringstep_cp ringstep-cp SCRIPT ringstep_cp.sh TIMEOUT 400 VM_OPTIONS --cpus 1 --disk 512)

# Errors that come when a file is closed.
add_library(failing_close MODULE examples/failing_close.c)
set(command "${CMAKE_CURRENT_SOURCE_DIR}/examples/failing_close.sh" "$<TARGET_FILE:ringstep-cp>" "$<TARGET_FILE:failing_close>")
add_test(NAME user/examples/failing_close COMMAND ${command})
set_tests_properties(user/examples/failing_close PROPERTIES LABELS "host;user" TIMEOUT 300 ENVIRONMENT RINGSTEP_ENGINE=user)
list(GET RINGSTEP_TEST_KERNELS -1 newest)
ringstep_add_vm_test(${newest} examples/failing_close COMMAND ${command})
set_tests_properties(${newest}/examples/failing_close PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel)
