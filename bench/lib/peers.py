"""The servers of bench/peers as processes, and the load generator, for scripts."""
import json
import os
import re
import signal
import socket
import subprocess


def table(build):
    """The rows of bench/lib/servers.c."""
    lines = subprocess.run([os.path.join(build, "bench", "load"), "--servers"], check=True,
                           capture_output=True, text=True).stdout
    return [json.loads(line) for line in lines.splitlines()]


def path(build, row):
    return os.path.join(build, "bench", "peers", row["program"])


def is_built(build, row):
    return os.access(path(build, row), os.X_OK)


def load(build, port, **options):
    """One run of bench/load: what it printed."""
    words = [word for name, value in options.items() for word in ("--" + name, str(value))]
    line = subprocess.run([os.path.join(build, "bench", "load"), "--port", str(port), *words], check=True,
                          capture_output=True, text=True).stdout
    return json.loads(line)


class Server:
    """One server, until the end of the with.  words: more options of it; before: a command that runs it."""

    def __init__(self, build, row, words=(), cpu=None, buffer=4096, connections=1000, before=()):
        environment = dict(os.environ)
        if row["engine"]:
            environment["PROACTOR_ENGINE"] = row["engine"]
        command = [path(build, row), "--buffer", str(buffer), "--connections", str(connections)]
        command += [row["word"]] if row["word"] else []
        if cpu is not None:
            command = ["taskset", "-c", str(cpu), *command]
        self.process = subprocess.Popen([*before, *command, *words], env=environment, text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        start_new_session=True)
        ready = re.match(r"port (\d+)", self.process.stdout.readline())
        if not ready:
            self.stop()
            raise OSError(f"{row['name']} does not come up")
        self.port = int(ready.group(1))

    @property
    def pid(self):
        return self.process.pid

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def stop(self, how=signal.SIGKILL):
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, how)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
