#!/usr/bin/env python3
"""The examples do what their first lines say."""
import contextlib
import os
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading

from lib import harness
from lib.harness import Server, case, case_per_engine, check, equal, wait_until


def example(name, engine, *args):
    """An example that listens on a free port."""
    return Server(harness.path("bin/examples/" + name), "127.0.0.1:0", *args,
                  env={"PROACTOR_ENGINE": engine})


def run(name, engine, *args):
    return harness.run("bin/examples/" + name, *args, env={"PROACTOR_ENGINE": engine})


def text(address):
    return "%s:%d" % address[:2]


def exchange(sock, data):
    """Send data and the end of the stream; return all that comes back."""
    sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
    sender.start()
    got = harness.recv_all(sock)
    sender.join()
    return got


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextlib.contextmanager
def socat(*addresses):
    """A socat between its standard streams and an address; killed at the end."""
    with subprocess.Popen(["socat", "-", *addresses], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as peer:
        try:
            yield peer
        finally:
            peer.kill()


def read_some(stream):
    ready, _, _ = select.select([stream], [], [], harness.LIMIT_S)
    check(ready, "nothing came")
    return os.read(stream.fileno(), 65536)


ECHOES = ("echo", "echo_coroutine", "echo_stackless", "echo_leased")


@case
def each_says_how_it_is_called():
    for name in ECHOES + ("client", "drain", "relay", "statsd", "steer", "whoami_coroutine"):
        done = harness.run("bin/examples/" + name, "--help")
        equal((done.returncode, done.stdout), (2, ""), f"{name} --help: exit status and stdout")
        check(done.stderr.startswith("usage: " + name), f"{name} --help: {done.stderr!r}")


@case_per_engine
def each_server_says_that_its_port_is_in_use(engine):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        where = text(holder.getsockname())
        for name, args in [(name, []) for name in ECHOES + ("drain",)] + [("relay", ["127.0.0.1:1"])]:
            done = run(name, engine, where, *args)
            equal((done.returncode, done.stdout), (1, ""), f"{name}: exit status and stdout")
            check("address in use" in done.stderr and done.stderr.count("\n") == 1,
                  f"{name}: {done.stderr!r}")


# ---- echo --------------------------------------------------------------------------------------

def echo(name, engine):
    server = example(name, engine)
    handles = server.handles()
    data = harness.random_bytes(3000 * 1000)
    for _ in range(3):
        with server.connect() as sock:
            check(exchange(sock, data) == data, "other bytes came back")
    for _ in range(20):
        reset(server.connect())
    wait_until(lambda: server.handles() == handles, "the descriptors to come back")


@case_per_engine
def echo_echoes(engine):
    echo("echo", engine)


@case_per_engine
def echo_echoes_by_coroutines(engine):
    echo("echo_coroutine", engine)


@case_per_engine
def echo_echoes_without_stacks(engine):
    echo("echo_stackless", engine)


@case_per_engine
def echo_echoes_from_leased_buffers(engine):
    echo("echo_leased", engine)


# ---- whoami ------------------------------------------------------------------------------------

@case_per_engine
def whoami_answers(engine):
    server = Server(harness.path("bin/examples/whoami_coroutine"), "serve", "127.0.0.1:0",
                    env={"PROACTOR_ENGINE": engine})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(harness.LIMIT_S)
        sock.connect(server.address)
        sock.send(b"no request")
        sock.send(b"")
        sock.send(b"abcd")
        equal(sock.recv(1000), b"abcd" + text(sock.getsockname()).encode(), "the answer")
    done = run("whoami_coroutine", engine, text(server.address))
    equal(done.returncode, 0, done.stderr)
    check(done.stdout.startswith("127.0.0.1:"), done.stdout)
    with socat("UDP4:%s:%d" % server.address) as peer:
        peer.stdin.write(b"wxyz")
        peer.stdin.flush()
        got = read_some(peer.stdout)
        check(got.startswith(b"wxyz127.0.0.1:"), f"by socat: {got!r}")


@case_per_engine
def whoami_asks_again(engine):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(harness.LIMIT_S)
        sock.bind(("127.0.0.1", 0))
        client = harness.Program(harness.path("bin/examples/whoami_coroutine"),
                                 text(sock.getsockname()), env={"PROACTOR_ENGINE": engine})
        sock.recvfrom(100)  # lost
        question, address = sock.recvfrom(100)
        sock.sendto(bytes(byte ^ 1 for byte in question) + b"wrong", address)
        sock.sendto(b"", address)
        sock.sendto(question + b"right", address)
        client.wait_output("^right$")
        equal(client.wait()[0], 0, "the exit status")


@case_per_engine
def whoami_gives_up(engine):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        where = text(sock.getsockname())
        done = run("whoami_coroutine", engine, where)
        equal((done.returncode, done.stdout), (1, ""), "with nobody who answers")
        check("timed out" in done.stderr, done.stderr)
    done = run("whoami_coroutine", engine, where)
    equal((done.returncode, done.stdout), (1, ""), "with nobody there")
    check("refused" in done.stderr, done.stderr)


# ---- statsd ------------------------------------------------------------------------------------

@case_per_engine
def statsd_adds_sets_and_tells(engine):
    server = example("statsd", engine)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for end in (sock, other):
            end.settimeout(harness.LIMIT_S)
            end.connect(server.address)
        sock.send(b"?")
        equal(sock.recv(2000), b"", "nothing as yet")
        sock.send(b"jobs:3|c")
        sock.send(b"heat:21|g\njobs:-1|c\n")
        for nonsense in (b"", b"\n\n", b"jobs", b"jobs:x|c", b"jobs:1|z", b":1|c", b"j" * 100 + b":1|c",
                         b"jobs:1|c\n" * 1000):  # the last one is longer than a buffer
            sock.send(nonsense)
        sock.send(b"?")
        equal(sock.recv(2000), b"jobs 2\nheat 21\n", "to who asked")
        for _ in range(100):  # more than it has buffers
            other.send(b"jobs:1|c")
            other.send(b"?")
            last = other.recv(2000)
        equal(last, b"jobs 102\nheat 21\n", "to the other")
    with socat("UDP4:%s:%d" % server.address) as peer:
        peer.stdin.write(b"?")
        peer.stdin.flush()
        equal(read_some(peer.stdout), b"jobs 102\nheat 21\n", "by socat")


@case_per_engine
def statsd_answers_many_at_once(engine):
    server = example("statsd", engine)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(harness.LIMIT_S)
        sock.connect(server.address)
        sock.send(b"jobs:7|c")
        for _ in range(60):  # all its buffers are out, perhaps
            sock.send(b"?")
        for _ in range(60):
            equal(sock.recv(2000), b"jobs 7\n", "each answer")


# ---- client ------------------------------------------------------------------------------------

class Flaky(threading.Thread):
    """A server that treats each of its clients in another way: the last way is to echo."""

    def __init__(self, *ways):
        super().__init__(daemon=True)
        self.ways = ways
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.kept = []
        self.start()

    def run(self):
        for way in self.ways:
            sock, _ = self.listener.accept()
            getattr(self, way)(sock)
        self.listener.close()

    def close(self, sock):
        sock.close()

    def reset(self, sock):
        reset(sock)

    def silent(self, sock):
        self.kept.append(sock)

    def half(self, sock):
        sock.sendall(sock.recv(100)[:2])
        sock.close()

    def echo(self, sock):
        sock.settimeout(harness.LIMIT_S)
        data = sock.recv(100)
        sock.sendall(data)
        sock.recv(1)
        sock.close()


@case_per_engine
def client_gets_its_answer(engine):
    server = example("echo", engine)
    done = run("client", engine, text(server.address), "good morning")
    equal((done.returncode, done.stdout, done.stderr), (0, "good morning\n", ""), "client")


@case_per_engine
def client_tries_again(engine):
    server = Flaky("close", "reset", "half", "echo")
    done = run("client", engine, text(server.address), "good morning")
    equal((done.returncode, done.stdout), (0, "good morning\n"), "client")
    equal(done.stderr.count("attempt"), 3, f"attempts that failed in {done.stderr!r}")


@case_per_engine
def client_does_not_wait_for_a_silent_server(engine):
    server = Flaky("silent", "echo")
    done = run("client", engine, text(server.address), "good morning")
    equal((done.returncode, done.stdout), (0, "good morning\n"), "client")
    equal(done.stderr, "client: attempt 1: timed out\n", "stderr")


@case_per_engine
def client_gives_up(engine):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = text(listener.getsockname())
    done = run("client", engine, where)
    equal((done.returncode, done.stdout), (1, ""), "client")
    equal(done.stderr.count("connection refused"), 6, f"refusals in {done.stderr!r}")


# ---- drain -------------------------------------------------------------------------------------

def started(server, count):
    socks = [server.connect() for _ in range(count)]
    for sock in socks:
        equal(harness.recv_exactly(sock, 8), b"started\n", "the first line")
    return socks


@case_per_engine
def drain_finishes_what_was_started(engine):
    for number in (signal.SIGTERM, signal.SIGINT):
        server = example("drain", engine, "700", "20000")
        socks = started(server, 10)
        server.signal(number)
        server.wait_output("ending")
        for sock in socks:
            equal(harness.recv_all(sock), b"done\n", "what follows the signal")
        status, lines = server.wait()
        equal((status, lines[-1]), (0, "drain: 10 started, 10 done, 0 canceled"), "its end")


@case_per_engine
def drain_cancels_what_takes_too_long(engine):
    server = example("drain", engine, "60000", "300")
    socks = started(server, 3)
    server.signal(signal.SIGTERM)
    for sock in socks:
        equal(harness.recv_all(sock), b"", "what follows the signal")
    status, lines = server.wait()
    equal((status, lines[-1]), (0, "drain: 3 started, 0 done, 3 canceled"), "its end")


@case_per_engine
def drain_ends_at_once_without_work(engine):
    server = example("drain", engine)
    server.signal(signal.SIGINT)
    status, lines = server.wait()
    equal((status, lines[-1]), (0, "drain: 0 started, 0 done, 0 canceled"), "its end")


# ---- relay -------------------------------------------------------------------------------------

class Relayed:
    """A client and a target, with a relay between them."""

    def __init__(self, engine):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(harness.LIMIT_S)
        self.relay = example("relay", engine, text(self.listener.getsockname()))
        self.handles = self.relay.handles()
        self.client = self.relay.connect()
        self.target, _ = self.listener.accept()
        self.target.settimeout(harness.LIMIT_S)

    def close(self):
        self.client.close()
        self.target.close()
        self.listener.close()
        wait_until(lambda: self.relay.handles() == self.handles, "the descriptors to come back")


@case_per_engine
def relay_carries_both_directions_and_half_closes(engine):
    r = Relayed(engine)
    request, reply = harness.random_bytes(2000 * 1000), harness.random_bytes(3000 * 1000)
    client = threading.Thread(target=lambda: r.client.sendall(request))
    client.start()
    r.target.sendall(reply[:1000])  # both at once
    equal(harness.recv_exactly(r.client, 1000), reply[:1000], "the beginning of the reply")
    check(harness.recv_exactly(r.target, len(request)) == request, "another request came through")
    client.join()
    r.client.shutdown(socket.SHUT_WR)
    equal(r.target.recv(1), b"", "what follows the request")
    # Half of it is closed; the other half carries on.
    target = threading.Thread(target=lambda: (r.target.sendall(reply[1000:]), r.target.close()))
    target.start()
    check(harness.recv_all(r.client) == reply[1000:], "another reply came through")
    target.join()
    r.close()


@case_per_engine
def relay_slows_a_fast_writer_down(engine):
    r = Relayed(engine)
    r.client.setblocking(False)
    sent = 0

    def stuffed():
        nonlocal sent
        try:
            while sent < 1 << 30:
                sent += r.client.send(bytes(1 << 16))
        except BlockingIOError:
            pass
        return not select.select([], [r.client], [], 0.2)[1]

    wait_until(stuffed, "the relay to stop taking bytes that nobody reads")
    check(sent < 1 << 28, f"it took {sent} bytes that nobody reads")
    r.client.settimeout(harness.LIMIT_S)
    r.client.shutdown(socket.SHUT_WR)
    equal(len(harness.recv_all(r.target)), sent, "bytes that came through in the end")
    r.close()


@case_per_engine
def relay_passes_a_reset_on(engine):
    for one, other in (("client", "target"), ("target", "client")):
        r = Relayed(engine)
        broken, waiting = getattr(r, one), getattr(r, other)
        broken.sendall(b"half of a fi")
        equal(harness.recv_exactly(waiting, 12), b"half of a fi", "what came through")
        reset(broken)
        try:
            raise AssertionError(f"the {other} reads {waiting.recv(1)!r}, want a reset")
        except ConnectionResetError:
            pass
        r.close()


@case_per_engine
def relay_without_a_target_resets_its_client(engine):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = text(listener.getsockname())
    relay = example("relay", engine, where)
    try: # the reset may be quicker than the end of connect
        with relay.connect() as sock:
            raise AssertionError(f"the client reads {sock.recv(1)!r}, want a reset")
    except ConnectionResetError:
        pass


# ---- talk ---------------------------------------------------------------------------------------

@case_per_engine
def talk_talks_to_itself(engine):
    done = run("talk_coroutine", engine)
    want = [f"question {i} came back after 0 s" for i in (1, 2, 3)]
    equal((done.returncode, done.stdout.splitlines()), (0, want), "talk_coroutine")


# ---- steer -------------------------------------------------------------------------------------

class Steer(Server):
    def __init__(self, engine, way):
        super().__init__(harness.path("bin/examples/steer"), way, "127.0.0.1:0",
                         env={"PROACTOR_ENGINE": engine})
        self.shards = int(self.wait_output(r"(\d+) shards").group(1))

    def where(self, source="127.0.0.1"):
        """The shard that a connection comes to."""
        with socket.create_connection(self.address, harness.LIMIT_S, (source, 0)) as sock:
            word, number = harness.recv_all(sock).split()
        equal(word, b"shard", "the first word")
        return int(number)

    def end(self):
        self.signal(signal.SIGINT)
        equal((self.wait()[0], self.stderr()), (0, ""), "exit status and stderr")


@case_per_engine
def steer_spreads_by_the_system(engine):
    server = Steer(engine, "spread")
    seen = {server.where() for _ in range(64)}
    check(len(seen) >= min(2, server.shards), f"64 connections came to {seen}")
    server.end()


@case_per_engine
def steer_keeps_a_connection_on_the_cpu_that_received_it(engine):
    server = Steer(engine, "cpu")
    cpus = os.sched_getaffinity(0)
    try:
        for cpu in sorted(cpus)[:8]:
            os.sched_setaffinity(0, {cpu})  # over the loopback a CPU receives what it sends
            equal({server.where() for _ in range(20)}, {cpu % server.shards}, f"from CPU {cpu}")
    finally:
        os.sched_setaffinity(0, cpus)
    server.end()


@case_per_engine
def steer_hands_a_client_over_to_its_home(engine):
    server = Steer(engine, "client")
    handles = server.handles()
    homes = [[server.where(f"127.0.0.{client}") for _ in range(5)] for client in range(1, 9)]
    for client, seen in enumerate(homes, 1):
        equal(seen, [(127 + client) % server.shards] * 5, f"where 127.0.0.{client} is at home")
    wait_until(lambda: server.handles() == handles, "the descriptors to come back")
    server.end()


# ---- timers ------------------------------------------------------------------------------------

@case_per_engine
def timers_tick(engine):
    done = run("timers", engine)
    want = ["tick %d, due at %d ms" % (i, 50 * i) for i in range(1, 6)]
    want.append("an hour of patience: canceled")
    equal((done.returncode, done.stdout.splitlines()), (0, want), "timers")


def fnv1a(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return "%016x" % value


@case_per_engine
def hash_coroutine_hashes_a_tree(engine):
    with tempfile.TemporaryDirectory() as tree:
        want = []
        for i in range(40):
            folder = os.path.join(tree, "d%d" % (i % 7), "e")
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, "f%d" % i)
            data = bytes((i * j) % 251 for j in range(i * 311))
            with open(path, "wb") as file:
                file.write(data)
            want.append("%s  %s" % (fnv1a(data), path))
        done = run("hash_coroutine", engine, "--progress", tree)
        equal(sorted(done.stdout.splitlines()), sorted(want), "hashes")
        check("40 files" in done.stderr, done.stderr)
        equal(done.returncode, 0, "status")
        done = run("hash_coroutine", engine, os.path.join(tree, "none"))
        equal(done.returncode, 1, "status for what is not there")
        check("no such file" in done.stderr, done.stderr)


@case_per_engine
def compare_coroutine_finds_the_first_difference(engine):
    size = 3 * 1024 * 1024 + 777
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("a", "b")]
        content = harness.random_bytes(size)
        for at, last, status, text in [
                (None, None, 0, f"equal, {size} bytes"), (size - 1, None, 1, f"different from byte {size - 1} on"),
                (300000, 2000000, 1, "different from byte 300000 on")]:
            other = bytearray(content)
            for i in (at, last):
                if i is not None:
                    other[i] ^= 1
            for path, data in zip(paths, (content, other)):
                with open(path, "wb") as file:
                    file.write(data)
            done = run("compare_coroutine", engine, *paths)
            equal((done.returncode, done.stdout), (status, text + "\n"), "what it says")
        os.truncate(paths[1], 1000)
        done = run("compare_coroutine", engine, *paths)
        equal((done.returncode, done.stdout), (1, "different from byte 1000 on\n"), "a shorter file")
        done = run("compare_coroutine", engine, paths[0], os.path.join(folder, "none"))
        equal((done.returncode, "no such file" in done.stderr), (2, True), "a file that is not there")


if __name__ == "__main__":
    harness.main()
