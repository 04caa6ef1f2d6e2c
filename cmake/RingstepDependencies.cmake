# The dependencies of the library. Packages require these versions.
set(ringstep_liburing_version 2.9)
set(ringstep_libbpf_version 1.5)

find_package(PkgConfig REQUIRED)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET "liburing>=${ringstep_liburing_version}")
pkg_check_modules(libbpf REQUIRED IMPORTED_TARGET "libbpf>=${ringstep_libbpf_version}")
# Only the formatters need fmt. A project that has this one as a part may have brought its own.
if(NOT TARGET fmt::fmt)
  find_package(fmt QUIET)
endif()
