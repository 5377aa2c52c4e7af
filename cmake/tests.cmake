# The table of tests.  What pro_test and pro_step take: cmake/steps.cmake.
#
# A file test/unit/NAME.c is a step unit-NAME, a script test/apps/NAME.py or .sh a step app-NAME,
# without a line here; give it one where it needs more than the defaults.
include(cmake/steps.cmake)

set(test_libs)
set(other_system win)
if(WIN32)
    set(other_system posix)
endif()
file(GLOB sources CONFIGURE_DEPENDS test/lib/*.c)
list(FILTER sources EXCLUDE REGEX "_${other_system}\\.c$")
if(sources)
    pro_library(test_lib INCLUDE test SOURCES ${sources})
    list(APPEND test_libs test_lib)
endif()

# ---- conformance: one program, the contract on every engine ------------------------------------

file(GLOB sources CONFIGURE_DEPENDS test/conform/*.c)
if(sources)
    pro_test(conform SOURCES ${sources} LINK ${test_libs} ARGS --engine={engine}
        ENGINES uring epoll CONFIGS release asan tsan clang)
    # Not on uring: memcheck does not see what a ring writes.
    pro_step(conform-memcheck COMMAND $<TARGET_FILE:conform> --engine=epoll CONFIGS valgrind)
endif()

# ---- unit tests: they see the internals, and the scripted engine -------------------------------

if(TARGET proactor_scripted)
    list(APPEND test_libs proactor_scripted)
endif()
file(GLOB sources CONFIGURE_DEPENDS test/unit/*.c)
foreach(source IN LISTS sources)
    cmake_path(GET source STEM name)
    if(NOT TARGET unit-${name})
        pro_test(unit-${name} SOURCES ${source} LINK ${test_libs} CONFIGS release asan valgrind)
    endif()
    target_include_directories(unit-${name} PRIVATE src)
endforeach()

# ---- scripts that drive the programs; their argument is the build directory --------------------

file(GLOB sources CONFIGURE_DEPENDS test/apps/*.py test/apps/*.sh)
foreach(source IN LISTS sources)
    cmake_path(GET source STEM name)
    cmake_path(GET source EXTENSION extension)
    set(interpreter sh)
    if(extension STREQUAL ".py")
        set(interpreter python3)
    endif()
    pro_step(app-${name} COMMAND ${interpreter} ${source} ${PROJECT_BINARY_DIR} ENGINES uring epoll)
endforeach()

pro_write_steps()
