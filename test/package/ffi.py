#!/usr/bin/env python3
"""The face for other languages: the shared library from Python, by ctypes and without a compiler.

What a binding relies on: every initiating function exists under its plain name, structures lie as
they are declared below, and a handler is a function of one pointer.
"""
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from ctypes import (CFUNCTYPE, POINTER, Structure, byref, c_char, c_int, c_int32, c_int64,
                    c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "apps"))

from lib import harness  # noqa: E402
from lib.harness import Skip, case, case_per_engine, check, equal  # noqa: E402

INCLUDE = os.path.join(HERE, "..", "..", "include")
VERSION = 0x000100  # what this binding was written for
PRO_MSEC = 1_000_000
PRO_IPV4 = 1
PRO_OK, PRO_EOF, PRO_ECANCELED = 0, -1, -2
ENGINES = {"uring": 1, "epoll": 2}  # PRO_ENGINE_*

# ---- the binding -------------------------------------------------------------------------------


class Op(Structure):
    _fields_ = [("value", c_int64), ("error", c_int32), ("flags", c_uint16), ("priority", c_uint8),
                ("cause", c_uint8), ("user", c_void_p), ("scope", c_void_p), ("deadline_ns", c_uint64),
                ("internal", c_uint64 * 19)]


class Address(Structure):
    _fields_ = [("family", c_uint16), ("port", c_uint16), ("scope_id", c_uint32),
                ("bytes", c_uint8 * 16)]


class Handle(Structure):
    _fields_ = [("internal", c_uint64 * 13)]


class LoopOptions(Structure):
    _fields_ = [("version", c_uint32), ("engine", c_int), ("queue_len", c_uint32),
                ("batch_max", c_uint32), ("mask", c_void_p), ("precise_timers", c_int), ("restricted", c_int),
                ("env", c_void_p * 5), ("pool_threads_max", c_uint32), ("pool_queue_max", c_uint32),
                ("faults", c_void_p), ("fixed_slots", c_uint32), ("zerocopy_min", c_size_t),
                ("undelivered_max", c_uint32)]


STRUCTURES = {"pro_op": Op, "pro_address": Address, "pro_socket": Handle, "pro_listener": Handle,
              "pro_loop_options": LoopOptions}

Handler = CFUNCTYPE(None, POINTER(Op))

FUNCTIONS = {  # result, then arguments; ctypes takes a byref() where a pointer is wanted
    "pro_version": [c_uint32],
    "pro_loop_new": [c_int, POINTER(c_void_p), POINTER(LoopOptions)],
    "pro_loop_new_for": [c_int, c_uint32, POINTER(c_void_p), POINTER(LoopOptions)],
    "pro_loop_options_init_for": [None, c_uint32, POINTER(LoopOptions)],
    "pro_loop_free": [c_int, c_void_p],
    "pro_loop_run": [c_int64, c_void_p],
    "pro_loop_now": [c_uint64, c_void_p],
    "pro_loop_hold": [None, c_void_p],
    "pro_loop_release": [None, c_void_p],
    "pro_post": [None, POINTER(Op), c_void_p, Handler],
    "pro_sleep": [None, POINTER(Op), c_void_p, c_uint64, Handler],
    "pro_cancel": [None, POINTER(Op)],
    "pro_address_loopback": [Address, c_int, c_uint16],
    "pro_listen": [c_int, POINTER(Handle), c_void_p, c_void_p, POINTER(Address), c_void_p],
    "pro_listener_local": [c_int, POINTER(Handle), POINTER(Address)],
    "pro_listener_close": [None, POINTER(Op), POINTER(Handle), Handler],
    "pro_accept": [None, POINTER(Op), POINTER(Handle), Handler],
    "pro_accept_take": [c_int, POINTER(Op), POINTER(Handle), c_void_p],
    "pro_socket_init": [None, POINTER(Handle), c_void_p, c_void_p],
    "pro_connect": [None, POINTER(Op), POINTER(Handle), POINTER(Address), Handler],
    "pro_recv": [None, POINTER(Op), POINTER(Handle), c_void_p, c_size_t, Handler],
    "pro_send_all": [None, POINTER(Op), POINTER(Handle), c_void_p, c_size_t, Handler],
    "pro_shutdown": [None, POINTER(Op), POINTER(Handle), Handler],
    "pro_close": [None, POINTER(Op), POINTER(Handle), Handler],
}

