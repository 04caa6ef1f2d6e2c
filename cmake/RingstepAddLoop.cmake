# ringstep_add_loop(<name> SOURCE <file.bpf.c> STATE <header> [KERNEL_ONLY] [INCLUDE_DIRECTORIES <dir>…] [CALLS <name>…]
#                   [NOT_INSPECTED])
#
# Compiles a loop for both engines and makes the target ringstep_<name> (alias ringstep::<name>). The target is a static library with the
# loop compiled for user space. Linking to it also adds the ringstep library and two generated headers:
#
#   <ringstep/compiled/<name>.hpp>     the type for LoopProgram<>: ringstep::loops::<name>. It includes the state's header, and checks
#                                      that the state has one layout in C++ and in the program
#   <ringstep/skeletons/<name>.skel.h> the program, compiled for the kernel
#
# <name> must be the name given to RINGSTEP_LOOP(). With KERNEL_ONLY, the loop has no user engine, and may use everything that the kernel
# offers to BPF programs. STATE may then be left out, and the type is not generated.
#
# The project must have C enabled (unless KERNEL_ONLY). A clang that targets BPF, llvm-strip and bpftool are needed. Set RINGSTEP_CLANG,
# RINGSTEP_LLVM_STRIP or RINGSTEP_BPFTOOL if they are not found. The loop is compiled again when any header that it includes changes.
#
# If RINGSTEP_INSPECT_LOOPS is true, the build fails for a loop whose instructions do what no loop needs: docs/security.md. That takes
# Python 3.9, which RINGSTEP_PYTHON names if it is not found. CALLS lists helpers, kfuncs and maps that the loop may use beside those that
# each loop may use. NOT_INSPECTED excepts the loop.

cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH ringstep_root)
set(RINGSTEP_KIT_DIR "${ringstep_root}/bpf" CACHE INTERNAL "Folder of ringstep/loop.bpf.h")
set(RINGSTEP_INCLUDE_DIR "${ringstep_root}/include" CACHE INTERNAL "Folder of ringstep/ringstep.hpp")
set(RINGSTEP_INSPECT "${CMAKE_CURRENT_LIST_DIR}/ringstep_inspect.py" CACHE INTERNAL "Inspects the instructions of loops")
set(RINGSTEP_INSPECT_PARTS "${CMAKE_CURRENT_LIST_DIR}/ringstep_inspect_object.py" "${CMAKE_CURRENT_LIST_DIR}/ringstep_inspect_values.py"
    CACHE INTERNAL "What it consists of besides")

function(ringstep_find_bpf_tools)
  find_program(RINGSTEP_CLANG NAMES clang clang-21 clang-20 clang-19 clang-18 clang-17 clang-16 DOC "clang that targets BPF")
  find_program(RINGSTEP_LLVM_STRIP NAMES llvm-strip llvm-strip-21 llvm-strip-20 llvm-strip-19 llvm-strip-18 llvm-strip-17
                                         llvm-strip-16 DOC "llvm-strip")
  find_program(RINGSTEP_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin DOC "bpftool")
  foreach(tool IN ITEMS CLANG LLVM_STRIP BPFTOOL)
    if(NOT RINGSTEP_${tool})
      message(FATAL_ERROR "ringstep_add_loop: no ${tool} found; install clang, llvm and bpftool, or set RINGSTEP_${tool}")
    endif()
  endforeach()
endfunction()

