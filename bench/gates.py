#!/usr/bin/env python3
"""The gates that noise cannot break: instructions and system calls of a hop, allocations, sizes of what users hold.

    gates.py BUILD_DIRECTORY              compare with gates.json; a step of ./dev test
    gates.py BUILD_DIRECTORY --record     write what is now into it

Instructions are counted by callgrind and depend on the compiler, not on the machine or its load: each
compiler has its own row, and one that was never recorded is skipped.  System calls are counted by strace.
More than 3% over the record fails; so does one allocation in steady state, and a size that grew.  Who makes something cheaper records it."""
import json
import os
import re
import subprocess
import sys
import tempfile

import syscalls

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = os.path.join(HERE, "gates.json")
OVER = 1.03
SIZES = ("pro_op", "pro_socket", "pro_scope", "pro_listener", "pro_lease", "pro_address")


def compiler():
    """gcc and the number that decides what it makes of a program."""
    first = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout
    return "gcc " + re.search(r" (\d+)\.\d+\.\d+", first).group(1)


def instructions(build):
    """Variant of the library -> user instructions per hop.  Over TCP: leased receives of Unix streams are one-shot."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([os.path.join(build, "bench", "instr"), "--transport", "tcp",
                        "--json", out.name],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        rows = [json.loads(line) for line in open(out.name, encoding="utf-8")]
    return {row["variant"]: row["instructions_per_hop"] for row in rows
            if not row["variant"].startswith("raw-")}


def system_calls(build):
    """Variant of the library -> system calls per hop, of 100 pairs; without those that cannot be counted."""
    counted = {name: syscalls.of_variant(build, name, pairs=100)
               for name in syscalls.variants(build) if not name.startswith("raw-")}
    return {name: sum(calls.values()) for name, calls in counted.items() if calls is not None}


def allocations(build):
    """Does any variant of the library ask for memory in steady state?"""
    done = subprocess.run([os.path.join(build, "bench", "alloc")], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout


def sizes():
    """Bytes of the structs of which a connection is made, by the public headers alone."""
    lines = "".join(f'    printf("{name} %zu\\n", sizeof({name}));\n' for name in SIZES)
    source = f"#include <proactor.h>\n#include <stdio.h>\nint main(void)\n{{\n{lines}    return 0;\n}}\n"
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "sizes")
        subprocess.run(["gcc", "-I", os.path.join(HERE, "..", "include"), "-x", "c", "-", "-o", program],
                       input=source, text=True, check=True)
        out = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(size) for name, size in (line.split() for line in out.splitlines())}


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def say(self, good, name, why):
        self.passed += good
        self.failed += not good
        print(f"ok {name}" if good else f"FAIL {name}: {why}", flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip {name}: {why}")


def main():
    build = sys.argv[1]
    counted, called, held = instructions(build), system_calls(build), sizes()
    if sys.argv[2:] == ["--record"]:
        try:
            with open(RECORD, encoding="utf-8") as file:
                record = json.load(file)
        except FileNotFoundError:
            record = {"instructions_per_hop": {}}
        record["instructions_per_hop"][compiler()] = {
            name: round(value) for name, value in sorted(counted.items())}
        record["system_calls_per_hop"] = {name: round(value, 4) for name, value in sorted(called.items())}
        record["sizes"] = held
        with open(RECORD, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=4)
            file.write("\n")
        return 0

    with open(RECORD, encoding="utf-8") as file:
        record = json.load(file)
    report = Report()
    known = record["instructions_per_hop"].get(compiler())
    for name, value in sorted(counted.items()):
        gate = f"instructions_per_hop_{name}"
        if known is None:
            report.skip(gate, f"never recorded for {compiler()}")
        elif name not in known:
            report.say(False, gate, "not in bench/gates.json: record it")
        else:
            report.say(value <= known[name] * OVER, gate,
                       f"{value:.1f}, more than 3% over {known[name]}")
    for name, most in record["system_calls_per_hop"].items():
        gate = f"system_calls_per_hop_{name}"
        if name not in called:
            report.skip(gate, "the variant or strace does not work here")
        else:
            report.say(called[name] <= most * OVER, gate, f"{called[name]:.4f}, more than 3% over {most}")
    status, out = allocations(build)
    report.say(status == 0, "no_allocations_in_steady_state", " / ".join(out.split("\n")))
    for name, size in held.items():
        report.say(size <= record["sizes"].get(name, 0), f"size_of_{name}",
                   f"{size} bytes, recorded {record['sizes'].get(name)}")
    for name, value in sorted(counted.items()):
        print(f"report: {name} {value:.0f} user instructions per hop")
    print(f"{report.passed} passed, {report.failed} failed, {report.skipped} skipped")
    return report.failed != 0


if __name__ == "__main__":
    sys.exit(main())