_library = None


def library():
    global _library
    if not _library:
        _library = ctypes.CDLL(harness.path("libproactor.so.1"))
        for name, (result, *arguments) in FUNCTIONS.items():
            function = getattr(_library, name)
            function.restype, function.argtypes = result, arguments
    return _library


class Loop:
    """A loop for the length of a with; it must end empty, and no handler may have raised."""

    def __init__(self, engine):
        self.raised = []
        self.kept = []  # a CFUNCTYPE object must live as long as C may call it
        self.pointer = c_void_p()
        options = LoopOptions(version=VERSION, engine=ENGINES[engine])
        equal(library().pro_loop_new(byref(self.pointer), byref(options)), PRO_OK, "pro_loop_new")

    def handler(self, function):
        def call(op):
            try:
                function(op.contents)
            except BaseException as error:  # it must not be lost on its way through C
                self.raised.append(error)
        self.kept.append(Handler(call))
        return self.kept[-1]

    def __enter__(self):
        return self

    def run(self):
        ran = library().pro_loop_run(self.pointer)
        for error in self.raised:
            raise error
        return ran

    def __exit__(self, kind, *_):
        error = library().pro_loop_free(self.pointer)
        if kind is None:
            equal(error, PRO_OK, "pro_loop_free")


# ---- the tests ---------------------------------------------------------------------------------


def macros_with_a_site():
    """Each with the function that it calls."""
    text = ""
    for folder, _, files in os.walk(INCLUDE):
        for name in files:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                text += file.read()
    return re.findall(r"#define (pro_\w+)\([^)]*\)\s*(?:\\\n)?\s*(pro_\w+)\(PRO_SITE", text)


@case
def every_macro_with_a_site_is_a_function_too():
    macros = macros_with_a_site()
    check(len(macros) >= 19, f"found only {macros}")
    missing = [name for names in macros for name in names if not hasattr(library(), name)]
    equal(missing, [], "missing")


@case
def structures_lie_as_this_binding_has_them():
    if not shutil.which("gcc"):
        raise Skip("needs gcc")
    lines = []
    for name, structure in STRUCTURES.items():
        lines.append(f'printf("%zu\\n", sizeof({name}));')
        for field, _ in structure._fields_:
            if field not in ("internal", "cause"):
                lines.append(f'printf("%zu\\n", offsetof({name}, {field}));')
    source = ("#include <proactor.h>\n#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) +
              "\nreturn 0; }\n")
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "layout")
        subprocess.run(["gcc", "-x", "c", "-", "-I", INCLUDE, "-o", program], input=source.encode(),
                       check=True, timeout=60)
        got = list(map(int, subprocess.run([program], stdout=subprocess.PIPE, check=True,
                                           timeout=60).stdout.split()))
    want = []
    for structure in STRUCTURES.values():
        want.append(ctypes.sizeof(structure))
        want += [getattr(structure, field).offset for field, _ in structure._fields_
                 if field not in ("internal", "cause")]
    equal(want, got, "sizes and offsets")


@case
def the_library_is_of_the_version_that_this_binding_was_written_for():
    equal(library().pro_version() >> 8, VERSION >> 8, "version")


