# Steps are what `./dev test` runs: lines in build/<config>/steps.txt, read by scripts/run-tests.py,
# with tabs between the fields and between the words of the command.
#
# pro_step(NAME COMMAND word... [CONFIGS config...] [ENGINES engine...] [TIMEOUT seconds])
#
#   COMMAND  prints the protocol of tests (scripts/run-tests.py); generator expressions are fine.
#   CONFIGS  where it runs: release debug asan tsan valgrind clang windows.  Default: release asan.
#            nightly: the release build, but only with --config nightly.
#   ENGINES  one step per engine, NAME-<engine>, with PROACTOR_ENGINE=<engine> in its environment;
#            the word {engine} in COMMAND becomes the name.
#   TIMEOUT  of the whole step.  Default: 300.
function(pro_step name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "COMMAND;CONFIGS;ENGINES")
    if(NOT arg_CONFIGS)
        set(arg_CONFIGS release asan)
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()
    list(JOIN arg_CONFIGS "," configs)
    list(JOIN arg_COMMAND "\t" command)
    foreach(engine IN LISTS arg_ENGINES)
        string(REPLACE "{engine}" ${engine} line "${command}")
        set_property(GLOBAL APPEND_STRING PROPERTY PRO_STEPS
            "${name}-${engine}\t${configs}\t${arg_TIMEOUT}\tPROACTOR_ENGINE=${engine}\t${line}\n")
    endforeach()
    if(NOT arg_ENGINES)
        set_property(GLOBAL APPEND_STRING PROPERTY PRO_STEPS
            "${name}\t${configs}\t${arg_TIMEOUT}\t${command}\n")
    endif()
endfunction()

# pro_test(NAME SOURCES file... [LINK library...] [ARGS word...] [CONFIGS ...] [ENGINES ...] [TIMEOUT ...])
#
# A program build/<config>/test/NAME and the step that runs it.
function(pro_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;LINK;ARGS;CONFIGS;ENGINES")
    pro_program(${name} DIR test SOURCES ${arg_SOURCES} LINK ${arg_LINK})
    pro_step(${name} COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:${name}> ${arg_ARGS}
        CONFIGS ${arg_CONFIGS} ENGINES ${arg_ENGINES} TIMEOUT ${arg_TIMEOUT})
endfunction()

function(pro_write_steps)
    get_property(steps GLOBAL PROPERTY PRO_STEPS)
    file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/steps.txt
        CONTENT "${steps}")
endfunction()
