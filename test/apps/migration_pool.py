#!/usr/bin/env python3
"""Migration to the pool (examples/migrations/blocking-to-pool): every step is the same store, and each step
does what it was made for.  A lock on the database, held by this program, stands for a slow disk.
"""
import contextlib
import os
import select
import signal
import socket
import sqlite3
import tempfile

from lib import harness
from lib.harness import Server, Skip, case_per_engine, check, equal

STEPS = ("0-blocking", "1-on-a-loop", "2-on-the-pool", "3-bounded")


@contextlib.contextmanager
def store(step, engine):
    program = harness.path("bin/examples/migrations/blocking-to-pool/" + step)
    if not os.path.exists(program):
        raise Skip("built without SQLite (libsqlite3-dev)")
    with tempfile.TemporaryDirectory() as folder:
        database = os.path.join(folder, "store.db")
        server = Server(program, "0", database, env={"PROACTOR_ENGINE": engine})
        try:
            yield server, database
        finally:
            server.kill()


def ask(sock, *lines):
    """Send lines; the answers, as many lines."""
    sock.sendall("".join(line + "\n" for line in lines).encode())
    got = b""
    while got.count(b"\n") < len(lines):
        part = sock.recv(4096)
        check(part, f"the end after {got!r}")
        got += part
    return got.decode().splitlines()


def dialogue(step, engine):
    with store(step, engine) as (server, _):
        with server.connect() as sock:
            equal(ask(sock, "get a", "put a one and two", "get a", "put a x", "get a", "no", "get"),
                  ["none", "ok", "one and two", "ok", "x", "what?", "what?"], step)
        with server.connect() as sock:
            equal(ask(sock, "get a"), ["x"], "the next connection")
        if step[0] == "0":
            return
        with server.connect() as idle, server.connect() as other:
            equal(ask(other, "get a"), ["x"], "beside an idle connection")
            equal(ask(idle, "get a"), ["x"], "the other way around")
        server.signal(signal.SIGINT)
        equal(server.wait()[0], 0, "status")


@case_per_engine
def every_step_is_the_same_store(engine):
    for step in STEPS:
        dialogue(step, engine)


@contextlib.contextmanager
def locked(database):
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as lock:
        lock.execute("begin exclusive")
        yield
        lock.execute("commit")


@case_per_engine
def a_store_on_the_pool_waits_without_the_loop(engine):
    with store("2-on-the-pool", engine) as (server, database):
        socks = [server.connect() for _ in range(8)]
        with locked(database):
            for sock in socks:
                sock.sendall(b"put k v\n")
            for _ in range(20):  # the loop serves: it takes connections, and sees them go
                server.connect().close()
        for sock in socks:
            answer = sock.recv(100).decode()
            check(answer == "ok\n" or answer.startswith("error: database is locked"), answer)
            sock.close()


@case_per_engine
def a_bounded_store_says_busy_at_once_and_answers_the_others(engine):
    with store("3-bounded", engine) as (server, database):
        socks = [server.connect() for _ in range(20)]
        with locked(database):
            for sock in socks:
                sock.sendall(b"put k v\n")
            ready, _, _ = select.select(socks, [], [], harness.LIMIT_S)  # said while the lock is held
            equal(ready[0].recv(100, socket.MSG_PEEK), b"busy\n", "the first answer")
        answers = [sock.recv(100).decode() for sock in socks]
        check("busy\n" in answers and set(answers) != {"busy\n"}, f"{answers}")
        for answer in answers:
            check(answer in ("ok\n", "busy\n", "too late\n") or answer.startswith("error: database is locked"),
                  answer)
        equal(ask(socks[0], "put k w", "get k"), ["ok", "w"], "afterwards")
        for sock in socks:
            sock.close()


if __name__ == "__main__":
    harness.main()