OTHER_HEADERS = r"""
#include <proactor.h>
int main(int argc, char **argv)
{
    union { pro_loop_options loop; pro_runtime_options runtime; char bytes[1000]; } o = {.bytes = {77}};
    pro_loop *loop = (pro_loop *)&o;
    pro_runtime *runtime = (pro_runtime *)&o;
    int error = PRO_OK;
    switch (argv[argc - 1][0]) {
    case '1': error = pro_loop_new(&loop, NULL); break;
    case '2': pro_loop_options_init(&o.loop); error = pro_loop_new(&loop, &o.loop); break;
    case '3': pro_loop_options_init(&o.loop); error = (pro_loop_new)(&loop, &o.loop); break;
    case '4': error = pro_runtime_new(&runtime, NULL); break;
    case '5': pro_runtime_options_init(&o.runtime); error = pro_runtime_new(&runtime, &o.runtime); break;
    case '6': pro_runtime_options_init(&o.runtime); error = (pro_runtime_new)(&runtime, &o.runtime); break;
    }
    int is_refused = error == PRO_EINVAL && !(argv[argc - 1][0] < '4' ? (void *)loop : (void *)runtime);
    for (size_t i = 4; i < sizeof o; i++) is_refused &= o.bytes[i] == 0; /* it may be of another size */
    return is_refused ? 0 : 1;
}
"""


@case
def a_program_of_other_headers_is_refused_in_one_line():
    if not shutil.which("gcc"):
        raise Skip("needs gcc")
    with tempfile.TemporaryDirectory() as scratch:
        include = shutil.copytree(INCLUDE, os.path.join(scratch, "include"))
        base = os.path.join(include, "proactor", "base.h")
        with open(base, encoding="utf-8") as file:
            text = file.read()
        minor = "#define PRO_VERSION_MINOR %d\n"
        check(minor % (VERSION >> 8 & 255) in text, "base.h does not say the minor version")
        with open(base, "w", encoding="utf-8") as file:
            file.write(text.replace(minor % (VERSION >> 8 & 255), minor % 99))
        program = os.path.join(scratch, "other")
        subprocess.run(["gcc", "-x", "c", "-", "-I", include, "-o", program, "-x", "none",
                        harness.path("libproactor.so.1"), "-Wl,-rpath," + harness.path("")],
                       input=OTHER_HEADERS.encode(), check=True, timeout=60)
        for way in "123456":
            done = subprocess.run([program, way], capture_output=True, timeout=60, check=False)
            equal(done.returncode, 0, f"way {way}: exit status")
            said = done.stderr.decode()
            check(said.count("\n") == 1 and "0.99.0" in said, f"way {way}: not one line: {said!r}")


@case
def a_binding_says_its_version():
    loop = c_void_p(1)
    options = LoopOptions()
    library().pro_loop_options_init_for(VERSION, byref(options))
    equal(options.version, VERSION, "version in the options")
    equal(library().pro_loop_new_for(VERSION, byref(loop), None), PRO_OK, "pro_loop_new_for")
    equal(library().pro_loop_free(loop), PRO_OK, "pro_loop_free")


@case_per_engine
def a_timer(engine):
    with Loop(engine) as loop:
        op, seen = Op(user=4711), []
        begin_ns = library().pro_loop_now(loop.pointer)

        def on_time(op):
            seen.append((op.error, op.user, library().pro_loop_now(loop.pointer) - begin_ns))

        library().pro_sleep(byref(op), loop.pointer, 20 * PRO_MSEC, loop.handler(on_time))
        equal(loop.run(), 1, "handlers")
        equal(seen[0][:2], (PRO_OK, 4711), "error and user")
        check(seen[0][2] >= 20 * PRO_MSEC, f"came after {seen[0][2]} ns")


@case_per_engine
def a_post_from_another_thread(engine):
    with Loop(engine) as loop:
        op, seen = Op(), []

        def on_posted(op):
            seen.append((op.error, threading.get_ident()))
            library().pro_loop_release(loop.pointer)

        handler = loop.handler(on_posted)
        library().pro_loop_hold(loop.pointer)
        # ctypes lets go of the interpreter in pro_loop_run, so that this thread can run.
        thread = threading.Timer(0.02, library().pro_post, (byref(op), loop.pointer, handler))
        thread.start()
        loop.run()
        thread.join()
        equal(seen, [(PRO_OK, threading.get_ident())], "error and thread")


