# pro_program(TARGET DIR dir [OUTPUT name] SOURCES file... [LINK library...])
#
# A program on the static library.  It is built as build/<config>/<dir>/<output>.
function(pro_program target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "DIR;OUTPUT" "SOURCES;LINK")
    if(NOT arg_OUTPUT)
        set(arg_OUTPUT ${target})
    endif()
    add_executable(${target} ${arg_SOURCES})
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE=)
    target_link_libraries(${target} PRIVATE ${arg_LINK} proactor proactor_system)
    if(PROACTOR_LTO)
        if(arg_DIR MATCHES "^(bin|bench)$")
            target_link_options(${target} PRIVATE -flto=auto)
        else()
            target_link_options(${target} PRIVATE -fno-lto)
        endif()
    endif()
    set_target_properties(${target} PROPERTIES OUTPUT_NAME ${arg_OUTPUT}
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/${arg_DIR})
endfunction()

# pro_library(TARGET INCLUDE dir SOURCES file... [LINK library...])
#
# A static library beside ours, for tests and benchmarks; its users see the include directory.
function(pro_library target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "INCLUDE" "SOURCES;LINK")
    add_library(${target} STATIC ${arg_SOURCES})
    target_include_directories(${target} PUBLIC ${arg_INCLUDE})
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE=)
    target_link_libraries(${target} PUBLIC proactor ${arg_LINK})
endfunction()
