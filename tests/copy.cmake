# Copying: the loop, its C++ face, and the tool made of them.
ringstep_add_test(loops/copy USER KERNELS MAIN LOOPS copy)
ringstep_add_test(loops/copy_file USER KERNELS LOOPS copy TIMEOUT 500 VM_OPTIONS --disk 512)
ringstep_add_test(loops/copy_changes USER KERNELS LOOPS copy TIMEOUT 500 VM_OPTIONS --disk 512)
ringstep_add_test(loops/copy_device USER KERNELS LOOPS copy TIMEOUT 500 VM_OPTIONS --disk 64)
# 4: all of it was skipped, for want of a disk that may be overwritten.
set_tests_properties(user/loops/copy_device PROPERTIES SKIP_RETURN_CODE 4)
ringstep_add_test(loops/copy_kinds USER KERNELS MAIN LOOPS copy TIMEOUT 400 VM_OPTIONS --disk 512)

# By both engines; by the user engine also as an ordinary user.
ringstep_add_example(ringstep_cp ringstep-cp SCRIPT ringstep_cp.sh TIMEOUT 400 VM_OPTIONS --disk 512)
