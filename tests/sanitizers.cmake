# The same tests, and the loops with them, under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer; and the fuzzer of
# steps. All of it by the user engine, on this machine, and all of it built by clang, which has a fuzzer and whose ThreadSanitizer
# copes with any address-space layout.
find_program(RINGSTEP_CLANGXX NAMES clang++ clang++-21 clang++-20 clang++-19 clang++-18 DOC "clang for C++, with its sanitizers")
if(NOT RINGSTEP_CLANGXX)
  message(STATUS "No clang++ found: there will be no sanitized tests and no fuzzing")
  return()
endif()

# ringstep_add_sanitized_program(<name> FLAGS <flag>… SOURCES <source>… LOOPS <loop>… [DEFINITIONS <flag>…]
#                                [KIT_SOURCES <source>…] [LIBRARIES <target>…] [OPTIMIZE -O0] [PRECOMPILE <header>])
#
# Builds a program from C++ sources and loops, everything with the same FLAGS; DEFINITIONS are further ones for the loops. KIT_SOURCES are
# files of C that are no loops and include the kit. PRECOMPILE names a header of what most sources include; it is compiled once.
function(ringstep_add_sanitized_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "OPTIMIZE;PRECOMPILE" "FLAGS;SOURCES;KIT_SOURCES;LOOPS;DEFINITIONS;LIBRARIES")
  set(dir "${CMAKE_CURRENT_BINARY_DIR}/sanitized/${name}.objects")
  set(program "${CMAKE_CURRENT_BINARY_DIR}/sanitized/${name}")
  set(common -g1 -fno-omit-frame-pointer ${arg_FLAGS})
  # Optimizing what the sanitizers put in takes clang most of the time; only where a program is run for long is that worth it.
  if(NOT arg_OPTIMIZE)
    set(arg_OPTIMIZE -O1)
  endif()
  file(MAKE_DIRECTORY "${dir}")
  set(includes "-I${PROJECT_SOURCE_DIR}/include")
  foreach(loop IN LISTS arg_LOOPS)
    list(APPEND includes
         "-idirafter$<JOIN:$<TARGET_PROPERTY:ringstep_${loop},INTERFACE_INCLUDE_DIRECTORIES>,$<SEMICOLON>-idirafter>")
  endforeach()
  set(objects)
  set(compile "${RINGSTEP_CLANGXX}" -std=c++20 ${arg_OPTIMIZE} ${common} -Wall -Wextra -Wconversion -Wshadow ${includes}
              "-I${PROJECT_SOURCE_DIR}/tests")
  set(precompiled)
  set(use_precompiled)
  if(arg_PRECOMPILE)
    cmake_path(ABSOLUTE_PATH arg_PRECOMPILE OUTPUT_VARIABLE file)
    set(precompiled "${dir}/precompiled.pch")
    set(use_precompiled -include-pch "${precompiled}")
    # Without the times of headers in it, the result is the same each time, so that the compiler cache finds what is made with it.
    add_custom_command(
      OUTPUT "${precompiled}"
      COMMAND ${compile} -Xclang -fno-pch-timestamp -MD -MF "${precompiled}.d" -MT "${precompiled}" -x c++-header "${file}" -o "${precompiled}"
      DEPENDS "${file}"
      DEPFILE "${precompiled}.d"
      COMMENT "Compiling what the sources of ${name} include"
      COMMAND_EXPAND_LISTS VERBATIM)
  endif()

  foreach(source IN LISTS arg_SOURCES)
    cmake_path(ABSOLUTE_PATH source OUTPUT_VARIABLE file)
    string(MAKE_C_IDENTIFIER "${source}" object)
    set(object "${dir}/${object}.o")
    add_custom_command(
      OUTPUT "${object}"
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${compile} ${use_precompiled} -MD -MF "${object}.d" -MT "${object}" -c "${file}" -o "${object}"
      DEPENDS "${file}" ${precompiled}
      DEPFILE "${object}.d"
      COMMENT "Compiling ${source} for ${name}"
      COMMAND_EXPAND_LISTS VERBATIM)
    list(APPEND objects "${object}")
  endforeach()

  foreach(loop IN LISTS arg_LOOPS)
    get_target_property(file ringstep_${loop} SOURCES)
    set(object "${dir}/${loop}.bpf.o")
    # The flags of ringstep_add_loop().
    add_custom_command(
      OUTPUT "${object}"
      COMMAND ${CMAKE_C_COMPILER_LAUNCHER} "${RINGSTEP_CLANG}" -std=gnu11 -fno-strict-aliasing -O1 ${common}
              ${arg_DEFINITIONS} "-I${RINGSTEP_KIT_DIR}/ringstep/user"
              "-I${RINGSTEP_KIT_DIR}" "-I${RINGSTEP_INCLUDE_DIR}" -MD -MF "${object}.d" -MT "${object}" -c "${file}" -o "${object}"
      DEPENDS "${file}"
      DEPFILE "${object}.d"
      COMMENT "Compiling loop ${loop} for ${name}"
      COMMAND_EXPAND_LISTS VERBATIM)
    list(APPEND objects "${object}")
  endforeach()

  foreach(source IN LISTS arg_KIT_SOURCES)
    cmake_path(ABSOLUTE_PATH source OUTPUT_VARIABLE file)
    string(MAKE_C_IDENTIFIER "${source}" object)
    set(object "${dir}/${object}.o")
    add_custom_command(
      OUTPUT "${object}"
      COMMAND ${CMAKE_C_COMPILER_LAUNCHER} "${RINGSTEP_CLANG}" -std=gnu11 -fno-strict-aliasing -O1 ${common} -Wall -Wextra
              "-I${RINGSTEP_KIT_DIR}/ringstep/user" "-I${RINGSTEP_KIT_DIR}" "-I${RINGSTEP_INCLUDE_DIR}" "-I${PROJECT_SOURCE_DIR}/tests"
              -MD -MF "${object}.d" -MT "${object}" -c "${file}" -o "${object}"
      DEPENDS "${file}"
      DEPFILE "${object}.d"
      COMMENT "Compiling ${source} for ${name}"
      COMMAND_EXPAND_LISTS VERBATIM)
    list(APPEND objects "${object}")
  endforeach()

  add_custom_command(
    OUTPUT "${program}"
    COMMAND "${RINGSTEP_CLANGXX}" ${arg_FLAGS} ${objects} ${arg_LIBRARIES} -o "${program}"
    DEPENDS ${objects}
    COMMENT "Linking ${name}"
    COMMAND_EXPAND_LISTS VERBATIM)
  add_custom_target(${name} ALL DEPENDS "${program}")
  foreach(loop IN LISTS arg_LOOPS)
    add_dependencies(${name} ringstep_${loop}_generated)
  endforeach()
