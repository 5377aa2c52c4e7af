#!/usr/bin/env python3
"""Real time, real random numbers, real threads and calls that block are caught in a simulated world, and the
caller is named; and nothing is where there is no world.

    strict.py BUILD
"""
import os
import subprocess
import sys

BUILD = sys.argv[1]
# Linked with libproactor-strict.a; and as it is, on the shared library, with the other one preloaded.
LINKED = os.path.join(BUILD, "test/sim-strict/forbidden")
PRELOADED = os.path.join(BUILD, "test/sim-strict/forbidden_shared")
STRICT = os.path.join(BUILD, "libproactor-strict.so")

WHAT = {"clock_gettime": "real time", "gettimeofday": "real time", "time": "real time",
        "timespec_get": "real time", "getrandom": "real random numbers", "rand": "real random numbers",
        "random": "real random numbers", "urandom": "real random numbers",
        "pthread_create": "a real thread", "socket": "a real socket", "read": "a real socket",
        "write": "a real socket", "recv": "a real socket"}
CALL = {"urandom": "/dev/urandom"}


def run(program, case, **variables):
    environment = dict(os.environ, **variables)
    return subprocess.run([program, case], env=environment, text=True, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=60, check=False)


def cases():
    done = subprocess.run([LINKED], text=True, capture_output=True, check=True)
    return done.stdout.split()


def wrong_in_a_world(program, case, **variables):
    done = run(program, case, PROACTOR_ENGINE="sim", PROACTOR_SEED="1", **variables)
    if case == "innocent":
        return None if done.returncode == 0 and done.stderr == "" else f"{done}"
    want = (f"{WHAT.get(case, 'a call that blocks')} in a simulated world: {CALL.get(case, case)}, "
            f"called by calls_{case} ({os.path.basename(program)}+0x")
    if done.returncode != 1 or want not in done.stderr or done.stdout:
        return f"want {want!r}, got {done}"
    return None


def wrong_outside(case):
    done = run(LINKED, case)
    return None if done.returncode == 0 and done.stdout and not done.stderr else f"{done}"


def main():
    passed = failed = skipped = 0
    ways = [("linked", lambda case: wrong_in_a_world(LINKED, case)), ("outside", wrong_outside)]
    if os.path.exists(PRELOADED):
        ways.append(("preloaded",
                     lambda case: wrong_in_a_world(PRELOADED, case, LD_PRELOAD=STRICT)))
    else:
        skipped += 1
        print("skip preloaded: a sanitizer wants to be the first library")
    for way, look in ways:
        for case in cases():
            wrong = look(case)
            if wrong:
                failed += 1
                print(f"FAIL {way}: {case}: {wrong}")
                print(f"replay: {sys.argv[0]} {BUILD}")
            else:
                passed += 1
                print(f"ok {way}: {case}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


sys.exit(main())