# Sets <out> to the command that inspects the object of a loop, or to nothing.
function(ringstep_inspection out name object)
  cmake_parse_arguments(PARSE_ARGV 3 arg "NOT_INSPECTED" "" "CALLS")
  set(${out} PARENT_SCOPE)
  if(NOT RINGSTEP_INSPECT_LOOPS OR arg_NOT_INSPECTED)
    return()
  endif()
  find_program(RINGSTEP_PYTHON NAMES python3 DOC "Python 3.9 or later, for RINGSTEP_INSPECT_LOOPS")
  if(NOT RINGSTEP_PYTHON)
    message(FATAL_ERROR "ringstep_add_loop(${name}): RINGSTEP_INSPECT_LOOPS takes Python 3, and none was found: install it, set RINGSTEP_PYTHON, "
                        "or turn RINGSTEP_INSPECT_LOOPS off")
  endif()
  list(TRANSFORM arg_CALLS PREPEND "--call=")
  set(${out} COMMAND "${RINGSTEP_PYTHON}" -B "${RINGSTEP_INSPECT}" --quiet ${arg_CALLS} "${object}" PARENT_SCOPE)
endfunction()

function(ringstep_add_loop name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "KERNEL_ONLY;NOT_INSPECTED" "SOURCE;STATE" "INCLUDE_DIRECTORIES;CALLS")
  if(NOT arg_SOURCE OR arg_UNPARSED_ARGUMENTS OR NOT (arg_STATE OR arg_KERNEL_ONLY))
    message(FATAL_ERROR "ringstep_add_loop(${name}): usage is <name> SOURCE <file.bpf.c> STATE <header> [KERNEL_ONLY] "
                        "[INCLUDE_DIRECTORIES <dir>…] [CALLS <name>…] [NOT_INSPECTED]")
  endif()
  get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  if(NOT arg_KERNEL_ONLY AND NOT "C" IN_LIST languages)
    message(FATAL_ERROR "ringstep_add_loop(${name}): the loop is C; say project(… LANGUAGES C CXX), or declare it KERNEL_ONLY")
  endif()
  ringstep_find_bpf_tools()

  cmake_path(ABSOLUTE_PATH arg_SOURCE OUTPUT_VARIABLE source)
  set(dir "${CMAKE_CURRENT_BINARY_DIR}/loops/${name}")
  set(object "${dir}/${name}.bpf.o")
  set(skeleton "${dir}/include/ringstep/skeletons/${name}.skel.h")
  set(compiled "${dir}/include/ringstep/compiled/${name}.hpp")
  file(MAKE_DIRECTORY "${dir}/include/ringstep/skeletons" "${dir}/include/ringstep/compiled")

  # UAPI headers include <asm/…>. On Debian's multiarch, that is in a folder that clang does not search for the BPF target.
  set(includes "-I${RINGSTEP_KIT_DIR}" "-I${RINGSTEP_INCLUDE_DIR}")
  foreach(include_dir IN LISTS arg_INCLUDE_DIRECTORIES)
    cmake_path(ABSOLUTE_PATH include_dir)
    list(APPEND includes "-I${include_dir}")
  endforeach()
  if(CMAKE_LIBRARY_ARCHITECTURE)
    list(APPEND includes "-idirafter" "/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}")
  endif()

  set(inspection_options ${arg_CALLS})
  if(inspection_options)
    list(PREPEND inspection_options CALLS)
  endif()
  if(arg_NOT_INSPECTED)
    list(APPEND inspection_options NOT_INSPECTED)
  endif()
  ringstep_inspection(inspection ${name} "${object}" ${inspection_options})
  # The program names its source files. Without the folders of the machine that built it, it is the same wherever it is built.
  cmake_path(GET CMAKE_CURRENT_FUNCTION_LIST_DIR PARENT_PATH ringstep_dir)
  set(folders "-fdebug-compilation-dir=." "-fdebug-prefix-map=${CMAKE_SOURCE_DIR}/=" "-fdebug-prefix-map=${ringstep_dir}/=")
  # A privileged program may read stack memory that it has not written, which is the kernel's. So all variables begin as zero.
  add_custom_command(
    OUTPUT "${object}"
    COMMAND ${CMAKE_C_COMPILER_LAUNCHER} "${RINGSTEP_CLANG}" -target bpf -mcpu=v3 -O2 -g -std=gnu11 -fno-strict-aliasing -ftrivial-auto-var-init=zero -Wall -Wextra
            ${folders} ${includes} -MD -MF "${object}.d" -MT "${object}" -c "${source}" -o "${object}"
    COMMAND "${RINGSTEP_LLVM_STRIP}" -g "${object}" # DWARF goes, BTF stays
    ${inspection}
    DEPENDS "${source}" "${RINGSTEP_INSPECT}" ${RINGSTEP_INSPECT_PARTS}
    DEPFILE "${object}.d"
    COMMENT "Compiling loop ${name} for the kernel"
    VERBATIM)
  add_custom_command(
    OUTPUT "${skeleton}"
    COMMAND "${CMAKE_COMMAND}" "-DBPFTOOL=${RINGSTEP_BPFTOOL}" "-DOBJECT=${object}" "-DNAME=${name}_bpf" "-DLOOP=${name}"
            "-DOUTPUT=${skeleton}" -P
            "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/RingstepSkeleton.cmake"
    DEPENDS "${object}" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/RingstepSkeleton.cmake"
    COMMENT "Generating skeleton of loop ${name}"
    VERBATIM)
  set(generated "${skeleton}")

  if(arg_STATE)
    cmake_path(ABSOLUTE_PATH arg_STATE OUTPUT_VARIABLE state)
    cmake_path(IS_PREFIX RINGSTEP_INCLUDE_DIR "${state}" NORMALIZE state_is_ours)
    if(state_is_ours)
      cmake_path(RELATIVE_PATH state BASE_DIRECTORY "${RINGSTEP_INCLUDE_DIR}" OUTPUT_VARIABLE state_include)
    else()
      cmake_path(GET state FILENAME state_include)
      cmake_path(GET state PARENT_PATH state_dir)
    endif()
    add_custom_command(
      OUTPUT "${compiled}"
      COMMAND "${CMAKE_COMMAND}" "-DBPFTOOL=${RINGSTEP_BPFTOOL}" "-DOBJECT=${object}" "-DNAME=${name}" "-DSTATE=${state_include}"
              "-DKERNEL_ONLY=${arg_KERNEL_ONLY}" "-DOUTPUT=${compiled}" -P "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/RingstepCompiled.cmake"
      DEPENDS "${object}" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/RingstepCompiled.cmake"
      COMMENT "Generating the type of loop ${name}"
      VERBATIM)
    list(APPEND generated "${compiled}")
  endif()

  if(arg_KERNEL_ONLY)
    add_library(ringstep_${name} INTERFACE)
  else()
    add_library(ringstep_${name} STATIC "${source}")
    set_target_properties(ringstep_${name} PROPERTIES C_STANDARD 11 C_EXTENSIONS ON POSITION_INDEPENDENT_CODE ON)
    target_include_directories(ringstep_${name} SYSTEM PRIVATE "${RINGSTEP_KIT_DIR}/ringstep/user" "${RINGSTEP_KIT_DIR}"
                                                               "${RINGSTEP_INCLUDE_DIR}")
    target_include_directories(ringstep_${name} PRIVATE ${arg_INCLUDE_DIRECTORIES})
    # The kit writes SQEs a word at a time, as kernel code does. GCC spends 8 ns more on a turn with -O2 than with -O3.
    target_compile_options(ringstep_${name} PRIVATE -fno-strict-aliasing "$<$<NOT:$<CONFIG:Debug>>:-O3>")
  endif()
  add_custom_target(ringstep_${name}_generated DEPENDS ${generated})
  add_dependencies(ringstep_${name} ringstep_${name}_generated)
  add_library(ringstep::${name} ALIAS ringstep_${name})
  # The warnings of projects that include generated code do not apply to it.
  target_include_directories(ringstep_${name} SYSTEM INTERFACE "$<BUILD_INTERFACE:${dir}/include>")
  if(arg_STATE AND NOT state_is_ours)
    target_include_directories(ringstep_${name} INTERFACE "$<BUILD_INTERFACE:${state_dir}>")
  endif()
  target_link_libraries(ringstep_${name} INTERFACE ringstep::ringstep)
endfunction()
