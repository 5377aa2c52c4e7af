#!/usr/bin/env python3
"""bench/growth: what a connection, a timer, a coroutine costs as they become more, as a page with plots.

    ./dev bench growth [--quick] [--write]

Runs bench/many --instr and prints what it found; with --write it also makes docs/benchmarks/growth.md and its
plots.  A quarter of an hour; --quick is a look at the small sizes."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
import plot  # noqa: E402

PAGES = os.path.join(HERE, "..", "docs", "benchmarks")
GOAL = 1.5

# A plot: file, title, what there are many of, the subjects in it.
PLOTS = [
    ("growth-connections", "A hop with more connections", "pairs of connected sockets, all busy",
     ["raw-uring", "lib-uring", "leases-uring", "raw-epoll", "lib-epoll"]),
    ("growth-timers", "A timer among more timers", "live timers", ["timer-rearm", "timer-hot", "timer-expire"]),
    ("growth-coroutines", "A yield among more coroutines", "coroutines, each in its turn", ["coroutine"]),
]


def measure(build, words):
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([os.path.join(build, "bench", "many"), "--instr", "--json", out.name, *words], check=True)
        return [json.loads(line) for line in open(out.name, encoding="utf-8")]


def points(rows, subject):
    return [row for row in rows if row["subject"] == subject and not row["control"]]


def table(rows):
    lines = ["| subject | many | CPU, ns | growth | user instructions | by the fewest |", "|---|---|---|---|---|---|"]
    for subject in dict.fromkeys(row["subject"] for row in rows):
        here = points(rows, subject)
        for i, row in enumerate(here):
            low, mid, high = (row["growth"][key] for key in ("lo", "mid", "hi"))
            void = " void" if row["void"] else ""
            growth = "1" if i == 0 else f"{mid:.2f} [{low:.2f} .. {high:.2f}]{void}"
            ratio = row["instructions"] / here[0]["instructions"]
            lines.append(f"| {f'`{subject}`' if i == 0 else ''} | {row['size']:,} | {row['cpu_ns']:.1f} | {growth} "
                         f"| {row['instructions']:.0f} | {ratio:.2f} |")
    return "\n".join(lines)


def write(rows):
    first = rows[0]
    for name, title, label, subjects in PLOTS:
        series = [(subject, [(row["size"], row["growth"]["mid"], row["growth"]["lo"], row["growth"]["hi"])
                             for row in points(rows, subject)])
                  for subject in subjects if points(rows, subject)]
        plot.lines(os.path.join(PAGES, name + ".svg"), title, label, "CPU time, by that of the fewest", series,
                   y_from=0, guide=(GOAL, f"goal {GOAL}"))
    with open(os.path.join(HERE, "lib", "growth.md.in"), encoding="utf-8") as file:
        text = file.read()
    for key, value in (("@DATE@", time.strftime("%Y-%m-%d")), ("@MACHINE@", first["machine"]),
                       ("@CPUS@", str(first["cpus"])), ("@KERNEL@", first["kernel"]),
                       ("@COMMIT@", first["commit"]), ("@TABLE@", table(rows))):
        text = text.replace(key, value)
    with open(os.path.join(PAGES, "growth.md"), "w", encoding="utf-8") as file:
        file.write(text)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench growth", description=__doc__.splitlines()[0])
    parser.add_argument("build", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="8 rounds, sizes to 1,000")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--write", action="store_true", help="make docs/benchmarks/growth.md and its plots")
    o = parser.parse_args()
    rows = measure(o.build, ["--quick"] if o.quick else ["--rounds", str(o.rounds)])
    print(table(rows))
    if o.write:
        write(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
