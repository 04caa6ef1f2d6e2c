# Run as a script: bpftool writes a skeleton to its standard output only, and only a whole one may take the old one's place.
execute_process(COMMAND "${BPFTOOL}" gen skeleton "${OBJECT}" name "${NAME}" OUTPUT_VARIABLE skeleton ERROR_VARIABLE errors
                RESULT_VARIABLE result)
if(errors MATCHES "failed to find BTF for extern '([^']*)'")
  message(FATAL_ERROR "ringstep_add_loop(${LOOP}): the loop calls ${CMAKE_MATCH_1}(), which is not in its source, and the kernel has no C "
                      "library. Write it as a static function: docs/verifier.md, 13. bpftool says: ${errors}")
elseif(NOT result EQUAL 0)
  message(FATAL_ERROR "bpftool gen skeleton ${OBJECT} failed: ${errors}")
endif()
# bpftool's code is not held to the warnings of those who include it, however they come to it.
file(WRITE "${OUTPUT}.new" "#pragma GCC system_header\n${skeleton}")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
