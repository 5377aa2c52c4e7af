# What differs from system to system, for the rest of the build:
#
#   system           the directory of src/os, and the end of the names of such files in test/lib
#   engines          the directories of src/engine
#   parts            directories of src that not every system has as yet
#   proactor_system  what the library needs of the system
add_library(proactor_system INTERFACE)
if(WIN32)
    set(system win)
    set(engines iocp)
    set(parts shard co)
    target_compile_definitions(proactor_system INTERFACE _WIN32_WINNT=0x0A00)
    target_link_libraries(proactor_system INTERFACE ws2_32 bcrypt ntdll)
else()
    set(system posix)
    set(engines uring epoll)
    set(parts shard co)
    include(cmake/liburing.cmake)
    find_package(Threads REQUIRED)
    target_link_libraries(proactor_system INTERFACE liburing Threads::Threads)
endif()
