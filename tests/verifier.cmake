# What the verifier says of loops: what it spends on ours, and what it refuses of others.

# Every loop in bpf/loops/ and examples/, and blocks of the kit: a new one without a budget fails.
file(GLOB loops CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bpf/loops/*.bpf.c" "${PROJECT_SOURCE_DIR}/examples/*/*.bpf.c")
set(loop_list "${CMAKE_CURRENT_BINARY_DIR}/verifier/loops")
set(loop_lines)
add_executable(verifier-budgets verifier/budgets.cpp)
target_include_directories(verifier-budgets PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
target_link_libraries(verifier-budgets PRIVATE ringstep::ringstep ringstep_development)
list(TRANSFORM loops REPLACE "^.*/(.*)\\.bpf\\.c$" "\\1")
# Graphs that are compiled: of each kind one, and the longest.
foreach(name IN LISTS loops ITEMS compiled_file compiled_relay compiled_meeting compiled_sequence_3 compiled_model_2 compiled_nops)
  if(NOT TARGET ringstep_${name})
    message(FATAL_ERROR "${name} is not compiled by ringstep_add_loop(${name} …)")
  endif()
  get_target_property(dir ringstep_${name} BINARY_DIR)
  string(APPEND loop_lines "${name}=${dir}/loops/${name}/${name}.bpf.o\n")
  add_dependencies(verifier-budgets ringstep_${name}_generated)
endforeach()
# One call of each block of the kit whose cost docs/bytes.md and docs/timer-wheel.md state.
ringstep_find_bpf_tools()
set(source "${CMAKE_CURRENT_SOURCE_DIR}/verifier/blocks/block.bpf.c")
set(dir "${CMAKE_CURRENT_BINARY_DIR}/verifier/blocks")
file(MAKE_DIRECTORY "${dir}")
file(STRINGS "${source}" lines REGEX "//! [0-9]+: ")
set(objects)
foreach(line IN LISTS lines)
  string(REGEX REPLACE ".*//! ([0-9]+): ([a-z_]+).*" "\\1;\\2" case "${line}")
  list(GET case 1 name)
  list(GET case 0 case)
  set(object "${dir}/${name}.bpf.o")
  add_custom_command(
    OUTPUT "${object}"
    COMMAND "${RINGSTEP_CLANG}" -target bpf -mcpu=v3 -O2 -g -std=gnu11 -fno-strict-aliasing -ftrivial-auto-var-init=zero -Wall -Wextra -Werror
            "-DCASE=${case}" "-I${RINGSTEP_KIT_DIR}" "-I${RINGSTEP_INCLUDE_DIR}" -idirafter
            "/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}" -MD -MF "${object}.d" -MT "${object}" -c "${source}" -o "${object}"
    DEPENDS "${source}"
    DEPFILE "${object}.d"
    COMMENT "Compiling a loop of ${name} alone"
    VERBATIM)
  list(APPEND objects "${object}")
  # Blocks know nothing of the kind of the ring.
  string(APPEND loop_lines "${name}@usual=${object}\n")
endforeach()
# The example of docs/bytes.md.
string(APPEND loop_lines "adder@usual=${CMAKE_CURRENT_BINARY_DIR}/loops/adder/adder.bpf.o\n")
add_dependencies(verifier-budgets ringstep_adder_generated)
add_custom_target(verifier-blocks DEPENDS ${objects})
add_dependencies(verifier-budgets verifier-blocks)
file(CONFIGURE OUTPUT "${loop_list}" CONTENT "${loop_lines}" @ONLY)

# What the verifier says and spends differs between the oldest kernel and the newest, if at all. Each load takes half a second in an emulated
# kernel. So what the documents quote is compared in the newest only. All kinds of rings are looked at in kernels of our own, whose verifier is
# the most particular one, and by `./dev test --thorough`; elsewhere the usual ring is.
list(GET RINGSTEP_TEST_KERNELS 0 oldest)
list(GET RINGSTEP_TEST_KERNELS -1 newest)
set(ends ${oldest} ${newest})
list(REMOVE_DUPLICATES ends)
set(complete ${ends}) # the kernels that see all
list(FILTER complete INCLUDE REGEX "-ringstep")
list(APPEND complete ${newest})
list(REMOVE_DUPLICATES complete)
foreach(kernel IN LISTS ends)
  set(ring usual)
  if(kernel MATCHES "-ringstep")
    set(ring)
  endif()
  string(REGEX REPLACE "-ringstep.*" "" name "${kernel}")
  ringstep_add_vm_test(
    ${kernel} verifier-budgets TIMEOUT 300
    COMMAND "$<TARGET_FILE:verifier-budgets>" check "${loop_list}" "${PROJECT_SOURCE_DIR}/bpf/budgets.csv" ${name} ${ring})
endforeach()

# The loops of docs/verifier.md, each as it is wrong and as it is right.
ringstep_find_bpf_tools()
file(GLOB loops CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/verifier/*.bpf.c")
set(dir "${CMAKE_CURRENT_BINARY_DIR}/verifier")
set(compile "${CMAKE_CURRENT_SOURCE_DIR}/verifier/compile.sh")
set(objects)
foreach(source IN LISTS loops)
  cmake_path(GET source STEM name)
  foreach(variant IN ITEMS wrong cured)
    set(object "${dir}/${name}.${variant}.bpf.o")
    set(define)
    if(variant STREQUAL cured)
      set(define -DCURED)
    endif()
    add_custom_command(
      OUTPUT "${object}"
      COMMAND "${compile}" "${object}" ${CMAKE_C_COMPILER_LAUNCHER} "${RINGSTEP_CLANG}" -target bpf -mcpu=v3 -O2 -g -std=gnu11 -fno-strict-aliasing -ftrivial-auto-var-init=zero -Wall -Wextra ${define}
              "-I${RINGSTEP_KIT_DIR}" "-I${RINGSTEP_INCLUDE_DIR}" -idirafter "/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}"
              -c "${source}"
      DEPENDS "${source}" "${compile}"
      DEPFILE "${object}.d"
      COMMENT "Compiling ${name}, ${variant}"
      VERBATIM)
    list(APPEND objects "${object}")
  endforeach()
endforeach()
add_custom_target(verifier-loops DEPENDS ${objects})

ringstep_add_test(verifier/doc)
target_compile_definitions(test-verifier-doc PRIVATE "RINGSTEP_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\""
                           "RINGSTEP_VERIFIER_OBJECTS=\"${dir}\"")
add_dependencies(test-verifier-doc verifier-loops)
foreach(kernel IN LISTS complete)
  ringstep_add_vm_test(${kernel} verifier-doc TIMEOUT 300 COMMAND "$<TARGET_FILE:test-verifier-doc>")
endforeach()

# What the inspection of loops refuses (cmake/ringstep_inspect.py), and that the verifier does not.
set(source "${CMAKE_CURRENT_SOURCE_DIR}/inspect/forbidden.bpf.c")
set(dir "${CMAKE_CURRENT_BINARY_DIR}/inspect")
file(MAKE_DIRECTORY "${dir}")
file(STRINGS "${source}" lines REGEX "//! [0-9]+: ")
set(objects)
foreach(line IN LISTS lines)
  string(REGEX REPLACE ".*//! ([0-9]+): .*" "\\1" case "${line}")
  set(object "${dir}/case-${case}.bpf.o")
  add_custom_command(
    OUTPUT "${object}"
    COMMAND ${CMAKE_C_COMPILER_LAUNCHER} "${RINGSTEP_CLANG}" -target bpf -mcpu=v3 -O2 -g -std=gnu11 -fno-strict-aliasing -ftrivial-auto-var-init=zero -Wall -Wextra
            "-DCASE=${case}" "-I${RINGSTEP_KIT_DIR}" "-I${RINGSTEP_INCLUDE_DIR}" -idirafter
            "/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}" -MD -MF "${object}.d" -MT "${object}" -c "${source}" -o "${object}"
    DEPENDS "${source}"
    DEPFILE "${object}.d"
    COMMENT "Compiling case ${case} of what the inspection refuses"
    VERBATIM)
  list(APPEND objects "${object}")
endforeach()
add_custom_target(inspected-loops ALL DEPENDS ${objects})
find_program(RINGSTEP_PYTHON NAMES python3)
add_test(NAME host/inspect COMMAND "${RINGSTEP_PYTHON}" -B "${CMAKE_CURRENT_SOURCE_DIR}/inspect/inspect.py" "${RINGSTEP_INSPECT}" "${dir}"
                                   "${source}" "${loop_list}")
set_tests_properties(host/inspect PROPERTIES LABELS host TIMEOUT 300)
foreach(kernel IN LISTS complete)
  ringstep_add_vm_test(${kernel} verifier-accepts TIMEOUT 300 COMMAND "$<TARGET_FILE:verifier-budgets>" accept ${objects})
endforeach()
