#!/usr/bin/env python3
"""What is installed is all that a program needs: in C11 and C++17, through pkg-config and through
CMake, with the shared and with the static library.

The argument is a release build that is complete; nothing is written into it.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "apps"))

from lib import harness  # noqa: E402
from lib.harness import Skip, case, check, equal, note  # noqa: E402

OUTSIDE = os.path.join(HERE, "outside")
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
LANGUAGES = {"c11": ["gcc", "-std=c11", "-x", "c"], "c++17": ["g++", "-std=c++17", "-x", "c++"]}

scratch = tempfile.mkdtemp()
_tree = None


def run(*command, env=None, cwd=scratch):
    """Run a command that has to succeed; return what it printed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=dict(os.environ, **(env or {})), cwd=cwd, timeout=240, check=False)
    check(done.returncode == 0, f"{' '.join(command)}: {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"needs {program}")


def tree():
    """The installed tree.  It has been moved since: it must not know where it was installed."""
    global _tree
    if not _tree:
        first, moved = os.path.join(scratch, "first"), os.path.join(scratch, "moved")
        run("cmake", "--install", harness.build, "--prefix", first)
        os.rename(first, moved)
        _tree = moved
    return _tree


def find(name):
    """The directory in the tree that has this file."""
    for folder, _, files in os.walk(tree()):
        if name in files:
            return folder
    raise AssertionError(f"no {name} in the installed tree")


def flags(*options):
    text = run("pkg-config", *options, "proactor",
               env={"PKG_CONFIG_PATH": find("proactor.pc"), "PKG_CONFIG_LIBDIR": ""})
    return text.split()


def works(program):
    """The outside program runs, on each engine there is, and is of this version."""
    for engine in harness.engines():
        if harness._engine_refused(engine):
            continue
        out = run(program, env={"LD_LIBRARY_PATH": find("libproactor.so"), "PROACTOR_ENGINE": engine})
        equal(out, f"outside: ok, {version()}\n", f"{program} on {engine}")


def version():
    return flags("--modversion")[0]


def needed(program):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", program))


def uses(program, shared):
    got = [name for name in needed(program) if name.startswith(("libproactor", "liburing"))]
    equal(got, [soname()] if shared else [], f"what {program} needs")


def soname():
    library = os.path.join(find("libproactor.so"), "libproactor.so")
    return re.search(r"\(SONAME\).*\[(.*)\]", run("readelf", "-d", library))[1]


@case
def the_shared_library_shows_one_version_of_pro_names_and_nothing_else():
    library = os.path.join(find("libproactor.so"), "libproactor.so")
    names = [line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()]
    check(len(names) > 50, f"only {len(names)} names")
    odd = [name for name in names
           if not re.fullmatch(r"pro_\w+@@PROACTOR_0\.\d+|PROACTOR_0\.\d+(@@PROACTOR_0\.\d+)?", name)]
    equal(odd, [], "names")
    equal([name for name in needed(library) if not name.startswith(("libc.", "ld-linux"))], [],
          "what the library needs beside libc")
    equal(soname(), "libproactor.so.1", "SONAME")
    check(os.path.exists(os.path.join(find("libproactor.so"), soname())), "no file of that name")


@case
def the_static_library_defines_pro_names_and_nothing_else():
    library = os.path.join(find("libproactor.a"), "libproactor.a")
    names = run("nm", "-g", "--defined-only", "--format=just-symbols", library).split("\n")
    names = [name for name in names if name and not name.endswith(":")]
    check(len(names) > 50, f"only {len(names)} names")
    equal([name for name in names if not name.startswith("pro_")], [], "names")
    check(".gnu.lto" not in run("readelf", "-SW", library), "bytecode that only one compiler reads")


def by_pkg_config(language, shared):
    need("pkg-config", "gcc", "g++")
    linking = flags("--libs") if shared else flags("--static", "--libs") + ["-static"]
    program = os.path.join(scratch, f"pc-{language}-{shared}")
    run(*LANGUAGES[language], *WARNINGS, *flags("--cflags"), os.path.join(OUTSIDE, "main.c"),
        "-x", "none", "-o", program, *linking)
    uses(program, shared)
    works(program)


@case
def c11_through_pkg_config_shared():
    by_pkg_config("c11", True)


@case
def c11_through_pkg_config_static():
    by_pkg_config("c11", False)


@case
def cxx17_through_pkg_config_shared():
    by_pkg_config("c++17", True)


@case
def cxx17_through_pkg_config_static():
    by_pkg_config("c++17", False)


@case
def all_four_through_cmake():
    need("g++", "ninja")
    build = os.path.join(scratch, "outside")
    run("cmake", "-G", "Ninja", "-S", OUTSIDE, "-B", build, f"-DCMAKE_PREFIX_PATH={tree()}")
    run("ninja", "-C", build)
    for language in LANGUAGES:
        for lib in ("proactor", "static"):
            program = os.path.join(build, f"{language}-{lib}")
            uses(program, lib == "proactor")
            works(program)


@case
def cmake_refuses_another_minor_version():
    project = os.path.join(scratch, "later")
    os.mkdir(project)
    with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="ascii") as file:
        file.write("cmake_minimum_required(VERSION 3.16)\nproject(later LANGUAGES C)\n"
                   "find_package(proactor 0.2 QUIET)\n"
                   'if(proactor_FOUND)\nmessage(FATAL_ERROR "took it")\nendif()\n')
    run("cmake", "-G", "Ninja", "-S", project, "-B", os.path.join(project, "build"),
        f"-DCMAKE_PREFIX_PATH={tree()}")


