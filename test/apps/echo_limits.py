#!/usr/bin/env python3
"""What pro-echo does at its limits: too many connections, too few descriptors, bad options, no
permission, clients that sleep."""
import ctypes
import os
import resource
import select
import signal
import socket
import time

from lib import harness
from lib.harness import Echo, Skip, case, case_per_engine, check, equal, wait_until

PR_CAPBSET_DROP = 24
CAP_NET_BIND_SERVICE = 10


def readable(socks, limit_s):
    """Those of the sockets that have something to read within the time."""
    poll = select.poll()
    by_fd = {sock.fileno(): sock for sock in socks}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll(limit_s * 1000)]


def greet(server, count):
    """Clients that are connected and have said something; the server may not know of them yet."""
    socks = []
    for i in range(count):
        sock = server.connect()
        sock.sendall(b"client %03d" % i)
        socks.append(sock)
    return socks


GREETING_LEN = len(b"client 000")


# ---- too many ----------------------------------------------------------------------------------

@case_per_engine
def over_the_maximum_others_wait_their_turn(engine):
    server = Echo(engine, "--max-connections", "4")
    waiting = greet(server, 30)
    served = []
    while waiting:
        while len(served) < 4 and waiting:
            got = readable(waiting, harness.LIMIT_S)
            check(got, f"nobody is served, {len(served)} are connected, {len(waiting)} wait")
            for sock in got:
                harness.recv_exactly(sock, GREETING_LEN)
                waiting.remove(sock)
                served.append(sock)
            check(len(served) <= 4, f"{len(served)} are served, at most 4 should be")
        equal(len(readable(waiting, 0.03)), 0, "clients served beyond the maximum")
        # One leaves; which way must not matter.
        sock = served.pop(0)
        if len(waiting) % 2:
            sock.shutdown(socket.SHUT_WR)
            equal(harness.recv_all(sock), b"", "what follows the echo")
        sock.close()
    for sock in served:
        sock.close()
    equal(server.end()["connections"], 30, "connections")


@case_per_engine
def a_server_at_its_maximum_is_at_rest(engine):
    server = Echo(engine, "--max-connections", "2")
    socks = greet(server, 50)
    wait_until(lambda: len(readable(socks, 0.01)) == 2, "two clients to be served")
    before, begin = server.cpu_s(), time.monotonic()
    time.sleep(1)
    used = (server.cpu_s() - before) / (time.monotonic() - begin)
    check(used < 0.05, f"{used:.0%} of a CPU")
    server.signal(signal.SIGTERM)
    for sock in socks:
        sock.close()
    server.wait_totals()


# ---- too few -----------------------------------------------------------------------------------

def few_handles():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


@case_per_engine
def without_descriptors_it_rests_and_serves_all_in_the_end(engine):
    server = Echo(engine, before=few_handles)
    waiting = greet(server, 300)
    # The first ones fill it up: no more come for a while.
    served = wait_until(lambda: [s for s in [readable(waiting, 0)] if len(s) >= 40],
                        "the first clients to be served")[0]
    wait_until(lambda: server.handles() >= 63, "all descriptors to be in use")

    # Starved: it must not spin.
    before, begin = server.cpu_s(), time.monotonic()
    time.sleep(1.5)
    used = (server.cpu_s() - before) / (time.monotonic() - begin)
    check(used < 0.05, f"{used:.1%} of a CPU while starved")
    first = readable(waiting, 0)
    check(len(first) < 64, f"{len(first)} clients served with 64 descriptors")
    harness.note(f"{engine}: {len(first)} of 300 clients served at once, "
                 f"{used:.1%} of a CPU while starved")

    # Every client that leaves makes room for another one, at once: not at the next retry.
    begin = time.monotonic()
    while waiting:
        served = readable(waiting, harness.LIMIT_S)
        check(served, f"accepts do not resume: {len(waiting)} clients wait")
        for sock in served:
            harness.recv_exactly(sock, GREETING_LEN)
            sock.close()
            waiting.remove(sock)
    harness.note(f"{engine}: the others served in {time.monotonic() - begin:.2f} s")

    # And the listener is as good as new.
    for sock in greet(server, 10):
        harness.recv_exactly(sock, GREETING_LEN)
        sock.close()
    totals = server.end()
    equal((totals["connections"], totals["errors"], totals["canceled"]), (310, 0, 0),
          "connections, errors, canceled")


@case_per_engine
def without_descriptors_it_drains_the_backlog_all_the_same(engine):
    server = Echo(engine, before=few_handles)
    socks = greet(server, 150)
    wait_until(lambda: server.handles() >= 63, "all descriptors to be in use")
    server.signal(signal.SIGTERM)
    for sock in socks:
        sock.shutdown(socket.SHUT_WR)
    for i, sock in enumerate(socks):
        equal(harness.recv_all(sock), b"client %03d" % i, "echo")
        sock.close()
    totals = server.wait_totals()
    equal((totals["connections"], totals["canceled"]), (150, 0), "connections, canceled")


# ---- idle --------------------------------------------------------------------------------------

