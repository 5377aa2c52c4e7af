#!/usr/bin/env python3
"""strace counts the system calls of pro-echo: which engine ran, and what a message costs."""
import os
import re
import select
import shutil
import signal

from lib import harness
from lib.harness import Server, Skip, case_per_engine, check, equal, wait_until

CLIENTS = 100
ROUNDS = 100
MESSAGE = b"m" * 64

# The calls that only one of them makes, and those that move the bytes themselves.
MARKS = {"uring": ("io_uring_enter", "epoll_wait"), "epoll": ("epoll_wait", "io_uring_enter")}
ALIASES = {"epoll_pwait": "epoll_wait", "epoll_pwait2": "epoll_wait"}


def traced(engine, summary):
    """A server under strace, whose child it is: that may be traced by everybody."""
    strace = shutil.which("strace")
    if not strace:
        raise Skip("strace is not installed")
    # The sanitizer for leaks does not work under a tracer.
    env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
    probe = harness.Program(strace, "-c", "-o", os.devnull, "true")
    status, _ = probe.wait()
    if status != 0:
        raise Skip("strace may not trace here: " + " ".join(probe.stderr().split()))
    return Server(strace, "-f", "-c", "-o", summary, "sh", "-c", 'echo "pid $$"; exec "$@"', "sh",
                  harness.path("bin/pro-echo"), "--listen", "127.0.0.1:0", "--engine", engine,
                  "--shards", "1",
                  env=env)


def exchange(server, rounds):
    """All clients send, then all receive, and so on."""
    socks = [server.connect() for _ in range(CLIENTS)]
    poll = select.poll()
    for sock in socks:
        poll.register(sock.fileno(), select.POLLIN)
    for _ in range(rounds):
        for sock in socks:
            sock.sendall(MESSAGE)
        for sock in socks:
            equal(harness.recv_exactly(sock, len(MESSAGE)), MESSAGE, "echo")
    for sock in socks:
        sock.close()


def calls(summary):
    """The table of strace -c: how often each system call was made."""
    counts = {}
    with open(summary, encoding="utf-8") as file:
        for line in file:
            row = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", line)
            if row and row.group(2) != "total":
                name = ALIASES.get(row.group(2), row.group(2))
                counts[name] = counts.get(name, 0) + int(row.group(1))
    return counts


def count(engine, rounds):
    summary = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"syscalls.{os.getpid()}.{engine}")
    try:
        server = traced(engine, summary)
        exchange(server, rounds)
        os.kill(int(server.wait_output(r"^pid (\d+)$").group(1)), signal.SIGTERM)
        status, _ = server.wait()
        equal(status, 0, f"exit status under strace, {server.stderr()!r}")
        return wait_until(lambda: calls(summary), "the summary of strace")
    finally:
        if os.path.exists(summary):
            os.unlink(summary)


@case_per_engine
def system_calls_prove_the_engine(engine):
    # Twice, so that starting, connecting and closing can be taken away.
    base, full = count(engine, 0), count(engine, ROUNDS)
    own, other = MARKS[engine]
    check(full.get(own, 0) > 0, f"no {own}: {full}")
    check(full.get(other, 0) == 0, f"{full.get(other)} calls of {other} by {engine}")
    messages = CLIENTS * ROUNDS
    made = {name: n - base.get(name, 0) for name, n in full.items()}
    total = sum(made.values())
    harness.report(f"{engine}: {total / messages:.2f} system calls per message at {CLIENTS} "
                   "connections")
    most = sorted((item for item in made.items() if item[1] > 0), key=lambda item: -item[1])[:5]
    harness.report(f"{engine}: " + ", ".join(f"{name} {n / messages:.3f}" for name, n in most))
    # One receive, one send, and something to wait with; more would be calls that were wasted.
    check(total / messages < 3.5, f"{total / messages:.2f} system calls per message: {made}")


if __name__ == "__main__":
    harness.main()
