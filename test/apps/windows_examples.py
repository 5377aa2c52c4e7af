#!/usr/bin/env python3
"""The examples as Windows programs under Wine, and a program that uses the DLL.

What they print is made by the same sources as on Linux, where examples.py looks at it closely; here each
runs once, with native clients and servers on the other side.
"""
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile

from lib import harness
from lib.follow import follow
from lib.harness import Server, case, check, equal

WINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "wine.py")


def command(program, *args):
    return [sys.executable, WINE, "run", harness.path(program), *args]


def serve(program, *args):
    """An example that listens on a free port.  Wine hands SIGINT on as Ctrl-C."""
    return Server(*command("bin/examples/" + program + ".exe", "127.0.0.1:0", *args))


def run(program, *args):
    """The lines that it prints, to its end."""
    done = subprocess.run(command(program, *args), stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=harness.LIMIT_S, check=False)
    errors = done.stderr.decode("utf-8", "replace")
    equal((done.returncode, errors), (0, ""), f"{program}: exit status and stderr")
    return done.stdout.decode("utf-8", "replace").splitlines()


def exchange(sock, data):
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    return harness.recv_all(sock)


@case
def those_that_end_by_themselves_print_what_they_print_on_linux():
    ends = {"timers": "an hour of patience: canceled",
            "guide_start": "4: nothing is in flight",
            "guide_cancel": "nothing is left of the connection",
            "simulate": "simulate: 0 seeds failed"}
    for program, end in ends.items():
        equal(run(f"bin/examples/{program}.exe")[-1], end, program + "'s last line")


@case
def the_three_echoes_echo():
    data = harness.random_bytes(20000)  # which fits the buffers on the way: nobody reads meanwhile
    for program in ("echo", "echo_coroutine", "echo_stackless"):
        server = serve(program)
        for _ in range(3):
            with server.connect() as sock:
                check(exchange(sock, data) == data, program + ": other bytes came back")
        server.kill()


@case
def one_listener_hands_over_to_all_shards():
    server = Server(*command("bin/examples/steer.exe", "client", "127.0.0.1:0"))
    count = int(server.wait_output(r"(\d+) shards").group(1))
    for client in range(1, 5):
        with socket.create_connection(server.address, harness.LIMIT_S, (f"127.0.0.{client}", 0)) as sock:
            equal(harness.recv_all(sock), b"shard %d\n" % ((127 + client) % count), "what it is told")
    server.signal(signal.SIGINT)
    equal(server.wait()[0], 0, "exit status")


@case
def a_client_talks_through_a_relay_to_an_echo():
    echo = serve("echo")
    relay = serve("relay", "%s:%d" % echo.address[:2])
    where = "%s:%d" % relay.address[:2]
    equal(run("bin/examples/client.exe", where, "good morning"), ["good morning"], "the answer")


@case
def a_drain_finishes_what_was_started():
    server = serve("drain", "300", "20000")
    socks = [server.connect() for _ in range(5)]
    for sock in socks:
        equal(harness.recv_exactly(sock, 8), b"started\n", "the first line")
    server.signal(signal.SIGINT)
    for sock in socks:
        equal(harness.recv_all(sock), b"done\n", "what follows the signal")
    status, lines = server.wait()
    equal((status, lines[-1]), (0, "drain: 5 started, 5 done, 0 canceled"), "its end")


@case
def follow_prints_what_is_added_whatever_becomes_of_the_file():
    status, lines, want = follow(
        lambda path: harness.Program(*command("bin/examples/follow.exe", path)), signal.SIGINT)
    equal((status, [line.rstrip("\r") for line in lines]), (0, want), "what it printed")


@case
def offer_gives_the_file_to_everybody():
    content = harness.random_bytes(7000001)
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        server = serve("offer", file.name)
        slow, early = server.connect(), server.connect()
        equal(len(harness.recv_exactly(early, 1000)), 1000, "the beginning")
        early.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        early.close()
        server.wait_output("after [0-9]+ bytes")
        for _ in range(3):
            with server.connect() as sock:
                check(harness.recv_all(sock) == content, "other bytes came")
        check(harness.recv_all(slow) == content, "other bytes came to who was slow")
        slow.close()
        server.signal(signal.SIGINT)
        status, lines = server.wait()
        equal((status, lines[-1].rstrip("\r")), (0, "offer: given 4 times, cut short 1 times"), "its end")