endfunction()

# ringstep_add_sanitized_tests(<prefix> TESTS <path>… FLAGS … LOOPS … ENVIRONMENT <name=value>… [OPTIMIZE -O0])
#
# One program with the tests in it, and <prefix>/<path> for each: Catch2 picks out the cases of a file.
function(ringstep_add_sanitized_tests prefix)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "OPTIMIZE" "TESTS;FLAGS;LOOPS;ENVIRONMENT")
  list(TRANSFORM arg_TESTS APPEND ".cpp" OUTPUT_VARIABLE sources)
  list(APPEND sources one_thread.cpp)
  ringstep_add_sanitized_program(
    ${prefix}-tests OPTIMIZE "${arg_OPTIMIZE}" PRECOMPILE precompiled.hpp FLAGS ${arg_FLAGS} SOURCES ${sources} LOOPS ${arg_LOOPS}
    LIBRARIES "$<TARGET_FILE:Catch2::Catch2WithMain>" "$<TARGET_FILE:Catch2::Catch2>"
              "$<TARGET_PROPERTY:PkgConfig::liburing,INTERFACE_LINK_LIBRARIES>"
              "$<TARGET_PROPERTY:PkgConfig::libbpf,INTERFACE_LINK_LIBRARIES>"
              "$<TARGET_FILE:fmt::fmt>")
  foreach(path IN LISTS arg_TESTS)
    cmake_path(GET path FILENAME file)
    add_test(NAME "${prefix}/${path}"
             COMMAND "${CMAKE_CURRENT_BINARY_DIR}/sanitized/${prefix}-tests" --order rand --filenames-as-tags "[#${file}]")
    set_tests_properties("${prefix}/${path}" PROPERTIES LABELS "host;${prefix}" TIMEOUT 300 ENVIRONMENT
                                                        "RINGSTEP_ENGINE=user;${arg_ENVIRONMENT}")
  endforeach()
endfunction()

ringstep_add_sanitized_tests(
  asan
  OPTIMIZE -O0
  TESTS program exits detaching signals closing threads waker blocks/requests blocks/lists blocks/behind blocks/bytes blocks/alarms blocks/entries blocks/mailbox loops/nop_chain loops/copy loops/copy_file loops/copy_changes loops/copy_kinds loops/chain_results loops/chain_retries loops/chain_branches loops/chain_ends loops/chain_many loops/chain_refusals loops/chain_model loops/chain_compiled loops/chain_numbers loops/chains_end loops/pairs
        loops/drain loops/circles
        loops/link_results loops/link_order loops/link_cancel loops/link_open loops/link_refusals loops/link_model loops/gate loops/pace loops/enter loops/enter_model loops/stages loops/stages_model kit/turns kit/memory kit/timer kit/buffers kit/datagrams
        net/dns net/frames net/http net/http_conditions net/http_static net/http_stream net/key_value net/proxy net/proxy_times net/slices
  LOOPS nop_chain copy chain chain_large ${ringstep_test_graphs} drain link gate gate_large pace enter stages frames http proxy kv dns slices scripted together timed hooked relay sorter lists behind bytes adder alarms datagrams entries letters
  FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all
  ENVIRONMENT "ASAN_OPTIONS=detect_stack_use_after_return=1"
              "UBSAN_OPTIONS=print_stacktrace=1")

