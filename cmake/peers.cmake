# The servers that bench/tcp and its kin measure: bench/peers/NAME.c -> bench/peers/NAME.
#
# Nothing else needs them, so they are built only when asked for: the target `peers`, which ./dev bench and the
# step bench-peers build.  A peer whose package is not installed is left out; who measures says so.
add_custom_target(peers)

# pro_peer(NAME SOURCE file [LINK library...] [DEFINE macro...])
function(pro_peer name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "SOURCE" "LINK;DEFINE")
    add_executable(peer-${name} EXCLUDE_FROM_ALL ${arg_SOURCE})
    target_compile_definitions(peer-${name} PRIVATE ${arg_DEFINE})
    target_link_libraries(peer-${name} PRIVATE ${arg_LINK} Threads::Threads)
    if(PROACTOR_LTO)
        target_link_options(peer-${name} PRIVATE -flto=auto)
    endif()
    set_target_properties(peer-${name} PROPERTIES OUTPUT_NAME ${name}
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench/peers)
    add_dependencies(peers peer-${name})
endfunction()

foreach(name thread epoll uring)
    pro_peer(${name} SOURCE bench/peers/${name}.c DEFINE _GNU_SOURCE= LINK liburing)
endforeach()
foreach(name callback leased coroutine stackless pooled)
    pro_peer(pro_${name} SOURCE bench/peers/pro_${name}.c DEFINE _GNU_SOURCE=
        LINK proactor proactor_system)
endforeach()

find_library(LIBEVENT event_core)
find_path(LIBEVENT_INCLUDE event2/event.h)
find_path(ASIO_INCLUDE asio.hpp)
mark_as_advanced(LIBEVENT LIBEVENT_INCLUDE ASIO_INCLUDE)

if(LIBUV AND LIBUV_INCLUDE)
    pro_peer(uv SOURCE bench/peers/uv.c DEFINE _GNU_SOURCE= LINK ${LIBUV})
endif()
if(LIBEVENT AND LIBEVENT_INCLUDE)
    pro_peer(event SOURCE bench/peers/event.c DEFINE _GNU_SOURCE= LINK ${LIBEVENT})
endif()
if(ASIO_INCLUDE)
    include(CheckLanguage)
    check_language(CXX)
endif()
if(ASIO_INCLUDE AND CMAKE_CXX_COMPILER)
    enable_language(CXX)
    set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g")
    foreach(style callbacks coroutines)
        # Its back-end is chosen as it is compiled.
        pro_peer(asio_${style} SOURCE bench/peers/asio_${style}.cpp DEFINE ASIO_STANDALONE)
        pro_peer(asio_${style}_uring SOURCE bench/peers/asio_${style}.cpp LINK liburing
            DEFINE ASIO_STANDALONE ASIO_HAS_IO_URING ASIO_DISABLE_EPOLL)
        set_target_properties(peer-asio_${style} peer-asio_${style}_uring PROPERTIES
            CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON)
    endforeach()
endif()
