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
from lib.harness import (Echo, SHAPES, STYLES_ON_2, Shape, Skip, case, case_per_engine, case_per_shape,
                         check, equal, wait_until)

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
    harness.wait_established(socks)
    return socks


GREETING_LEN = len(b"client 000")


def shard_threads(server):
    """The ids of those threads that are named as shards are."""
    threads = []
    for task in os.listdir(f"/proc/{server.pid}/task"):
        with open(f"/proc/{server.pid}/task/{task}/comm", encoding="ascii") as file:
            if file.read().startswith("pro-echo/"):
                threads.append(int(task))
    return threads


def is_asleep(server):
    """Nobody has anything to do: a thread that was woken is running from that moment on."""
    for thread in shard_threads(server) or [server.pid]:
        with open(f"/proc/{server.pid}/task/{thread}/stat", encoding="ascii") as file:
            if file.read().rpartition(")")[2].split()[0] != "S":
                return False
    return True


# ---- too many ----------------------------------------------------------------------------------

@case_per_shape(*SHAPES, *STYLES_ON_2[1:])
def over_the_maximum_others_wait_their_turn(engine, shape):
    """The maximum counts over all shards, and all of them pause, and go on, together."""
    server = Echo(engine, "--max-connections", "4", shape=shape)
    handles = server.handles()
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
        # Beside those that are served a shard may hold one that it accepted as the last place went.
        check(server.handles() - handles < 4 + shape.shards,
              f"{server.handles() - handles} connections accepted")
        # One leaves; which way must not matter.
        sock = served.pop(0)
        if len(waiting) % 2:
            sock.shutdown(socket.SHUT_WR)
            equal(harness.recv_all(sock), b"", "what follows the echo")
        sock.close()
    for sock in served:
        sock.close()
    equal(server.end()["connections"], 30, "connections")


def at_rest(servers, seconds, what):
    """None of them may use a CPU for anything now."""
    before, begin = [server.cpu_s() for server in servers], time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begin
    for server, used, shape in zip(servers, before, SHAPES):
        share = (server.cpu_s() - used) / took
        check(share < 0.05, f"{shape}: {share:.1%} of a CPU while {what}")


@case_per_shape(*SHAPES)
def at_the_maximum_all_shards_have_stopped_accepting(engine, shape):
    """Those who come later stay in the backlog, whichever listener they come to."""
    server = Echo(engine, "--max-connections", "4", shape=shape)
    handles = server.handles()
    served = []
    for _ in range(4):  # one at a time, so that none is in hand
        served += greet(server, 1)
        harness.recv_exactly(served[-1], GREETING_LEN)
    wait_until(lambda: is_asleep(server), "all shards to pause")
    waiting = greet(server, 40)
    wait_until(lambda: is_asleep(server), "all shards to be at rest")
    equal(server.handles() - handles, 4, "connections that are accepted")
    for sock in served:
        sock.close()
    wait_until(lambda: len(readable(waiting, 0.01)) == 4, "four others to be served")
    for sock in waiting:
        sock.close()
    server.end()


@case_per_shape(*SHAPES)
def one_place_goes_round_all_shards(engine, shape):
    """Whichever shard it was free on, the next connection may wait on another one."""
    server = Echo(engine, "--max-connections", "1", shape=shape)
    waiting = greet(server, 100)
    while waiting:
        served = readable(waiting, harness.LIMIT_S)
        equal(len(served), 1, f"clients served, with {len(waiting)} waiting")
        harness.recv_exactly(served[0], GREETING_LEN)
        waiting.remove(served[0])
        served[0].close()
    totals = server.end()
    equal((totals["connections"], totals["errors"], totals["canceled"]), (100, 0, 0),
          "connections, errors, canceled")


@case_per_engine
def servers_at_their_maximum_are_at_rest(engine):
    servers = [Echo(engine, "--max-connections", "2", shape=shape) for shape in SHAPES]
    socks = [greet(server, 50) for server in servers]
    for clients in socks:
        wait_until(lambda: len(readable(clients, 0.01)) == 2, "two clients to be served")
    at_rest(servers, 1, "at its maximum")
    for server, clients in zip(servers, socks):
        server.signal(signal.SIGTERM)
        for sock in clients:
            sock.close()
        server.wait_totals()


