"""The page of the trade-off matrix, from the JSON lines of bench/matrix.  No figure in it is written by hand,
and what a sentence claims it has looked up."""
import json

import matrix_measure

LABELS = {
    "thread": "thread per connection",
    "epoll": "reactor, by hand (epoll)",
    "uv": "reactor, libuv",
    "asio-epoll": "Asio callbacks, epoll",
    "asio-co-epoll": "Asio coroutines, epoll",
    "pro-epoll": "proactor, epoll",
    "pro-leased-epoll": "proactor, epoll, leases",
    "pro-co-epoll": "proactor, epoll, coroutines",
    "pro-stackless-epoll": "proactor, epoll, stackless",
    "uring": "proactor, by hand (io_uring)",
    "pro-uring": "proactor, io_uring",
    "pro-slots": "proactor, io_uring, fixed slots",
    "pro-leased-uring": "proactor, io_uring, leases",
    "pro-co-uring": "proactor, io_uring, coroutines",
    "pro-stackless-uring": "proactor, io_uring, stackless",
    "pro-epoll+pool": "proactor, epoll, work on the pool",
    "pro-uring+pool": "proactor, io_uring, work on the pool",
}

# Which of test/misuse can be made in a style at all.  A judgement, not a measurement: in an awaiting call the
# operation is in a frame that cannot go, and the coroutine that could touch the buffer is the one that waits;
# a blocking call and a call at readiness leave nothing with the kernel when they return.
NOT_IN = {
    "callbacks": {"left_coroutine"},
    "stackless": {"left_coroutine"},
    "coroutines": {"change_deadline", "change_sent", "clear_operation", "free_operation", "left_frame",
                   "never_zeroed", "reuse_operation", "touch_batch", "touch_received", "twice"},
}

# What one source was run on here; what its documentation says beyond that was not.
PEER_ENGINES = {"thread": "1", "epoll": "1", "uring": "1", "uv": "1 (and, by its documentation, kqueue, IOCP)",
                "asio-epoll": "2, chosen as it is compiled", "asio-co-epoll": "2, chosen as it is compiled"}


VOID = 0.015  # bench.h has it too


class Results:
    def __init__(self):
        self.host, self.tcp, self.control = {}, {}, {}
        self.parts = {name: {} for name in ("memory", "system_calls", "handlers", "offload", "blocking", "lines",
                                            "mistakes", "engines")}

    def servers(self):
        return [name for name in matrix_measure.MODELS if any(key[0] == name for key in self.tcp)]

    def connections(self):
        return sorted({key[1] for key in self.tcp})

    def sizes(self):
        return sorted({key[2] for key in self.tcp})

    def is_void(self, connections, size, ratio="cpu_ratio"):
        """By the control's CPU time; for throughput and latency by its wall_ratio."""
        control = self.control[connections, size][ratio]
        return control["lo"] < 1 - VOID or control["hi"] > 1 + VOID


KEYS = {"handlers": ("server", "work"), "offload": ("server", "compute_us"), "blocking": ("server", "threads"),
        "mistakes": ("config",), "engines": ("engine",)}


def read(path):
    """The last line about a thing counts."""
    results = Results()
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            name = row["bench"]
            if name == "host":
                results.host.update(row)
            elif name == "tcp" and row["control"]:
                results.control[row["connections"], row["size"]] = row
            elif name == "tcp":
                results.tcp[row["server"], row["connections"], row["size"]] = row
            else:
                key = tuple(row[part] for part in KEYS.get(name, ("server",)))
                results.parts[name][key if len(key) > 1 else key[0]] = row
    return results


# ---- pieces -----------------------------------------------------------------------------------------

def load_of(results, *parts):
    """No control decides about these: the machine's load does.  Of this program alone it is 1 to 2."""
    loads = [results.host.get("load_of_" + part, 0) for part in parts]
    text = f"Load of the machine: {', '.join(str(load) for load in loads)}"
    if max(loads) < 4:
        return f"({text}.)\n"
    return f"**{text}: throughputs and p99 are void;** CPU time and, roughly, p50 stand.\n"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def best_of(values, near=1.0):
    """The smallest of them, and what is within a factor of it."""
    known = [v for v in values if v is not None]
    return {i for i, v in enumerate(values) if v is not None and v <= min(known) * near} if known else set()


def columns_with_best(names, columns):
    """columns: (head, value of a name or None, its text).  Rows, the best of each column in bold."""
    rows = [[LABELS[name]] for name in names]
    for _, value, text in columns:
        values = [value(name) for name in names]
        best = best_of(values, 1.01)
        for i, name in enumerate(names):
            shown = "-" if values[i] is None else text(name)
            rows[i].append(f"**{shown}**" if i in best else shown)
    return table(["", *(head for head, _, _ in columns)], rows)


