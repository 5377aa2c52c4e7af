#!/usr/bin/env python3
"""bench/syscalls: how many system calls does a hop (lib/hop.h) cost?  Counted by strace, so from outside.

    ./dev bench syscalls [--pairs N,...] [--size BYTES] [--only VARIANT,...] [--top] [--json FILE]

Each variant runs twice, for two numbers of hops; what set-up and tear-down cost is in both and leaves with
the difference.  A count depends on how much a turn finds, never on the time: both ends are in one thread."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

SHORT, LONG = 4000, 12000


def variants(build):
    text = subprocess.run([os.path.join(build, "bench", "instr"), "--help"], capture_output=True, text=True,
                          check=False).stderr
    return re.findall(r"^  (\S+) +", text[text.index("variants:"):], re.MULTILINE)


def count(build, variant, hops, pairs, size):
    """Hops that were done, and calls by their names; None where this machine cannot."""
    with tempfile.NamedTemporaryFile() as out:
        done = subprocess.run(
            ["strace", "-f", "-c", "-o", out.name, os.path.join(build, "bench", "instr"), "--variant", variant,
             "--hops", str(hops), "--pairs", str(pairs), "--size", str(size)],
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return None
        calls = {}
        for line in open(out.name, encoding="utf-8"):
            words = line.split()
            if len(words) >= 5 and re.fullmatch(r"[\d.]+", words[0]) and words[-1] != "total":
                calls[words[-1]] = int(words[3])
    return int(done.stdout), calls


def of_variant(build, variant, pairs=16, size=64):
    """Name -> calls a hop, those that cost anything; None where this machine cannot."""
    short, long = (count(build, variant, hops, pairs, size) for hops in (SHORT, LONG))
    if not short or not long:
        return None
    hops = long[0] - short[0]
    each = {name: (calls - short[1].get(name, 0)) / hops for name, calls in long[1].items()}
    return {name: calls for name, calls in each.items() if calls > 0}


def main():
    parser = argparse.ArgumentParser(prog="./dev bench syscalls", description=__doc__.splitlines()[0])
    parser.add_argument("build", help=argparse.SUPPRESS)
    parser.add_argument("--pairs", default="1,16,100")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--only")
    parser.add_argument("--top", action="store_true", help="by the names of the calls")
    parser.add_argument("--json")
    o = parser.parse_args()
    known = variants(o.build)
    chosen = o.only.split(",") if o.only else known
    for name in chosen:
        if name not in known:
            parser.error(f"no variant {name}: there are {', '.join(known)}")
    print(f"system calls a hop, {o.size} bytes, by strace\n{'variant':14} {'pairs':>6} {'calls':>9}")
    for name in chosen:
        for pairs in map(int, o.pairs.split(",")):
            calls = of_variant(o.build, name, pairs, o.size)
            if calls is None:
                print(f"{name:14} {pairs:6}   not on this machine")
                continue
            most = ", ".join(f"{call} {n:.4f}" for call, n in sorted(calls.items(), key=lambda row: -row[1]))
            print(f"{name:14} {pairs:6} {sum(calls.values()):9.4f}  {most if o.top else ''}".rstrip(), flush=True)
            if o.json:
                with open(o.json, "a", encoding="utf-8") as out:
                    out.write(json.dumps({"bench": "syscalls", "variant": name, "pairs": pairs, "size": o.size,
                                          "calls_per_hop": sum(calls.values()), "calls": calls}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
