#!/usr/bin/env python3
"""Plant one bug at a time in the library and count the seeds until the simulator finds it.

    ./dev sim mutants [--seeds N] [--only NAME] [--jobs N]

Each test/sim/mutants/NAME.patch is applied to a copy of the tree; its first line says what it does.  A
mutant is found when a scenario fails, aborts, or hangs (its watchdog says so).  The last line is "N passed, N failed": a
mutant that is found passes.  The buggy programs of test/sim/buggy are the second half of the table.
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

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCES = ["src/core/*.c", "src/ops/*.c", "src/os/posix/*.c", "src/compose.c", "src/shard/*.c",
           "src/engine/uring/*.c", "src/engine/epoll/*.c", "src/engine/sim/*.c"]
FLAGS = ["-O2", "-g", "-w", "-D_GNU_SOURCE", "-Iinclude", "-Isrc"]
LIMIT_S = 150


def build(tree, output, scenarios, flags=()):
    command = ["gcc", *FLAGS, *flags, "-o", output, *scenarios]
    for pattern in SOURCES:
        command += sorted(glob.glob(os.path.join(tree, pattern)))
    return subprocess.run(command + ["-l:liburing.a", "-lpthread"], cwd=tree, check=False,
                          capture_output=True, text=True)


def build_scenarios(tree, output):
    echo = sorted(glob.glob(os.path.join(tree, "apps/pro-echo/*.c")))
    objects = []
    for source in echo:
        objects.append(source + ".o")
        subprocess.run(["gcc", *FLAGS, "-Dmain=pro_echo_main", "-c", source, "-o", objects[-1]],
                       cwd=tree, check=True)
    return build(tree, output, sorted(glob.glob(os.path.join(tree, "test/sim/*.c"))) + objects)


def search(program, seeds):
    """(how many seeds, what the report said), or None if nothing was found."""
    try:
        run = subprocess.run([program, f"--seeds={seeds}"], capture_output=True, text=True,
                             errors="replace", timeout=LIMIT_S, check=False)
        output = run.stdout
        if run.returncode == 0:
            return None
    except subprocess.TimeoutExpired:
        return None
    said = re.findall(r"^(?:sim: FAIL at \S+ s: |proactor: )(.*)", output, re.M)
    where = re.findall(r"^FAIL sim: (\w+): seed (\d+)", output, re.M)
    where = where or [("-", seed) for seed in re.findall(r"PROACTOR_SEED=(\d+)", output)]
    said = said or [line[6:] for line in output.split("\n") if line.startswith("FAIL")] or ["?"]
    return (int(where[-1][1]) if where else 0, where[-1][0] if where else "-", said[0][:90])


def try_mutant(patch, seeds, folder):
    name = os.path.basename(patch)[:-len(".patch")]
    tree = os.path.join(folder, name)
    os.makedirs(tree)
    for part in ("src", "include", "apps", "test/sim"):
        shutil.copytree(os.path.join(ROOT, part), os.path.join(tree, part))
    with open(patch, encoding="utf-8") as file:
        applied = subprocess.run(["patch", "-s", "-p1"], cwd=tree, stdin=file, check=False,
                                 capture_output=True)
    program = os.path.join(tree, "sim")
    if applied.returncode != 0:
        return name, "does not apply: the code has changed", None
    built = build_scenarios(tree, program)
    if built.returncode != 0:
        return name, "does not build: " + built.stderr.split("\n")[0], None
    found = search(program, seeds)
    shutil.rmtree(tree)
    return name, None, found


def try_buggy(source, seeds, folder):
    name = "buggy/" + os.path.basename(source)[:-2]
    program = os.path.join(folder, os.path.basename(source)[:-2])
    built = build(ROOT, program, [source])
    if built.returncode != 0:
        return name, "does not build: " + built.stderr.split("\n")[0], None
    return name, None, search(program, seeds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10000)
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    mutants = sorted(glob.glob(os.path.join(ROOT, "test/sim/mutants/*.patch")))
    buggy = sorted(glob.glob(os.path.join(ROOT, "test/sim/buggy/*.c")))
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        runs = [pool.submit(try_mutant, m, arguments.seeds, folder) for m in mutants
                if arguments.only in m]
        runs += [pool.submit(try_buggy, b, arguments.seeds, folder) for b in buggy
                 if arguments.only in b]
        print(f"{'planted bug':28} {'seeds':>6}  {'scenario':10} what the report said")
        for run in runs:
            name, why, found = run.result()
            passed += found is not None
            failed += found is None
            if found:
                print(f"{name:28} {found[0] or '-':>6}  {found[1]:10} {found[2]}")
            else:
                print(f"{name:28} {'-':>6}  {'-':10} NOT FOUND{': ' + why if why else ''}")
            sys.stdout.flush()
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