def size_name(size):
    return f"{size} B" if size < 1024 else f"{size // 1024} KiB"


def micro(us):
    if us >= 10000:
        return f"{us / 1000:.0f} ms"
    return f"{us / 1000:.1f} ms" if us >= 1000 else f"{us:.0f} us"


def picture(plots, name, text):
    return f"![{text}]({plots[name]})\n\n" if name in plots else ""


def connection_head(results, connections, size, ratio="cpu_ratio"):
    text = f"{connections:,} connection{'s' if connections > 1 else ''}"
    return text + (" (void)" if results.is_void(connections, size, ratio) else "")


def by_connections(results, size, value, text, ratio="cpu_ratio"):
    columns = []
    for connections in results.connections():
        def of(name, connections=connections):
            row = results.tcp.get((name, connections, size))
            return None if row is None else value(row)

        def shown(name, connections=connections):
            return text(results.tcp[name, connections, size])
        columns.append((connection_head(results, connections, size, ratio), of, shown))
    return columns_with_best(results.servers(), columns)


# ---- sections ---------------------------------------------------------------------------------------

def head(results):
    host = results.host
    rounds = [f"{results.control[c, s]['rounds']} at {c:,}" for c, s in sorted(results.control)
              if s == results.sizes()[0]]
    void = sorted(f"{c} x {size_name(s)}" for c, s in results.control if results.is_void(c, s))
    return f"""# The trade-off matrix

What each model costs, and what it spares: threads, a reactor, a proactor emulated on one and a native one, with callbacks and with
coroutines. Made by `./dev bench matrix`, from the figures in `trade-offs.jsonl` beside this page; how it measures is in
[bench/README.md](../../bench/README.md), and what follows for the choice in [when not](../guide/when-not.md).

{host['machine']}, {host['cpus']} CPUs, Linux {host['kernel']}, gcc {host['compiler']}, commit {host['commit']}, {host['date']}; load of the
machine {host['load']} before and {host.get('load_after', '?')} after, this program's own included. Rounds: {', '.join(rounds)}
connections. A shape whose control (the same server
against itself) is not within 1.5% is void, and proves nothing: {', '.join(void) if void else 'none is'}.
**IOCP: throughput is not measurable under Wine**, which is what there is here to run it on; that it keeps the same contract is below.
"""


