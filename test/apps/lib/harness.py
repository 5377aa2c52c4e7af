"""What the scripts in test/apps share: cases, reports, and programs that are started and watched.

    harness.case            a decorator: this function is a test; its name is the sentence
    harness.case_per_engine the same, called once per engine with its name
    harness.case_per_shape  the same, called once per engine and shape of pro-echo (style, shards)
    harness.main()          run the cases; print the protocol of scripts/run-tests.py

A script takes the build directory, then --seed=N and --only=NAME.  PROACTOR_ENGINE in the
environment limits it to one engine.  Nothing here waits without a limit, and nothing sleeps in the
hope that something has happened meanwhile: wait_until asks.
"""
import argparse
import collections
import os
import random
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

ENGINES = ("uring", "epoll")


class Shape(collections.namedtuple("Shape", "style shards")):
    """How pro-echo is started: each style with another number of shards."""

    def __str__(self):
        return f"{self.style}_{self.shards}"


SHAPES = (Shape("coroutine", 2), Shape("stackless", 1), Shape("callback", 4))
STYLES_ON_2 = tuple(Shape(shape.style, 2) for shape in SHAPES)
LIMIT_S = 30  # for whatever should happen at once; generous, for a loaded machine and sanitizers

build = ""
seed = 0

_cases = []
_passed = _failed = _skipped = 0


class Skip(Exception):
    """A case that cannot run here, and why."""


def check(condition, why):
    if not condition:
        raise AssertionError(why)


def equal(got, want, what):
    check(got == want, f"{what}: {got!r}, want {want!r}")


def note(text):
    """A line for people."""
    print("# " + text, flush=True)


def report(text):
    """Something measured, which the runner shows also when all is well."""
    print("report: " + text, flush=True)


def wait_until(condition, what, limit_s=LIMIT_S):
    """Ask again and again; return the first true answer."""
    end = time.monotonic() + limit_s
    while True:
        answer = condition()
        if answer:
            return answer
        check(time.monotonic() < end, f"waited {limit_s} s for {what}")
        time.sleep(0.005)


# ---- cases -------------------------------------------------------------------------------------

def case(function):
    _cases.append((function, None))
    return function


def case_per_engine(function):
    _cases.append((function, ()))
    return function


def case_per_shape(*shapes):
    def decorate(function):
        _cases.append((function, shapes))
        return function
    return decorate


def engines():
    """Those that this run is about."""
    wanted = os.environ.get("PROACTOR_ENGINE", "")
    return [wanted] if wanted in ENGINES else list(ENGINES)


def _engine_refused(engine):
    """Why the system does not offer the engine, or None."""
    done = run("bin/pro-echo", "--engine", engine, "--explain")
    return None if done.returncode == 0 else done.stderr.strip()


def _run_case(name, function, *args):
    global _passed, _failed, _skipped
    random.seed(f"{seed}/{name}")
    begin = time.monotonic()
    try:
        function(*args)
    except Skip as reason:
        _skipped += 1
        print(f"skip {name}: {reason}", flush=True)
    except Exception as error:  # whatever it is, it is this case that failed
        _failed += 1
        why = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, AssertionError):
            why = type(error).__name__ + ": " + why
            traceback.print_exc(file=sys.stdout)
        print(f"FAIL {name}: {why[:600]}")
        print(f"replay: {sys.argv[0]} {build} --only={name} --seed={seed}", flush=True)
    else:
        _passed += 1
        print(f"ok {name}", flush=True)
        note(f"{time.monotonic() - begin:.1f} s")
    finally:
        for program in list(Program.alive):
            program.kill()


def main():
    global build, seed
    parser = argparse.ArgumentParser()
    parser.add_argument("build", help="the build directory, build/release")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--only", default="", help="the cases whose name begins so")
    options = parser.parse_args()
    build, seed = os.path.abspath(options.build), options.seed

    # A thousand clients, and a server for them that inherits this.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    room = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard))

    note(f"seed {seed}")
    global _skipped
    refused = {}
    for function, shapes in _cases:
        if shapes is None:
            if function.__name__.startswith(options.only):
                _run_case(function.__name__, function)
            continue
        for engine, args in [(engine, args) for engine in engines()
                             for args in [(shape,) for shape in shapes] or [()]]:
            name = "_".join([engine, *map(str, args), function.__name__])
            if not name.startswith(options.only):
                continue
            if engine not in refused:
                refused[engine] = _engine_refused(engine)
            if refused[engine]:
                _skipped += 1
                print(f"skip {name}: {refused[engine]}", flush=True)
            else:
                _run_case(name, function, engine, *args)
    print(f"{_passed} passed, {_failed} failed, {_skipped} skipped", flush=True)
    sys.exit(1 if _failed else 0)


# ---- programs ----------------------------------------------------------------------------------

def path(program):
    return os.path.join(build, program)