@case_per_shape(*SHAPES)
def a_second_signal_also_ends_those_who_wait(engine, shape):
    """At the maximum, with connections in the backlog and perhaps some that are accepted already."""
    server = Echo(engine, "--max-connections", "2", shape=shape)
    socks = greet(server, 50)
    wait_until(lambda: len(readable(socks, 0.01)) == 2, "two clients to be served")
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGINT)
    totals = server.wait_totals()
    # A shard that is not told yet may still take a place that another one gives back.
    check(2 <= totals["canceled"] == totals["connections"], totals)
    equal(totals["errors"], 0, "errors")


# ---- too few -----------------------------------------------------------------------------------

def few_handles():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def fill_up(server):
    """More clients than it has descriptors; the first ones fill it up, and no more come for a while."""
    waiting = greet(server, 300)
    wait_until(lambda: len(readable(waiting, 0)) >= 40, "the first clients to be served")
    wait_until(lambda: server.handles() >= 63, "all descriptors to be in use")
    return waiting


def serve_all(server, waiting, what):
    first = readable(waiting, 0)
    check(len(first) < 64, f"{what}: {len(first)} clients served with 64 descriptors")
    harness.note(f"{what}: {len(first)} of 300 clients served at once")

    # Every client that leaves makes room for another one, at once: not at the next retry.
    begin = time.monotonic()
    while waiting:
        served = readable(waiting, harness.LIMIT_S)
        check(served, f"{what}: accepts do not resume: {len(waiting)} clients wait")
        for sock in served:
            harness.recv_exactly(sock, GREETING_LEN)
            sock.close()
            waiting.remove(sock)
    harness.note(f"{what}: the others served in {time.monotonic() - begin:.2f} s")

    # And the listener is as good as new.
    for sock in greet(server, 10):
        harness.recv_exactly(sock, GREETING_LEN)
        sock.close()
    totals = server.end()
    equal((totals["connections"], totals["errors"], totals["canceled"]), (310, 0, 0),
          f"{what}: connections, errors, canceled")


@case_per_engine
def without_descriptors_it_rests_and_serves_all_in_the_end(engine):
    servers = [Echo(engine, before=few_handles, shape=shape) for shape in SHAPES]
    waiting = [fill_up(server) for server in servers]
    at_rest(servers, 1.5, "starved")  # it must not spin
    for server, clients, shape in zip(servers, waiting, SHAPES):
        serve_all(server, clients, f"{engine}, {shape}")


@case_per_shape(*SHAPES)
def without_descriptors_it_drains_the_backlog_all_the_same(engine, shape):
    server = Echo(engine, before=few_handles, shape=shape)
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


@case_per_shape(*SHAPES)
def in_slots_more_are_served_at_once_than_there_are_descriptors(engine, shape):
    """64 descriptors, and as many slots on each loop."""
    explained = harness.run("bin/pro-echo", "--engine", engine, "--shards", "1", "--slots", "1000",
                            "--explain").stdout
    if "fixed slots" not in explained:
        raise Skip("no slots here")
    server = Echo(engine, "--slots", "1000", before=few_handles, shape=shape)
    socks = greet(server, 84)
    wait_until(lambda: len(readable(socks, 0)) == 84, "all clients to be served")
    check(server.handles() <= 64, f"{server.handles()} descriptors")
    for sock in socks:
        harness.recv_exactly(sock, GREETING_LEN)
        sock.shutdown(socket.SHUT_WR)
        equal(harness.recv_all(sock), b"", "what follows the echo")
        sock.close()
    totals = server.end()
    equal((totals["connections"], totals["errors"]), (84, 0), "connections, errors")


# ---- idle --------------------------------------------------------------------------------------

@case_per_shape(*SHAPES)
def idle_clients_are_closed_and_others_are_not(engine, shape):
    server = Echo(engine, "--idle-timeout", "0.5", shape=shape)
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


