#!/usr/bin/env python3
"""Build the configurations, run their steps, add up what they report.

A step is a line of build/<config>/steps.txt (cmake/steps.cmake writes it).  It prints, one a line,

    ok NAME        FAIL NAME: why        skip NAME: reason        report: WHAT WAS MEASURED

and as its very last line

    N passed, N failed, N skipped

It has passed only if it says so there, with nothing failed and something run or skipped, and exits
with 0.  One that crashes, hangs or ends without that line is one failure more.  At the end stand what
was skipped, a line a reason, then what failed once more: who sees only the last lines sees why.  The
very last line is the sum: "N passed, N failed".
"""
import argparse
import collections
import concurrent.futures
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def works(command):
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


# What stands in front of a command.  Sanitizers do not always find room for their shadow memory
# where the kernel randomises addresses much; where a container forbids setarch they have to try.
SETARCH = ["setarch", "-R"] if works(["setarch", "-R", "true"]) else []
# Fair, or a thread that spins keeps the others from running.  What a living thread holds at exit is
# "possibly lost", and no leak.
VALGRIND = ["valgrind", "-q", "--error-exitcode=99", "--fair-sched=yes", "--leak-check=full",
            "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"]

# Stage: the configuration it builds, and what its commands run under.
STAGES = {
    "release": ("release", []),
    "debug": ("debug", []),
    "asan": ("asan", SETARCH),
    "tsan": ("tsan", SETARCH),
    "valgrind": ("release", VALGRIND),
    "clang": ("clang", []),
    "windows": ("windows", []),
    "nightly": ("release", []),
}
UNASKED = [stage for stage in STAGES if stage != "nightly"]  # what takes long or much is asked for

ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1",
}

LAST_LINE = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?")

Step = collections.namedtuple("Step", "stage name timeout variables command")


class Result:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.why = ""
        self.output = ""
        self.seconds = 0.0


def read_steps(stage, only):
    config, prefix = STAGES[stage]
    steps = []
    with open(os.path.join(ROOT, "build", config, "steps.txt"), encoding="utf-8") as table:
        for line in table:
            name, configs, timeout, *command = line.rstrip("\n").split("\t")
            if stage not in configs.split(",") or not name.startswith(only):
                continue
            variables = []
            while "=" in command[0]:
                variables.append(command.pop(0))
            steps.append(Step(stage, name, int(timeout), variables, prefix + command))
    return steps


running = set()
running_lock = threading.Lock()


