"""What bench/matrix measures, part by part.  Each part yields objects; the program writes them as JSON lines,
and the page is made from those alone.  One vocabulary: "server" is a name of bench/lib/servers.c, or one of
the variants below."""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile

import peers

# Which servers stand for a model.  pool: the same with what a handler would wait for on the loop's pool.
MODELS = ["thread", "epoll", "uv", "asio-epoll", "asio-co-epoll", "pro-epoll", "pro-leased-epoll",
          "pro-co-epoll", "pro-stackless-epoll", "uring", "pro-uring", "pro-slots", "pro-leased-uring", "pro-co-uring",
          "pro-stackless-uring"]
POOLED = {"pro-epoll+pool": "pro-epoll", "pro-uring+pool": "pro-uring"}

LAST_CPU = max(os.sched_getaffinity(0))
FIRST_CPU = min(os.sched_getaffinity(0))


def rows(build):
    """The models that are built, by name."""
    table = {row["name"]: row for row in peers.table(build)}
    return {name: table[name] for name in MODELS if peers.is_built(build, table[name])}


def start(build, name, words=(), **options):
    table = {row["name"]: row for row in peers.table(build)}
    row = dict(table[POOLED[name]], program="pro_pooled") if name in POOLED else table[name]
    return peers.Server(build, row, words=words, **options)


# ---- messages: CPU, throughput, latency ---------------------------------------------------------------

def messages(build, plan, data):
    """bench/tcp writes its own lines.  Fewer rounds where each takes long."""
    for connections, rounds, parts in plan.messages:
        done = subprocess.run([os.path.join(build, "bench", "tcp"), "--only", ",".join(MODELS),
                               "--connections", connections, "--size", plan.sizes, "--rounds", str(rounds),
                               "--window-us", str(plan.window_us), "--parts", str(parts), "--json", data],
                              stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"bench/tcp failed:\n{done.stdout}")


# ---- memory -----------------------------------------------------------------------------------------

def status_kib(pid, key):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(re.search(rf"^{key}:\s+(\d+) kB", file.read(), re.MULTILINE).group(1))


def kernel_kib():
    """Stacks and page tables of the whole system: what threads cost there."""
    with open("/proc/meminfo", encoding="utf-8") as file:
        text = file.read()
    return sum(int(re.search(rf"^{key}:\s+(\d+)", text, re.MULTILINE).group(1))
               for key in ("KernelStack", "PageTables"))


def memory(build, plan):
    """Connections held, each of which has echoed once, and what each takes."""
    for name in rows(build):
        count = plan.held
        with start(build, name, cpu=LAST_CPU, connections=count) as server:
            before, kernel = status_kib(server.pid, "VmRSS"), kernel_kib()
            with subprocess.Popen([os.path.join(build, "bench", "load"), "--port", str(server.port),
                                   "--connections", str(count), "--hold"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True) as load:
                held = json.loads(load.stdout.readline())["messages"]
                user = status_kib(server.pid, "VmRSS") - before
                own = kernel_kib() - kernel
                load.stdin.close()
        yield {"server": name, "held": held, "user_bytes": round(user * 1024 / count),
               "kernel_bytes": max(0, round(own * 1024 / count))}


# ---- system calls -----------------------------------------------------------------------------------

def traced(build, name, messages_each, connections):
    """How often each system call was made: the table of strace -c."""
    with tempfile.TemporaryDirectory() as scratch:
        summary = os.path.join(scratch, "summary")
        with start(build, name, connections=connections,
                   before=["strace", "-f", "-c", "-o", summary]) as server:
            with open(f"/proc/{server.pid}/task/{server.pid}/children", encoding="utf-8") as file:
                child = int(file.read().split()[0])
            peers.load(build, server.port, connections=connections, messages=messages_each)
            os.kill(child, signal.SIGTERM)
            server.process.wait(60)
        counts = {}
        with open(summary, encoding="utf-8") as file:
            for line in file:
                row = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", line)
                if row and row.group(2) != "total":
                    counts[row.group(2)] = counts.get(row.group(2), 0) + int(row.group(1))
        return counts


def system_calls(build, plan):
    """By the difference of two runs, so that what starting and connecting cost is in neither."""
    if not shutil.which("strace"):
        return
    for name in rows(build):
        few = traced(build, name, 1, plan.traced_connections)
        many = traced(build, name, 1 + plan.traced_messages, plan.traced_connections)
        total = plan.traced_messages * plan.traced_connections
        each = {call: (n - few.get(call, 0)) / total for call, n in many.items()}
        each = {call: round(n, 3) for call, n in each.items() if n >= 0.0005}
        yield {"server": name, "connections": plan.traced_connections,
               "per_message": round(sum(each.values()), 3), "calls": each}


# ---- handlers that wait, and that compute --------------------------------------------------------------

VICTIMS = 10
HANDLERS = ["thread", "epoll", "uv", "pro-epoll", "pro-epoll+pool", "pro-uring", "pro-co-uring",
            "pro-stackless-uring", "pro-uring+pool"]
WORKS = ["", "b10000", "b50000", "c100", "c1000", "c10000"]
WORK_FOR_ALL = "b50000"  # of the models that are not in HANDLERS only this


def handlers(build, plan):
    """One connection whose every message blocks or computes, and ten others: what these see.  The server has
    one CPU, so that threads have no more of it than a loop."""
    known = rows(build)
    for name in [*HANDLERS, *(model for model in MODELS if model not in HANDLERS)]:
        if POOLED.get(name, name) not in known:
            continue
        for work in WORKS if name in HANDLERS else [WORK_FOR_ALL]:
            runs = []
            for _ in range(plan.repeats):
                with start(build, name, cpu=LAST_CPU) as server:
                    shape = {"connections": VICTIMS + 1, "ms": plan.handler_ms, "cpu": FIRST_CPU}
                    if work:
                        shape.update(work=work, workers=1)
                    runs.append(peers.load(build, server.port, **shape))
            yield {"server": name, "work": work or "none",
                   **{key: statistics.median(run[key] for run in runs)
                      for key in ("p50_us", "p99_us", "p999_us", "messages")}}


def offload(build, plan):
    """All of ten connections compute for so long in each message; the server may use every CPU.  From where
    on is it worth the way to a pool and back?"""
    for name, words in (("pro-uring", []), ("pro-uring+pool", ["--threads", "2"]), ("thread", [])):
        if POOLED.get(name, name) not in rows(build):
            continue
        for us in plan.compute_us:
            runs = []
            for _ in range(plan.repeats):
                with start(build, name, words=words) as server:
                    run = peers.load(build, server.port, connections=VICTIMS, workers=VICTIMS, work=f"c{us}",
                                     ms=plan.handler_ms, pid=server.pid)
                    runs.append((run["messages"] * 1e9 / run["wall_ns"], run["cpu_ns"] / run["messages"]))
            yield {"server": name, "compute_us": us, "per_s": statistics.median(r[0] for r in runs),
                   "cpu_ns": statistics.median(r[1] for r in runs)}


def blocking(build, plan):
    """All of a hundred connections wait 1 ms in each message, for something that can only block."""
    connections = 100
    for name, threads in (("thread", 0), ("epoll", 0), ("pro-uring+pool", 4), ("pro-uring+pool", 16),
                          ("pro-uring+pool", 64), ("pro-uring+pool", 100)):
        if POOLED.get(name, name) not in rows(build):
            continue
        words = ["--threads", str(threads)] if threads else []
        with start(build, name, words=words, cpu=LAST_CPU) as server:
            run = peers.load(build, server.port, connections=connections, workers=connections, work="b1000",
                             ms=plan.handler_ms, pid=server.pid, cpu=FIRST_CPU)
        yield {"server": name, "threads": threads or (connections if name == "thread" else 1),
               "per_s": run["messages"] * 1e9 / run["wall_ns"], "cpu_ns": run["cpu_ns"] / run["messages"],
               "p99_us": run["p99_us"]}


# ---- code, mistakes, engines --------------------------------------------------------------------------

COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\\n])*")', re.DOTALL)