@case_per_shape(*SHAPES)
def idle_clients_that_never_close_are_cut(engine, shape):
    server = Echo(engine, "--idle-timeout", "0.1", shape=shape)
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
                    ["--max-connections", ""], ["--shards", "0"], ["--shards", "1025"],
                    ["--shards", "all"], ["--shards"], ["--style", "goto"], ["--style="],
                    ["--max-connections", "99999999999999999999"], ["--explain", "--bad"]):
        fails(2, *options, contains=[options[-1].partition("=")[0]])


@case_per_engine
def a_port_in_use_is_one_line_and_status_1(engine):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        where = "127.0.0.1:%d" % holder.getsockname()[1]
        for shards in "1", "3":
            fails(1, "--engine", engine, "--listen", where, "--shards", shards,
                  contains=[where, "address in use"])


@case_per_engine
def a_second_pro_echo_does_not_share_the_port(engine):
    """Though the shards of each do."""
    for ours, theirs in (1, 3), (3, 1), (3, 3):
        server = Echo(engine, shape=Shape("coroutine", ours))
        where = "127.0.0.1:%d" % server.address[1]
        fails(1, "--engine", engine, "--listen", where, "--shards", str(theirs),
              contains=[where, "address in use"])
        for _ in range(10):  # and takes no connection of its own away
            with server.connect() as sock:
                sock.sendall(b"hello")
                equal(harness.recv_exactly(sock, 5), b"hello", "echo")
        server.end()


@case_per_engine
def a_foreign_address_is_one_line_and_status_1(engine):
    for shards in "1", "3":
        fails(1, "--engine", engine, "--listen", "192.0.2.1:0", "--shards", shards,
              contains=["192.0.2.1"])


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
    for shards in "1", "3":
        fails(1, "--engine", engine, "--listen", "127.0.0.1:1", "--shards", shards,
              before=unprivileged, contains=["127.0.0.1:1", "permission denied"])


@case
def help_and_version_are_on_stdout():
    for option, word in (("--help", "--max-connections"), ("--version", "pro-echo 0.")):
        done = harness.run("bin/pro-echo", option)
        equal((done.returncode, done.stderr), (0, ""), option)
        check(word in done.stdout, f"{option}: {done.stdout!r}")


@case_per_shape(*SHAPES)
def the_first_line_says_where_and_how(engine, shape):
    server = Echo(engine, listen="127.0.0.1:0", shape=shape)
    line = server.output.decode()
    check(line.count("\n") == 1, f"not one line: {line!r}")
    check("127.0.0.1:%d" % server.address[1] in line and server.address[1] != 0, line)
    equal(server.engine, engine, "engine")
    check("(" in line and len(line.partition("(")[2]) > 10, f"does not say why: {line!r}")
    plural = "" if shape.shards == 1 else "s"
    check(line.endswith(f", {shape.shards} shard{plural}, {shape.style} style\n"), line)
    equal(len(shard_threads(server)), shape.shards if shape.shards > 1 else 0, "threads")
    server.end()


@case_per_engine
def the_environment_chooses_the_engine(engine):
    server = Echo("auto", env={"PROACTOR_ENGINE": engine})
    equal(server.engine, engine, "engine")
    server.end()


@case_per_engine
def explain_says_which_engine(engine):
    for shards in 1, 3:
        done = harness.run("bin/pro-echo", "--engine", engine, "--explain", "--shards", str(shards))
        equal((done.returncode, done.stderr), (0, ""), "exit status, stderr")
        check(engine in done.stdout and done.stdout.endswith("\n"), done.stdout)
        check(shards == 1 or "\nshard 2: " in done.stdout, done.stdout)


@case
def by_default_there_is_a_pinned_shard_for_each_core():
    cores = sorted(os.sched_getaffinity(0))
    server = harness.Server(harness.path("bin/pro-echo"), "--listen", "127.0.0.1:0")
    line = server.wait_output("listening").string
    plural = "" if len(cores) == 1 else "s"
    check(line.endswith(f", {len(cores)} shard{plural}, coroutine style"), line)
    if len(cores) > 1:
        pins = [os.sched_getaffinity(thread) for thread in shard_threads(server)]
        equal(sorted(pins, key=min), [{core} for core in cores], "where the threads may run")
    server.signal(signal.SIGTERM)
    equal(server.wait()[0], 0, "exit status")


if __name__ == "__main__":
    harness.main()
