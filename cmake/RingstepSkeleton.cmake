# Run as a script. bpftool writes a skeleton only to its standard output, and only a complete skeleton may replace the old one.
execute_process(COMMAND "${BPFTOOL}" gen skeleton "${OBJECT}" name "${NAME}" OUTPUT_VARIABLE skeleton ERROR_VARIABLE errors
                RESULT_VARIABLE result)
if(errors MATCHES "failed to find BTF for extern '([^']*)'")
  message(FATAL_ERROR "ringstep_add_loop(${LOOP}): the loop calls ${CMAKE_MATCH_1}(), which is not in its source, and the kernel has no C "
                      "library. Write it as a static function: docs/verifier.md, 13. bpftool says: ${errors}")
elseif(NOT result EQUAL 0)
  message(FATAL_ERROR "bpftool gen skeleton ${OBJECT} failed: ${errors}")
endif()
# The warnings of projects that include bpftool's code do not apply to it, regardless of how they include it.
file(WRITE "${OUTPUT}.new" "#pragma GCC system_header\n${skeleton}")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
