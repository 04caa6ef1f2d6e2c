# All programs: what becomes of them if their output cannot be written, or if they start without stdin, stdout or stderr. bench-nops
# is asked for its help only, and stands for all of bench/, which have the same frame.
set(programs)
foreach(target IN ITEMS hello ringstep-cp ringstep-check with-bpf-token ringstep-retry ringstep-latency ringstep-stages read-all
                        background-copy barriers deadlines linked read-files relay write-ahead-log send-all ringstep-demo bench-nops)
  list(APPEND programs "$<TARGET_FILE:${target}>")
endforeach()
add_executable(fails-after-printing examples/fails_after_printing.cpp)
target_include_directories(fails-after-printing PRIVATE "${PROJECT_SOURCE_DIR}/examples/common")
target_link_libraries(fails-after-printing PRIVATE ringstep::ringstep ringstep_development fmt::fmt)
list(APPEND programs "$<TARGET_FILE:fails-after-printing>")
set(command "${CMAKE_CURRENT_SOURCE_DIR}/examples/output.sh" ${programs})
add_test(NAME user/examples/output COMMAND ${command})
set_tests_properties(user/examples/output PROPERTIES LABELS "host;user" TIMEOUT 200 ENVIRONMENT RINGSTEP_ENGINE=user)
# With the loop in the kernel, one of them: what becomes of output is not the engine's matter.
list(GET RINGSTEP_TEST_KERNELS -1 newest)
ringstep_add_vm_test(${newest} examples/output TIMEOUT 300 COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/examples/output.sh"
                     "$<TARGET_FILE:hello>")
set_tests_properties(${newest}/examples/output PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel)

# What the other tests of examples rely on.
add_test(NAME host/expect COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/examples/expect_test.sh")
set_tests_properties(host/expect PROPERTIES LABELS host TIMEOUT 30)
