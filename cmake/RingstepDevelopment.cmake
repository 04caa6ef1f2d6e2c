# Settings for the repository's own targets only. They do not affect projects that use the library.
add_library(ringstep_development INTERFACE)
target_compile_options(ringstep_development INTERFACE -Wall -Wextra -Wconversion -Wshadow)
if(NOT TARGET ringstep::format)
  message(FATAL_ERROR "The tools, examples, tests and benchmarks of ringstep need fmt, and CMake does not find it (libfmt-dev)")
endif()
target_link_libraries(ringstep_development INTERFACE ringstep::ringstep ringstep::format)
set(CMAKE_CXX_EXTENSIONS OFF)
