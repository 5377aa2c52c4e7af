# The target liburing: the static library, so that ours needs none at run time.

find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
    pkg_check_modules(LIBURING QUIET liburing>=2.3)
endif()
find_library(LIBURING_A NAMES liburing.a HINTS ${LIBURING_LIBDIR})
find_path(LIBURING_H NAMES liburing.h HINTS ${LIBURING_INCLUDEDIR})
if(NOT LIBURING_FOUND OR NOT LIBURING_A OR NOT LIBURING_H)
    message(FATAL_ERROR "liburing 2.3 or newer with its static library is needed: ./dev deps")
endif()

add_library(liburing STATIC IMPORTED)
set_target_properties(liburing PROPERTIES IMPORTED_LOCATION ${LIBURING_A}
    INTERFACE_INCLUDE_DIRECTORIES ${LIBURING_H})
