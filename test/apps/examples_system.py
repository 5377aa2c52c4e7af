#!/usr/bin/env python3
"""The examples of names, processes, watching and readiness do what their first lines say."""
import functools
import glob
import http.server
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading

from lib import harness, names
from lib.follow import follow
from lib.harness import Program, Server, Skip, case, case_per_engine, check, equal, wait_until


def example(name):
    path = harness.path("bin/examples/" + name)
    if not os.path.exists(path):
        raise Skip(f"{name} is not built: its library is not here")
    return path


def begin(name, engine, *args):
    return Program(example(name), *args, env={"PROACTOR_ENGINE": engine})


def run(name, engine, *args):
    example(name)
    return harness.run("bin/examples/" + name, *args, env={"PROACTOR_ENGINE": engine})


# ---- port_check, and names ---------------------------------------------------------------------

@case_per_engine
def port_check_says_open_and_refused(engine):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = run("port_check", engine, "127.0.0.1", port, "127.0.0.1", "1")
    equal((done.returncode, sorted(done.stdout.splitlines())),
          (1, ["127.0.0.1 1: connection refused", f"127.0.0.1 {port}: open at 127.0.0.1:{port}"]),
          "port_check")


def in_a_world_of_names(engine, program, *args):
    if not names.is_possible():
        raise Skip("no namespaces: that needs root")
    command = names.command_for(example(program), *args)
    done = subprocess.run(command, capture_output=True, timeout=harness.LIMIT_S, check=False,
                          env=harness.environment({"PROACTOR_ENGINE": engine}))
    return done.returncode, done.stdout.decode().splitlines()


@case_per_engine
def port_check_by_name_tries_what_there_is(engine):
    v4, v6 = f"open at 127.0.0.2:{names.PORT}", f"open at [::1]:{names.PORT}"
    want = {"dual.test": v6, "v4.test": v4, "v6.test": v6,
            "slow4.test": v6,  # nobody waits for the other family
            "slow6.test": v4,  # but for a moment
            "bad6.test": v4, "dead6.test": v4, "none.test": "no such file or address",
            "bad.test": "temporarily unavailable",
            "silent.test": "timed out"}  # by our deadline, which the system's patience does not hold up
    args = [word for name in want for word in (name, str(names.PORT))]
    status, lines = in_a_world_of_names(engine, "port_check", *args)
    equal(sorted(lines), sorted(f"{name} {names.PORT}: {how}" for name, how in want.items()), "what is open")
    equal(status, 1, "its exit status")


@case_per_engine
def ares_runs_on_the_loop(engine):
    status, lines = in_a_world_of_names(engine, "ares", "127.0.0.1:53", "dual.test", "v4.test", "lost.test",
                                        "none.test")
    both = ["127.0.0.2", "::1"]
    want = [f"dual.test: {ip}" for ip in both] + [f"lost.test: {ip}" for ip in both]
    want += ["none.test: Domain name not found", "v4.test: 127.0.0.2"]
    equal((status, sorted(lines)), (1, sorted(want)), "what it found")


@case_per_engine
def ares_gives_up_where_nobody_answers(engine):
    status, lines = in_a_world_of_names(engine, "ares", "127.0.0.1:53", "silent.test")
    equal((status, lines), (1, ["silent.test: Timeout while contacting DNS servers"]), "what it found")


# ---- supervise ---------------------------------------------------------------------------------

@case_per_engine
def supervise_starts_a_program_again_until_it_succeeds(engine):
    with tempfile.TemporaryDirectory() as directory:
        mark = os.path.join(directory, "mark")
        script = f"[ -e {mark}2 ] && exit 0; [ -e {mark} ] && : > {mark}2; : > {mark}; kill -9 $$"
        done = run("supervise", engine, "sh", "-c", script)
    lines = [line.split(",")[0] for line in done.stdout.splitlines()]
    equal((done.returncode, lines),
          (0, ["supervise: started", "supervise: ended by signal 9"] * 2 +
           ["supervise: started", "supervise: ended with 0", "supervise: 3 starts"]), "its story")