def glance(results):
    servers, parts = results.servers(), results.parts
    small = results.sizes()[0]
    connections = results.connections()
    picked = sorted({connections[0], connections[len(connections) // 2], connections[-1]})
    columns = []
    for count in picked:
        def ratio(name, count=count):
            row = results.tcp.get((name, count, small))
            return row["cpu_ratio"]["mid"] if row else None
        columns.append((f"CPU, {connection_head(results, count, small)}", ratio,
                        lambda name, ratio=ratio: f"{ratio(name):.2f}"))

    def part(name, key):
        return lambda server: parts[name].get(server, {}).get(key)

    def hurt(server):
        return parts["handlers"].get((server, matrix_measure.WORK_FOR_ALL), {}).get("p99_us")
    columns += [
        ("bytes a connection, user", part("memory", "user_bytes"), lambda s: f"{part('memory', 'user_bytes')(s):,}"),
        ("system calls a message", part("system_calls", "per_message"),
         lambda s: f"{part('system_calls', 'per_message')(s):.2f}"),
        ("p99 of the others, one handler blocks 50 ms", hurt, lambda s: micro(hurt(s))),
        ("lines of code", part("lines", "lines"), lambda s: str(part("lines", "lines")(s))),
    ]
    ours = [e for e, row in parts["engines"].items() if row["failed"] == 0]
    text = columns_with_best(servers, columns)
    return f"""
## At a glance

CPU time for a message of {size_name(small)} by that of the reactor by hand, so 1.00 is that, and less is better; the best of each column is
bold. The library's own binary runs on {len(ours)} engines unchanged ({', '.join(ours)}), Asio's on 2 after compiling again, the others on one.

{text}"""


def winners(results):
    rows = []
    for size in results.sizes():
        for count in results.connections():
            named = {name: results.tcp[name, count, size] for name in results.servers()
                     if (name, count, size) in results.tcp}
            ours = {n: r for n, r in named.items() if n.startswith("pro-")}
            cheapest = min(named, key=lambda n: named[n]["cpu_ratio"]["mid"])
            quickest = min(named, key=lambda n: named[n]["p99_us"])
            own = min(ours, key=lambda n: ours[n]["cpu_ratio"]["mid"])
            ratio = ours[own]["cpu_ratio"]
            if results.is_void(count, size):
                verdict = "void"
            elif ratio["lo"] > 1:
                verdict = "the reactor by hand"
            elif ratio["hi"] < 1:
                verdict = "the proactor"
            else:
                verdict = "nobody: within the interval"
            rows.append([size_name(size), f"{count:,}", f"{LABELS[cheapest]} ({named[cheapest]['cpu_ratio']['mid']:.2f})",
                         f"{LABELS[own]} ({ratio['mid']:.3f} [{ratio['lo']:.3f} .. {ratio['hi']:.3f}])", verdict,
                         "void" if results.is_void(count, size, "wall_ratio") else
                         f"{LABELS[quickest]} ({micro(named[quickest]['p99_us'])})"])
    return """
## Who wins where

The reactor by hand is the least there can be on epoll, so "nobody" is the library's best answer there.

""" + table(
        ["message", "connections", "least CPU", "best of the library's", "library against the reactor by hand",
         "least p99"], rows)


def cpu(results, plots):
    text = """
## CPU for a message

By that of the reactor by hand in the same round: median [95% interval]. Server and load generator share a CPU, so that nobody's time has
the waking of another processor in it.
"""
    for size in results.sizes():
        text += f"\n### {size_name(size)}\n\n" + picture(plots, f"cpu-{size}", "CPU for a message") + by_connections(
            results, size, lambda row: row["cpu_ratio"]["mid"],
            lambda row: "{mid:.3f} [{lo:.3f} .. {hi:.3f}]".format(**row["cpu_ratio"]))
        base = [f"{results.tcp['epoll', c, size]['cpu_ns'] / 1000:.1f}" for c in results.connections()
                if ("epoll", c, size) in results.tcp]
        text += f"\nThe reactor by hand: {', '.join(base)} us a message.\n"
    return text


def latency(results, plots):
    text = """
## Throughput and latency

A closed loop, one message in flight on each connection, the load generator alone on the other CPU: where it is the slower of the two, all
throughputs are alike. Latency is what the generator sees, and contains the queue of its own connections. Absolute figures of a virtual
machine, for orientation: thousand messages a second; p50 / p99 / p99.9.
"""
    for size in results.sizes():
        text += f"\n### p99, {size_name(size)}\n\n" + picture(plots, f"p99-{size}", "p99 of a message") + by_connections(
            results, size, lambda row: row["p99_us"],
            lambda row: f"{row['messages_per_s'] / 1000:.0f}; {micro(row['p50_us'])} / {micro(row['p99_us'])} / "
                        f"{micro(row['p999_us'])}", "wall_ratio")
    return text + "\nBold: the least p99. Void here: by the time on the wall of the control.\n"


def memory(results, plots):
    parts = results.parts
    rows = [[LABELS[name], f"{row['held']:,}", f"{row['user_bytes']:,}", f"{row['kernel_bytes']:,}"]
            for name, row in parts["memory"].items()]
    text = """
## Connections and memory

Each held so many connections in one process, and echoed on all of them; what one takes, once a message has gone through. User memory is
resident; of the kernel's only stacks and page tables are counted, which is where threads pay (sockets cost all the same). Buffers
are 4 KiB: a connection's own where the model must name one before bytes come, one for all in libuv, a pool of 256 with leases.

"""
    text += table(["", "held", "bytes each, user", "bytes each, kernel"], rows)
    text += "\n" + picture(plots, "memory", "memory of a connection")
    return text + """
All stop at the limit of descriptors; a thread per connection stops before, at half of `vm.max_map_count` (two mappings a stack: 32,765 by
default) or at `kernel.pid_max`.
"""


def system_calls(results):
    rows = []
    for name, row in results.parts["system_calls"].items():
        most = sorted(row["calls"].items(), key=lambda item: -item[1])[:4]
        rows.append([LABELS[name], f"{row['per_message']:.3f}", ", ".join(f"{call} {n:.3f}" for call, n in most)])
    count = next(iter(results.parts["system_calls"].values()), {}).get("connections", "?")
    return f"""
## System calls for a message

`strace -c -f`, {count} connections, 64 B, the difference of two lengths. It also proves which engine ran. (A traced server is slow, so
that more messages wait at each turn than would untraced.)

""" + table(["", "a message", "which"], rows)


def handlers(results, plots):
    works = [w for w in matrix_measure.WORKS if any(key[1] == (w or "none") for key in results.parts["handlers"])]
    names = {"": "none works", "b": "blocks", "c": "computes"}
    heads = [names[w[:1]] + (f" {micro(int(w[1:]))}" if w else "") for w in works]
    rows = []
    for name in matrix_measure.HANDLERS:
        cells = [results.parts["handlers"].get((name, work or "none")) for work in works]
        if any(cells):
            rows.append([LABELS[name], *(f"{micro(c['p50_us'])} / {micro(c['p99_us'])}" if c else "-" for c in cells)])
    text = f"""
## A handler that blocks, a handler that computes

One connection whose every message makes its handler block or compute for so long, and {matrix_measure.VICTIMS} others: p50 / p99 of the
others. The server has one CPU, so threads have no more of it than a loop has; what they have is a scheduler that takes it away
from who computes.

""" + table(["", *heads], rows)
    return text + "\n" + picture(plots, "handlers", "p99 of the others")


def pools(results, plots):
    offload, blocking = results.parts["offload"], results.parts["blocking"]
    steps = sorted({key[1] for key in offload})
    servers = [name for name in ("pro-uring", "pro-uring+pool", "thread") if any(k[0] == name for k in offload)]
    rows = [[LABELS[name], *(f"{offload[name, us]['per_s']:,.0f}; {offload[name, us]['cpu_ns'] / 1000:.1f} us"
                             for us in steps)] for name in servers]
    text = f"""
## To the pool, or not?

All of {matrix_measure.VICTIMS} connections compute for so long in each message; the server may use every CPU, and the pool has two
threads. Messages a second; CPU time of the server for one. {load_of(results, "offload", "blocking")}
""" + table(["", *(f"{us} us" for us in steps)], rows)
    text += "\n" + picture(plots, "offload", "throughput when every message computes")
    rows = [[LABELS[name], str(threads), f"{row['per_s']:,.0f}", f"{row['cpu_ns'] / 1000:.1f} us", micro(row["p99_us"])]
            for (name, threads), row in blocking.items()]
    return text + """
And when every message of 100 connections waits 1 ms for something that can only block:

""" + table(["", "threads", "messages a second", "CPU for one", "p99"], rows)


def code(results):
    rows = [[LABELS[name], str(row["lines"])] for name, row in results.parts["lines"].items()]
    return """
## Code

Lines of the echo server (`bench/peers`) that are neither blank nor comment, without what all share (`peer.h`).

""" + table(["", "lines"], rows)


def mistakes(results):
    by_config = results.parts["mistakes"]
    caught = {config: set(row["caught"]) for config, row in by_config.items()}
    names = set().union(*(row["planted"] for row in by_config.values()))
    planted = len(names)
    rows = []
    for style, impossible in NOT_IN.items():
        possible = names - impossible
        rows.append([style, f"{len(possible)} of {planted}",
                     *(str(len(caught[config] & possible)) for config in caught)])
    titles = {"release": "every build", "debug": "checked build", "asan": "checked, AddressSanitizer"}
    missed = sorted(f"{name} ({config})" for config, row in by_config.items() for name in row["missed"])
    return f"""
## Lifetime hazards

The {planted} programs of `test/misuse` are mistakes about who owns an operation, a buffer, a handle, a scope. How many can be made in a style
(our judgement: what is awaited is in a frame that cannot go), and how many of these each build catches, with both call sites:

""" + table(["style", "can be made", *("caught by " + titles[config] for config in caught)], rows) + f"""
{'All that a build promises to catch it caught.' if not missed else 'Not caught though promised: ' + ', '.join(missed) + '.'} A release build \
catches the few that cost one compare; a program that is only ever run in release is on its own with the others. With blocking calls, and
with calls at readiness, nothing is the kernel's when a call returns: most of these mistakes do not exist there, which is the strongest
argument against a proactor. What does (a descriptor closed under another thread, an event of a connection freed in the same
batch, a length that is wrong) these models' own tools catch or not; it was not measured here.
"""


def portability(results):
    rows = [[engine, str(row["passed"]), str(row["failed"]), str(row["skipped"])]
            for engine, row in results.parts["engines"].items()]
    peers = [[LABELS[name], text] for name, text in PEER_ENGINES.items() if name in results.servers()]
    return """
## Portability

The conformance list (`./dev conform`), one source: passed, failed, skipped (a capability that the engine has not).

""" + table(["engine", "passed", "failed", "skipped"], rows) + """
On IOCP, under Wine, the list is a part of `./dev test --config windows`; how fast it is there was not measured, because Wine translates
completion ports to Linux's readiness and back. Engines that the peers' one source was run on here:

""" + table(["", "engines"], peers)


def write(results, plots):
    return (head(results) + glance(results) + "\n" + winners(results) + cpu(results, plots)
            + latency(results, plots) + memory(results, plots) + system_calls(results)
            + handlers(results, plots) + pools(results, plots) + code(results) + mistakes(results)
            + portability(results))
