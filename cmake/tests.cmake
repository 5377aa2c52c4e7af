# The table of tests.  What pro_test and pro_step take: cmake/steps.cmake.
#
# A file test/unit/NAME.c is a step unit-NAME, a script test/apps/NAME.py or .sh a step app-NAME,
# without a line here; give it one where it needs more than the defaults.
include(cmake/steps.cmake)

set(test_libs)
file(GLOB sources CONFIGURE_DEPENDS test/lib/*.c)
file(GLOB not_here test/lib/*_posix.c test/lib/*_win.c)
list(FILTER not_here EXCLUDE REGEX "_${system}\\.c$")
list(REMOVE_ITEM sources ${not_here})
if(sources)
    pro_library(test_lib INCLUDE test SOURCES ${sources})
    target_include_directories(test_lib PRIVATE src) # form.c
    list(APPEND test_libs test_lib)
endif()

# The random program and its shadow model, for those who run it.
file(GLOB sources CONFIGURE_DEPENDS test/random/*.c)
list(FILTER sources EXCLUDE REGEX "/fidelity\\.c$")
pro_library(random_lib INCLUDE test SOURCES ${sources})

# ---- conformance: one program, the contract on every engine ------------------------------------

file(GLOB sources CONFIGURE_DEPENDS test/conform/*.c)
if(sources)
    pro_test(conform SOURCES ${sources} LINK ${test_libs} random_lib ARGS --engine={engine}
        ENGINES ${engines} CONFIGS release asan tsan clang windows)
    # A world belongs to one thread, so there is nothing for TSan in it.
    pro_step(conform-sim COMMAND $<TARGET_FILE:conform> --engine=sim CONFIGS release asan)
    # The same sentences where every initiating call is awaited by a coroutine, in the forms of await.h and with
    # pro_await; and on the shards of a runtime, four at once.  test/lib/form.h, test/lib/place.c
    foreach(form await own)
        pro_step(conform-${form} COMMAND $<TARGET_FILE:conform> --engine={engine} --form=${form}
            ENGINES ${engines} CONFIGS release asan clang)
    endforeach()
    # And while signals without SA_RESTART interrupt whatever the loop's thread calls, twice a millisecond.
    pro_step(conform-signals COMMAND $<TARGET_FILE:conform> --engine={engine} --signals=500
        ENGINES ${engines} CONFIGS release asan)
    pro_step(conform-shards COMMAND $<TARGET_FILE:conform> --engine={engine} --shards=4
        ENGINES ${engines} CONFIGS release tsan)
    pro_step(conform-shards-await COMMAND $<TARGET_FILE:conform> --engine={engine} --shards=4
        --form=await ENGINES ${engines} CONFIGS release)
    pro_step(conform-sim-await COMMAND $<TARGET_FILE:conform> --engine=sim --form=await
        CONFIGS release)
    # With each kind of fault on, by itself; all that only make slow, and all there are.  The seed is fixed:
    # what was found is found again.
    foreach(plan short_read short_write slow delay cancel narrow reset refuse aborted lost_syn handles clog
            partition pause skew loss twice overtake disk_error disk_full mild all)
        set(configs release)
        if(plan MATCHES "all|mild|cancel|reset")
            set(configs release asan)
        endif()
        # What a sentence had that was cut short is no leak.
        pro_step(conform-sim-${plan} COMMAND ${CMAKE_COMMAND} -E env
            ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=0 $<TARGET_FILE:conform>
            --engine=sim --plan=${plan} --seed=5 CONFIGS ${configs})
    endforeach()
    # Under memcheck those sentences where trouble gathers; not on uring, since it does not see what
    # a ring writes.
    foreach(word cancel clos drain scope)
        pro_step(memcheck-${word} COMMAND $<TARGET_FILE:conform> --engine=epoll --only=${word}
            CONFIGS valgrind)
    endforeach()
    # A million operations of all kinds.
    pro_step(million COMMAND $<TARGET_FILE:conform> --engine={engine} --only=exactly_once
        --count=1000000 --timeout=300 ENGINES ${engines} CONFIGS release)
    pro_step(hundred-thousand CONFIGS windows COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR}
        $<TARGET_FILE:conform> --engine=iocp --only=exactly_once_over --count=100000 --timeout=280)
    # Each feature of the ring hidden, one by one: the words that pro_loop_explain names.
    if(NOT WIN32)
        foreach(word single_issuer defer_taskrun coop_taskrun taskrun_flag submit_all cq_size ring_fd
                multishot_accept poll_first send_zc zc_report cqe_skip timeout_update no_iowait files)
            pro_step(mask-${word} CONFIGS release
                COMMAND $<TARGET_FILE:conform> --engine=uring --mask=${word})
        endforeach()
        # What these hide is about registered memory only.
        foreach(word registered_memory registered_pieces)
            pro_step(mask-${word} CONFIGS release
                COMMAND $<TARGET_FILE:conform> --engine=uring --mask=${word} --only=registered)
        endforeach()
        # Buffers picked late in place of by the kernel, and receives that are begun for each piece.
        foreach(word buffer_ring multishot_recvmsg multishot_recv)
            foreach(only lease datagram bound every_other)
                pro_step(mask-${word}-${only} CONFIGS release COMMAND $<TARGET_FILE:conform>
                    --engine=uring --mask=${word} --only=${only})
            endforeach()
        endforeach()
        # Sockets in slots of the ring: all of them; few, so that most have descriptors; and a table that a
        # restricted ring, coroutines and shards have, too.
        pro_step(conform-slots CONFIGS release asan COMMAND $<TARGET_FILE:conform> --engine=uring
            --slots=4096)
        pro_step(conform-slots-few CONFIGS release COMMAND $<TARGET_FILE:conform> --engine=uring
            --slots=2)
        pro_step(conform-slots-restricted CONFIGS release COMMAND ${CMAKE_COMMAND} -E env
            PROACTOR_RESTRICTED=1 $<TARGET_FILE:conform> --engine=uring --slots=64 --form=await)
        pro_step(conform-slots-shards CONFIGS release tsan COMMAND $<TARGET_FILE:conform>
            --engine=uring --slots=64 --shards=4)
        pro_step(exactly-once-slots CONFIGS release COMMAND ${CMAKE_COMMAND} -E env
            PROACTOR_FAULTS=3:short_read,short_write,slow,reset
            $<TARGET_FILE:conform> --engine=uring --slots=16 --only=exactly_once_over)
        # Every send of all of something without a copy.
        pro_step(conform-zerocopy CONFIGS release asan
            COMMAND $<TARGET_FILE:conform> --engine=uring --form=zerocopy)
        pro_step(conform-zerocopy-slots CONFIGS release COMMAND $<TARGET_FILE:conform>
            --engine=uring --form=zerocopy --slots=64)
        # A ring that refuses what the library never asks for: it never does.
        pro_step(conform-restricted CONFIGS release COMMAND ${CMAKE_COMMAND} -E env
            PROACTOR_RESTRICTED=1 $<TARGET_FILE:conform> --engine=uring)
        foreach(engine uring epoll)
            pro_step(mask-rwf_nosignal-${engine} CONFIGS release
                COMMAND $<TARGET_FILE:conform> --engine=${engine} --mask=rwf_nosignal --only=pipe)
        endforeach()
        pro_step(mask-epoll_pwait2 CONFIGS release
            COMMAND $<TARGET_FILE:conform> --engine=epoll --mask=epoll_pwait2)
    endif()
    # Coroutines switch by code of their own there, and threads are others.
    pro_step(conform-await CONFIGS windows COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR}
        $<TARGET_FILE:conform> --engine=iocp --form=await --count=5000 --timeout=60)
    # Each of the seven sentences that Wine is known to fail takes its shard with it.
    pro_step(conform-shards CONFIGS windows COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR}
        $<TARGET_FILE:conform> --engine=iocp --shards=12 --count=5000 --timeout=60)
    # TransmitFile, where Wine's is right.
    foreach(words a_file_is_copied a_copy_cut_short a_copy_has_its_place)
        pro_step(transmit-${words} CONFIGS windows COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR}
            $<TARGET_FILE:conform> --engine=iocp --mask=from_memory --only=${words} --timeout=60)
    endforeach()
    # Every result by either of the two ways in which it can come.
    foreach(mask skip_on_success pending)
        pro_step(conform-no-${mask} CONFIGS windows
            COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:conform> --engine=iocp --mask=${mask}
                --count=5000 --timeout=60)
        pro_step(hundred-thousand-no-${mask} CONFIGS windows
            COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:conform> --engine=iocp --mask=${mask}
                --only=exactly_once_over --count=100000 --timeout=280)
    endforeach()
endif()

# ---- unit tests: they see the internals, and the scripted engine -------------------------------

if(TARGET proactor_scripted)
    list(APPEND test_libs proactor_scripted)
endif()
# Not under valgrind: it holds its one lock while a thread waits in a ring, and sees nothing of what the
# kernel writes for one.
pro_test(unit-shard SOURCES test/unit/shard.c LINK ${test_libs} CONFIGS release asan tsan windows
    ENGINES ${engines})
pro_step(hundred-million-posts CONFIGS release ENGINES ${engines} COMMAND ${CMAKE_COMMAND} -E env
    PROACTOR_POSTS=100000000 $<TARGET_FILE:unit-shard> posts_between)
# The same on threads of a simulated world.
pro_step(unit-shard-sim COMMAND ${CMAKE_COMMAND} -E env PROACTOR_ENGINE=sim $<TARGET_FILE:unit-shard>)
if(co IN_LIST parts)
    pro_step(unit-co_shard-sim COMMAND ${CMAKE_COMMAND} -E env PROACTOR_ENGINE=sim
        $<TARGET_FILE:unit-co_shard>)
    foreach(name life switch)
        pro_test(unit-co_${name} SOURCES test/unit/co_${name}.c LINK ${test_libs}
            CONFIGS release debug asan tsan valgrind clang windows)
    endforeach()
    pro_test(unit-co_shard SOURCES test/unit/co_shard.c LINK ${test_libs}
        CONFIGS release debug asan tsan windows ENGINES ${engines})
    pro_step(await-forms COMMAND python3 ${PROJECT_SOURCE_DIR}/src/co/await.py --check
        CONFIGS release)
endif()
if(co IN_LIST parts AND NOT WIN32) # they fork, limit their memory, or use sockets of the system
    pro_test(unit-co_report SOURCES test/unit/co_report.c LINK ${test_libs}
        CONFIGS release debug asan tsan valgrind clang)
    foreach(name many mix)
        pro_test(unit-co_${name} SOURCES test/unit/co_${name}.c LINK ${test_libs}
            CONFIGS release debug asan tsan valgrind clang ENGINES ${engines})
    endforeach()
endif()
file(GLOB sources CONFIGURE_DEPENDS test/unit/*.c)
if(NOT co IN_LIST parts)
    list(FILTER sources EXCLUDE REGEX "/co_[a-z]*\\.c$")
elseif(WIN32)
    list(FILTER sources EXCLUDE REGEX "/(co_(report|many|mix)|streams)\\.c$")
endif()
if(WIN32)
    list(FILTER sources EXCLUDE REGEX "_posix\\.c$")
endif()
if(NOT WIN32)
    list(FILTER sources EXCLUDE REGEX "_win\\.c$")
    # They fork: not under valgrind, which does not see what a ring writes either.
    pro_test(unit-streams SOURCES test/unit/streams.c LINK ${test_libs} CONFIGS release asan)
    pro_test(unit-system_posix SOURCES test/unit/system_posix.c LINK ${test_libs}
        CONFIGS release asan tsan clang)
    foreach(name ring memory child)
        pro_test(unit-${name}_posix SOURCES test/unit/${name}_posix.c LINK ${test_libs}
            CONFIGS release asan)
    endforeach()
endif()
foreach(source IN LISTS sources)
    cmake_path(GET source STEM name)
    if(NOT TARGET unit-${name})
        pro_test(unit-${name} SOURCES ${source} LINK ${test_libs} CONFIGS release asan valgrind windows)
    endif()
    target_include_directories(unit-${name} PRIVATE src)
endforeach()

# ---- gates: what may not grow unseen ---------------------------------------------------------------

pro_step(gates CONFIGS release
    COMMAND python3 ${PROJECT_SOURCE_DIR}/bench/gates.py ${PROJECT_BINARY_DIR})

# Connections held at once and echoed, by as many rings as it takes with the limit of descriptors.
if(TARGET bench-million)
    pro_step(connections-76000 CONFIGS release TIMEOUT 240
        COMMAND $<TARGET_FILE:bench-million> --connections 76000 --test)
    pro_step(connections-by-hand CONFIGS release TIMEOUT 120
        COMMAND $<TARGET_FILE:bench-million> --connections 8000 --by-hand --test)
    pro_step(connections-500000 CONFIGS nightly TIMEOUT 1800
        COMMAND $<TARGET_FILE:bench-million> --connections 500000 --test)
endif()

# The servers that bench/tcp measures, built here, and a few echoes by each.
pro_step(bench-peers CONFIGS release
    COMMAND python3 ${PROJECT_SOURCE_DIR}/bench/smoke.py ${PROJECT_BINARY_DIR})

# ---- models: protocols on paper, checked by spin -------------------------------------------------

pro_step(models COMMAND sh ${PROJECT_SOURCE_DIR}/test/model/run.sh CONFIGS release)

# ---- the simulator: scenarios, seed after seed; pro-echo itself is one of them -------------------

file(GLOB sources CONFIGURE_DEPENDS test/sim/*.c)
file(GLOB echo_sources CONFIGURE_DEPENDS apps/pro-echo/*.c)
if(sources AND NOT WIN32)
    add_library(sim_echo OBJECT ${echo_sources})
    target_compile_definitions(sim_echo PRIVATE _GNU_SOURCE= main=pro_echo_main)
    target_compile_options(sim_echo PRIVATE -Wno-missing-prototypes)
    target_link_libraries(sim_echo PRIVATE proactor)
    pro_test(sim SOURCES ${sources} $<TARGET_OBJECTS:sim_echo> LINK random_lib proactor_strict
        CONFIGS release asan clang TIMEOUT 600)
    # Whole programs under PROACTOR_ENGINE=sim.
    file(GLOB sources CONFIGURE_DEPENDS test/sim/programs/*.c)
    foreach(source IN LISTS sources)
        cmake_path(GET source STEM name)
        pro_program(sim-${name} DIR test/sim-programs OUTPUT ${name} SOURCES ${source}
            LINK proactor_strict)
    endforeach()
    # What a simulated program must not call: caught in one that is linked with libproactor-strict.a, and in
    # one on the shared library with the other one preloaded.
    pro_program(sim-forbidden DIR test/sim-strict OUTPUT forbidden
        SOURCES test/sim/strict/forbidden.c LINK proactor_strict)
    if(TARGET proactor_strict_shared)
        add_executable(sim-forbidden-shared test/sim/strict/forbidden.c)
        target_compile_definitions(sim-forbidden-shared PRIVATE _GNU_SOURCE=)
        target_link_libraries(sim-forbidden-shared PRIVATE proactor_shared)
        set_target_properties(sim-forbidden-shared PROPERTIES OUTPUT_NAME forbidden_shared
            RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test/sim-strict)
    endif()
    pro_step(sim-strict COMMAND python3 ${PROJECT_SOURCE_DIR}/test/sim/strict.py
        ${PROJECT_BINARY_DIR} CONFIGS release asan)
    pro_step(sim-programs COMMAND python3 ${PROJECT_SOURCE_DIR}/test/sim/programs.py
        ${PROJECT_BINARY_DIR} CONFIGS release asan)
    # The same random programs on each engine: ./dev sim fidelity has more seeds, and a table.
    pro_test(fidelity SOURCES test/random/fidelity.c LINK random_lib ARGS --seeds=60 CONFIGS release)
    # And on real engines under faults by seed (proactor/test.h), with real bytes.
    pro_step(fidelity-faults CONFIGS release asan COMMAND $<TARGET_FILE:fidelity> --engine=uring,epoll
        --seeds=15 --faults=short_read,short_write,slow,reset,refuse,aborted,handles)
    pro_step(exactly-once-faults CONFIGS release asan ENGINES ${engines} COMMAND
        PROACTOR_FAULTS=3:short_read,short_write,slow,reset
        $<TARGET_FILE:conform> --engine={engine} --only=exactly_once_over)
endif()

# ---- a program for media that fail: test/apps/disks.py ------------------------------------------

if(NOT WIN32)
    pro_program(test-disk DIR test OUTPUT disk SOURCES test/disk/disk.c)
endif()

# ---- scripts that drive the programs; their argument is the build directory --------------------

file(GLOB sources CONFIGURE_DEPENDS test/apps/*.py test/apps/*.sh)
list(FILTER sources EXCLUDE REGEX "/windows_[^/]*$")
foreach(source IN LISTS sources)
    cmake_path(GET source STEM name)
    cmake_path(GET source EXTENSION extension)
    set(interpreter sh)
    if(extension STREQUAL ".py")
        set(interpreter python3)
    endif()
    set(configs release asan)
    if(name STREQUAL "echo_limits") # where its shards meet
        list(APPEND configs tsan)
    endif()
    pro_step(app-${name} COMMAND ${interpreter} ${source} ${PROJECT_BINARY_DIR} ENGINES uring epoll
        CONFIGS ${configs})
endforeach()

# ---- programs that are wrong on purpose: test/misuse/misuse.h ----------------------------------

if(NOT WIN32)
    file(GLOB sources CONFIGURE_DEPENDS test/misuse/*.c)
    foreach(source IN LISTS sources)
        cmake_path(GET source STEM name)
        pro_program(misuse-${name} DIR test/misuse OUTPUT ${name} SOURCES ${source})
    endforeach()
    pro_step(misuse COMMAND python3 ${PROJECT_SOURCE_DIR}/test/misuse/run.py ${PROJECT_BINARY_DIR}
        ENGINES ${engines} CONFIGS release debug asan)
endif()

foreach(name clients examples)
    pro_step(app-windows_${name} COMMAND python3 ${PROJECT_SOURCE_DIR}/test/apps/windows_${name}.py
        ${PROJECT_BINARY_DIR} CONFIGS windows)
endforeach()
if(WIN32)
    add_executable(with_dll ${PROJECT_SOURCE_DIR}/examples/guide_cancel.c)
    target_link_libraries(with_dll PRIVATE proactor_shared)
    set_target_properties(with_dll PROPERTIES OUTPUT_NAME with-dll
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test)
endif()

# ---- packages: what is installed, and who can use it -------------------------------------------

foreach(name install ffi deb guide)
    pro_step(package-${name} CONFIGS release COMMAND
        python3 ${PROJECT_SOURCE_DIR}/test/package/${name}.py ${PROJECT_BINARY_DIR})
endforeach()

pro_write_steps()
