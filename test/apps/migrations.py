#!/usr/bin/env python3
"""The migrations of the guide (examples/migrations): every step of a program passes the same tests, and the
step that is said to be mechanical is what Coccinelle makes of the one before.
"""
import glob
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading

from lib import harness
from lib.harness import Server, Skip, case, case_per_engine, check, equal, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MIGRATIONS = os.path.join(ROOT, "examples", "migrations")


def steps(migration):
    found = sorted(os.path.basename(path)[:-2]
                   for path in glob.glob(os.path.join(MIGRATIONS, migration, "*.c")))
    equal(len(found), 4, f"steps of {migration}")
    return found


def started(migration, step, engine, *args):
    return Server(harness.path(f"bin/examples/migrations/{migration}/{step}"), "127.0.0.1:0", *args,
                  env={"PROACTOR_ENGINE": engine})


def at_once(count, function):
    """Call function(0), ..., function(count - 1) in as many threads; raise what the first raised."""
    errors = []

    def call(i):
        try:
            function(i)
        except Exception as error:  # whatever it is, it is told below
            errors.append(error)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def ends(sock):
    """The connection ends, in order or not, and nothing more comes."""
    try:
        equal(harness.recv_all(sock), b"", "behind the end")
    except ConnectionResetError:
        pass


# ---- callbacks to coroutines ---------------------------------------------------------------------

def frame(body):
    return struct.pack(">I", len(body)) + body


def upper_answers(server):
    bodies = [b"", b"a", b"Hello, World", bytes(range(256)), b"z" * 4096]
    with server.connect() as sock:
        for body in bodies:
            sock.sendall(frame(body))
            equal(harness.recv_exactly(sock, 4 + len(body)), frame(body.upper()), "answer")
        sock.sendall(b"".join(frame(body) for body in bodies))  # all at once
        for body in bodies:
            equal(harness.recv_exactly(sock, 4 + len(body)), frame(body.upper()), "answer")
        for byte in frame(b"in pieces"):
            sock.sendall(bytes([byte]))
        equal(harness.recv_exactly(sock, 13), frame(b"IN PIECES"), "answer")
    with server.connect() as sock:  # the client has said all, and still gets its answer
        sock.sendall(frame(b"last"))
        sock.shutdown(socket.SHUT_WR)
        equal(harness.recv_exactly(sock, 8), frame(b"LAST"), "answer")
        ends(sock)


def upper_ends_what_breaks_the_rules(server):
    for data in (struct.pack(">I", 4097), b"\xff" * 4, frame(b"whole")[:-1], b"\0\0"):
        with server.connect() as sock:
            sock.sendall(data)
            if data[:2] == b"\0\0" and data != struct.pack(">I", 4097):  # it waits for the rest
                sock.shutdown(socket.SHUT_WR)
            ends(sock)


def upper_serves_many(server):
    def client(i):
        body = bytes(random.Random(i).choices(b"abcXYZ 09", k=1000))
        with server.connect() as sock:
            for _ in range(10):
                sock.sendall(frame(body))
                equal(harness.recv_exactly(sock, 1004), frame(body.upper()), "answer")

    at_once(30, client)


def upper_survives_resets(server):
    for _ in range(20):
        sock = server.connect()
        sock.sendall(frame(b"answer me")[:random.randrange(13)])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@case_per_engine
def each_step_to_coroutines_serves_the_same_clients(engine):
    migration = "callbacks-to-coroutines"
    for step in steps(migration):
        server = started(migration, step, engine)
        handles = server.handles()
        upper_answers(server)
        upper_ends_what_breaks_the_rules(server)
        upper_serves_many(server)
        upper_survives_resets(server)
        wait_until(lambda: server.handles() == handles, f"the descriptors of {step} to come back")
        server.kill()


@case_per_engine
def each_step_to_coroutines_ends_who_is_silent(engine):
    migration = "callbacks-to-coroutines"
    for step in steps(migration):
        server = started(migration, step, engine, "20")
        with server.connect() as silent, server.connect() as slow:
            slow.sendall(frame(b"half a frame")[:9])
            ends(silent)
            ends(slow)
        server.kill()