def stop(process):
    """Kill a step with everything that it started and may have left behind."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def execute(step):
    """Run a step in an empty directory; return its exit status (None: it hung) and its output."""
    environment = dict(os.environ, **ENVIRONMENT)
    environment.update(variable.split("=", 1) for variable in step.variables)
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as output:
        environment["TMPDIR"] = scratch
        process = subprocess.Popen(step.command, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, cwd=scratch, env=environment,
                                   start_new_session=True)
        with running_lock:
            running.add(process)
        try:
            status = process.wait(step.timeout)
        except subprocess.TimeoutExpired:
            status = None
        stop(process)
        with running_lock:
            running.discard(process)
        output.seek(0)
        return status, output.read().decode("utf-8", "replace")


def run(step):
    result = Result()
    begin = time.monotonic()
    try:
        status, result.output = execute(step)
    except OSError as error:
        status, result.output = 127, str(error)
    result.seconds = time.monotonic() - begin

    lines = result.output.rstrip("\n").split("\n")
    last = LAST_LINE.fullmatch(lines[-1])
    if last:
        result.passed, result.failed, result.skipped = (int(n or 0) for n in last.groups())
    else:
        result.passed = sum(line.startswith("ok ") for line in lines)
        result.failed = sum(line.startswith("FAIL ") for line in lines)

    if status is None:
        result.why = f"hung: stopped after {step.timeout} s"
    elif status < 0:
        result.why = f"killed by {signal.Signals(-status).name}"
    elif not last:
        result.why = f"exit status {status}, without a last line"
    elif status != 0 and result.failed == 0:
        result.why = f"exit status {status}, though nothing failed"
    elif result.passed + result.failed + result.skipped == 0:
        result.why = "ran nothing"
    if result.why:
        result.failed += 1
    return result


def report(step, result):
    verdict = "FAIL" if result.failed else "ok"
    counts = f"{result.passed} passed"
    if result.failed:
        counts += f", {result.failed} failed"
    if result.skipped:
        counts += f", {result.skipped} skipped"
    print(f"{verdict:4} {step.stage:8} {step.name:28} {counts:32} {result.seconds:6.1f} s", flush=True)
    for line in result.output.splitlines():
        if line.startswith("report: "):
            print("     " + line.removeprefix("report: "), flush=True)
    if result.failed:
        print("".join("    | " + line + "\n" for line in result.output.splitlines()), end="")
        if result.why:
            print(f"FAIL {step.name}: {result.why}")
        print("replay:", shlex.join(step.variables + step.command), flush=True)


def what_failed(step, result):
    """The failures of a step as single lines."""
    lines = [line for line in result.output.splitlines() if line.startswith("FAIL ")]
    if result.why:
        lines.append(f"FAIL {step.name}: {result.why}")
    return [f"{line} ({step.stage} {step.name})" for line in lines]


def rows_of_skipped(skipped):
    """A line for each reason: how many sentences it left out, and in which steps."""
    rows = collections.defaultdict(lambda: (set(), set()))
    for sentence, reason, name in skipped:
        sentences, names = rows[reason]
        sentences.add(sentence)
        names.add(name)
    for reason, (sentences, names) in sorted(rows.items()):
        first, *others = sorted(names)
        more = f" and {len(others)} steps more" if others else ""
        yield f"skipped {len(sentences)} in {first}{more}: {reason}"


def build(config):
    """Build a configuration; return whether it did."""
    begin = time.monotonic()
    done = subprocess.run(["./dev", "build", "--" + config], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, check=False)
    verdict = "ok" if done.returncode == 0 else "FAIL"
    print(f"{verdict:4} {config:8} {'build':28} {'':32} {time.monotonic() - begin:6.1f} s", flush=True)
    if done.returncode != 0:
        print(done.stdout.decode("utf-8", "replace"), flush=True)
    return done.returncode == 0


def arguments():
    parser = argparse.ArgumentParser(prog="./dev test")
    parser.add_argument("--quick", action="store_true", help="the release build only")
    parser.add_argument("--config", choices=STAGES, help="this one only")
    parser.add_argument("--only", default="", metavar="STEP",
                        help="the steps whose name begins so")
    parser.add_argument("--list", action="store_true", help="what there is to run")
    return parser.parse_args()


def main():
    options = arguments()
    stages = [options.config] if options.config else ["release"] if options.quick else UNASKED

    passed = failed = 0
    failures = []
    steps = []
    built = {}
    for stage in stages:
        config = STAGES[stage][0]
        if stage == "windows" and not works(["./dev", "deps", "--windows"]):
            print("skipped windows: its compiler and Wine cannot be installed here", flush=True)
            continue
        if config not in built:
            built[config] = build(config)
            if not built[config]:
                failed += 1
                failures.append(f"FAIL build of {config}")
        if built[config]:
            steps += read_steps(stage, options.only)
    if options.list:
        for step in steps:
            print(f"{step.stage:8} {step.name}")
        return failed != 0
    if not steps:
        print("FAIL: there is no such step")
        failed += 1

    skipped = set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            futures = {pool.submit(run, step): step for step in steps}
            for future in concurrent.futures.as_completed(futures):
                step, result = futures[future], future.result()
                report(step, result)
                passed += result.passed
                failed += result.failed
                failures += what_failed(step, result)
                for line in result.output.splitlines():
                    if line.startswith("skip "):
                        sentence, _, reason = line.rpartition(": ")
                        skipped.add((sentence, reason, step.name))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            with running_lock:
                for process in running:
                    stop(process)
            raise

    for row in [*rows_of_skipped(skipped), *failures]:
        print(row)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