@case
def a_loop_refuses_the_headers_of_another_version_in_one_line():
    need("gcc")
    headers = os.path.join(scratch, "headers")
    shutil.copytree(find("proactor.h"), headers)
    base = os.path.join(headers, "proactor", "base.h")
    with open(base, encoding="utf-8") as file:
        text = file.read()
    here = [int(n) for n in version().split(".")]
    for other, refused in (([here[0], here[1] + 1, 0], True), ([here[0] + 1, here[1], 0], True),
                           ([here[0], here[1], here[2] + 7], False)):
        with open(base, "w", encoding="utf-8") as file:
            changed = text
            for name, number in zip(("MAJOR", "MINOR", "PATCH"), other):
                changed = re.sub(rf"(#define PRO_VERSION_{name}) \d+", rf"\1 {number}", changed)
            file.write(changed)
        program = os.path.join(scratch, "mismatched")
        run("gcc", "-std=c11", "-I", headers, os.path.join(OUTSIDE, "main.c"), "-o", program,
            *flags("--libs"))
        done = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False,
                              env=dict(os.environ, LD_LIBRARY_PATH=find("libproactor.so")))
        if not refused:
            equal((done.returncode, done.stderr), (0, ""), f"headers of {other}")
            continue
        equal((done.returncode, done.stdout), (1, "outside: PRO_EINVAL\n"), f"headers of {other}")
        equal(done.stderr.count("\n"), 1, f"lines in {done.stderr!r}")
        for numbers in (other, here):
            check(".".join(map(str, numbers)) in done.stderr, f"{numbers} not in {done.stderr!r}")
        note(done.stderr.strip())


@case
def the_man_page_names_every_option_and_no_other():
    with open(os.path.join(find("pro-echo.1"), "pro-echo.1"), encoding="utf-8") as file:
        page = file.read().replace("\\-", "-")
    synopsis = run(os.path.join(find("pro-echo"), "pro-echo"), "--help")
    options = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
    equal(sorted(set(options.findall(page))), sorted(set(options.findall(synopsis))), "options")


if __name__ == "__main__":
    try:
        harness.main()
    finally:
        shutil.rmtree(scratch)