def lines(build, root):
    """Lines of a server's own source that are neither blank nor comment."""
    seen = {}
    for row in peers.table(build):
        for ending in (".c", ".cpp"):
            source = os.path.join(root, "bench", "peers", row["program"].removesuffix("_uring") + ending)
            if os.path.exists(source):
                with open(source, encoding="utf-8") as file:
                    code = COMMENT.sub(lambda m: m.group(1) or "", file.read())
                seen[row["name"]] = sum(bool(line.strip()) for line in code.split("\n"))
    for name in MODELS:
        if name in seen:
            yield {"server": name, "lines": seen[name]}


def mistakes(root, plan):
    """The planted bugs of test/misuse, and which builds catch them."""
    folder = os.path.join(root, "test", "misuse")
    names = sorted(name[:-2] for name in os.listdir(folder) if name.endswith(".c"))
    for config in plan.configs:
        build = os.path.join(root, "build", config)
        if config != "release":
            subprocess.run(["cmake", "--preset", config, "--log-level=WARNING"], cwd=root, check=True,
                           stdout=subprocess.DEVNULL)
        subprocess.run(["ninja", "-C", build, *(f"misuse-{name}" for name in names)], check=True,
                       stdout=subprocess.DEVNULL)
        done = subprocess.run(["python3", os.path.join(folder, "run.py"), build], stdout=subprocess.PIPE,
                              text=True, check=False).stdout
        caught = re.findall(r"^ok (\w+)$", done, re.MULTILINE)
        yield {"config": config, "planted": names, "caught": caught,
               "missed": re.findall(r"^FAIL (\w+):", done, re.MULTILINE)}


def engines(build, root, plan):
    """The conformance list, one source, on each engine; on Windows' where it has been built."""
    windows = os.path.join(root, "build", "windows", "test", "conform.exe")
    commands = {engine: [os.path.join(build, "test", "conform"), f"--engine={engine}", *plan.conform]
                for engine in ("uring", "epoll", "sim")}
    if os.path.exists(windows) and not plan.conform:
        commands["iocp"] = ["python3", os.path.join(root, "scripts", "wine.py"), "test", windows,
                            "--engine=iocp", "--count=5000"]
    for engine, command in commands.items():
        # A file: children of the tests' children outlive them, and would hold a pipe.
        with tempfile.TemporaryFile("w+") as output:
            subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
            output.seek(0)
            done = output.read()
        last = re.search(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", done, re.MULTILINE)
        if last:
            yield {"engine": engine, "passed": int(last.group(1)), "failed": int(last.group(2)),
                   "skipped": int(last.group(3) or 0)}