@case
def the_mechanical_step_is_what_coccinelle_makes():
    if not shutil.which("spatch"):
        raise Skip("spatch is not installed (package coccinelle)")
    folder = os.path.join(MIGRATIONS, "callbacks-to-coroutines")
    with tempfile.TemporaryDirectory() as temporary:
        made = os.path.join(temporary, "made.c")
        done = subprocess.run(["spatch", "--very-quiet", "--sp-file", "mechanical.cocci",
                               "0-callbacks.c", "-o", made], cwd=folder, capture_output=True,
                              text=True, timeout=harness.LIMIT_S * 4, check=False)
        equal(done.returncode, 0, f"spatch: {done.stderr}")
        with open(os.path.join(ROOT, ".clang-format"), encoding="utf-8") as style, \
                open(os.path.join(temporary, ".clang-format"), "w", encoding="utf-8") as copy:
            copy.write(style.read())
        if not shutil.which("clang-format"):
            raise Skip("clang-format is not installed")
        subprocess.run(["clang-format", "-i", made], check=True)
        with open(made, encoding="utf-8") as is_, \
                open(os.path.join(folder, "1-mechanical.c"), encoding="utf-8") as want:
            equal(is_.read(), want.read(), "what spatch makes")


# ---- one loop to shards --------------------------------------------------------------------------

class Lines:
    """A client of tally."""

    def __init__(self, server):
        self.sock = server.connect()
        self.file = self.sock.makefile("r", encoding="ascii", newline="\n")

    def ask(self, *requests):
        """All of them at once; the answers in order."""
        self.sock.sendall("".join(request + "\n" for request in requests).encode())
        return [self.file.readline().rstrip("\n") for _ in requests]

    def close(self):
        self.file.close()
        self.sock.close()


def tally_counts(server):
    client = Lines(server)
    equal(client.ask("total", "add apple 3", "add apple 4", "get apple", "get pear", "total"),
          ["0", "3", "7", "7", "0", "7"], "answers")
    equal(client.ask("", "add", "add apple", "add apple -1", "sum", "x" * 127), ["error"] * 6,
          "answers to nonsense")
    client.sock.sendall(b"y" * 128)  # no line may be so long
    ends(client.sock)
    client.close()


def tally_counts_what_many_add(server):
    names, clients, each = [f"name{i}" for i in range(40)], 20, 50
    sums = [dict.fromkeys(names, 0) for _ in range(clients)]

    def add(i):
        chosen = random.Random(f"{harness.seed}/{i}")
        client = Lines(server)
        before = dict.fromkeys(names, 0)
        for _ in range(each):
            batch = [(chosen.choice(names), chosen.randrange(100)) for _ in range(5)]
            answers = client.ask(*(f"add {name} {n}" for name, n in batch))
            for (name, n), answer in zip(batch, answers):
                sums[i][name] += n
                check(int(answer) >= before[name] + n, f"{name} went from {before[name]} to {answer}")
                before[name] = int(answer)
        client.close()

    at_once(clients, add)
    want = {name: sum(each[name] for each in sums) for name in names}
    client = Lines(server)
    equal(client.ask(*("get " + name for name in names)), [str(want[name]) for name in names], "sums")
    equal(client.ask("total"), [str(sum(want.values()) + 7)], "the sum of all")
    client.close()


@case_per_engine
def each_step_to_shards_serves_the_same_clients(engine):
    migration = "single-loop-to-shards"
    for step in steps(migration):
        for shards in ("1", "4") if step.startswith("3") else ("1",):
            server = started(migration, step, engine, shards)
            tally_counts(server)
            tally_counts_what_many_add(server)
            idle = [server.connect() for _ in range(5)]
            server.signal(signal.SIGTERM)
            status, _ = server.wait()
            equal((status, server.stderr()), (0, ""), f"{step} after SIGTERM")
            for sock in idle:
                ends(sock)
                sock.close()


@case_per_engine
def each_step_to_shards_says_that_its_port_is_in_use(engine):
    migration = "single-loop-to-shards"
    with socket.create_server(("127.0.0.1", 0)) as holder:
        where = "%s:%d" % holder.getsockname()
        for step in steps(migration):
            done = harness.run(f"bin/examples/migrations/{migration}/{step}", where,
                               env={"PROACTOR_ENGINE": engine})
            equal((done.returncode, done.stdout), (1, ""), f"{step}: exit status and stdout")
            check("address in use" in done.stderr, f"{step}: {done.stderr!r}")


if __name__ == "__main__":
    harness.main()
