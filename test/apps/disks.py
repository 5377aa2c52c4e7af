#!/usr/bin/env python3
"""Media that fail: full, read-only, and shut down under writes.  Ordinary errors at the handler, every
operation completed, nothing left behind.  What needs root, or a device that is not there, is skipped.
"""
import contextlib
import os
import shutil
import subprocess
import tempfile

from lib import harness
from lib.harness import Skip, case_per_engine, check, equal


def command(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise Skip(f"{' '.join(words[:3])}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def mounted(*options):
    if os.geteuid() != 0:
        raise Skip("mounting needs root")
    with tempfile.TemporaryDirectory() as folder:
        command("mount", *options, folder)
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=False)


@contextlib.contextmanager
def disk(what, folder, engine):
    program = harness.Program(harness.path("test/disk"), what, folder, env={"PROACTOR_ENGINE": engine})
    try:
        yield program
    finally:
        program.kill()


def lines(program):
    """Of a program that ends in order: what it did -> how that ended; each operation completed once."""
    status, text = program.wait()
    equal((status, program.stderr()), (0, ""), f"status and stderr, after {text}")
    words = [line.split() for line in text]
    completed = [w for w in words if w[0] == "completed"][0]
    equal(completed[1], completed[3], "operations completed")
    equal(words[-1], ["free", "PRO_OK"], "the end")
    return {w[0]: w[1] for w in words if len(w) == 3}, {w[0]: int(w[2]) for w in words if len(w) == 3}


@case_per_engine
def a_full_disk_is_an_error_at_the_handler(engine):
    with mounted("-t", "tmpfs", "-o", "size=512k", "none") as folder:
        with open(os.path.join(folder, "old"), "wb") as file:
            file.write(b"old")
        with disk("replace", folder, engine) as program:
            done, _ = lines(program)
        equal(done, {"replace": "PRO_ENOSPC"}, "done")
        equal(os.listdir(folder), ["old"], "nothing beside it")
        with open(os.path.join(folder, "old"), "rb") as file:
            equal(file.read(), b"old", "the old content")
        with disk("write", folder, engine) as program:
            done, values = lines(program)
        equal(done, {"open": "PRO_OK", "failed": "PRO_ENOSPC", "sync": "PRO_OK", "truncate": "PRO_OK",
                     "close": "PRO_OK"}, "done")
        check(values["failed"] >= 1, values)


@case_per_engine
def a_read_only_file_system_is_an_error_at_the_handler(engine):
    with mounted("-t", "tmpfs", "-o", "size=512k", "none") as folder:
        with open(os.path.join(folder, "old"), "wb") as file:
            file.write(b"old")
        command("mount", "-o", "remount,ro", folder)
        with disk("names", folder, engine) as program:
            done, values = lines(program)
        refused = ("create", "mkdir", "rename", "link", "symlink", "unlink")
        equal({name: done[name] for name in refused}, {name: "PRO_EROFS" for name in refused}, "refused")
        equal((done["read"], values["read"]), ("PRO_OK", 3), "read")
        with disk("replace", folder, engine) as program:
            done, _ = lines(program)
        equal(done, {"replace": "PRO_EROFS"}, "done")


@contextlib.contextmanager
def xfs():
    if os.geteuid() != 0:
        raise Skip("a loop device needs root")
    for tool in ("mkfs.xfs", "xfs_io", "losetup"):
        if not shutil.which(tool):
            raise Skip(f"{tool} is not there")
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "image")
        with open(image, "wb") as file:
            file.truncate(320 << 20)
        command("mkfs.xfs", "-q", image)
        device = command("losetup", "-f", "--show", image)
        try:
            with mounted("-t", "xfs", device) as where:
                yield where
        finally:
            subprocess.run(["losetup", "-d", device], check=False)


@case_per_engine
def a_device_that_is_shut_down_under_writes_is_an_error_at_the_handler(engine):
    with xfs() as folder, disk("write", folder, engine) as program:
        program.wait_output("round")
        command("xfs_io", "-x", "-c", "shutdown", folder)
        done, values = lines(program)
        equal((done["open"], done["failed"], done["sync"], done["truncate"]),
              ("PRO_OK", "PRO_EIO", "PRO_EIO", "PRO_EIO"), "done")
        check(values["failed"] >= 1, values)
        with disk("names", folder, engine) as after:
            done, _ = lines(after)
        equal(set(done.values()), {"PRO_EIO"}, "whatever comes after")


if __name__ == "__main__":
    harness.main()
