# What the library itself stands on.
find_package(PkgConfig REQUIRED)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET liburing>=2.9)
pkg_check_modules(libbpf REQUIRED IMPORTED_TARGET libbpf>=1.5)
find_package(fmt REQUIRED)
