#!/usr/bin/env python3
"""Whole programs, unchanged, under PROACTOR_ENGINE=sim.

    programs.py BUILD
"""
import os
import re
import subprocess
import sys

BUILD = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
failures = []
passed = 0


def run(name, *args, seed=1, plan="", digest=True):
    environment = dict(os.environ, PROACTOR_ENGINE="sim", PROACTOR_SEED=str(seed), PROACTOR_PLAN=plan)
    if digest:
        environment["PROACTOR_DIGEST"] = "1"
    return subprocess.run([os.path.join(BUILD, name), *args], env=environment, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


def check(condition, what):
    if not condition:
        failures.append(what)


def check_in(word, text, what):
    check(word in text, f"{what}: {word!r} is not in:\n{text}")


def place(program, name):
    """Where the comment for it stands, as a call site."""
    with open(os.path.join(HERE, "programs", program + ".c"), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if f"/* {name} */" in line:
                return f"{program}.c:{number}:"
    raise AssertionError(name)


def digest_of(done):
    last = re.search(r"^sim: seed (\d+), (\d+) events, ([0-9.]+) s, digest ([0-9a-f]{16})$", done.stderr,
                     re.MULTILINE)
    return last.groups() if last else None


def examples_run_to_their_end():
    done = run("bin/examples/timers")
    check(done.returncode == 0 and done.stdout.count("tick") == 5, f"timers: {done}")
    done = run("bin/examples/guide_cancel")
    check_in("nothing is left of the connection", done.stdout, "guide_cancel")
    done = run("bin/examples/guide_shards")
    check_in("16 connections, on 2 shards", done.stdout, "guide_shards")
    check(done.returncode == 0 and digest_of(done), f"guide_shards: {done}")


def hours_take_no_time():
    done = run("bin/examples/talk_coroutine", "3600")
    check(done.stdout == "question 1 came back after 0 s\nquestion 2 came back after 3600 s\n"
          "question 3 came back after 7200 s\n", f"talk: {done}")
    check(done.returncode == 0 and float(digest_of(done)[2]) >= 3 * 3600, f"talk: {done}")


def files_stay_while_the_program_does():
    for seed in (1, 2):
        done = run("test/sim-programs/keeps_files", seed=seed, plan="mild")
        check(done.stdout == "PRO_OK\nPRO_OK kept\nnot on the real disk\n" and done.returncode == 0,
              f"keeps_files: {done}")
        check("ERROR" not in done.stderr, f"keeps_files: {done}")


def one_seed_is_one_run():
    for program, *args in (["guide_shards"], ["talk_coroutine", "10"], ["timers"]):
        digests = set()
        for seed in range(1, 9):
            first = run("bin/examples/" + program, *args, seed=seed, plan="mild")
            again = run("bin/examples/" + program, *args, seed=seed, plan="mild")
            check(first.returncode == 0, f"{program}, seed {seed}: {first}")
            check(digest_of(first) and digest_of(first) == digest_of(again) and
                  first.stdout == again.stdout, f"{program}, seed {seed}: {first} and {again}")
            digests.add(digest_of(first)[3])
        check(len(digests) == 8, f"{program}: 8 seeds, {len(digests)} digests")


def what_is_stuck_is_said():
    done = run("test/sim-programs/stuck", digest=False)
    check(done.returncode == 1 and done.stdout == "", f"stuck: {done}")
    check_in("sim: deadlock: nothing is left to run", done.stderr, "stuck")
    check_in("replay: PROACTOR_ENGINE=sim PROACTOR_SEED=1", done.stderr, "stuck")
    check_in("recv at test/sim/programs/" + place("stuck", "client"), done.stderr, "stuck")
    check_in("recv at test/sim/programs/" + place("stuck", "server"), done.stderr, "stuck")

    done = run("test/sim-programs/stuck_shards", digest=False)
    check(done.returncode == 1 and done.stdout == "", f"stuck_shards: {done}")
    check_in("sim: deadlock: nothing is left to run, and the program waits for its threads", done.stderr,
             "stuck_shards")
    check_in("accept at test/sim/programs/" + place("stuck_shards", "accept"), done.stderr,
             "stuck_shards")
    check_in("waiting on node host: stuck/1", done.stderr, "stuck_shards")


def a_buffer_touched_in_flight_is_said():
    for how, operation in ("stream", "recv"), ("datagram", "recv_from"), ("batch", "recv_batch"):
        done = run("test/sim-programs/touched", how, digest=False)
        check(done.returncode == 1 and done.stdout == "", f"touched {how}: {done}")
        where = "test/sim/programs/" + place("touched", how).rstrip(":")
        check_in(f"the buffer of {operation} initiated at {where} was touched while in flight", done.stderr,
                 "touched " + how)
    done = run("test/sim-programs/touched", "read", digest=False)
    check(done.returncode == 0 and done.stdout == "read: nonsense\nreceived: PRO_OK\n",
          f"touched read: {done}")


def a_server_that_nobody_calls_is_stuck():
    done = run("bin/pro-echo", "--listen", "127.0.0.1:9000", digest=False)
    check(done.returncode == 1, f"pro-echo: {done}")
    check_in("deadlock", done.stderr, "pro-echo")


for case in (examples_run_to_their_end, hours_take_no_time, files_stay_while_the_program_does,
             one_seed_is_one_run, what_is_stuck_is_said,
             a_buffer_touched_in_flight_is_said, a_server_that_nobody_calls_is_stuck):
    before = len(failures)
    try:
        case()
    except (AssertionError, TypeError, subprocess.TimeoutExpired) as error:
        failures.append(repr(error))
    if len(failures) == before:
        passed += 1
        print(f"ok {case.__name__}", flush=True)
    else:
        print(f"FAIL {case.__name__}: " + "; ".join(failures[before:]))
        print(f"replay: {sys.argv[0]} {BUILD}", flush=True)
print(f"{passed} passed, {7 - passed} failed, 0 skipped")
sys.exit(passed != 7)
