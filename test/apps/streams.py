#!/usr/bin/env python3
"""Unix sockets, pipes, terminals and standard streams, with what a shell makes of them: the examples
filter and chat, against socat, pseudo-terminals, and a user that is not us."""
import fcntl
import itertools
import os
import pty
import select
import socket
import subprocess
import tempfile
import termios

from lib import harness
from lib.harness import Server, case_per_engine, check, equal, wait_until

FILTER, CHAT = "bin/examples/filter", "bin/examples/chat"
SOMEBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def start(engine, program, *args, before=(), **streams):
    """A program with the standard streams given."""
    return subprocess.Popen([*before, harness.path(program), *args],
                            env=harness.environment({"PROACTOR_ENGINE": engine}), **streams)


def read_until(fd, end):
    """What comes from a descriptor until it ends so."""
    got = b""
    while not got.endswith(end):
        ready, _, _ = select.select([fd], [], [], harness.LIMIT_S)
        check(ready, f"waited for {end!r}, got {got!r}")
        try:
            data = os.read(fd, 65536)
        except OSError:  # a terminal whose other side is gone
            data = b""
        check(data, f"ended before {end!r}: {got!r}")
        got += data
    return got


def is_nonblocking(fd):
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)


# ---- filter ------------------------------------------------------------------------------------

@case_per_engine
def much_data_goes_through_pipes(engine):
    data = bytes(range(97, 123)) * 100000
    done = harness.run(FILTER, env={"PROACTOR_ENGINE": engine}, stdin=data)
    equal((done.returncode, done.stderr), (0, ""), "exit status and stderr")
    check(done.stdout.encode() == data.upper(), "other bytes came out")


@case_per_engine
def files_keep_the_position_that_others_gave_them(engine):
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
        source.write(b"skipped taken")
        source.flush()
        source.seek(8)
        sink.write(b"before ")
        sink.flush()
        equal(start(engine, FILTER, stdin=source, stdout=sink).wait(harness.LIMIT_S), 0, "exit")
        os.write(sink.fileno(), b" after")
        sink.seek(0)
        equal(sink.read(), b"before TAKEN after", "the file")


@case_per_engine
def devices_are_streams_too(engine):
    with open("/dev/null", "rb") as source:
        filter_ = start(engine, FILTER, stdin=source, stdout=subprocess.PIPE)
        equal((filter_.communicate(timeout=harness.LIMIT_S)[0], filter_.returncode), (b"", 0),
              "from /dev/null")
    with open("/dev/full", "wb") as sink:
        filter_ = start(engine, FILTER, stdin=subprocess.PIPE, stdout=sink, stderr=subprocess.PIPE)
        errors = filter_.communicate(b"x", timeout=harness.LIMIT_S)[1]
        equal(filter_.returncode, 1, "to /dev/full")
        check(b"filter: cannot go on" in errors, errors)


@case_per_engine
def the_mode_of_a_pipe_stays_as_it_was(engine):
    in_r, in_w = os.pipe()
    out_r, out_w = os.pipe()
    filter_ = start(engine, FILTER, stdin=in_r, stdout=out_w)
    os.write(in_w, b"one\n")
    equal(read_until(out_r, b"\n"), b"ONE\n", "the first line")
    check(not is_nonblocking(in_r) and not is_nonblocking(out_w), "changed while it runs")
    os.close(in_w)
    equal(filter_.wait(harness.LIMIT_S), 0, "exit status")
    check(not is_nonblocking(in_r) and not is_nonblocking(out_w), "changed when it is gone")
    for fd in (in_r, out_r, out_w):
        os.close(fd)


@case_per_engine
def a_terminal_is_a_stream_and_stays_as_it_was(engine):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    filter_ = start(engine, FILTER, stdin=slave, stdout=slave)
    os.write(master, b"typed\n")
    equal(read_until(master, b"TYPED\r\n"), b"typed\r\nTYPED\r\n", "the echo and the answer")
    check(not is_nonblocking(slave), "changed while it runs")
    os.write(master, b"more\n\x04")  # Control-D at the beginning of a line
    equal(filter_.wait(harness.LIMIT_S), 0, "exit status")
    check(not is_nonblocking(slave), "changed when it is gone")
    equal(termios.tcgetattr(slave), before, "the settings of the terminal")
    os.close(master)
    os.close(slave)


