# The package, and the compilers that can use it.
add_test(NAME host/minimum-compilers COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/compile/minimum_compilers.sh" "${PROJECT_SOURCE_DIR}"
                                             "${PROJECT_BINARY_DIR}" ${headers})
set_tests_properties(host/minimum-compilers PROPERTIES LABELS host TIMEOUT 300)

# Outside projects that use ringstep, one for each way to do so: built here, run here and in the newest kernel.
set(package_dir "${CMAKE_CURRENT_BINARY_DIR}/package")

add_test(NAME package/prepare COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/package/prepare.sh" "${PROJECT_SOURCE_DIR}" "${package_dir}")
set_tests_properties(package/prepare PROPERTIES FIXTURES_SETUP package LABELS host TIMEOUT 300
                                              ENVIRONMENT "${ringstep_launchers}")

function(ringstep_add_package_test way)
  add_test(NAME "package/${way}"
           COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/package/consume.sh" "${PROJECT_SOURCE_DIR}" "${package_dir}" "${way}" ${ARGN})
  set_tests_properties("package/${way}" PROPERTIES FIXTURES_REQUIRED package FIXTURES_SETUP package_programs LABELS host TIMEOUT 300
                       ENVIRONMENT "${ringstep_launchers}")
endfunction()

# Each way with one compiler and one generator; all of them occur.
ringstep_add_package_test(prebuilt g++)
ringstep_add_package_test(without-fmt clang++-19)
ringstep_add_package_test(own-loop clang++-19)
ringstep_add_package_test(own-graph g++)
ringstep_add_package_test(add-subdirectory g++)
ringstep_add_package_test(fetch-content clang++-19)
ringstep_add_package_test(deb g++)
ringstep_add_package_test(pkg-config g++)
# The oldest compilers.
ringstep_add_package_test(pkg-config-gcc-12 g++-12)
ringstep_add_package_test(pkg-config-clang-17 clang++-17)
ringstep_add_package_test(versions)

# What they have built runs by both engines.
list(GET RINGSTEP_TEST_KERNELS -1 newest)
set(run "${CMAKE_CURRENT_SOURCE_DIR}/package/run.sh" "${package_dir}" prebuilt without-fmt own-loop own-graph add-subdirectory fetch-content deb pkg-config
        pkg-config-gcc-12 pkg-config-clang-17)
add_test(NAME user/package/run COMMAND ${run})
set_tests_properties(user/package/run PROPERTIES FIXTURES_REQUIRED package_programs LABELS "host;user" TIMEOUT 300
                                                 ENVIRONMENT RINGSTEP_ENGINE=user)
ringstep_add_vm_test(${newest} package/run COMMAND ${run})
set_tests_properties("${newest}/package/run" PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel)
set_property(TEST "${newest}/package/run" APPEND PROPERTY FIXTURES_REQUIRED package_programs)
