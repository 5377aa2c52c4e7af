#!/usr/bin/env python3
"""io_uring is refused, for real: by a seccomp filter, as containers do.

AUTO falls back to epoll and says why.  An engine that was asked for by name is not exchanged.
"""
import ctypes
import errno
import os
import struct

from lib import harness
from lib.harness import Echo, Skip, case, check, equal

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
IO_URING_SETUP = 425  # on every architecture but alpha

# Classic BPF (linux/bpf_common.h) and what a seccomp filter may return (linux/seccomp.h).
BPF_LD_W_ABS, BPF_JEQ_K, BPF_RET_K = 0x20, 0x15, 0x06
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000


class SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def refuse(number):
    """A function that makes io_uring_setup fail with this errno from now on, also after exec."""
    def instruction(code, jump_true, jump_false, k):
        return struct.pack("=HBBI", code, jump_true, jump_false, k)

    program = b"".join([
        instruction(BPF_LD_W_ABS, 0, 0, 0),  # the number of the system call
        instruction(BPF_JEQ_K, 0, 1, IO_URING_SETUP),
        instruction(BPF_RET_K, 0, 0, RET_ERRNO | number),
        instruction(BPF_RET_K, 0, 0, RET_ALLOW),
    ])
    fprog = SockFprog(len(program) // 8, program)
    libc = ctypes.CDLL(None, use_errno=True)

    def apply():
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl: no new privileges")
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl: seccomp")
    return apply


def filtered(number):
    """The same, after a look whether the filter does what it should here."""
    apply = refuse(number)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            apply()
            libc = ctypes.CDLL(None, use_errno=True)
            answer = libc.syscall(IO_URING_SETUP, 1, None)
            os.write(write, b"%d" % (ctypes.get_errno() if answer < 0 else 0))
        except BaseException as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    answer = os.read(read, 1000).decode()
    os.close(read)
    os.waitpid(child, 0)
    if not answer.isdigit():
        raise Skip(f"no seccomp filters here: {answer}")
    equal(int(answer), number, "errno under the filter")
    return apply


def auto_falls_back(number):
    name = errno.errorcode[number]
    before = filtered(number)
    done = harness.run("bin/pro-echo", "--explain", before=before)
    equal((done.returncode, done.stderr), (0, ""), "exit status and stderr of --explain")
    check("epoll" in done.stdout and name in done.stdout,
          f"--explain names not both epoll and {name}: {done.stdout!r}")
    for line in done.stdout.splitlines():
        harness.note(line)

    server = Echo("auto", before=before)
    equal(server.engine, "epoll", "engine")
    line = server.output.decode()
    check(name in line, f"the first line does not name {name}: {line!r}")
    with server.connect() as sock:
        sock.sendall(b"hello")
        equal(harness.recv_exactly(sock, 5), b"hello", "echo")
    server.end()


@case
def auto_falls_back_if_refused_with_eperm():
    auto_falls_back(errno.EPERM)


@case
def auto_falls_back_if_refused_with_enosys():
    auto_falls_back(errno.ENOSYS)


@case
def auto_falls_back_if_refused_with_enomem():
    auto_falls_back(errno.ENOMEM)


@case
def a_named_engine_is_not_exchanged():
    for number, text in ((errno.EPERM, "PRO_EPERM"), (errno.ENOSYS, "PRO_ENOSYS"),
                         (errno.ENOMEM, "PRO_ENOMEM")):
        before = filtered(number)
        for options in ([], ["--explain"]):
            done = harness.run("bin/pro-echo", "--engine", "uring", "--listen", "127.0.0.1:0",
                               *options, before=before)
            equal((done.returncode, done.stdout), (1, ""), f"{text}: exit status and stdout")
            check(done.stderr.count("\n") == 1 and "uring" in done.stderr and text in done.stderr,
                  f"{text}: not one line that says so: {done.stderr!r}")


@case
def a_named_epoll_does_not_ask_for_io_uring():
    server = Echo("epoll", before=filtered(errno.EPERM))
    equal(server.engine, "epoll", "engine")
    server.end()


@case
def the_examples_run_all_the_same():
    done = harness.run("bin/examples/timers", before=filtered(errno.EPERM))
    equal((done.returncode, done.stderr), (0, ""), "exit status and stderr of timers")


if __name__ == "__main__":
    harness.main()
