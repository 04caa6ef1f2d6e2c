# Support probing and ringstep-check.
ringstep_add_test(check/parse HOST LIBRARIES ringstep_check)
ringstep_add_test(check/judge HOST LIBRARIES ringstep_check)
ringstep_add_test(check/collect HOST LIBRARIES ringstep_check)
ringstep_add_test(check/compressed_config HOST LIBRARIES ringstep_check)

# The probe and the command in one executable: starting a virtual machine is what takes the time.
ringstep_add_test(check/probe HOST KERNELS KERNEL_WITHOUT MAIN LOOPS nop_chain LIBRARIES ringstep_check)
if(TARGET ringstep-check)
  target_sources(test-check-probe PRIVATE check/check.cpp)
  target_compile_definitions(test-check-probe PRIVATE "RINGSTEP_CHECK_PROGRAM=\"$<TARGET_FILE:ringstep-check>\"")
  target_compile_definitions(test-check-probe
                             PRIVATE "RINGSTEP_WITH_BPF_TOKEN_PROGRAM=\"$<TARGET_FILE:with-bpf-token>\"")
  add_dependencies(test-check-probe ringstep-check with-bpf-token)
endif()

# An ordinary user, from the start.
list(GET RINGSTEP_TEST_KERNELS -1 ringstep_kernel)
ringstep_add_vm_test(${ringstep_kernel} check/probe-as-user VM_OPTIONS --user COMMAND "$<TARGET_FILE:test-check-probe>" [user])

# The commands of the documents work as they are written there.
if(TARGET ringstep-check)
  foreach(name IN ITEMS engines privileges)
    ringstep_add_vm_test(${ringstep_kernel} docs/${name} COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/docs/commands.sh"
                         "${PROJECT_SOURCE_DIR}/docs/${name}.md" "$<TARGET_FILE_DIR:ringstep-check>" "$<TARGET_FILE_DIR:with-bpf-token>")
  endforeach()
  # In a machine of its own: one of the commands locks the kernel down, which lasts until the machine is gone.
  ringstep_add_vm_test(${ringstep_kernel} docs/containers VM_OPTIONS --memory 1536 COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/docs/commands.sh"
                       "${PROJECT_SOURCE_DIR}/docs/containers.md" "$<TARGET_FILE_DIR:ringstep-check>" "$<TARGET_FILE_DIR:with-bpf-token>")
endif()