def environment(changes=None):
    """Ours, without a choice of engine; a change to None takes a variable away."""
    result = dict(os.environ)
    result.pop("PROACTOR_ENGINE", None)
    for key, value in (changes or {}).items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def run(program, *args, env=None, stdin=b"", before=None):
    """Run a program to its end; stdout and stderr come back as text."""
    done = subprocess.run([path(program), *args], input=stdin, capture_output=True,
                          timeout=LIMIT_S, env=environment(env), preexec_fn=before, check=False)
    done.stdout = done.stdout.decode("utf-8", "replace")
    done.stderr = done.stderr.decode("utf-8", "replace")
    return done


class Program:
    """A program that runs beside the test: a server, most often."""

    alive = set()
    LISTENING = re.compile(r"listening on ([^\s,]+)")

    def __init__(self, *command, env=None, before=None):
        self.errors = tempfile.TemporaryFile()
        self.output = b""
        self.process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.errors,
                                        env=environment(env), preexec_fn=before)
        self.pid = self.process.pid
        os.set_blocking(self.process.stdout.fileno(), False)
        Program.alive.add(self)

    def _read(self, limit_s):
        """Take what it has printed into output; False at the end of it."""
        ready, _, _ = select.select([self.process.stdout], [], [], limit_s)
        if ready:
            data = os.read(self.process.stdout.fileno(), 65536)
            self.output += data
            return bool(data)
        return True

    def wait_output(self, pattern):
        """Wait for a line in which the pattern is found; return the match."""
        end = time.monotonic() + LIMIT_S
        while True:
            for line in self.output.split(b"\n")[:-1]:
                found = re.search(pattern, line.decode("utf-8", "replace"))
                if found:
                    return found
            more = self._read(max(0, end - time.monotonic()))
            check(more and time.monotonic() < end,
                  f"waited for a line {pattern!r}, got {self.output!r}, {self.stderr()!r}")

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "replace")

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, limit_s=LIMIT_S):
        """Wait for its end; return (status, the lines of its stdout)."""
        end = time.monotonic() + limit_s
        while self._read(max(0, end - time.monotonic())):
            check(time.monotonic() < end,
                  f"did not end in {limit_s} s; printed {self.output!r}, {self.stderr()!r}")
        status = self.process.wait(max(0.1, end - time.monotonic()))
        self._forget()
        return status, self.output.decode("utf-8", "replace").splitlines()

    def cpu_s(self):
        """The processor time of all its threads so far, in user and kernel mode."""
        total = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/stat", encoding="ascii") as file:
                fields = file.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def handles(self):
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._forget()

    def _forget(self):
        self.process.stdout.close()
        Program.alive.discard(self)


def parse_address(text):
    """("127.0.0.1", 80) or ("::1", 80)."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


class Server(Program):
    """One of our servers on a free port of its own; address is where it listens."""

    def __init__(self, *command, env=None, before=None):
        super().__init__(*command, env=env, before=before)
        try:
            self.address = parse_address(self.wait_output(self.LISTENING).group(1))
        except Exception:
            self.kill()
            raise

    def connect(self, timeout_s=LIMIT_S):
        return socket.create_connection(self.address, timeout_s)


TOTALS = re.compile(r"pro-echo: (\d+) connections, (\d+) bytes in, (\d+) bytes out, "
                    r"(\d+) discarded, (\d+) canceled, (\d+) errors")
TOTAL_NAMES = ("connections", "bytes_in", "bytes_out", "discarded", "canceled", "errors")


class Echo(Server):
    """pro-echo, with two shards unless the shape says otherwise: not as many as this machine has cores."""

    def __init__(self, engine, *options, shape=SHAPES[0], listen="127.0.0.1:0", env=None,
                 before=None):
        super().__init__(path("bin/pro-echo"), "--listen", listen, "--engine", engine,
                         "--style", shape.style, "--shards", str(shape.shards), *options,
                         env=env, before=before)
        self.engine = self.wait_output(r"engine (\w+)").group(1)

    def wait_totals(self, limit_s=LIMIT_S):
        """Wait for its orderly end; return the totals of its last line, by name."""
        status, lines = self.wait(limit_s)
        equal((status, self.stderr()), (0, ""), "exit status and stderr")
        equal(len(lines), 2, f"lines on stdout in {lines!r}")
        found = TOTALS.fullmatch(lines[1])
        check(found, f"not a line of totals: {lines[1]!r}")
        return dict(zip(TOTAL_NAMES, map(int, found.groups())))

    def end(self):
        self.signal(signal.SIGTERM)
        return self.wait_totals()


# ---- sockets -----------------------------------------------------------------------------------

def recv_exactly(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        check(piece, f"end of stream after {len(data)} of {size} bytes")
        data += piece
    return data


def recv_all(sock):
    """All until the end of the stream."""
    pieces = []
    while True:
        piece = sock.recv(65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def is_established(sock):
    """Has the other side's system acknowledged some of what was sent?  It knows of the connection then,
    also before a program accepts it; connect returns earlier."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    return struct.unpack_from("=Q", info, 120)[0] > 1  # tcpi_bytes_acked, 1 for the SYN


def wait_established(socks):
    for sock in socks:
        wait_until(lambda: is_established(sock), "an acknowledgement")


def random_bytes(size):
    return random.randbytes(size)
