#!/usr/bin/env python3
"""The awaiting forms of the initiating functions: include/proactor/await.h and src/co/await.c, and for
the tests of them test/lib/forms.h and test/lib/forms.c (the story is in test/lib/form.h).

    await.py            write the four files
    await.py --check    say whether they are up to date, and whether every initiating function of the
                        public headers has its form here or a reason to have none

The one list is FORMS.  The parameters are read from the headers; the operation, the handler and a loop
(it is the coroutine's) fall away, a deadline comes last.
"""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
HEADER = os.path.join(ROOT, "include", "proactor", "await.h")
SOURCE = os.path.join(HERE, "await.c")
TEST_HEADER = os.path.join(ROOT, "test", "lib", "forms.h")
TEST_SOURCE = os.path.join(ROOT, "test", "lib", "forms.c")

# (header, function without pro_, what the value is); the form is described by the function it awaits.
FORMS = [
    ("net", "connect", "0"),
    ("net", "recv", "bytes > 0"),
    ("net", "recv_exactly", "len"),
    ("net", "send", "bytes > 0"),
    ("net", "send_all", "len"),
    ("net", "recvv", "bytes > 0"),
    ("net", "recvv_exactly", "the sum of the pieces"),
    ("net", "sendv", "bytes > 0"),
    ("net", "sendv_all", "the sum of the pieces"),
    ("net", "shutdown", "0"),
    ("net", "close", "0"),
    ("net", "close_abort", "0"),
    ("net", "accept", "0, and *s is the connection, in scope"),
    ("net", "listener_close", "0"),
    ("buffers", "recv_leased", "bytes > 0, and *lease has them"),
    ("buffers", "buffers_wait", "0"),
    ("memory", "send_zerocopy", "len"),
    ("memory", "sendv_zerocopy", "the sum of the pieces"),
    ("poll", "poll", "the PRO_POLL_ bits that hold"),
    ("poll", "pollable_close", "0"),
    ("datagram", "recv_from", "bytes of the datagram, which may be 0"),
    ("datagram", "send_to", "len"),
    ("datagram", "recvv_from", "bytes of the datagram, which may be 0"),
    ("datagram", "sendv_to", "the sum of the pieces"),
    ("datagram", "recv_batch", "how many datagrams"),
    ("datagram", "send_batch", "count"),
    ("datagram", "datagram_close", "0"),
    ("copy", "copy_file", "how much that was"),
    ("copy", "copy_stream", "how much that was"),
    ("names", "resolve", "how many addresses"),
    ("names", "connect_host", "0"),
    ("names", "connect_any", "0"),
    ("process", "spawn", "the child's id"),
    ("process", "process_wait", "the exit code, or PRO_SIGNALED + the signal"),
    ("process", "process_close", "0"),
    ("watch", "watch", "how many changes, at least 1"),
    ("watch", "watcher_close", "0"),
    ("unix", "connect_unix", "0"),
    ("unix", "send_handles", "len"),
    ("unix", "recv_handles", "bytes > 0; room for *count descriptors becomes how many came there"),
    ("unix", "send_to_unix", "len"),
    ("timer", "timer_start", "0, at when_ns"),
    ("timer", "sleep", "0, after delay_ns"),
    ("signal", "signal_wait", "how many came"),
    ("blocking", "run_blocking", "what fn returned"),
    ("blocking", "run_blocking_wait", "what fn returned"),
    ("file", "file_open", "0, and *f is open"),
    ("file", "file_open_temporary", "0, and *f is open"),
    ("file", "file_close", "0"),
    ("file", "file_read", "bytes > 0"),
    ("file", "file_read_exactly", "len"),
    ("file", "file_write", "len"),
    ("file", "file_readv", "bytes > 0"),
    ("file", "file_readv_exactly", "the sum of the pieces"),
    ("file", "file_writev", "the sum of the pieces"),
    ("file", "file_sync", "0"),
    ("file", "file_datasync", "0"),
    ("file", "file_allocate", "0"),
    ("file", "file_truncate", "0"),
    ("file", "file_advise", "0"),
    ("file", "file_stat", "0, and *stat is filled"),
    ("file", "file_list", "bytes of buf, for pro_dir_next"),
    ("file", "path_stat", "0, and *stat is filled"),
    ("file", "path_rename", "0"),
    ("file", "path_link", "0"),
    ("file", "path_symlink", "0"),
    ("file", "path_unlink", "0"),
    ("file", "path_mkdir", "0"),
    ("file", "path_rmdir", "0"),
    ("file", "path_read", "bytes->len"),
    ("file", "path_replace", "len"),
    ("co", "join", "the coroutine's result"),
]