@case_per_engine
def supervise_ends_with_its_child_and_kills_one_that_does_not(engine):
    for script in ("exec sleep 60", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"):
        program = begin("supervise", engine, "sh", "-c", script)
        child = int(program.wait_output(r"process (\d+)").group(1))
        if "deaf" in script:
            program.wait_output("deaf")
        program.signal(signal.SIGTERM)
        _, lines = program.wait()
        equal(lines[-1], "supervise: 1 starts", "its last line")
        check(not os.path.exists(f"/proc/{child}"), "the child is still there")


@case_per_engine
def supervise_says_what_cannot_be_started(engine):
    done = run("supervise", engine, "no-such-program")
    equal((done.returncode, done.stderr), (127, "supervise: no-such-program: no such file or address\n"),
          "supervise")


# ---- follow ------------------------------------------------------------------------------------

@case_per_engine
def follow_prints_what_is_added_whatever_becomes_of_the_file(engine):
    status, lines, want = follow(lambda path: begin("follow", engine, path), signal.SIGTERM)
    equal((status, lines), (0, want), "what it printed")


# ---- offer -------------------------------------------------------------------------------------

@case_per_engine
def offer_gives_the_file_to_everybody(engine):
    content = harness.random_bytes(7000001)
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        server = Server(example("offer"), "127.0.0.1:0", file.name, env={"PROACTOR_ENGINE": engine})
        handles = server.handles()
        slow, early = server.connect(), server.connect()
        equal(len(harness.recv_exactly(early, 1000)), 1000, "the beginning")
        early.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        early.close()
        for _ in range(3):  # one after the other, while the slow one does not read
            with server.connect() as sock:
                check(harness.recv_all(sock) == content, "another content came")
        server.wait_output("after [0-9]+ bytes")
        check(harness.recv_all(slow) == content, "another content came")
        slow.close()
        wait_until(lambda: server.handles() == handles, "the descriptors to come back")
        server.signal(signal.SIGTERM)
        status, lines = server.wait()
    equal((status, lines[-1]), (0, "offer: given 4 times, cut short 1 times"), "its last line")


# ---- tunnel ------------------------------------------------------------------------------------

def tunnel_to(engine, port):
    return Server(example("tunnel"), "127.0.0.1:0", f"127.0.0.1:{port}",
                  env={"PROACTOR_ENGINE": engine})


def end_tunnel(server, want):
    server.signal(signal.SIGTERM)
    status, lines = server.wait()
    equal((status, lines[-1]), (0, want), "its last line")


@case_per_engine
def tunnel_carries_socat_there_and_back(engine):
    if not shutil.which("socat"):
        raise Skip("socat is not installed")
    content = harness.random_bytes(3000001)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = f"TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"
    with subprocess.Popen(["socat", "-t", str(harness.LIMIT_S), listen, "EXEC:cat"]) as echo:
        try:
            wait_until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), "socat to listen")
            server = tunnel_to(engine, port)
            command = ["socat", "-t", str(harness.LIMIT_S), "-", f"TCP4:127.0.0.1:{server.address[1]}"]
            done = subprocess.run(command, input=content, capture_output=True, check=False,
                                  timeout=harness.LIMIT_S)
            equal(done.returncode, 0, f"exit status of socat, {done.stderr!r}")
            check(done.stdout == content, "another content came back")
            end_tunnel(server, f"tunnel: 1 connections, {2 * len(content)} bytes, 0 lost")
        finally:
            echo.terminate()


@case_per_engine
def tunnel_carries_what_curl_fetches(engine):
    if not shutil.which("curl"):
        raise Skip("curl is not installed")
    with tempfile.TemporaryDirectory() as directory:
        content = harness.random_bytes(5000001)
        with open(os.path.join(directory, "file"), "wb") as file:
            file.write(content)
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
        handler.log_message = lambda *args: None
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
            thread = threading.Thread(target=web.serve_forever)
            thread.start()
            server = tunnel_to(engine, web.server_address[1])
            url = f"http://127.0.0.1:{server.address[1]}/file"
            curls = [subprocess.Popen(["curl", "-sS", "--noproxy", "*", url], stdout=subprocess.PIPE)
                     for _ in range(4)]
            for curl in curls:
                check(curl.communicate(timeout=harness.LIMIT_S)[0] == content, "another content came")
                equal(curl.returncode, 0, "exit status of curl")
            web.shutdown()
            thread.join()
        server.signal(signal.SIGTERM)
        status, lines = server.wait()
        match = re.fullmatch(r"tunnel: 4 connections, (\d+) bytes, 0 lost", lines[-1])
        equal((status, bool(match)), (0, True), f"its end, {lines[-1]!r}")
        check(int(match.group(1)) > 4 * len(content), f"{match.group(1)} bytes went through")


