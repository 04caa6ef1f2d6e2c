# What loops cost in the newest kernel, by counted instructions: no loop's main case takes more than bench/instructions.csv says.
find_program(RINGSTEP_PYTHON NAMES python3)
add_test(NAME host/guard COMMAND "${RINGSTEP_PYTHON}" -B "${CMAKE_CURRENT_SOURCE_DIR}/profile/guard.py" "${PROJECT_SOURCE_DIR}")
add_test(NAME host/profile COMMAND "${RINGSTEP_PYTHON}" -B "${CMAKE_CURRENT_SOURCE_DIR}/profile/profile.py" "${PROJECT_SOURCE_DIR}")
set_tests_properties(host/guard host/profile PROPERTIES LABELS host TIMEOUT 300)

# In a machine of its own: its clock and its processor are like no other test's. Without optimization, the figures would mean nothing.
if(TARGET bench-ways AND CMAKE_BUILD_TYPE STREQUAL RelWithDebInfo)
  list(GET RINGSTEP_TEST_KERNELS -1 newest)
  add_test(NAME "${newest}/guard" COMMAND "${RINGSTEP_PYTHON}" -B "${PROJECT_SOURCE_DIR}/tools/profile/guard.py" --kernel ${newest})
  # With more than one processor busy, most of its time is the boot.
  set_tests_properties("${newest}/guard" PROPERTIES LABELS "kernel-${newest}" TIMEOUT 400 COST 900
                                                    ENVIRONMENT "RINGSTEP_BUILD_DIR=${PROJECT_BINARY_DIR}")
endif()

# The benchmark of nops reads verified programs, and runs them step by step: it has to know what they are made of.
if(TARGET bench-nops)
  list(GET RINGSTEP_TEST_KERNELS -1 newest)
  ringstep_add_vm_test(${newest} bench/nops TIMEOUT 300 COMMAND "$<TARGET_FILE:bench-nops>" --runs 1 --nops 256 --depths 1)
endif()

# The servers of the benchmark network answer alike: it compares their first answers with what they should be.
if(TARGET bench-network)
  list(GET RINGSTEP_TEST_KERNELS -1 newest)
  add_test(NAME host/bench/network COMMAND bench-network --runs 1 --requests 256 --connections 1,64 --ways epoll,liburing,user)
  set_tests_properties(host/bench/network PROPERTIES LABELS host TIMEOUT 300)
  # Faster than the server can be: rounds are due while the connections are busy.
  add_test(NAME host/bench/network-rate COMMAND bench-network --runs 1 --requests 512 --connections 3 --rate 10000000 --sizes 64 --ways user)
  set_tests_properties(host/bench/network-rate PROPERTIES LABELS host TIMEOUT 300)
  ringstep_add_vm_test(${newest} bench/network TIMEOUT 300 COMMAND "$<TARGET_FILE:bench-network>" --runs 1 --requests 64 --connections 2 --jobs ECHO
                                                                  --ways liburing,kernel)
endif()

# What the benchmarks say of their samples, and of system calls: how many there are, and what they weigh beside counted instructions.
ringstep_add_test(bench/model HOST)
ringstep_add_test(bench/statistics HOST)
ringstep_add_test(bench/system_calls KERNELS)
