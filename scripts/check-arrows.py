#!/usr/bin/env python3
"""The arrows: who may include whom, where an engine may be named, where the platform may be seen.

Comments are not code and are not looked at.  Each run first checks itself: --self-test only that.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Directory: which includes it may have, by the beginning of the path between the quotes; the longest
# directory that matches a file counts.  A file may always include its own directory ("" is a name
# without one) and the public headers.
ARROWS = {
    "include": [],
    "src/core": ["core/", "os/os.h", "os/call.h"],  # contracts: no system header in them (ADR 5)
    "src/os": ["os/"],
    "src/ops": ["core/", "os/"],
    "src/shard": ["core/", "os/"],
    "src/co": ["co/", "core/", "os/"],
    "src/stream": ["core/"],
    "src/observe": ["core/"],
    "src/engine/uring": ["core/", "os/", "engine/uring/"],
    "src/engine/epoll": ["core/", "os/", "engine/epoll/"],
    "src/engine/iocp": ["core/", "os/", "engine/iocp/"],
    # Its threads are stacks, and coroutines run on them: the switch, and which one is current (ADR 11).
    "src/engine/sim": ["core/", "os/", "co/co.h", "engine/sim/"],
    "src/engine/faults": ["core/", "engine/faults/"],
    "src/engine/scripted": ["core/", "os/", "engine/scripted/"],
    "src/strict": [],
    "src/compose.c": ["core/", "os/", "engine/"],
    "apps": [],
    "examples": [],
    "bench": ["lib/"],
    "test/lib": ["lib/"],
    "test/lib/form.c": ["lib/", "co/"],  # lets a coroutine begin at once
    "test/conform": ["lib/", "random/"],
    "test/random": ["random/"],
    "test/unit": ["lib/", "core/", "os/", "ops/", "engine/", "co/"],
}

# The system's headers that are there on every system, and without side effects: what code without
# an operating system under it may use.  Anything else between < > is an OS header.
STANDARD = set("""assert ctype errno inttypes limits setjmp signal stdalign stdarg stdatomic stdbool
    stddef stdint stdio stdlib stdnoreturn string""".split())
HEADERS = {
    "include": {"stddef", "stdint"},
    "src/core": STANDARD,
    "src/ops": STANDARD,
}

# Where code may name an engine, and see the platform.  loop.h lists the engines to choose from; the
# tests and benchmarks below choose.
ENGINE = re.compile(r"uring|epoll|iocp", re.IGNORECASE)
ENGINE_FREE = ("src/engine/", "src/strict/", "test/sim/strict/", "src/compose.c", "include/proactor/loop.h", "bench/", "test/lib/",
               "test/unit/", "test/random/fidelity.c")
# In the library a string is as bad as a name: strcmp(engine, "epoll").
ENGINE_NOT_EVEN_STRINGS = ("src/", "include/")

PLATFORM = re.compile(r"\b(__linux__|__linux|linux|__unix__|__APPLE__|__FreeBSD__|__ANDROID__|"
                      r"_WIN32|_WIN64|WIN32|_MSC_VER|__MINGW\w*|__CYGWIN__)\b")
PLATFORM_FREE = ("src/os/", "src/engine/", "src/co/switch", "include/proactor/base.h")

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|' + r"'(?:\\.|[^'\\\n])*'", re.DOTALL)
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def blank(text, strings):
    """The text without its comments (and strings, if asked), line by line as before."""
    def replace(match):
        token = match.group()
        if token[0] == "/" or strings:
            return " " + "\n" * token.count("\n")
        return token
    return TOKEN.sub(replace, text)


def longest(path, table):
    """The value in the table for the longest key that is the path or a directory above it."""
    keys = [key for key in table if path == key or path.startswith(key + "/")]
    return table[max(keys, key=len)] if keys else None


def included(path, kind, name):
    """What is wrong with this include, or None."""
    if name == "proactor.h" or name.startswith("proactor/"):
        return None
    if kind == "<":
        allowed = longest(path, HEADERS)
        if allowed is not None and name.removesuffix(".h") not in allowed:
            return f"includes the OS header <{name}>"
        return None
    allowed = longest(path, ARROWS)
    if allowed is None or "/" not in name and not path.startswith("include/"):
        return None
    if any(name.startswith(prefix) for prefix in allowed):
        return None
    return f'may not include "{name}"'


def check(path, text):
    """The violations in one file, as (line, what)."""
    code = blank(text, strings=False).split("\n")
    words = blank(text, strings=True).split("\n")
    for number, (line, bare) in enumerate(zip(code, words), 1):
        include = INCLUDE.match(line)
        if include:
            what = included(path, *include.groups())
            if what:
                yield number, what
            continue
        if not path.startswith(ENGINE_FREE):
            seen = line if path.startswith(ENGINE_NOT_EVEN_STRINGS) else bare
            named = ENGINE.search(seen)
            if named:
                yield number, f"names an engine: {named.group()}"
        if not path.startswith(PLATFORM_FREE):
            platform = PLATFORM.search(bare)
            if platform:
                yield number, f"looks at the platform: {platform.group()}"


# A file that may, and one that may not: (path, text, line of the violation or 0).
EXAMPLES = [
    ("src/core/a.c", '#include "core/op.h"\n#include <string.h>\n/* not on epoll */\n', 0),
    ("src/core/a.c", '\n#include "os/thread.h"\n', 2),
    ("src/core/a.c", "#include <unistd.h>\n", 1),
    ("src/ops/a.c", '/* one\n two */ #include "engine/uring/uring.h"\n', 2),
    ("src/ops/a.c", '#include "compose.h"\n#include "ops/b.h"\n', 2),
    ("src/ops/a.c", "int x;\nif (engine == PRO_ENGINE_URING) x = 1;\n", 2),
    ("src/ops/a.c", 'if (!strcmp(name, "epoll")) x = 1;\n', 1),
    ("src/ops/a.c", "#ifdef __linux__\n", 1),
    ("src/os/posix/a.c", "#ifdef __linux__\n#include <unistd.h>\n", 0),
    ("src/os/posix/a.c", '#include "core/op.h"\n', 1),
    ("src/engine/epoll/a.c", '#include "engine/uring/uring.h"\n', 1),
    ("src/engine/epoll/a.c", '#include "engine/epoll/epoll.h"\n#include "core/engine.h"\n', 0),
    ("src/compose.c", '#include "engine/uring/uring.h"\nuse("epoll");\n', 0),
    ("include/proactor/op.h", "#include <proactor/base.h>\n#include <stdint.h>\n", 0),
    ("include/proactor/op.h", "#include <sys/socket.h>\n", 1),
    ("apps/echo/main.c", '#include "echo.h"\nputs("--engine=epoll");\n', 0),
    ("apps/echo/main.c", '#include "core/op.h"\n', 1),
    ("apps/echo/main.c", "options.engine = PRO_ENGINE_EPOLL;\n", 1),
    ("test/conform/a.c", '#include "lib/conform.h"\nchar c = \'"\'; /* " */\n', 0),
    ("test/conform/a.c", '#include "core/op.h"\n', 1),
]


def self_test():
    for path, text, want in EXAMPLES:
        got = next(check(path, text), (0, ""))[0]
        if got != want:
            sys.exit(f"check-arrows: self-test: {path}: line {got}, want {want}:\n{text}")


def files():
    for top in ("include", "src", "apps", "examples", "bench", "test"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), ROOT).replace(os.sep, "/")


def main():
    self_test()
    if sys.argv[1:] == ["--self-test"]:
        print(f"ok arrows: self-test, {len(EXAMPLES)} examples")
        return 0
    count = bad = 0
    for path in files():
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            count += 1
            for line, what in check(path, file.read()):
                bad += 1
                print(f"{path}:{line}: {what}")
    if not bad:
        print(f"ok arrows: {count} files")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