ringstep_add_sanitized_tests(
  tsan
  OPTIMIZE -O0
  TESTS program exits detaching signals threads waker blocks/requests blocks/mailbox loops/copy_changes loops/chain_results loops/chain_retries loops/chain_branches loops/chain_ends loops/chain_many loops/chain_refusals loops/drain
        loops/link_results loops/link_order loops/link_cancel loops/link_open loops/link_refusals loops/link_model loops/gate loops/pace loops/enter loops/enter_model loops/stages loops/stages_model
        kit/turns kit/timer net/frames net/proxy net/proxy_times
  LOOPS nop_chain copy chain chain_large drain link gate gate_large pace enter stages frames proxy scripted together timed hooked relay letters
  FLAGS -fsanitize=thread
  ENVIRONMENT "TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1")

# The kit's functions on bytes, beside plain ones: an entry for each function.
ringstep_add_sanitized_program(
  fuzz-bytes
  SOURCES fuzz/bytes.cpp
  KIT_SOURCES fuzz/bytes_kit.c
  FLAGS -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
set(operation 0)
foreach(name IN ITEMS find find_crlf compare compare_nocase copy hash parse print are are_nocase write)
  add_test(NAME host/fuzz/bytes_${name}
           COMMAND "${CMAKE_CURRENT_BINARY_DIR}/sanitized/fuzz-bytes" -seed=1 -runs=30000 -max_len=400 -timeout=60 -verbosity=0)
  set_tests_properties(host/fuzz/bytes_${name} PROPERTIES LABELS host TIMEOUT 300 ENVIRONMENT
                                                         "UBSAN_OPTIONS=print_stacktrace=1;FUZZ_BYTES=${operation}")
  math(EXPR operation "${operation} + 1")
endforeach()

# The parser of HTTP, beside a plain one.
ringstep_add_sanitized_program(
  fuzz-http
  SOURCES fuzz/http.cpp
  KIT_SOURCES net/http_kit.c
  FLAGS -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
add_test(NAME host/fuzz/http_parser
         COMMAND "${CMAKE_CURRENT_BINARY_DIR}/sanitized/fuzz-http" -seed=1 -runs=60000 -max_len=600 -timeout=60 -verbosity=0
                 "-dict=${CMAKE_CURRENT_SOURCE_DIR}/fuzz/http.dict")
set_tests_properties(host/fuzz/http_parser PROPERTIES LABELS host TIMEOUT 300 ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1")

# The fuzzer: an entry for each loop, with inputs that are kept in fuzz/corpus. So many runs here, which take some 2 seconds each;
# `./dev fuzz` is for longer.
set(fuzzed nop_chain copy chain drain link gate pace enter stages frames http proxy)
# Servers with few connections: a state of megabytes takes longer to set up than the steps take.
set(small -DRINGSTEP_FRAMES_CONNECTIONS=8 -DRINGSTEP_FRAMES_CHUNKS=32 -DRINGSTEP_HTTP_CONNECTIONS=4 -DRINGSTEP_HTTP_CHUNKS=16
    -DRINGSTEP_PROXY_CONNECTIONS=4)
ringstep_add_sanitized_program(
  fuzz-step
  SOURCES fuzz/step.cpp
  LOOPS ${fuzzed} scripted timed hooked
  FLAGS -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all "-DRINGSTEP_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"" ${small}
  DEFINITIONS -include "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/enter.h")
# Inputs that a run finds are not used by the next run, so that each run of the tests does the same.
set(findings "${CMAKE_CURRENT_BINARY_DIR}/sanitized/findings")
foreach(loop IN LISTS fuzzed ITEMS scripted timed hooked)
  file(MAKE_DIRECTORY "${findings}/${loop}")
  file(GLOB corpus CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${loop}/*")
  list(JOIN corpus "," corpus)
  if(corpus)
    set(corpus "-seed_inputs=${corpus}")
  endif()
  # Steps of these may be long.
  set(runs 8000)
  if(loop STREQUAL nop_chain)
    set(runs 1500)
  elseif(loop STREQUAL gate)
    set(runs 5000)
  endif()
  add_test(NAME host/fuzz/${loop}
           COMMAND "${CMAKE_CURRENT_BINARY_DIR}/sanitized/fuzz-step" -seed=1 -runs=${runs} -max_len=1024 -len_control=20 -timeout=60 -verbosity=0
                   "-artifact_prefix=${findings}/${loop}/" ${corpus})
  set_tests_properties(host/fuzz/${loop} PROPERTIES LABELS host TIMEOUT 300 ENVIRONMENT
                                                   "UBSAN_OPTIONS=print_stacktrace=1;FUZZ_LOOP=${loop}")
endforeach()
