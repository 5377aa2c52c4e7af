#!/usr/bin/env python3
"""Run a Windows program under Wine, headless, with a Wine prefix of its own in build/windows.

    scripts/wine.py run  PROGRAM.exe [ARGS]   become it: the same process, for signals
    scripts/wine.py test PROGRAM.exe [ARGS]   a step of scripts/run-tests.py

test passes on what the program prints, but for a sentence that this Wine is known to get wrong: its
FAIL becomes a skip with the reason.  Only here, so on a real Windows nothing is expected to fail.
The exit status is made from the last line, since Wine cuts that of a program to 8 bits.
"""
import fcntl
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PREFIX = os.path.join(ROOT, "build", "windows", "wine")

NO_RESET = "a reset that finds no receive pending is the end of the stream for the next one"
ABORTED = "a second connect on the socket is answered with Linux's ECONNABORTED, once"

# Sentence of test/conform: how it fails, and what Wine 8 gets wrong.
KNOWN = {
    "an_abortive_close_sends_a_reset": ("0, want -1", NO_RESET),
    "a_shutdown_of_a_broken_connection_completes_once": ("PRO_EOF, want PRO_ECONNRESET", NO_RESET),
    "a_socket_that_was_refused_is_refused_again": ("PRO_ECONNABORTED, want", ABORTED),
    "a_connect_that_fails_does_not_close_the_socket": ("PRO_ECONNABORTED, want", ABORTED),
    "a_port_of_datagrams_in_use_is_refused": (
        "want PRO_EADDRNOTAVAIL", "an address that is nobody's here can be bound"),
    "a_symbolic_link_is_followed_unless_asked_not_to": (
        "PRO_ENOENT, want PRO_OK", "CreateSymbolicLink says that it made a link, and makes none"),
    "options_can_be_set_and_read": (
        "PRO_OPT_KEEPALIVE, &value) PRO_ENOTSUP",
        "TCP_KEEPIDLE is missing, so the time of keep-alive cannot be read"),
}

ENVIRONMENT = {
    "WINEPREFIX": PREFIX,
    "WINEARCH": "win64",
    "WINEDEBUG": "-all",
    "PROACTOR_TEST_RESET_IS_END": "1",  # NO_RESET, for the random programs of test/random
    "WINEDLLOVERRIDES": "mscoree,mshtml=,winemenubuilder.exe=d;winedbg.exe=d",
}


def quietly(*command):
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, start_new_session=True, check=True)


def prepare():
    """Make the prefix if there is none, and keep its server for a minute after the last program:
    without it each program would cost seconds."""
    os.environ.update(ENVIRONMENT)
    os.environ.pop("DISPLAY", None)
    os.makedirs(PREFIX, exist_ok=True)
    with open(PREFIX + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(PREFIX, "made")):
            quietly("wineboot", "-i")
            quietly("wine", "reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f")
            open(os.path.join(PREFIX, "made"), "w", encoding="ascii").close()
        # It answers 2 if there is a server already, whose time is then as it was.
        found = subprocess.run(["wineserver", "-p60"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True, check=False).returncode == 2
        # The first program starts Wine's services, which would keep our caller's pipe open.
        if not found:
            quietly("wine", "cmd", "/c", "exit 0")


def test(command):
    process = subprocess.Popen(["wine", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    known, failed, last = 0, 0, None
    for line in process.stdout:
        line = line.decode("utf-8", "replace").rstrip("\r\n")
        failure = re.match(r"FAIL (\w+): (\w+): (.*)", line)
        last = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", line)
        how, why = KNOWN.get(failure and failure[2], ("", ""))
        if why and how in failure[3]:
            known += 1
            line = f"skip {failure[1]}: {failure[2]}: Wine: {why}"
        elif last:
            failed = int(last[2]) - known
            line = f"{last[1]} passed, {failed} failed, {int(last[3]) + known} skipped"
        print(line, flush=True)
    process.wait()
    return 0 if last and failed == 0 else 1


def main():
    mode, *command = sys.argv[1:]
    prepare()
    if mode == "run":
        os.execvp("wine", ["wine", *command])
    return test(command)


if __name__ == "__main__":
    sys.exit(main())