# Initiating functions without a form, and why.
WITHOUT = {
    "recv_multi": "completes many times; a loop of pro_await_recv_leased is its form",
    "recv_from_multi": "completes many times; a loop of pro_await_recv_from is its form",
    "accept_multi": "completes many times; a loop of pro_await_accept is its form",
    "post": "its handler may run on another loop's thread; on one's own loop: pro_yield",
}

# Calls to other loops have an operation inside a pro_call: their forms are written by hand (call.c).
BY_HAND = {"call_on", "broadcast"}
CALLS = """\

/* ---- Calls (runtime.h) ---- */

/* Run fn(call, there) on another loop and return its value, or the error.  Nothing cuts it short: there is
 * no deadline, and canceling the coroutine waits for it (then only later ones are refused).  The call
 * may lie on the coroutine's stack; the library's until this returns; only its arg is the caller's. */
PRO_API int64_t pro_await_call_on(pro_call *call, pro_loop *there, pro_call_fn *fn);
PRO_API int64_t pro_await_call_on_at(const char *site, pro_call *call, pro_loop *there,
                                     pro_call_fn *fn);

/* The same on every shard of the coroutine's runtime, with as many calls as shards: the sum of all values,
 * or the first error. */
PRO_API int64_t pro_await_broadcast(pro_call *calls, pro_call_fn *fn, void *arg);
PRO_API int64_t pro_await_broadcast_at(const char *site, pro_call *calls, pro_call_fn *fn, void *arg);
"""
CALL_MACROS = """\
#define pro_await_call_on(...) pro_await_call_on_at(PRO_SITE, __VA_ARGS__)
#define pro_await_broadcast(...) pro_await_broadcast_at(PRO_SITE, __VA_ARGS__)
"""

# Closing is never refused and has no deadline.
CLOSING = {"close", "close_abort", "listener_close", "datagram_close", "pollable_close",
           "process_close", "watcher_close", "file_close"}

# Types of handles, without pro_.
HANDLES = "socket|listener|datagram|pollable|process|watcher|file"

# Their handle is only just made: it has no scope to ask.
OPENING = {"file_open", "file_open_temporary"}

# What a form does after its operation completed: more parameters, and what it returns.
AFTER = {
    "recv_leased": ("pro_lease *lease",
                    "value < 0 ? value : (pro_lease_take(&co->op, lease), value)"),
    "accept": ("pro_socket *s, pro_scope *scope",
               "value < 0 ? value : pro_accept_take(&co->op, s, scope)"),
    "recv_handles": ("intptr_t *descriptors, size_t *count",
                     "(*count = pri_await_handles(co, descriptors, *count), value)"),
}

PROTOTYPE = re.compile(r"PRO_API void\s+pro_(\w+)_at\(const char \*site,\s*pro_op \*op,?([^;]*)\);")

HEADER_TOP = """\
/* The awaiting forms of the initiating functions, for coroutines (co.h).  Generated by src/co/await.py.
 *
 * pro_await_recv(s, buf, len) initiates as pro_recv does, leaves the coroutine until the operation has
 * completed, and returns its value, which is never negative, or its error, which is (PRO_EOF too).
 * Bytes that moved before an error: pro_co_value().  pro_await_recv_by(s, buf, len, deadline_ns) is the
 * same with a deadline, absolute on the loop's clock; pro_await_recv_by_at has the call site as well,
 * for macros and other languages.
 *
 * Each yields exactly once.  Ours until it returns: the buffers, which may lie on the coroutine's stack,
 * and the handle.  What it counts in: the scope of the handle, without a handle that of the coroutine.
 * Thread: the loop's, in a coroutine; elsewhere they abort.
 * Errors: those of the function that is awaited.  PRO_ECANCELED, without reaching the kernel, once the
 * coroutine is canceled, but for closing.
 *
 * pro_await_accept takes the connection, too (pro_accept_take): with an error s is the caller's.
 * pro_await_recv_leased takes the lease: with an error there is none. */
/* clang-format off */
#ifndef PROACTOR_AWAIT_H
#define PROACTOR_AWAIT_H

#include <proactor/base.h>
"""

