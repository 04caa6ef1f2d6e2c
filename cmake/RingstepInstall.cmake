# Installs the library and makes packages. Files are installed below the prefix:
#
#   include/ringstep/               the library's headers, and the generated ones of the prebuilt loops
#   lib/libringstep_<loop>.a        the prebuilt loops that have a library
#   lib/cmake/ringstep/             find_package(ringstep), which also defines ringstep_add_loop()
#   lib/pkgconfig/                  ringstep.pc, ringstep-format.pc, and ringstep-<loop>.pc for each prebuilt loop
#   share/ringstep/bpf/             the authoring kit. Not in include/, because it is not for host compilers' search paths: only
#                                   ringstep_add_loop() puts it there
#
# No installed file contains the prefix, so the whole tree may be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(ringstep_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/ringstep")
set(ringstep_kit_dir "${CMAKE_INSTALL_DATADIR}/ringstep/bpf")
set(ringstep_pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
set(ringstep_installed ringstep)

# The headers of a loop without a library are not made by any other target.
add_custom_target(ringstep_prebuilt_loops ALL)
foreach(loop IN LISTS ringstep_loops)
  list(APPEND ringstep_installed ringstep_${loop})
  set_target_properties(ringstep_${loop} PROPERTIES EXPORT_NAME ${loop})
  add_dependencies(ringstep_prebuilt_loops ringstep_${loop})
  install(DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/loops/${loop}/include/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
          FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
endforeach()

install(TARGETS ${ringstep_installed} EXPORT ringstep-targets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT ringstep-targets NAMESPACE ringstep:: DESTINATION "${ringstep_cmake_dir}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/bpf/ringstep" DESTINATION "${ringstep_kit_dir}")
# The files that ringstep_add_loop() needs. The others are only for building this project.
install(DIRECTORY "${PROJECT_SOURCE_DIR}/cmake/" DESTINATION "${ringstep_cmake_dir}"
        PATTERN "*.in" EXCLUDE PATTERN "RingstepDependencies.cmake" EXCLUDE PATTERN "RingstepDevelopment.cmake" EXCLUDE
        PATTERN "RingstepInstall.cmake" EXCLUDE)

configure_package_config_file(cmake/ringstep-config.cmake.in ringstep-config.cmake INSTALL_DESTINATION "${ringstep_cmake_dir}"
                              PATH_VARS CMAKE_INSTALL_INCLUDEDIR ringstep_kit_dir)
write_basic_package_version_file(ringstep-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/ringstep-config.cmake" "${CMAKE_CURRENT_BINARY_DIR}/ringstep-config-version.cmake"
        DESTINATION "${ringstep_cmake_dir}")

# A .pc file names folders relative to its own location. An absolute folder stays absolute.
set(ringstep_pc_prefix "/prefix")
cmake_path(ABSOLUTE_PATH ringstep_pkgconfig_dir BASE_DIRECTORY "${ringstep_pc_prefix}" OUTPUT_VARIABLE ringstep_pc_dir)
cmake_path(RELATIVE_PATH ringstep_pc_prefix BASE_DIRECTORY "${ringstep_pc_dir}")
set(ringstep_pc_prefix "\${pcfiledir}/${ringstep_pc_prefix}")
foreach(folder IN ITEMS INCLUDEDIR LIBDIR)
  set(path "${CMAKE_INSTALL_${folder}}")
  cmake_path(ABSOLUTE_PATH path BASE_DIRECTORY "\${prefix}")
  set(ringstep_pc_${folder} "${path}")
endforeach()
set(ringstep_pc_kitdir "${ringstep_kit_dir}")
cmake_path(ABSOLUTE_PATH ringstep_pc_kitdir BASE_DIRECTORY "\${prefix}")

configure_file(cmake/ringstep.pc.in ringstep.pc @ONLY)
configure_file(cmake/ringstep-format.pc.in ringstep-format.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/ringstep.pc" "${CMAKE_CURRENT_BINARY_DIR}/ringstep-format.pc" DESTINATION "${ringstep_pkgconfig_dir}")
foreach(loop IN LISTS ringstep_loops)
  get_target_property(type ringstep_${loop} TYPE)
  set(ringstep_pc_libs)
  if(type STREQUAL "STATIC_LIBRARY")
    set(ringstep_pc_libs "-L\${libdir} -lringstep_${loop}")
  endif()
  configure_file(cmake/ringstep-loop.pc.in ringstep-${loop}.pc @ONLY)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/ringstep-${loop}.pc" DESTINATION "${ringstep_pkgconfig_dir}")
endforeach()

# cpack makes a .deb for people who build programs with ringstep, so it depends on what those builds need.
if(PROJECT_IS_TOP_LEVEL)
  set(CPACK_GENERATOR DEB)
  set(CPACK_PACKAGE_NAME libringstep-dev)
  set(CPACK_PACKAGE_CONTACT "the ringstep authors <ringstep@localhost>")
  set(CPACK_PACKAGE_DESCRIPTION
      "Opens io_uring rings and puts loops on them that run inside the kernel. With loops for graphs of requests, order,
bounded depth, rates, waiting and copying, and all that is needed to write more.")
  set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_VERBATIM_VARIABLES ON)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
  # The version of Debian's libbpf has an epoch.
  string(JOIN ", " CPACK_DEBIAN_PACKAGE_DEPENDS "libbpf-dev (>= 1:${ringstep_libbpf_version})"
         "liburing-dev (>= ${ringstep_liburing_version})" "pkgconf | pkg-config")
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS libfmt-dev) # for ringstep::format
  set(CPACK_DEBIAN_PACKAGE_SUGGESTS "clang, llvm, bpftool") # to write loops
  install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/libringstep-dev" RENAME copyright)
  include(CPack)
endif()