@case_per_engine
def what_may_not_be_opened_again_is_used_as_it_is(engine):
    if os.getuid() != 0:
        raise harness.Skip("only root can become somebody else")
    data = bytes(range(97, 123)) * 20000
    filter_ = start(engine, FILTER, before=SOMEBODY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check(filter_.communicate(data, timeout=harness.LIMIT_S)[0] == data.upper(), "by pipes")
    equal(filter_.returncode, 0, "exit status, by pipes")
    filter_ = start(engine, FILTER, before=SOMEBODY, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                    stdout=subprocess.PIPE)
    filter_.stdout.close()
    errors = filter_.communicate(b"x", timeout=harness.LIMIT_S)[1]
    equal(filter_.returncode, 1, f"exit status, broken ({errors!r})")

    master, slave = pty.openpty()
    filter_ = start(engine, FILTER, before=SOMEBODY, stdin=slave, stdout=slave)
    os.write(master, b"t" * 1000 + b"\n")
    read_until(master, b"T" * 1000 + b"\r\n")
    check(not is_nonblocking(slave), "changed while it runs")
    os.write(master, b"\x04")
    equal(filter_.wait(harness.LIMIT_S), 0, "exit status, on a terminal")
    os.close(master)
    os.close(slave)


@case_per_engine
def a_terminal_that_hangs_up_ends_it(engine):
    master, slave = pty.openpty()
    filter_ = start(engine, FILTER, stdin=slave, stdout=slave, stderr=subprocess.PIPE)
    os.write(master, b"typed\n")
    read_until(master, b"TYPED\r\n")
    os.close(slave)
    os.close(master)
    filter_.communicate(timeout=harness.LIMIT_S)
    check(filter_.returncode in (0, 1), f"exit status {filter_.returncode}")


@case_per_engine
def a_socket_as_standard_streams(engine):
    ours, theirs = socket.socketpair()
    with ours:
        filter_ = start(engine, FILTER, stdin=theirs, stdout=theirs)
        ours.sendall(b"by socket")
        equal(harness.recv_exactly(ours, 9), b"BY SOCKET", "the answer")
        check(not is_nonblocking(theirs.fileno()), "changed while it runs")
        theirs.close()
        ours.shutdown(socket.SHUT_WR)
        equal(harness.recv_all(ours), b"", "the end")
    equal(filter_.wait(harness.LIMIT_S), 0, "exit status")


@case_per_engine
def nobody_reads_any_more_and_no_signal(engine):
    out_r, out_w = os.pipe()
    filter_ = start(engine, FILTER, stdin=subprocess.PIPE, stdout=out_w, stderr=subprocess.PIPE)
    os.close(out_w)
    os.close(out_r)
    errors = filter_.communicate(b"x", timeout=harness.LIMIT_S)[1]
    equal(filter_.returncode, 1, f"exit status ({errors!r})")
    check(b"broken pipe" in errors, errors)


@case_per_engine
def a_closed_standard_stream_is_an_error(engine):
    done = harness.run(FILTER, env={"PROACTOR_ENGINE": engine}, before=lambda: os.close(0))
    equal((done.returncode, done.stdout), (1, ""), "exit status and stdout")
    check("standard input: bad handle" in done.stderr, done.stderr)


@case_per_engine
def socat_gives_it_a_terminal(engine):
    command = "EXEC:%s,pty,raw,echo=0" % harness.path(FILTER)
    with subprocess.Popen(["socat", "-", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=harness.environment({"PROACTOR_ENGINE": engine})) as peer:
        peer.stdin.write(b"over a pty\n")
        peer.stdin.flush()
        equal(read_until(peer.stdout.fileno(), b"\n"), b"OVER A PTY\n", "the answer")
        peer.kill()


# ---- chat --------------------------------------------------------------------------------------

class Room:
    """A chat server on a free port and on a name that no room had before it."""

    numbers = itertools.count()

    def __init__(self, engine, is_path=False):
        self.folder = tempfile.TemporaryDirectory()
        self.name = os.path.join(self.folder.name, "room") if is_path else \
            "@proactor-chat-%d-%d" % (os.getpid(), next(Room.numbers))
        self.server = Server(harness.path(CHAT), "serve", "127.0.0.1:0", self.name,
                             env={"PROACTOR_ENGINE": engine})
        self.joined = 0

    def wait_joined(self):
        """Until one more has."""
        self.joined += 1

        def all_are_here():
            self.server._read(0.1)
            return self.server.output.count(b" joined") >= self.joined
        wait_until(all_are_here, "somebody to join")

    def unix(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(harness.LIMIT_S)
        sock.connect("\0" + self.name[1:] if self.name[0] == "@" else self.name)
        self.wait_joined()
        return sock

    def tcp(self):
        sock = self.server.connect()
        self.wait_joined()
        return sock

    def end(self):
        self.server.kill()
        self.folder.cleanup()


@case_per_engine
def lines_go_from_tcp_to_unix_and_back(engine):
    room = Room(engine)
    with room.unix() as one, room.tcp() as two, room.unix() as three:
        two.sendall(b"from t")
        two.sendall(b"cp\nrest")
        equal(harness.recv_exactly(one, 9), b"from tcp\n", "on one")
        equal(harness.recv_exactly(three, 9), b"from tcp\n", "on three")
        one.sendall(b"from unix\n")
        equal(harness.recv_exactly(two, 10), b"from unix\n", "on two")
        equal(harness.recv_exactly(three, 10), b"from unix\n", "on three")
        three.close()  # is missed by nobody
        two.sendall(b" of it\n")
        equal(harness.recv_exactly(one, 11), b"rest of it\n", "on one")
    room.end()


@case_per_engine
def the_chat_has_a_client_of_its_own(engine):
    room = Room(engine, is_path=True)
    with room.tcp() as other:
        client = start(engine, CHAT, room.name, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        room.wait_joined()
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        equal(harness.recv_exactly(other, 6), b"hello\n", "what the client said")
        other.sendall(b"welcome\n")
        equal(read_until(client.stdout.fileno(), b"\n"), b"welcome\n", "what it printed")
        client.stdin.close()
        equal(client.wait(harness.LIMIT_S), 0, "its exit status")
        client.stdout.close()
    room.end()
    done = harness.run(CHAT, room.name, env={"PROACTOR_ENGINE": engine})
    equal(done.returncode, 1, "with no server")
    check("no such file" in done.stderr, done.stderr)


@case_per_engine
def socat_joins_by_both_kinds_of_names(engine):
    for is_path in (False, True):
        room = Room(engine, is_path)
        address = "UNIX-CONNECT:" + room.name if is_path else "ABSTRACT-CONNECT:" + room.name[1:]
        with room.tcp() as other, subprocess.Popen(["socat", "-", address], stdin=subprocess.PIPE,
                                                   stdout=subprocess.PIPE) as peer:
            room.wait_joined()
            peer.stdin.write(b"by socat\n")
            peer.stdin.flush()
            equal(harness.recv_exactly(other, 9), b"by socat\n", "what it said")
            other.sendall(b"to socat\n")
            equal(read_until(peer.stdout.fileno(), b"\n"), b"to socat\n", "what it got")
            peer.kill()
        room.end()


@case_per_engine
def the_system_says_who_joined(engine):
    if os.getuid() != 0:
        raise harness.Skip("only root can become somebody else")
    room = Room(engine)
    client = start(engine, CHAT, room.name, stdin=subprocess.PIPE, before=SOMEBODY)
    room.server.wait_output("^chat: user 65534 joined$")
    client.stdin.close()
    equal(client.wait(harness.LIMIT_S), 0, "the client's exit status")
    with room.unix():
        room.server.wait_output("^chat: user 0 joined$")
    with room.server.connect():
        room.server.wait_output("^chat: somebody joined from elsewhere$")
    room.end()


@case_per_engine
def a_client_that_does_not_read_is_let_go_and_harms_nobody(engine):
    room = Room(engine)
    with room.unix() as deaf, room.unix() as one, room.tcp() as two:
        line = b"x" * 899 + b"\n"
        for _ in range(5000):
            one.sendall(line)
            equal(len(harness.recv_exactly(two, 900)), 900, "the one who reads")
        deaf.settimeout(harness.LIMIT_S)
        got = 0
        try:
            while data := deaf.recv(1 << 20):
                got += len(data)
        except ConnectionResetError:
            pass
        check(got < 5000 * 900, "it was never let go")
    room.end()


if __name__ == "__main__":
    harness.main()