SOURCE_TOP = """\
/* The awaiting forms of the initiating functions.  Generated by await.py, from its list.
 *
 * All have one shape (FORM), those that close another (CLOSE).  A row has a name, the parameters, their
 * names, when the way is plain, the handle that is waited for, the arguments of the initiating function,
 * and what is done with the value.  The way that is not plain stands apart, so that the plain one needs
 * no frame for its sake. */
/* clang-format off */
#define PRO_NO_SITES
#include <proactor/await.h>

#include "co/co.h"

#define OPEN(...) __VA_ARGS__

/* A coroutine that is as it should be, with a scope or on a handle. */
#define PLAIN(handle) pri_await_is_plain(co, deadline_ns)
#define PLAIN_ON(handle) pri_await_is_plain_on(co, handle, deadline_ns)

/* The names without a site, and without a deadline. */
#define NAMES(name, parameters, names)                                                                  \\
    int64_t pro_await_##name##_by(OPEN parameters, uint64_t deadline_ns)                                \\
    {                                                                                                   \\
        return pro_await_##name##_by_at("?", OPEN names, deadline_ns);                                  \\
    }                                                                                                   \\
    int64_t pro_await_##name(OPEN parameters)                                                           \\
    {                                                                                                   \\
        return pro_await_##name##_by_at("?", OPEN names, PRO_NEVER);                                    \\
    }

#define FORM(name, parameters, names, plain, handle, arguments, after)                                  \\
    PRI_COLD static int64_t name##_special(const char *site, OPEN parameters, uint64_t deadline_ns)     \\
    {                                                                                                   \\
        pri_co *co = pri_await_begin(site, "pro_await_" #name, handle, deadline_ns);                    \\
        if (!co->is_refused) pro_##name##_at(site, &co->op, OPEN arguments, pri_co_awake);              \\
        int64_t value = pri_await_end(co);                                                              \\
        return after;                                                                                   \\
    }                                                                                                   \\
    int64_t pro_await_##name##_by_at(const char *site, OPEN parameters, uint64_t deadline_ns)           \\
    {                                                                                                   \\
        pri_co *co = pri_co_current();                                                                  \\
        if (!plain(handle)) return name##_special(site, OPEN names, deadline_ns);                       \\
        pro_##name##_at(site, &co->op, OPEN arguments, pri_co_awake);                                   \\
        int64_t value = pri_await_plain(co);                                                            \\
        return after;                                                                                   \\
    }                                                                                                   \\
    NAMES(name, parameters, names)

/* Never refused, and without a deadline. */
#define CLOSE(name, parameters, names)                                                                  \\
    int64_t pro_await_##name##_by_at(const char *site, OPEN parameters, uint64_t deadline_ns)           \\
    {                                                                                                   \\
        (void)deadline_ns;                                                                              \\
        pri_co *co = pri_await_begin_close(site, "pro_await_" #name);                                   \\
        pro_##name##_at(site, &co->op, OPEN names, pri_co_awake);                                       \\
        return pri_await_end(co);                                                                       \\
    }                                                                                                   \\
    NAMES(name, parameters, names)
"""

# A sentence of the list joins no coroutine; its own are what awaits for it.
UNTESTED = {"join"}

TEST_HEADER_TOP = """\
/* The initiating calls of sentences (form.h).  Generated by src/co/await.py, from its list. */
/* clang-format off */
#ifndef TEST_LIB_FORMS_H
#define TEST_LIB_FORMS_H

#include <proactor.h>
"""

TEST_SOURCE_TOP = """\
/* The initiating calls of sentences (form.h).  Generated by src/co/await.py, from its list. */
/* clang-format off */
#include "lib/form.h"
"""

ANY = re.compile(r"PRO_API void\s+pro_(\w+)_at\(const char \*site,[^;]*pro_handler \*done\);")