@case
def a_filter_takes_whatever_its_standard_streams_are():
    # Pipes, files and nothing, all of them handles whose calls wait.
    text = b"".join(b"line %d\n" % i for i in range(20000))
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "in"), os.path.join(folder, "out")
        with open(source, "wb") as file:
            file.write(text)
        for file_in, file_out in ((False, False), (True, False), (False, True), (True, True)):
            with contextlib.ExitStack() as stack:
                args = {"input": text, "capture_output": True}
                if file_in:
                    args = {"stdin": stack.enter_context(open(source, "rb")), "stdout": subprocess.PIPE}
                if file_out:
                    args.pop("capture_output", None)
                    args["stdout"] = stack.enter_context(open(target, "wb"))
                done = subprocess.run(command("bin/examples/filter.exe"), timeout=harness.LIMIT_S,
                                      check=True, **args)
            out = done.stdout
            if file_out:
                with open(target, "rb") as file:
                    out = file.read()
            check(out == text.upper(), f"from a file {file_in}, to a file {file_out}: {len(out)} bytes")
    equal(run("bin/examples/filter.exe"), [], "of nothing")


@case
def a_filter_ends_when_nobody_reads_any_more():
    done = subprocess.Popen(command("bin/examples/filter.exe"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    done.stdin.write(b"one\n")
    done.stdin.flush()
    equal(done.stdout.readline(), b"ONE\n", "the first line")
    done.stdout.close()
    with contextlib.suppress(BrokenPipeError): # however much it takes
        for _ in range(10000):
            done.stdin.write(b"more\n" * 1000)
    with contextlib.suppress(BrokenPipeError):
        done.stdin.close()
    equal((done.wait(harness.LIMIT_S), done.stderr.read().split(b":")[0]), (1, b"filter"), "its end")


@case
def a_supervisor_starts_its_program_again_until_it_ends_well():
    with tempfile.TemporaryDirectory() as folder:
        flag = os.path.join(folder, "flag")
        open(flag, "w", encoding="ascii").close()
        # The first time there is such a file, which goes away, and the program fails.
        script = f"if exist Z:{flag} (del Z:{flag}& exit 3) else exit 0".replace("/", "\\")
        done = subprocess.run(command("bin/examples/supervise.exe", "cmd", "/c", script),
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=harness.LIMIT_S, check=False)
    lines = done.stdout.decode("ascii", "replace").splitlines()
    equal((done.returncode, [line for line in lines if "process" not in line]),
          (0, ["supervise: ended with 3", "supervise: ended with 0", "supervise: 2 starts"]), "what it says")


@case
def a_supervisor_that_is_interrupted_leaves_no_child():
    supervisor = harness.Program(*command("bin/examples/supervise.exe", harness.path("bin/examples/relay.exe"),
                                          "127.0.0.1:0", "127.0.0.1:1"))
    supervisor.wait_output(r"started, process (\d+)")
    supervisor.signal(signal.SIGINT)
    lines = supervisor.wait()[1]
    equal(lines[-2:], ["supervise: ended by signal 15", "supervise: 1 starts"], "its end")


@case
def a_program_that_uses_the_dll_finds_all_of_it_there():
    with tempfile.TemporaryDirectory() as folder:
        program = shutil.copy(harness.path("test/with-dll.exe"), folder)
        # Alone it does not start: it has nothing of the library in itself.
        alone = subprocess.run(command(program), stdin=subprocess.DEVNULL, capture_output=True,
                               timeout=harness.LIMIT_S, check=False)
        check(alone.returncode != 0 and not alone.stdout, f"it needs no DLL: {alone.stdout!r}")
        shutil.copy(harness.path("libproactor.dll"), folder)
        equal(run(program)[-1], "nothing is left of the connection", "its last line")


if __name__ == "__main__":
    harness.main()
