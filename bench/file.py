#!/usr/bin/env python3
"""Random 4 KiB reads from the page cache: the library beside fio's io_uring engine, and its epoll engine
beside libuv's pool.  In turns: a round is one window of each contender, in a shuffled order; each round
gives one ratio, and the result is the median of those with its 95% interval.

    bench/file.py BUILD-DIR [--rounds N] [--depths 1,32,256] [--milliseconds MS]

CPU is user and system time of the whole process; of fio that of its one job, as it reports it.
"""
import json
import math
import os
import random
import subprocess
import sys
import tempfile

SIZE = 256 << 20


def option(name, default):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


BUILD = sys.argv[1]
ROUNDS = int(option("--rounds", "21"))
DEPTHS = [int(d) for d in option("--depths", "1,32,256").split(",")]
MS = int(option("--milliseconds", "1000"))


def ours(engine, depth, path):
    line = subprocess.run([os.path.join(BUILD, "bench", "file"), "--engine", engine, "--depth", str(depth),
                           "--milliseconds", str(MS), "--file", path], check=True, capture_output=True,
                          text=True).stdout
    got = json.loads(line)
    return got["ops"] / got["wall_ns"] * 1e9, got["cpu_ns"] / got["ops"]


def fio(depth, path):
    # As the library has it: one thread, completions by the page cache, no extra work of fio's.
    line = subprocess.run(["fio", "--name=x", "--ioengine=io_uring", f"--iodepth={depth}", "--rw=randread",
                           "--bs=4k", f"--filename={path}", f"--size={SIZE}", "--time_based",
                           f"--runtime={MS}ms", "--thread", "--invalidate=0", "--norandommap",
                           "--random_generator=tausworthe", "--gtod_reduce=1", "--output-format=json"],
                          check=True, capture_output=True, text=True).stdout
    job = json.loads(line)["jobs"][0]
    read = job["read"]
    cpu = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1e6
    return read["total_ios"] / job["job_runtime"] * 1e3, cpu / read["total_ios"]


def interval(values):
    """The median and its 95% interval, from order statistics."""
    at = sorted(values)
    n = len(at)
    half = 0.98 * math.sqrt(n)
    low = max(0, int(n / 2 - half))
    high = min(n - 1, int(math.ceil(n / 2 + half)) - 1)
    return at[n // 2], at[low], at[high]


def show(text, values):
    mid, low, high = interval(values)
    print(f"  {text:34} {mid:6.3f}   [{low:.3f}, {high:.3f}]")


def main():
    with tempfile.NamedTemporaryFile(dir=option("--dir", None)) as file:
        chunk = os.urandom(1 << 20)
        for _ in range(SIZE >> 20):
            file.write(chunk)
        file.flush()
        path = file.name
        for depth in DEPTHS:
            lanes = {"uring": lambda: ours("uring", depth, path), "epoll": lambda: ours("epoll", depth, path),
                     "fio": lambda: fio(depth, path), "fio again": lambda: fio(depth, path),
                     "uv": lambda: ours("uv", depth, path)}
            rounds = []
            for _ in range(ROUNDS):
                order = list(lanes)
                random.shuffle(order)
                got = {}
                for name in order:
                    got[name] = lanes[name]()
                rounds.append(got)
            print(f"depth {depth}, {ROUNDS} rounds of {MS} ms")
            for name in lanes:
                ops = interval([r[name][0] for r in rounds])[0]
                cpu = interval([r[name][1] for r in rounds])[0]
                print(f"  {name:10} {ops / 1e3:8.1f} thousand reads/s  {cpu:7.0f} ns CPU each")
            for over, under in (("uring", "fio"), ("fio again", "fio"), ("epoll", "uv")):
                show(f"{over} / {under}: operations", [r[over][0] / r[under][0] for r in rounds])
                show(f"{over} / {under}: CPU per operation", [r[over][1] / r[under][1] for r in rounds])


main()