def text_of(header):
    path = os.path.join(ROOT, "include", "proactor", header)
    with open(path, encoding="utf-8") as file:
        return re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)


def initiating(header):
    """The initiating functions of a public header: name -> parameters between op and done."""
    found = {}
    for name, rest in PROTOTYPE.findall(text_of(header)):
        parts = [" ".join(part.split()) for part in rest.split(",")]
        if parts[-1] != "pro_handler *done":
            sys.exit(f"await.py: pro_{name}_at does not end in its handler")
        found[name] = parts[:-1]
    return found


def name_of(parameter):
    return re.search(r"(\w+)$", parameter).group(1)


def wrap(text, width=100, indent=4):
    """Break a call or a declaration behind commas, aligned to its parenthesis."""
    lines = []
    while len(text) > width:
        at = text.rfind(", ", 0, width) + 1
        lines.append(text[:at])
        text = " " * indent + text[at:].lstrip()
    return "\n".join(lines + [text])


def declare(prefix, name, parameters, end):
    head = f"{prefix} {name}("
    return wrap(head + ", ".join(parameters or ["void"]) + ")" + end, indent=len(head))


class Form:
    def __init__(self, header, name, value):
        self.header, self.name, self.value = header, name, value
        self.parameters = initiating(header + ".h")[name]
        self.own = [p for p in self.parameters if not p.startswith("pro_loop *")]
        self.more, self.after = AFTER.get(name, ("", "value"))
        if self.more:
            self.own += self.more.split(", ")
        self.handle = next((f"&{name_of(p)}->handle" for p in self.parameters
                            if re.match(rf"(const )?pro_({HANDLES}) \*", p) and
                            name not in OPENING), "NULL")

    def body(self):
        """A row of await.c."""
        names = [name_of(p) for p in self.own]
        arguments = ["co->home->loop" if p.startswith("pro_loop *") else name_of(p)
                     for p in self.parameters]
        if self.name in CLOSING:
            fields = [self.own, names]
        else:
            plain = "PLAIN" if self.handle == "NULL" else "PLAIN_ON"
            fields = [self.own, names, plain, self.handle, arguments, self.after]
        lines = [f"{'CLOSE' if self.name in CLOSING else 'FORM'}({self.name}"]
        for field in (f if isinstance(f, str) else f"({', '.join(f)})" for f in fields):
            if len(lines[-1]) + len(field) + 3 <= 100:
                lines[-1] += ", " + field
            else:
                lines[-1] += ","
                lines.append("     " + field)
        return "\n".join(lines) + ")\n"

    def declarations(self):
        form = f"pro_await_{self.name}"
        deadline = ["uint64_t deadline_ns"]
        closing = self.name in CLOSING
        note = "; the deadline has no effect" if closing else ""
        out = f"/* pro_{self.name}: {self.value}{note}. */\n"
        out += declare("PRO_API int64_t", form, self.own, ";") + "\n"
        out += declare("PRO_API int64_t", form + "_by", self.own + deadline, ";") + "\n"
        out += declare("PRO_API int64_t", form + "_by_at",
                       ["const char *site"] + self.own + deadline, ";") + "\n"
        return out

    def macros(self):
        form = f"pro_await_{self.name}"
        arguments = "__VA_ARGS__, " if self.own else ""
        dots = "..." if self.own else ""
        return (f"#define {form}({dots}) {form}_by_at(PRO_SITE, {arguments}PRO_NEVER)\n"
                f"#define {form}_by(...) {form}_by_at(PRO_SITE, __VA_ARGS__)\n")

    def test_parameters(self):
        return ["const char *site", "pro_op *op"] + self.parameters + ["pro_handler *done"]

    def test_declaration(self):
        return declare("void", f"t_form_{self.name}", self.test_parameters(), ";") + "\n"

    def test_macro(self):
        return (f"#undef pro_{self.name}\n"
                f"#define pro_{self.name}(...) t_form_{self.name}(PRO_SITE, __VA_ARGS__)\n")

    def test_body(self):
        """The call as data, the two ways to make it, and the function behind the macro."""
        kept = [f"x->{name_of(p)}" for p in self.parameters]
        kept_own = [f"x->{name_of(p)}" for p in self.own]
        loop = next((name_of(p) for p in self.parameters if p.startswith("pro_loop *")), "NULL")
        cast = f"    const struct {self.name} *x = (const struct {self.name} *)call;\n"
        out = f"struct {self.name} {{\n    t_call call;\n"
        out += "".join(f"    {p};\n" for p in self.parameters) + "};\n\n"
        out += f"static void {self.name}_call(const t_call *call, pro_handler *done)\n{{\n{cast}"
        arguments = ["call->site", "call->op"] + kept + ["done"]
        out += wrap(f"    pro_{self.name}_at(" + ", ".join(arguments) + ");", indent=8) + "\n}\n\n"
        holds = ", NULL"
        if self.name in ("send_all", "sendv_all"):
            holds = f", {self.name}_zerocopy"
            of_the_other = wrap(f"    pro_{self.name[:-4]}_zerocopy_at(" + ", ".join(arguments) + ");",
                                indent=8)
            out += (f"static void {self.name}_zerocopy(const t_call *call, pro_handler *done)\n"
                    f"{{\n{cast}{of_the_other}\n}}\n\n")
        awaits = "NULL"
        if not self.more:
            awaits = f"{self.name}_await"
            out += f"static int64_t {awaits}(const t_call *call)\n{{\n{cast}"
            arguments = ["call->site"] + kept_own + ["call->op->deadline_ns"]
            out += wrap(f"    return pro_await_{self.name}_by_at(" + ", ".join(arguments) + ");",
                        indent=8) + "\n}\n\n"
        out += declare("void", f"t_form_{self.name}", self.test_parameters(), "") + "\n{\n"
        out += f"    struct {self.name} x = {{\n"
        out += f"        {{site, op, done, {self.name}_call, {awaits}, {self.handle}, {loop}{holds}}},\n"
        out += wrap("        " + ", ".join(name_of(p) for p in self.parameters) + "};", indent=8)
        return out + "\n    t_initiate(&x.call);\n}\n"


