#!/usr/bin/env python3
"""Plant one bug at a time in the library and count the seeds until the simulator finds it.

    ./dev sim mutants [--seeds N] [--only NAME] [--jobs N] [--table]

Each test/sim/mutants/NAME.patch is applied to a copy of the sources; its first line says what it does.
Only the files it touches are compiled again.  A mutant is found when a scenario fails, aborts, or
hangs (its watchdog says so); the search stops there.  The buggy programs of test/sim/buggy, which
use the library as it is, are the second half of the table; --table prints it as Markdown.

First of all the library as it is must pass: what is always found is no find.  The last line is
"N passed, N failed": a mutant that is found passes.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = ["src/core/*.c", "src/ops/*.c", "src/os/posix/*.c", "src/compose.c", "src/shard/*.c",
           "src/engine/uring/*.c", "src/engine/epoll/*.c", "src/engine/sim/*.c",
           "src/engine/faults/*.c", "src/co/*.[cS]"]
SCENARIOS = ["test/sim/*.c", "test/random/*.c"]
ECHO = ["apps/pro-echo/*.c"]
FLAGS = ["-O1", "-g", "-w", "-D_GNU_SOURCE", "-Iinclude", "-Isrc", "-Itest"]
COMPILER = (["ccache"] if shutil.which("ccache") else []) + ["gcc"]


def sources(patterns, tree=ROOT):
    found = [os.path.relpath(path, tree) for pattern in patterns
             for path in sorted(glob.glob(os.path.join(tree, pattern)))]
    return [path for path in found
            if "/checked" not in path and not path.endswith("/fidelity.c") and not path.endswith(("_win.c", "_win64.S"))]


def object_of(source):
    return source.replace("/", "_") + ".o"


def compile_one(source, folder, tree, flags=()):
    """What the compiler says, or an empty string."""
    run = subprocess.run([*COMPILER, *FLAGS, *flags, "-c", source, "-o",
                          os.path.join(folder, object_of(source))],
                         cwd=tree, check=False, capture_output=True, text=True)
    return run.stderr if run.returncode else ""


def link(program, objects):
    run = subprocess.run(["gcc", "-o", program, *objects, "-l:liburing.a", "-lpthread"], check=False,
                         capture_output=True, text=True)
    return run.stderr


class Base:
    """The objects of the library and the scenarios as they are."""

    def __init__(self, folder, jobs):
        self.folder = folder
        self.library = sources(LIBRARY)
        self.scenarios = sources(SCENARIOS) + sources(ECHO)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for said in pool.map(self.compile, self.library + self.scenarios):
                if said:
                    sys.exit(said)

    def compile(self, source):
        main = ["-Dmain=pro_echo_main"] if source.startswith("apps/") else []
        return compile_one(source, self.folder, ROOT, main)

    def objects(self, names):
        return [os.path.join(self.folder, object_of(name)) for name in names]


def search(program, seeds, start=1):
    """(how many seeds, scenario, what the report said), or None if nothing was found."""
    run = subprocess.run([program, f"--seeds={seeds}", f"--start={start}"], capture_output=True,
                         text=True, errors="replace", check=False)
    output = run.stdout + run.stderr
    if run.returncode == 0:
        return None
    said = re.findall(r"^(?:sim: FAIL at \S+ s: |proactor: )(.*)", output, re.M)
    where = re.findall(r"^FAIL sim: (\w+): seed (\d+)", output, re.M)
    where = where or [("-", seed) for seed in re.findall(r"PROACTOR_SEED=(\d+)", output)]
    said = said or [line[5:] for line in output.split("\n") if line.startswith("FAIL")] or ["?"]
    if not where:
        return 1, "-", said[0]
    return int(where[-1][1]) - start + 1, where[-1][0], said[0]


def try_mutant(patch, seeds, base):
    name = os.path.basename(patch)[:-len(".patch")]
    with open(patch, encoding="utf-8") as file:
        text = file.read()
    what = text.split("\n", 1)[0].lstrip("# ")
    folder = os.path.join(base.folder, name)
    os.makedirs(folder)
    for part in ("src", "include"):
        shutil.copytree(os.path.join(ROOT, part), os.path.join(folder, part))
    applied = subprocess.run(["patch", "-s", "-p1"], cwd=folder, input=text, text=True, check=False,
                             capture_output=True)
    if applied.returncode != 0:
        return name, what, "does not apply: the code has changed", None
    touched = re.findall(r"^\+\+\+ b/(\S+)", text, re.M)
    if any(path.endswith(".h") for path in touched):
        touched = base.library
    for path in touched:
        said = compile_one(path, folder, folder)
        if said:
            return name, what, "does not build: " + said.split("\n")[0], None
    program = os.path.join(folder, "sim")
    others = [path for path in base.library + base.scenarios if path not in touched]
    said = link(program, base.objects(others) + [os.path.join(folder, object_of(t)) for t in touched])
    if said:
        return name, what, "does not link: " + said.split("\n")[0], None
    found = search(program, seeds)
    shutil.rmtree(folder)
    return name, what, None, found


def try_buggy(source, seeds, base):
    name = os.path.basename(source)[:-2]
    with open(source, encoding="utf-8") as file:
        what = file.readline().lstrip("/* ").rstrip(" */\n")
    relative = os.path.relpath(source, ROOT)
    said = compile_one(relative, base.folder, ROOT)
    program = os.path.join(base.folder, "buggy-" + name)
    said = said or link(program, base.objects(base.library + [relative]))
    if said:
        return "buggy/" + name, what, "does not build: " + said.split("\n")[0], None
    return "buggy/" + name, what, None, search(program, seeds)


def main():
    parser = argparse.ArgumentParser(prog="./dev sim mutants")
    parser.add_argument("--seeds", type=int, default=10000)
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    mutants = sorted(glob.glob(os.path.join(ROOT, "test/sim/mutants/*.patch")))
    buggy = sorted(glob.glob(os.path.join(ROOT, "test/sim/buggy/*.c")))
    passed = failed = 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        base = Base(folder, options.jobs)
        program = os.path.join(folder, "sim")
        said = link(program, base.objects(base.library + base.scenarios))
        false_alarm = said or search(program, min(options.seeds, 200))
        if false_alarm:
            sys.exit(f"FAIL: the library as it is: {false_alarm}\n0 passed, 1 failed")
        runs = [pool.submit(try_mutant, m, options.seeds, base) for m in mutants
                if options.only in m]
        runs += [pool.submit(try_buggy, b, options.seeds, base) for b in buggy if options.only in b]
        if options.table:
            print("| planted bug | seeds | scenario | what the report said |\n|---|--:|---|---|")
        for run in runs:
            name, what, why, found = run.result()
            passed += found is not None
            failed += found is None
            seed, scenario, said = found or ("-", "-", "NOT FOUND" + (": " + why if why else ""))
            if options.table:
                print(f"| {what} (`{name}`) | {seed} | {scenario} | {said} |")
            else:
                print(f"{name:28} {seed:>6}  {scenario:10} {said[:100]}")
            sys.stdout.flush()
    print(f"in {time.monotonic() - begin:.0f} s", file=sys.stderr)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
