#!/usr/bin/env python3
"""What a connection costs in memory, at several sizes of the crowd: bench/million run by run, then a page and its plots.

    ./dev bench connections                       10,000 to 1,000,000, those that there is memory for
    ./dev bench connections --sizes 10000,76000
    ./dev bench connections --page                only the page, from what was measured before
    ./dev bench connections --by-hand             the server by hand, or --descriptors, or --engine epoll
      --out DIR                                   somewhere else than docs/benchmarks

Each run is a line of connections.jsonl; the newest one of a size and engine counts.
"""
import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "bench", "lib"))
import plot  # noqa: E402

SIZES = "10000,20000,50000,76000,200000,500000,1000000"
GOAL = 320
SLOTS = "fixed slots"  # the kind that is meant; others stand beside it


def commit():
    """What is measured; what this program itself writes makes no other state of it."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    name = git("describe", "--always").stdout.strip() or "unknown"
    return name + "-dirty" * (git("diff", "--quiet", "HEAD", "--", ".", ":!docs/benchmarks").returncode != 0)


def measure(build, size, words, data):
    """One run, appended to the data; its exit status."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as out:
        status = subprocess.run([os.path.join(build, "bench", "million"), "--connections", str(size), "--json",
                                 out.name, *words], cwd=ROOT, check=False,
                                env={**os.environ, "BENCH_COMMIT": commit()}).returncode
        rows = [json.loads(line) for line in out]
    with open(data, "a", encoding="utf-8") as file:
        for row in rows:
            row["date"] = datetime.date.today().isoformat()
            row["load"] = round(os.getloadavg()[0], 1)
            row["passed"] = status == 0
            file.write(json.dumps(row) + "\n")
    return status


def read(data):
    """{(kind, connections): row}, the newest of each; kind: what holds them."""
    rows = {}
    with open(data, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rows[row["kind"], row["connections"]] = row
    return dict(sorted(rows.items(), key=lambda item: (item[0][0] != SLOTS, item[0])))


def each(row, key):
    return row[key] / row["connections"]


def table(head, rows):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)) + "\n"


def thousands(number):
    return f"{number:,.0f}"


def curves(rows, value):
    return [(kind, [(n, value(row)) for (k, n), row in rows.items() if k == kind])
            for kind in dict.fromkeys(kind for kind, _ in rows)]


def draw(rows, out):
    """Two plots; none without gnuplot."""
    if not shutil.which("gnuplot"):
        print("connections: no plots, gnuplot is not installed")
        return False
    user = curves(rows, lambda row: each(row, "user_bytes"))
    own = {n: row["program_bytes_each"] for (kind, n), row in rows.items() if kind == SLOTS}
    user.append(("the program's own struct", sorted(own.items())))
    plot.lines(os.path.join(out, "connections-user.svg"), "User memory of a connection", "connections held", "bytes",
               user, y_from=0, guide=(GOAL, f"goal: {GOAL}"))
    plot.lines(os.path.join(out, "connections-kernel.svg"), "Kernel memory of an end of a connection",
               "connections held", "bytes", curves(rows, lambda row: each(row, "kernel_bytes") / 2), y_from=0)
    return True


def caches(row):
    names = {key.removeprefix("cache_"): value for key, value in row.items() if key.startswith("cache_")}
    return [[f"`{name}`", thousands(value / row["connections"])] for name, value in names.items()
            if value / row["connections"] >= 20]


def page(rows, has_plot):
    biggest = max((row for (kind, _), row in rows.items() if kind == SLOTS), key=lambda row: row["connections"])
    text = f"""# Connections: how many one process holds, and what each costs

`./dev bench million [--connections N]`: a server on the library in one process, its clients by hand in others, all on one
machine, over loopback. Every connection is made, with a message there and back; while all are held, memory is read, and a message
goes through each of them again; then all end, and it is looked whether anything is left. The server holds a socket and one
operation for each ({biggest["program_bytes_each"]} bytes): a multishot receive that leases its buffer. Beside it, "by hand": the same
with io_uring alone (`--by-hand`), where a connection is its number in the ring's table and has no deadline, no cancel, no owner.

{biggest["machine"]}, {biggest["cpus"]} CPUs, Linux {biggest["kernel"]}. This page is written by `./dev bench connections`.

"""
    text += table(["connections", "held by", "shards", "held", "echoed", "made a second", "user, B each", "kernel, B an end",
                   "left after the end", "commit, date, load"],
                  [[thousands(n), kind, str(row["shards"]), thousands(row["held"]), thousands(row["echoed"]),
                    thousands(n / row["connect_s"]), f'{each(row, "user_bytes"):.1f}',
                    thousands(each(row, "kernel_bytes") / 2), f'{round(row["kernel_after_bytes"] / 2 ** 20)} MiB',
                    f'{row["commit"]}, {row["date"]}, {row["load"]}'] for (kind, n), row in rows.items()])
    if has_plot:
        text += "\n![User memory of a connection](connections-user.svg)\n\n![Kernel memory](connections-kernel.svg)\n"
    text += f"""
**User memory** is the server's anonymous memory that is resident, less that of the same process before it began, so threads, rings'
buffers and pools are in it. The goal is {GOAL} B a connection. **Kernel memory** is what the kernel's allocator, its stacks and page tables
have more than before, for two ends of a connection: the server's and the client's; it is that of the whole machine, so that at small
sizes other programs show. What is left of it after the end is not the crowd's, or the kernel has not got round to it. The load is the system's average over a
minute, at the end of the run: other programs' for the most part, so connections a second are no claim, and memory is.

Of {thousands(biggest["connections"])} connections, by the kernel's caches (both ends together):

"""
    return text + table(["cache", "B a connection"], caches(biggest))


def main():
    parser = argparse.ArgumentParser(prog="./dev bench connections")
    parser.add_argument("build")
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--out", default=os.path.join(ROOT, "docs", "benchmarks"))
    options, words = parser.parse_known_args()
    os.makedirs(options.out, exist_ok=True)
    data = os.path.join(options.out, "connections.jsonl")
    failed = 0
    for size in [] if options.page else options.sizes.split(","):
        failed += measure(options.build, int(size), words, data) != 0
    rows = {key: row for key, row in read(data).items() if row["passed"]}
    has_plot = draw(rows, options.out)
    with open(os.path.join(options.out, "connections.md"), "w", encoding="utf-8") as file:
        file.write(page(rows, has_plot))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
