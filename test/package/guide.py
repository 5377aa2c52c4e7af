#!/usr/bin/env python3
"""The guide does not lie: the examples in it are compiled, what they print is what it says, and the
pieces it shows of them are there.  Without Sphinx; ./dev docs makes the site.
"""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "apps"))

from lib import harness  # noqa: E402
from lib.harness import case, case_per_engine, check, equal  # noqa: E402

DOCS = os.path.join(HERE, "..", "..", "docs")
PRINTS = re.compile(r"^% prints: (\S+)\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INCLUDES = re.compile(r"^```\{literalinclude\} (\S+)\n(.*?)```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r'^:(start-at|start-after|end-at|end-before): "?(.*?)"?$', re.MULTILINE)


def pages():
    for folder, _, files in os.walk(DOCS):
        for name in sorted(files):
            if name.endswith(".md"):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    yield os.path.relpath(path, DOCS), file.read()


@case_per_engine
def the_examples_print_what_the_guide_says(engine):
    count = 0
    for page, text in pages():
        for program, output in PRINTS.findall(text):
            done = harness.run("bin/examples/" + program, env={"PROACTOR_ENGINE": engine})
            equal((done.returncode, done.stderr), (0, ""), f"{page}: {program}")
            equal(done.stdout, output, f"{page}: {program} prints")
            count += 1
    check(count >= 3, f"found only {count}")


@case
def the_pieces_that_the_guide_shows_are_there():
    count = 0
    for page, text in pages():
        for source, options in INCLUDES.findall(text):
            path = os.path.join(DOCS, os.path.dirname(page), source)
            check(os.path.exists(path), f"{page}: no {source}")
            with open(path, encoding="utf-8") as file:
                rest = file.read()
            for option, marker in OPTION.findall(options):
                _, found, rest = rest.partition(marker)
                check(found, f"{page}: {source} has no {option} {marker!r}")
            count += 1
    check(count >= 10, f"found only {count}")


if __name__ == "__main__":
    harness.main()
