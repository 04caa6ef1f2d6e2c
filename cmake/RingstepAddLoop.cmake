# ringstep_add_loop(<name> SOURCE <file.bpf.c> [INCLUDE_DIRECTORIES <dir>…])
#
# Compiles a loop and makes the target ringstep_<name> (alias ringstep::<name>), which brings along the library and the header
# <ringstep/skeletons/<name>.skel.h> with the compiled program in it. <name> is that given to RINGSTEP_LOOP().
#
# Needs a clang that targets BPF, llvm-strip and bpftool; set RINGSTEP_CLANG, RINGSTEP_LLVM_STRIP or RINGSTEP_BPFTOOL where they
# are not found. The program is compiled again when any header that it includes changes.

set(RINGSTEP_KIT_DIR "${CMAKE_CURRENT_LIST_DIR}/../bpf" CACHE INTERNAL "Folder of ringstep/loop.bpf.h")
set(RINGSTEP_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../include" CACHE INTERNAL "Folder of ringstep/ringstep.hpp")

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

function(ringstep_add_loop name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SOURCE" "INCLUDE_DIRECTORIES")
  if(NOT arg_SOURCE OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "ringstep_add_loop(${name}): usage is <name> SOURCE <file.bpf.c> [INCLUDE_DIRECTORIES <dir>…]")
  endif()
  ringstep_find_bpf_tools()

  cmake_path(ABSOLUTE_PATH arg_SOURCE OUTPUT_VARIABLE source)
  set(dir "${CMAKE_CURRENT_BINARY_DIR}/loops/${name}")
  set(header_dir "${dir}/include/ringstep/skeletons")
  set(object "${dir}/${name}.bpf.o")
  set(skeleton "${header_dir}/${name}.skel.h")
  file(MAKE_DIRECTORY "${header_dir}")

  # UAPI headers include <asm/…>, which on Debian's multiarch is in a folder that clang does not search for the BPF target.
  set(includes "-I${RINGSTEP_KIT_DIR}" "-I${RINGSTEP_INCLUDE_DIR}")
  foreach(include_dir IN LISTS arg_INCLUDE_DIRECTORIES)
    list(APPEND includes "-I${include_dir}")
  endforeach()
  if(CMAKE_C_LIBRARY_ARCHITECTURE)
    list(APPEND includes "-idirafter" "/usr/include/${CMAKE_C_LIBRARY_ARCHITECTURE}")
  endif()

  add_custom_command(
    OUTPUT "${object}"
    COMMAND "${RINGSTEP_CLANG}" -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra ${includes} -MD -MF "${object}.d" -MT "${object}"
            -c "${source}" -o "${object}"
    COMMAND "${RINGSTEP_LLVM_STRIP}" -g "${object}" # DWARF goes, BTF stays
    DEPENDS "${source}"
    DEPFILE "${object}.d"
    COMMENT "Compiling loop ${name} for BPF"
    VERBATIM)
  add_custom_command(
    OUTPUT "${skeleton}"
    COMMAND "${CMAKE_COMMAND}" "-DBPFTOOL=${RINGSTEP_BPFTOOL}" "-DOBJECT=${object}" "-DNAME=${name}_bpf" "-DOUTPUT=${skeleton}" -P
            "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/RingstepSkeleton.cmake"
    DEPENDS "${object}" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/RingstepSkeleton.cmake"
    COMMENT "Generating skeleton of loop ${name}"
    VERBATIM)

  add_custom_target(ringstep_${name}_skeleton DEPENDS "${skeleton}")
  add_library(ringstep_${name} INTERFACE)
  add_library(ringstep::${name} ALIAS ringstep_${name})
  add_dependencies(ringstep_${name} ringstep_${name}_skeleton)
  # Generated code is not held to the warnings of those who include it.
  target_include_directories(ringstep_${name} SYSTEM INTERFACE "$<BUILD_INTERFACE:${dir}/include>")
  target_link_libraries(ringstep_${name} INTERFACE ringstep::ringstep)
endfunction()
