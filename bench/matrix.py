#!/usr/bin/env python3
"""The trade-off matrix: thread per connection, reactor, proactor emulated and native, proactor with coroutines,
each by all that speaks for it and against it.

    ./dev bench matrix               measures for some minutes, then writes docs/benchmarks/trade-offs.*
    ./dev bench matrix --long        more rounds: narrower intervals
    ./dev bench matrix --quick       a look, into build/matrix: does it all still work?
    ./dev bench matrix --from FILE   only the page and its plots, from what was measured before
      --out DIR                      somewhere else
      --only PART,...                messages memory system_calls handlers offload blocking lines mistakes engines

What is measured is in lib/matrix_measure.py, and goes to trade-offs.jsonl as it comes; the page
(lib/matrix_page.py) and the plots (lib/matrix_plots.py) are made from that file alone.
"""
import argparse
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "bench", "lib"))
import matrix_measure  # noqa: E402
import matrix_page  # noqa: E402
import matrix_plots  # noqa: E402


@dataclasses.dataclass
class Plan:
    messages: tuple = (("1,10,100", 16, 2), ("1000", 8, 2), ("5000", 5, 1))  # connections, rounds, parts
    sizes: str = "64,1024,16384"
    window_us: int = 50000
    held: int = 9000
    traced_connections: int = 100
    traced_messages: int = 100
    repeats: int = 3
    handler_ms: int = 300
    compute_us: tuple = (1, 10, 30, 100, 300, 1000)
    configs: tuple = ("release", "debug", "asan")
    conform: tuple = ()


LONG = Plan(messages=(("1,10,100", 48, 4), ("1000", 24, 4), ("5000", 16, 2)), repeats=5, handler_ms=1000)
QUICK = Plan(messages=(("1,50", 2, 1),), sizes="64", window_us=10000, held=200, traced_connections=10,
             traced_messages=20, repeats=1, handler_ms=60, compute_us=(1, 1000), configs=("release",),
             conform=("--only=clos",))


def host():
    def line(*command):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        return done.stdout.strip()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [row.split(":", 1)[1].strip() for row in file if row.startswith("model name")]
    return {"machine": models[0] if models else "unknown", "cpus": os.cpu_count(), "kernel": os.uname().release,
            "compiler": line("gcc", "-dumpfullversion"), "commit": line("git", "describe", "--always", "--dirty"),
            "date": datetime.date.today().isoformat(), "load": round(os.getloadavg()[0], 1)}


def measure(build, plan, only, path):
    """All parts, one after the other, into the file."""
    about = host()
    parts = {
        "memory": lambda: matrix_measure.memory(build, plan),
        "system_calls": lambda: matrix_measure.system_calls(build, plan),
        "handlers": lambda: matrix_measure.handlers(build, plan),
        "offload": lambda: matrix_measure.offload(build, plan),
        "blocking": lambda: matrix_measure.blocking(build, plan),
        "lines": lambda: matrix_measure.lines(build, ROOT),
        "mistakes": lambda: matrix_measure.mistakes(ROOT, plan),
        "engines": lambda: matrix_measure.engines(build, ROOT, plan),
    }

    def write(name, row):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"bench": name, **row}) + "\n")

    write("host", {**about, "plan": dataclasses.asdict(plan)})
    for name in ("messages", *parts):
        if only and name not in only:
            continue
        begun = time.monotonic()
        if name == "messages":
            matrix_measure.messages(build, plan, path)
        else:
            for row in parts[name]():
                write(name, row)
        write("host", {"load_of_" + name: round(os.getloadavg()[0], 1)})
        print(f"matrix: {name}, {time.monotonic() - begun:.0f} s", flush=True)
    write("host", {**about, "load_after": round(os.getloadavg()[0], 1)})


def main():
    parser = argparse.ArgumentParser(prog="./dev bench matrix")
    parser.add_argument("build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--out")
    parser.add_argument("--only", default="")
    parser.add_argument("--from", dest="source")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    plan = QUICK if options.quick else LONG if options.long else Plan()
    out = options.out or (os.path.join(os.path.dirname(build), "matrix") if options.quick else
                          os.path.join(ROOT, "docs", "benchmarks"))
    os.makedirs(out, exist_ok=True)
    data = options.source or os.path.join(out, "trade-offs.jsonl")
    if not options.source:
        if os.path.exists(data) and not options.only:
            os.unlink(data)
        measure(build, plan, options.only.split(",") if options.only else [], data)
    results = matrix_page.read(data)
    missing = [name for name, rows in results.parts.items() if not rows] + ([] if results.tcp else ["messages"])
    if missing:
        print(f"matrix: no page as yet, there are no figures of {', '.join(missing)} in {data}")
        return 0
    plots = matrix_plots.draw(results, out)
    with open(os.path.join(out, "trade-offs.md"), "w", encoding="utf-8") as file:
        file.write(matrix_page.write(results, plots))
    print(os.path.join(out, "trade-offs.md"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