class Echo:
    """An echo server for one connection, and its client, on one loop."""

    def __init__(self, loop, word):
        self.loop, self.word, self.heard = loop, word, b""
        self.listener, self.there, self.here = Handle(), Handle(), Handle()
        self.accepting, self.serving, self.saying, self.hearing = Op(), Op(), Op(), Op()
        self.closing = [Op(), Op(), Op()]
        self.closed = 0
        self.buffer, self.ear = (c_char * 4096)(), (c_char * 4096)()
        for name in [name for name in dir(self) if name.startswith("on_")]:
            setattr(self, name[3:], loop.handler(getattr(self, name)))
        address = library().pro_address_loopback(PRO_IPV4, 0)
        equal(library().pro_listen(byref(self.listener), loop.pointer, None, byref(address), None),
              PRO_OK, "pro_listen")
        library().pro_listener_local(byref(self.listener), byref(address))
        library().pro_accept(byref(self.accepting), byref(self.listener), self.accepted)
        library().pro_socket_init(byref(self.here), loop.pointer, None)
        library().pro_connect(byref(self.saying), byref(self.here), byref(address), self.connected)

    # The server.

    def on_accepted(self, op):
        equal(op.error, PRO_OK, "accept")
        equal(library().pro_accept_take(byref(op), byref(self.there), None), PRO_OK, "take")
        library().pro_listener_close(byref(self.closing[0]), byref(self.listener), self.is_closed)
        self.on_served(op)

    def on_served(self, op):
        equal(op.error, PRO_OK, "echo")
        library().pro_recv(byref(self.serving), byref(self.there), self.buffer, len(self.buffer),
                           self.received)

    def on_received(self, op):
        if op.error == PRO_EOF:
            library().pro_close(byref(self.closing[1]), byref(self.there), self.is_closed)
            return
        equal(op.error, PRO_OK, "receive")
        library().pro_send_all(byref(op), byref(self.there), self.buffer, op.value, self.served)

    # The client.

    def on_connected(self, op):
        equal(op.error, PRO_OK, "connect")
        library().pro_send_all(byref(op), byref(self.here), self.word, len(self.word), self.said)
        library().pro_recv(byref(self.hearing), byref(self.here), self.ear, len(self.ear),
                           self.some_heard)

    def on_said(self, op):
        equal((op.error, op.value), (PRO_OK, len(self.word)), "send")
        library().pro_shutdown(byref(op), byref(self.here), self.is_shut)

    def on_is_shut(self, op):
        equal(op.error, PRO_OK, "shutdown")

    def on_some_heard(self, op):
        if op.error == PRO_EOF:
            library().pro_close(byref(self.closing[2]), byref(self.here), self.is_closed)
            return
        equal(op.error, PRO_OK, "echo at the client")
        self.heard += self.ear[:op.value]
        library().pro_recv(byref(op), byref(self.here), self.ear, len(self.ear), self.some_heard)

    def on_is_closed(self, op):
        equal(op.error, PRO_OK, "close")
        self.closed += 1


@case_per_engine
def an_echo_over_tcp(engine):
    with Loop(engine) as loop:
        word = harness.random_bytes(50000)
        echo = Echo(loop, word)
        loop.run()
        check(echo.heard == word, f"{len(echo.heard)} bytes came back, of {len(word)}, or others")
        equal(echo.closed, 3, "closed")


@case_per_engine
def a_canceled_timer_says_so(engine):
    with Loop(engine) as loop:
        op, seen = Op(), []
        handler = loop.handler(lambda op: seen.append(op.error))
        library().pro_sleep(byref(op), loop.pointer, 3600 * 1000 * PRO_MSEC, handler)
        library().pro_cancel(byref(op))
        equal(seen, [], "completed inside the call")
        loop.run()
        equal(seen, [PRO_ECANCELED], "error")


if __name__ == "__main__":
    harness.main()