def generate():
    forms = [Form(*row) for row in FORMS]
    headers = sorted({form.header for form in forms} | {"runtime"})
    header = HEADER_TOP + "".join(f"#include <proactor/{h}.h>\n" for h in headers)
    header += "\nPRO_BEGIN_DECLS\n\n" + "\n".join(form.declarations() for form in forms)
    header += CALLS
    header += "\n#ifndef PRO_NO_SITES\n" + "".join(form.macros() for form in forms)
    header += CALL_MACROS + "#endif\n"
    header += "\nPRO_END_DECLS\n\n#endif\n"
    source = SOURCE_TOP + "\n" + "".join(form.body() for form in forms)
    tested = [form for form in forms if form.name not in UNTESTED]
    test_header = TEST_HEADER_TOP + "\n" + "".join(form.test_declaration() for form in tested)
    test_header += "\n" + "".join(form.test_macro() for form in tested) + "\n#endif\n"
    test_source = TEST_SOURCE_TOP + "\n" + "\n".join(form.test_body() for form in tested)
    return {HEADER: header, SOURCE: source, TEST_HEADER: test_header, TEST_SOURCE: test_source}


def missing():
    """Initiating functions of the public headers that are neither listed nor excused."""
    listed = {name for _, name, _ in FORMS} | set(WITHOUT) | BY_HAND
    for header in sorted(os.listdir(os.path.dirname(HEADER))):
        for name in ANY.findall(text_of(header)):
            if name not in listed:
                yield f"include/proactor/{header}: pro_{name} has no awaiting form: src/co/await.py"


def main():
    files = generate()
    if sys.argv[1:] != ["--check"]:
        for path, text in files.items():
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return 0
    bad = list(missing())
    for path, text in files.items():
        with open(path, encoding="utf-8") as file:
            if file.read() != text:
                bad.append(f"{os.path.relpath(path, ROOT)}: not what src/co/await.py writes")
    print("\n".join("FAIL " + line for line in bad) or f"ok await: {len(FORMS)} forms")
    print(f"{int(not bad)} passed, {len(bad)} failed, 0 skipped")
    return bad != []


if __name__ == "__main__":
    sys.exit(main())