@case_per_engine
def idle_clients_are_closed_and_others_are_not(engine):
    server = Echo(engine, "--idle-timeout", "0.5")
    begin = time.monotonic()
    idle, talker = server.connect(), server.connect()
    talks = 0
    while not readable([idle], 0):
        talker.sendall(b"x")
        equal(talker.recv(1), b"x", "echo")
        talks += 1
        readable([idle], 0.05)
        check(time.monotonic() - begin < harness.LIMIT_S, "the idle client is not closed")
    equal(idle.recv(1), b"", "what the idle client reads")
    took = time.monotonic() - begin
    check(0.49 < took < 3, f"closed after {took:.2f} s, want 0.5")
    # What it says now is not echoed; it does not get a reset either.
    idle.sendall(b"too late")
    idle.shutdown(socket.SHUT_WR)
    equal(idle.recv(1), b"", "what the idle client reads at its end")
    while time.monotonic() - begin < 1.2:
        talker.sendall(b"x")
        equal(talker.recv(1), b"x", "echo")
        readable([talker], 0.05)
    talker.close()
    idle.close()
    totals = server.end()
    equal((totals["canceled"], totals["errors"]), (0, 0), "canceled, errors")


@case_per_engine
def idle_clients_that_never_close_are_cut(engine):
    server = Echo(engine, "--idle-timeout", "0.1")
    handles = server.handles()
    socks = [server.connect() for _ in range(10)]
    for sock in socks:
        equal(sock.recv(1), b"", "what an idle client reads")
    wait_until(lambda: server.handles() == handles, "the descriptors to come back")
    server.end()


# ---- refused at the start ----------------------------------------------------------------------

def fails(status, *options, before=None, contains=()):
    """The program says one line on stderr, nothing else, and exits with the status."""
    done = harness.run("bin/pro-echo", *options, before=before)
    what = f"pro-echo {' '.join(options)}: "
    equal(done.returncode, status, what + "exit status")
    equal(done.stdout, "", what + "stdout")
    check(done.stderr.startswith("pro-echo: ") and done.stderr.endswith("\n") and
          done.stderr.count("\n") == 1, what + f"not one line: {done.stderr!r}")
    for word in contains:
        check(word in done.stderr, what + f"{word!r} is not in {done.stderr!r}")


@case
def a_bad_option_is_one_line_and_status_2():
    for options in (["--what"], ["-h"], ["9000"], ["--listen"], ["--listen", ""], ["--engine="],
                    ["--listen", "127.0.0.1"], ["--listen", "localhost:80"], ["--listenx=[::1]:1"],
                    ["--listen", "127.0.0.1:65536"], ["--listen", "256.0.0.1:1"],
                    ["--listen", "[::1:80"], ["--engine", "kqueue"], ["--engine"],
                    ["--idle-timeout", "-1"], ["--idle-timeout", "soon"], ["--idle-timeout", "nan"],
                    ["--idle-timeout", "1e99"], ["--idle-timeout=1.2.3"],
                    ["--max-connections", "0x10"], ["--max-connections", "-1"],
                    ["--max-connections", ""],
                    ["--max-connections", "99999999999999999999"], ["--explain", "--bad"]):
        fails(2, *options, contains=[options[-1].partition("=")[0]])


@case_per_engine
def a_port_in_use_is_one_line_and_status_1(engine):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        where = "127.0.0.1:%d" % holder.getsockname()[1]
        fails(1, "--engine", engine, "--listen", where, contains=[where, "address in use"])


@case_per_engine
def a_foreign_address_is_one_line_and_status_1(engine):
    fails(1, "--engine", engine, "--listen", "192.0.2.1:0", contains=["192.0.2.1"])


def unprivileged():
    """Also root may not take a low port without this capability."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0 and libc.prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


@case_per_engine
def no_permission_is_one_line_and_status_1(engine):
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            start = int(file.read())
    except OSError:
        start = 1024
    if start < 2:
        raise Skip("every port is free for everybody here")
    fails(1, "--engine", engine, "--listen", "127.0.0.1:1", before=unprivileged,
          contains=["127.0.0.1:1", "permission denied"])


@case
def help_and_version_are_on_stdout():
    for option, word in (("--help", "--max-connections"), ("--version", "pro-echo 0.")):
        done = harness.run("bin/pro-echo", option)
        equal((done.returncode, done.stderr), (0, ""), option)
        check(word in done.stdout, f"{option}: {done.stdout!r}")


@case_per_engine
def the_first_line_says_where_and_which_engine_and_why(engine):
    server = Echo(engine, listen="127.0.0.1:0")
    line = server.output.decode()
    check(line.count("\n") == 1, f"not one line: {line!r}")
    check("127.0.0.1:%d" % server.address[1] in line and server.address[1] != 0, line)
    equal(server.engine, engine, "engine")
    check("(" in line and len(line.partition("(")[2]) > 10, f"does not say why: {line!r}")
    server.end()


@case_per_engine
def the_environment_chooses_the_engine(engine):
    server = Echo("auto", env={"PROACTOR_ENGINE": engine})
    equal(server.engine, engine, "engine")
    server.end()


@case_per_engine
def explain_says_which_engine(engine):
    done = harness.run("bin/pro-echo", "--engine", engine, "--explain")
    equal((done.returncode, done.stderr), (0, ""), "exit status, stderr")
    check(engine in done.stdout and done.stdout.endswith("\n"), done.stdout)


if __name__ == "__main__":
    harness.main()
