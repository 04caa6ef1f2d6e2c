# The virtual machines that tests share: faults are caught and named, and the tests after them run.
list(GET RINGSTEP_TEST_KERNELS -1 newest)
add_test(NAME host/machines COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/vm/machines.sh" "${PROJECT_SOURCE_DIR}/dev" ${newest})
set_tests_properties(host/machines PROPERTIES LABELS host TIMEOUT 600 COST 5000) # long, and most of it is waiting: it has to begin first

# What `./dev test` and .ci/run say of tests that fail.
add_test(NAME host/dev_test COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/dev_test.sh" "${PROJECT_SOURCE_DIR}")
set_tests_properties(host/dev_test PROPERTIES LABELS host TIMEOUT 300)
