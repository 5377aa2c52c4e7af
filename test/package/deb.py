#!/usr/bin/env python3
"""The Debian packages, installed in a clean root: what is missing in their dependencies is missing
there.

A root is made in a second, without the network: of the packages that are installed here it gets those
that are wanted, and what they depend on, with their files and their part of dpkg's database.
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
from lib.harness import Server, Skip, case, check, equal, note  # noqa: E402

DEB_SH = os.path.join(HERE, "..", "..", "packaging", "deb.sh")
OUTSIDE = os.path.join(HERE, "outside")
DATABASE = "/var/lib/dpkg"
NAMES = ("libproactor1", "libproactor-dev", "proactor-tools")

scratch = tempfile.mkdtemp()
_debs = None


def execute(*command, cwd=scratch, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=dict(os.environ, LC_ALL="C", PATH="/usr/sbin:/usr/bin:/sbin:/bin"),
                          cwd=cwd, timeout=400, check=False, **options)


def run(*command, **options):
    """Run a command that has to succeed; return what it printed."""
    done = execute(*command, **options)
    check(done.returncode == 0, f"{' '.join(command)}: {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


def debs():
    """The packages by name.  What they are built of stays in the build directory."""
    global _debs
    if _debs is None:
        for program in ("dpkg-deb", "dpkg-gencontrol", "dpkg-shlibdeps", "ninja"):
            if not shutil.which(program):
                raise Skip(f"needs {program}: ./dev deps")
        out = os.path.join(harness.build, "deb")
        run(DEB_SH, out)
        _debs = {name.split("_")[0]: os.path.join(out, name) for name in os.listdir(out)
                 if name.endswith(".deb")}
        equal(sorted(_debs), sorted(NAMES), "packages")
    return _debs


def field(package, name):
    return run("dpkg-deb", "-f", debs()[package], name).strip()


def contents(package):
    """The files in a package."""
    lines = run("dpkg-deb", "-c", debs()[package]).splitlines()
    return {line.split()[5][1:]: line for line in lines if not line.startswith("d")}


# ---- a clean root ------------------------------------------------------------------------------


def installed():
    """What is installed here: the stanzas of dpkg's database, by name of package and of what it
    provides."""
    with open(DATABASE + "/status", encoding="utf-8") as file:
        stanzas = file.read().split("\n\n")
    result = {}
    for stanza in stanzas:
        # A package may be installed, and still have triggers to run here: that is not the root's matter.
        stanza = re.sub(r"\nTriggers-\w+:.*(\n .*)*", "", stanza)
        stanza = re.sub(r"\nStatus: install ok triggers-\w+", r"\nStatus: install ok installed", stanza)
        if "\nStatus: install ok installed\n" not in stanza:
            continue
        found = dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.MULTILINE))
        found["stanza"] = stanza
        result[found["Package"]] = found
        for name in re.findall(r"[\w.+-]+(?= *[(,]|$)", re.sub(r"\([^)]*\)", "",
                                                             found.get("Provides", ""))):
            result.setdefault(name, found)
    return result


def closure(names):
    """The essential packages, these, and what they depend on, as far as it is installed here."""
    table, result = installed(), {}
    todo = list(names) + [name for name, found in table.items() if found.get("Essential") == "yes"]
    while todo:
        name = todo.pop()
        if name not in table:
            raise Skip(f"needs {name} to be installed here")
        package = table[name]
        if package["Package"] in result:
            continue
        result[package["Package"]] = package
        for clause in (package.get("Pre-Depends", "") + "," + package.get("Depends", "")).split(","):
            choices = [re.match(r"\s*([\w.+-]+)", choice) for choice in clause.split("|")]
            choices = [choice[1] for choice in choices if choice and choice[1] in table]
            todo += choices[:1]
    return result


class Root:
    """A root with the essential packages, these, and what they depend on, and nothing else."""

    def __init__(self, name, packages):
        if os.geteuid() != 0:
            raise Skip("needs root, to change the root directory")
        self.path = os.path.join(scratch, name)
        for folder in ("dev", "tmp", "etc", "root", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64",
                       "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers",
                       "var/log", "var/cache/ldconfig"):
            os.makedirs(os.path.join(self.path, folder))
        for folder in ("bin", "sbin", "lib", "lib64"):
            os.symlink("usr/" + folder, os.path.join(self.path, folder))
        chosen = closure(packages)
        self.copy(chosen)
        self.write("var/lib/dpkg/status", "".join(p["stanza"] + "\n\n" for p in chosen.values()))
        self.write("var/lib/dpkg/available", "")
        self.write("var/lib/dpkg/triggers/ldconfig", "libc-bin\n")
        done = execute("chroot", self.path, "/sbin/ldconfig")
        if done.returncode != 0:
            raise Skip("cannot change the root directory here: " + done.stderr.strip())
        self.dpkg("--configure", "--pending")  # dpkg finds out who has triggers, and runs some

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as file:
            file.write(text)

    def copy(self, chosen):
        names = []
        for name, package in chosen.items():
            info = DATABASE + "/info/" + name
            if not os.path.exists(info + ".list"):
                info += ":" + package["Architecture"]
            for end in os.listdir(DATABASE + "/info"):
                if end.startswith(os.path.basename(info) + "."):
                    shutil.copy(DATABASE + "/info/" + end, self.path + DATABASE + "/info/")
            with open(info + ".list", encoding="utf-8") as file:
                names += [line for line in file.read().splitlines() if line != "/."]
        # Documentation may have been left out here, by a rule of dpkg's.
        names = [name for name in names if os.path.lexists(name)
                 and not re.match("/usr/share/(doc|man|locale|info)/", name)
                 and not (os.path.isdir(name) and os.path.lexists(self.path + name))]
        listed = os.path.join(scratch, "files")
        with open(listed, "w", encoding="utf-8") as file:
            file.write("".join(name[1:] + "\n" for name in names))
        packed = os.path.join(scratch, "files.tar")
        run("tar", "-C", "/", "--no-recursion", "-T", listed, "-cf", packed)
        run("tar", "-C", self.path, "--keep-directory-symlink", "-xpf", packed)
        os.remove(packed)

    def dpkg(self, *arguments):
        return execute("dpkg", "--root=" + self.path, "--path-include=*", *arguments)

    def install(self, *packages):
        done = self.dpkg("--install", *(debs()[package] for package in packages))
        check(done.returncode == 0, f"dpkg --install: {done.stdout} {done.stderr}")

    def run(self, *command):
        return run("chroot", self.path, *command, cwd="/")

    def files(self):
        """All files, but for what dpkg and ldconfig keep for themselves."""
        names = set()
        for folder, folders, files in os.walk(self.path):
            short = folder[len(self.path):]
            if short in ("/var/lib/dpkg", "/var/cache/ldconfig", "/var/log"):
                folders[:] = []
                continue
            names.update(os.path.join(short, name) for name in folders + files)
        return names - {"/etc/ld.so.cache"}


# ---- the tests ---------------------------------------------------------------------------------


@case
def the_packages_have_what_they_should():
    lib = "/usr/lib/" + run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()
    want = {
        "libproactor1": [lib + r"/libproactor\.so\.1", lib + r"/libproactor\.so\.1\.[0-9.]+"],
        "libproactor-dev": [
            r"/usr/include/proactor(/\w+)?\.h", lib + r"/libproactor(-strict)?\.(a|so)",
            lib + r"/pkgconfig/proactor\.pc", lib + r"/cmake/proactor/proactor\w+(-release)?\.cmake",
            r"/usr/share/doc/libproactor-dev/examples/\w+\.c"],
        "proactor-tools": [r"/usr/bin/pro-\w+", r"/usr/share/man/man1/pro-\w+\.1\.gz"],
    }
    for package, patterns in want.items():
        files = contents(package)
        patterns.append(f"/usr/share/doc/{package}/(copyright|changelog(\\.Debian)?\\.gz)")
        for pattern in patterns:
            check(any(re.fullmatch(pattern, name) for name in files), f"{package}: no {pattern}")
        odd = [name for name in files if not any(re.fullmatch(p, name) for p in patterns)]
        equal(odd, [], f"{package}: what does not belong there")
        for name, line in files.items():
            check(line.split()[1] == "root/root", f"{package}: {name} is not root's")
    headers = sum(name.endswith(".h") for name in contents("libproactor-dev"))
    there = sum(name.endswith(".h") for _, _, names in os.walk(os.path.join(HERE, "../../include"))
                for name in names)
    equal(headers, there, "headers")


@case
def the_packages_depend_on_what_they_need():
    version = field("libproactor1", "Version")
    equal(re.sub(r" \(.*?\)", "", field("libproactor1", "Depends")), "libc6", "of libproactor1")
    check(f"libproactor1 (= {version})" in field("libproactor-dev", "Depends"), "-dev needs its own")
    check("libproactor1 (>= 0.1.0)" in field("proactor-tools", "Depends"), "tools need the library")


@case
def the_programs_run_in_a_clean_root():
    root = Root("programs", [])
    before = root.files()
    note(f"{len(before)} files in the root")

    done = root.dpkg("--install", debs()["proactor-tools"])
    check(done.returncode != 0 and "depends on libproactor1" in done.stderr,
          f"installed without its library: {done.stderr}")
    root.install("libproactor1")
    done = root.dpkg("--configure", "--pending")
    check(done.returncode == 0, f"dpkg --configure: {done.stderr}")

    text = root.run("/usr/bin/pro-echo", "--version")
    check(field("proactor-tools", "Version").split("-")[0] in text, f"--version says {text!r}")
    check("libproactor.so.1" in root.run("/sbin/ldconfig", "-p"), "ldconfig was not told")
    server = Server("chroot", root.path, "/usr/bin/pro-echo", "--listen", "127.0.0.1:0")
    with server.connect() as sock:
        sock.sendall(b"clean")
        equal(harness.recv_exactly(sock, 5), b"clean", "echo")
    server.signal(15)
    equal(server.wait()[0], 0, "exit status of pro-echo")

    done = root.dpkg("--purge", *("libproactor1", "proactor-tools"))
    check(done.returncode == 0, f"dpkg --purge: {done.stderr}")
    equal(sorted(root.files() ^ before), [], "what changed, after all is gone")


@case
def a_program_is_built_in_a_clean_root():
    root = Root("development", ["gcc", "libc6-dev", "pkg-config"])
    root.install("libproactor1", "libproactor-dev")
    shutil.copy(os.path.join(OUTSIDE, "main.c"), root.path + "/tmp")
    build = "gcc -std=c11 -Wall -Wextra -pedantic -Werror /tmp/main.c "
    equal(root.run("/usr/bin/pkg-config", "--cflags", "--libs", "proactor").split(), ["-lproactor"],
          "pkg-config")
    root.run("/bin/sh", "-ec", build + "-o /tmp/shared $(pkg-config --cflags --libs proactor)")
    root.run("/bin/sh", "-ec",
             build + "-static -o /tmp/static $(pkg-config --static --cflags --libs proactor)")
    for program in ("/tmp/shared", "/tmp/static"):
        check(root.run(program).startswith("outside: ok"), program)
    # Without the -dev package the shared one still runs.
    done = root.dpkg("--remove", "libproactor-dev")
    check(done.returncode == 0, f"dpkg --remove: {done.stderr}")
    check(root.run("/tmp/shared").startswith("outside: ok"), "without libproactor-dev")


@case
def cmake_finds_the_package_where_debian_has_it():
    if not shutil.which("g++"):
        raise Skip("needs g++")
    tree, build = os.path.join(scratch, "extracted"), os.path.join(scratch, "cmake")
    for package in NAMES:
        run("dpkg-deb", "-x", debs()[package], tree)
    run("cmake", "-G", "Ninja", "-S", OUTSIDE, "-B", build, f"-DCMAKE_PREFIX_PATH={tree}/usr")
    run("ninja", "-C", build)
    for name in os.listdir(build):
        if name.startswith("c") and "-" in name:
            check(run(os.path.join(build, name)).startswith("outside: ok"), name)


if __name__ == "__main__":
    try:
        harness.main()
    finally:
        shutil.rmtree(scratch)
