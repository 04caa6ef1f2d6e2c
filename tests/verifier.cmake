# What the verifier says of loops: what it spends on ours, and what it refuses of others.

# Every loop in bpf/ and examples/: a new one without a budget fails.
file(GLOB loops CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bpf/*.bpf.c" "${PROJECT_SOURCE_DIR}/examples/*/*.bpf.c")
set(loop_list "${CMAKE_CURRENT_BINARY_DIR}/verifier/loops")
set(loop_lines)
add_executable(verifier-budgets verifier/budgets.cpp)
target_include_directories(verifier-budgets PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
target_link_libraries(verifier-budgets PRIVATE ringstep::ringstep ringstep_development)
foreach(source IN LISTS loops)
  cmake_path(GET source STEM name)
  if(NOT TARGET ringstep_${name})
    message(FATAL_ERROR "${source} is not compiled by ringstep_add_loop(${name} …)")
  endif()
  get_target_property(dir ringstep_${name} BINARY_DIR)
  string(APPEND loop_lines "${name}=${dir}/loops/${name}/${name}.bpf.o\n")
  add_dependencies(verifier-budgets ringstep_${name}_skeleton)
endforeach()
file(CONFIGURE OUTPUT "${loop_list}" CONTENT "${loop_lines}" @ONLY)

foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
  ringstep_add_vm_test(${kernel} verifier-budgets TIMEOUT 120
                       COMMAND "$<TARGET_FILE:verifier-budgets>" check "${loop_list}" "${PROJECT_SOURCE_DIR}/bpf/budgets.csv")
endforeach()
