# The library, the authoring kit and nop_chain.

# Loops that only tests use.
foreach(loop IN ITEMS scripted together wide)
  ringstep_add_loop(${loop} SOURCE "loops/${loop}.bpf.c" STATE "loops/${loop}.h")
endforeach()
foreach(loop IN ITEMS rejected rejected_late rejected_branches) # the verifier is to refuse them
  ringstep_add_loop(${loop} SOURCE "loops/${loop}.bpf.c" STATE loops/rejected.h NOT_INSPECTED)
endforeach()

ringstep_add_test(compact HOST)
ringstep_add_test(error HOST)
ringstep_add_test(format HOST)
ringstep_add_test(trace HOST)
target_compile_definitions(test-trace PRIVATE "RINGSTEP_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"")
ringstep_add_test(opcodes HOST LOOPS link pace)
ringstep_add_test(workers HOST KERNELS KERNEL_WITHOUT LOOPS chain)
ringstep_add_test(trace_run HOST LOOPS wide nop_chain)
ringstep_add_test(sqe_words HOST)
# The rules of aliasing count only where the compiler uses them.
target_compile_options(test-sqe_words PRIVATE -O2 -fstrict-aliasing -Wstrict-aliasing=2 -Werror)
ringstep_add_test(region HOST)
ringstep_add_test(queues HOST KERNELS)
ringstep_add_test(ring HOST KERNELS KERNEL_WITHOUT)
ringstep_add_test(program USER KERNELS LOOPS scripted nop_chain)
ringstep_add_test(exits USER KERNELS MAIN LOOPS scripted nop_chain)
ringstep_add_test(loaded_programs KERNELS MAIN LOOPS nop_chain)
ringstep_add_test(detaching USER KERNELS MAIN LOOPS scripted nop_chain)
ringstep_add_test(signals USER KERNELS LOOPS scripted)
ringstep_add_test(signals_first USER KERNELS LOOPS scripted)
ringstep_add_test(waker USER KERNELS MAIN LOOPS scripted)
ringstep_add_test(refusals KERNELS LOOPS scripted rejected rejected_late rejected_branches nop_chain)
ringstep_add_test(closing USER KERNELS MAIN LOOPS scripted nop_chain)
ringstep_add_test(closing_memory USER KERNELS LOOPS scripted)
ringstep_add_test(fork USER KERNELS MAIN LOOPS scripted nop_chain copy enter)
ringstep_add_test(fork_first USER KERNELS LOOPS nop_chain)
ringstep_add_test(stops USER KERNELS MAIN LOOPS scripted)
ringstep_add_test(limits USER KERNELS LOOPS scripted)
ringstep_add_test(security USER KERNELS LOOPS scripted)
# The small kernels of our own have no security modules, and this machine's kernel need not have any.
set_tests_properties(user/security PROPERTIES SKIP_RETURN_CODE 4)
foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
  if(TEST ${kernel}/security)
    set_tests_properties(${kernel}/security PROPERTIES SKIP_RETURN_CODE 4)
  endif()
endforeach()
ringstep_add_test(hotplug USER KERNELS LOOPS scripted VM_OPTIONS --disk 64)
ringstep_add_test(cycles KERNELS LOOPS nop_chain TIMEOUT 900)
foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
  set_tests_properties("${kernel}/refusals" PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel)
endforeach()
list(GET RINGSTEP_TEST_KERNELS -1 newest)
set_tests_properties("${newest}/cycles" PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel)
ringstep_add_test(differential KERNELS LOOPS scripted nop_chain copy)
ringstep_add_test(without_loops KERNEL_WITHOUT LOOPS nop_chain)
ringstep_add_test(loops/nop_chain USER KERNELS LOOPS nop_chain)
ringstep_add_test(kit/turns USER KERNELS LOOPS scripted together gate)
ringstep_add_test(kit/memory USER KERNELS LOOPS scripted)
ringstep_add_loop(helpers SOURCE kit/helpers.bpf.c STATE kit/helpers.h)
ringstep_add_test(kit/helpers USER KERNELS LOOPS helpers)
ringstep_add_test(kit/other_side USER KERNELS LOOPS scripted gate)
ringstep_add_test(threads USER KERNELS LOOPS scripted nop_chain)

# A loop in a 32-bit task. The compiler needs no 32-bit libraries for that program.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  set(task "${CMAKE_CURRENT_BINARY_DIR}/task-of-32-bits")
  add_custom_command(
    OUTPUT "${task}"
    COMMAND "${CMAKE_C_COMPILER}" -m32 -std=gnu11 -Os -Wall -Wextra -ffreestanding -fno-pic -fno-stack-protector -fcf-protection=none -static
            -nostdlib -Wl,--build-id=none "${CMAKE_CURRENT_SOURCE_DIR}/compat/task.c" -o "${task}"
    DEPENDS compat/task.c
    COMMENT "Building a 32-bit program"
    VERBATIM)
  add_custom_target(task_of_32_bits DEPENDS "${task}")
  ringstep_add_test(compat KERNELS LOOPS scripted)
  target_compile_definitions(test-compat PRIVATE "RINGSTEP_TASK_OF_32_BITS=\"${task}\"")
  add_dependencies(test-compat task_of_32_bits)
endif()

# The kit's prep helpers, compiled for the host and compared with liburing's.
ringstep_add_test(kit/prep HOST)
target_sources(test-kit-prep PRIVATE kit/prep_kit.c)
target_include_directories(test-kit-prep PRIVATE "${PROJECT_SOURCE_DIR}/bpf")
# What states have of sockets, and a loop that uses it.
ringstep_add_test(kit/sockets HOST)
ringstep_add_loop(datagrams SOURCE kit/datagrams.bpf.c STATE kit/datagrams.h)
ringstep_add_test(kit/datagrams USER KERNELS LOOPS datagrams)

# What a loop may use in both worlds, and what in the kernel only.
ringstep_add_loop(both_worlds SOURCE kit/both_worlds.bpf.c STATE kit/both_worlds.h CALLS bpf_trace_printk)
ringstep_add_test(kit/both_worlds USER KERNELS LOOPS both_worlds)
ringstep_add_loop(kernel_only SOURCE kit/kernel_only.bpf.c STATE kit/kernel_only.h KERNEL_ONLY NOT_INSPECTED)
ringstep_add_test(kit/kernel_only KERNELS LOOPS kernel_only)
add_test(NAME host/kernel-only COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/kit/kernel_only.sh" "${PROJECT_SOURCE_DIR}")
set_tests_properties(host/kernel-only PROPERTIES LABELS host TIMEOUT 300)

# What cannot be a loop is refused when it is compiled, in words that say what to write.
add_test(NAME host/refused-builds COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/kit/refused_builds.sh" "${PROJECT_SOURCE_DIR}" "${CMAKE_CXX_COMPILER}")
set_tests_properties(host/refused-builds PROPERTIES LABELS host TIMEOUT 200)

# Loops compiled with the running kernel's own vmlinux.h in front, then run.
add_executable(run_object kit/run_object.cpp)
target_include_directories(run_object PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
target_link_libraries(run_object PRIVATE ringstep::ringstep ringstep_development)
foreach(kernel IN LISTS RINGSTEP_TEST_KERNELS)
  set(extent)
  if(kernel STREQUAL newest)
    set(extent all)
  endif()
  # Compiled here: an emulated machine takes a minute for it.
  set(dir "${CMAKE_CURRENT_BINARY_DIR}/vmlinux/${kernel}")
  add_test(NAME host/vmlinux-${kernel} COMMAND "${PROJECT_SOURCE_DIR}/tests/kit/vmlinux.sh" compile "${PROJECT_SOURCE_DIR}" "${dir}" ${kernel}
                                               ${extent})
  set_tests_properties(host/vmlinux-${kernel} PROPERTIES LABELS "host;kernel-${kernel}" TIMEOUT 300 FIXTURES_SETUP vmlinux-${kernel})
  ringstep_add_vm_test(${kernel} kit/vmlinux COMMAND "${PROJECT_SOURCE_DIR}/tests/kit/vmlinux.sh" run "${dir}" "$<TARGET_FILE:run_object>")
  set_property(TEST ${kernel}/kit/vmlinux APPEND PROPERTY FIXTURES_REQUIRED vmlinux-${kernel})
endforeach()

# The shortest program, as it stands in examples/.
ringstep_add_example(hello hello EXPECT "1000 requests completed. The loop stopped with code 0")

# Every public header alone, by both compilers, without a warning.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/include/*.hpp")
add_test(NAME host/headers
         COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/compile/headers.sh" "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}" ${headers})
set_tests_properties(host/headers PROPERTIES LABELS host TIMEOUT 600 COST 1000)

# What must not compile, does not, and says why.
add_test(NAME host/must-not-compile
         COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/compile/must_not_compile.sh" "${CMAKE_CXX_COMPILER}" "${PROJECT_SOURCE_DIR}"
                 "${CMAKE_CURRENT_SOURCE_DIR}/compile/must_not_compile.cpp")
set_tests_properties(host/must-not-compile PROPERTIES LABELS host TIMEOUT 300)

# A state header that has changed since the loop was compiled is noticed.
add_test(NAME host/other-layout COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/compile/other_layout.sh" "${CMAKE_CXX_COMPILER}" "${PROJECT_SOURCE_DIR}"
                                        "${PROJECT_BINARY_DIR}/examples/loops/hello/include")
set_tests_properties(host/other-layout PROPERTIES LABELS host TIMEOUT 300)

add_test(NAME host/clang-tidy COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/compile/tidy.sh" "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}")
add_test(NAME host/clang-format COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/compile/format.sh" "${PROJECT_SOURCE_DIR}")
set_tests_properties(host/clang-tidy host/clang-format PROPERTIES LABELS host TIMEOUT 600)
