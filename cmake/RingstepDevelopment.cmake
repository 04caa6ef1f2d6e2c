# Settings for the repository's own targets only. They do not affect projects that use the library.
add_library(ringstep_development INTERFACE)
target_compile_options(ringstep_development INTERFACE -Wall -Wextra -Wconversion -Wshadow)
target_link_libraries(ringstep_development INTERFACE ringstep::ringstep)
set(CMAKE_CXX_EXTENSIONS OFF)
