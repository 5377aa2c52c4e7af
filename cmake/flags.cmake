# Compiler flags that hold for everything in the tree.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)

# Release is what users run and what is measured: optimised, but with symbols and frame pointers, so
# that a profiler or a core file always has something to say.  Assertions stay in every build.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-Og -g3")
add_compile_options(-fno-omit-frame-pointer)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()

# The way of an operation crosses core, ops and engine: optimised as one piece it takes fewer
# instructions (docs/benchmarks).  Only the library is compiled so, with plain code beside, and only what is
# installed or measured is linked so: programs do not have to, and tests link quickly.
option(PROACTOR_LTO "optimise the library across its files" OFF)
set(lto)
if(PROACTOR_LTO)
    set(lto -flto=auto -ffat-lto-objects)
endif()

# Neighbouring pointers are stored one by one: gathered in a vector register they cost more on the way
# of an operation (docs/design/performance.md).
add_compile_options(-fno-tree-slp-vectorize)

# The presets turn warnings into errors; a build without them, with a compiler that we have not
# seen, does not.
add_compile_options(-Wall -Wextra -Wshadow -Wpointer-arith -Wvla
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>)

# The call site of an operation is a string in the program: a short one, and the same one wherever
# the tree was built.
add_compile_options(-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
# The same where a compiler cache with a base directory makes the paths relative to the build.
file(RELATIVE_PATH up ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR})
add_compile_options(-fmacro-prefix-map=${up}=)

if(PROACTOR_SANITIZE STREQUAL "address")
    set(sanitize -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(PROACTOR_SANITIZE STREQUAL "thread")
    set(sanitize -fsanitize=thread)
elseif(PROACTOR_SANITIZE STREQUAL "none")
    set(sanitize "")
else()
    message(FATAL_ERROR "PROACTOR_SANITIZE is address, thread or none")
endif()
add_compile_options(${sanitize})
add_link_options(${sanitize})