@case_per_engine
def tunnel_passes_a_reset_on_and_counts_what_is_lost(engine):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = tunnel_to(engine, listener.getsockname()[1])
        client = server.connect()
        target, _ = listener.accept()
        target.settimeout(harness.LIMIT_S)
        target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"half of a fi")
        equal(harness.recv_exactly(target, 12), b"half of a fi", "what came through")
        target.close()
        try:
            raise AssertionError(f"the client reads {client.recv(1)!r}, want a reset")
        except ConnectionResetError:
            pass
        client.close()
        end_tunnel(server, "tunnel: 1 connections, 12 bytes, 0 lost")


# ---- gift --------------------------------------------------------------------------------------

@case_per_engine
def gift_gives_its_memory_to_everybody(engine):
    content = harness.random_bytes(7000001)
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        server = Server(example("gift"), "127.0.0.1:0", file.name, env={"PROACTOR_ENGINE": engine})
        handles = server.handles()
        slow, early = server.connect(), server.connect()
        equal(len(harness.recv_exactly(early, 1000)), 1000, "the beginning")
        early.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        early.close()
        for _ in range(3):  # one after the other, while the slow one does not read
            with server.connect() as sock:
                check(harness.recv_all(sock) == content, "another content came")
        check(harness.recv_all(slow) == content, "another content came")
        slow.close()
        wait_until(lambda: server.handles() == handles, "the descriptors to come back")
        server.signal(signal.SIGTERM)
        status, lines = server.wait()
    equal((status, lines[-1]), (0, "gift: given 4 times, cut short 1 times"), "its last line")


# ---- postgres ----------------------------------------------------------------------------------

class Postgres:
    """A server of its own, on a Unix socket and on the loopback, as a user that is not root."""

    def __init__(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        if not found:
            raise Skip("PostgreSQL is not installed")
        self.bin = os.path.dirname(found[-1])
        self.user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self.top = tempfile.mkdtemp(prefix="pg", dir="/tmp")  # short: a socket's path
        if os.getuid() == 0:
            shutil.chown(self.top, self.user)
        data = os.path.join(self.top, "data")
        self.call("initdb", "-D", data, "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])
        options = f"-k {self.top} -h 127.0.0.1 -p {self.port} -F"
        self.call("pg_ctl", "-D", data, "-w", "-t", "60", "-l", os.path.join(self.top, "log"), "-o", options, "start")
        self.data = data

    def call(self, program, *args):
        as_user = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        done = subprocess.run([os.path.join(self.bin, program), *args], capture_output=True, check=False,
                              cwd="/tmp", env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                              stdin=subprocess.DEVNULL, **(as_user if os.getuid() == 0 else {}))
        check(done.returncode == 0, f"{program}: {done.stderr or done.stdout!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.top, ignore_errors=True)


@case
def postgres_is_asked_through_libpq():
    with Postgres() as server:
        for engine in harness.engines():
            for host in (server.top, "127.0.0.1"):
                where = f"host={host} port={server.port} user=test dbname=postgres"
                done = run("postgres", engine, where, "create temp table t (a text)",
                           "insert into t values ('" + "x" * 100000 + "')", "select length(a), 7 from t",
                           "select repeat('y', 3000000)", "select pg_sleep(0.1)",
                           "select g from generate_series(1, 20000) g")
                want = ["100000\t7", "y" * 3000000, ""] + [str(i) for i in range(1, 20001)]
                equal((done.returncode, done.stderr), (0, ""), f"on {engine}, {host}")
                check(done.stdout.splitlines() == want, "other rows than were asked for")
            done = run("postgres", engine, where, "select 1", "select nonsense")
            equal((done.returncode, done.stdout), (1, "1\n"), "one that fails")
            check("nonsense" in done.stderr, done.stderr)
    done = run("postgres", "epoll", f"host=127.0.0.1 port={server.port}", "select 1")
    check(done.returncode == 1 and "refused" in done.stderr, done.stderr)


if __name__ == "__main__":
    harness.main()
