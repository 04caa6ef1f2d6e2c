# Settings for the repository's own targets only. They do not affect projects that use the library.
add_library(ringstep_development INTERFACE)
target_compile_options(ringstep_development INTERFACE -Wall -Wextra -Wconversion -Wshadow)
if(NOT TARGET ringstep::format)
  message(FATAL_ERROR "The tools, examples, tests and benchmarks of ringstep need fmt, and CMake does not find it (libfmt-dev)")
endif()
target_link_libraries(ringstep_development INTERFACE ringstep::ringstep ringstep::format)
set(CMAKE_CXX_EXTENSIONS OFF)

# The command lines of the tools and the benchmarks.
if(RINGSTEP_BUILD_TOOLS OR RINGSTEP_BUILD_BENCH)
  find_package(CLI11 REQUIRED)
  add_library(ringstep_cli11 STATIC "${PROJECT_SOURCE_DIR}/tools/common/cli11.cpp")
  target_compile_features(ringstep_cli11 PUBLIC cxx_std_20)
  target_compile_definitions(ringstep_cli11 PUBLIC CLI11_COMPILE)
  target_link_libraries(ringstep_cli11 PUBLIC CLI11::CLI11)
endif()
