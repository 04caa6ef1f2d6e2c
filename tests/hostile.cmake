# Loops on memory that another thread garbles: docs/security.md.
set(loops nop_chain copy chain compiled_hostile drain link gate pace enter stages frames proxy http)
ringstep_add_test(hostile/loops USER KERNELS MAIN LOOPS ${loops})
target_compile_definitions(test-hostile-loops PRIVATE "RINGSTEP_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"")

ringstep_add_test(hostile/rings HOST)

# The same with AddressSanitizer and UndefinedBehaviorSanitizer, and with loops that count the iterations of their steps.
if(COMMAND ringstep_add_sanitized_program)
  ringstep_add_sanitized_program(
    hostile-counted
    SOURCES hostile/loops.cpp one_thread.cpp
    LOOPS ${loops}
    FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all "-DRINGSTEP_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\""
    DEFINITIONS -include "${CMAKE_CURRENT_SOURCE_DIR}/hostile/count.h"
    LIBRARIES "$<TARGET_FILE:Catch2::Catch2WithMain>" "$<TARGET_FILE:Catch2::Catch2>"
              "$<TARGET_PROPERTY:PkgConfig::liburing,INTERFACE_LINK_LIBRARIES>"
              "$<TARGET_PROPERTY:PkgConfig::libbpf,INTERFACE_LINK_LIBRARIES>")
  add_test(NAME asan/hostile/loops COMMAND "${CMAKE_CURRENT_BINARY_DIR}/sanitized/hostile-counted" --order rand)
  set_tests_properties(asan/hostile/loops PROPERTIES LABELS "host;asan" TIMEOUT 300 ENVIRONMENT
                                                     "RINGSTEP_ENGINE=user;UBSAN_OPTIONS=print_stacktrace=1")
endif()
