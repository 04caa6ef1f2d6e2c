# Run as a script: bpftool writes a skeleton to its standard output only, and only a whole one may take the old one's place.
execute_process(COMMAND "${BPFTOOL}" gen skeleton "${OBJECT}" name "${NAME}" OUTPUT_FILE "${OUTPUT}.new" ERROR_VARIABLE errors
                RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "bpftool gen skeleton ${OBJECT} failed: ${errors}")
endif()
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
