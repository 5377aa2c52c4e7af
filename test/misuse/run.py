#!/usr/bin/env python3
"""Run the programs that are wrong on purpose; each must be caught, with the right message.

    run.py BUILD [NAME...]        BUILD: a build directory; what it must catch is in its cache

What a program must say stands at the top of its file: see misuse.h.  What the guide shows of it, behind
a line "% says: KIND NAME", it must say as well, line by line; "..." there is for what differs.
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
GUIDE = os.path.join(HERE, "..", "..", "docs", "guide", "ownership.md")
SKIP = 77
PLACE = re.compile(r"/\* (\w+) \*/")
SHOWN = re.compile(r"^% says: (\w+) (\w+)\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEAD = re.compile(r"^ \* (?:(\w+) )?(where|says): (.*)$")


def kind_of(build):
    """release, debug (checked) or asan (checked, AddressSanitizer)."""
    with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as cache:
        options = dict(re.findall(r"^(PROACTOR_\w+):\w+=(.*)$", cache.read(), re.MULTILINE))
    if options.get("PROACTOR_CHECKED") != "ON":
        return "release"
    return "asan" if options.get("PROACTOR_SANITIZE") == "address" else "debug"


def read(path, kind):
    """Where it must be caught, and with what, as (pattern as written, regex)."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    places = {}
    for number, line in enumerate(lines, 1):
        for name in PLACE.findall(line):
            places[name] = rf"test/misuse/{re.escape(os.path.basename(path))}:{number}\b"
    where, says = [], []
    for line in lines:
        match = HEAD.match(line)
        if not match:
            continue
        only, word, text = match.groups()
        if word == "where":
            where = text.split()
        elif only in (None, kind):
            regex = re.sub(r"\{([a-z]+)\}", lambda place: places[place.group(1)], text)
            says.append((text, regex))
    return where, says


def shown(kind):
    """What the guide shows, by name, as (line, regex)."""
    lines = {}
    with open(GUIDE, encoding="utf-8") as file:
        for shown_kind, name, text in SHOWN.findall(file.read()):
            if shown_kind == kind:
                lines[name] = [(line, re.escape(line).replace(re.escape("..."), ".*"))
                               for line in text.splitlines()]
    return lines


def run(program):
    environment = dict(os.environ)
    options = environment.get("ASAN_OPTIONS", "")
    environment["ASAN_OPTIONS"] = options + ":detect_stack_use_after_return=1:detect_leaks=0"
    try:
        done = subprocess.run([program], env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60,
                              check=False)
    except subprocess.TimeoutExpired as hung:
        return None, (hung.stderr or b"").decode("utf-8", "replace")
    return done.returncode, done.stderr.decode("utf-8", "replace")


def judge(status, output, says):
    """What is wrong, or None."""
    if status is None:
        return "was not caught: it hung"
    if status == 0:
        return "was not caught"
    if status == 1 and "AddressSanitizer" not in output:
        return "could not be made"
    for text, regex in says:
        if not re.search(regex, output):
            return f"does not say: {text}"
    return None


def main():
    build, *only = sys.argv[1:]
    kind = kind_of(build)
    guide = shown(kind)
    names = sorted(name[:-2] for name in os.listdir(HERE) if name.endswith(".c"))
    passed = failed = skipped = 0
    for name in only or names:
        where, says = read(os.path.join(HERE, name + ".c"), kind)
        if kind not in where:
            continue
        status, output = run(os.path.join(build, "test", "misuse", name))
        if status == SKIP:
            skipped += 1
            print(f"skip {name}: this engine does not work here")
            continue
        why = judge(status, output, says + guide.get(name, []))
        if why is None:
            passed += 1
            print(f"ok {name}")
        else:
            failed += 1
            print(f"FAIL {name}: {why}")
            print("".join(f"    {line}\n" for line in output.splitlines()[:40]), end="")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
