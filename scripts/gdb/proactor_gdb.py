"""gdb: the coroutines of a process or a core file, each with its stack.

    (gdb) source scripts/gdb/proactor_gdb.py
    (gdb) proactor-coroutines                  all that are parked, running or not begun
    (gdb) proactor-coroutines echo             those whose name contains the word
    (gdb) proactor-coroutines -full echo       with local variables

Nothing in the program is called or changed, so it works on core files too: an unwinder pretends that
the function in which the selected thread stands was called by the parked coroutine, and gdb's own
backtrace does the rest.  Needs the library's debugging information, and x86-64.
"""
import re

import gdb
import gdb.unwinder

ULONG = gdb.lookup_type("unsigned long")

# What src/co/switch_x86_64.S pushes, from low to high.
PUSHED = ("r15", "r14", "r13", "r12", "rbx", "rbp", "rip")

# Where a ucontext_t has them: 8-byte words from the beginning of its gregs, which begin at byte 40.
IN_UCONTEXT = {"r12": 4, "r13": 5, "r14": 6, "r15": 7, "rbp": 10, "rbx": 11, "rsp": 15, "rip": 16}


def word(address):
    return int(gdb.Value(address).cast(ULONG.pointer()).dereference())


def has_symbol(name):
    return gdb.lookup_global_symbol(name) is not None


def saved_registers(co):
    """The registers with which a parked coroutine goes on."""
    at = int(co["context"]["at"])
    if has_symbol("pri_context_is_ucontext"):
        return {name: word(at + 40 + 8 * i) for name, i in IN_UCONTEXT.items()}
    registers = {name: word(at + 8 * i) for i, name in enumerate(PUSHED)}
    registers["rsp"] = at + 8 * len(PUSHED)
    return registers


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = gdb.Value(sp).cast(ULONG), gdb.Value(pc).cast(ULONG)


class Detour(gdb.unwinder.Unwinder):
    """While on, the caller of the innermost frame is the coroutine with these registers."""

    def __init__(self):
        super().__init__("proactor-detour")
        self.registers = None
        self.here = None

    def __call__(self, pending):
        if self.registers is None:
            return None
        here = int(pending.read_register("rsp")), int(pending.read_register("rip"))
        if here != self.here:
            return None
        # Below the coroutine's frames: gdb takes a stack that goes the wrong way for a corrupt one.
        info = pending.create_unwind_info(FrameId(self.registers["rsp"] - 256, here[1]))
        for name, value in self.registers.items():
            info.add_saved_register(name, gdb.Value(value).cast(ULONG))
        return info

    def backtrace(self, registers, options):
        frame = gdb.newest_frame()
        self.here = int(frame.read_register("rsp")), int(frame.read_register("rip"))
        self.registers = registers
        gdb.invalidate_cached_frames()
        try:
            text = gdb.execute("backtrace" + options, to_string=True)
        finally:
            self.registers = None
            gdb.invalidate_cached_frames()
        # The frames of the thread itself come first, some of them inlined: leave them out.
        first = re.search(rf"^#(\d+) +0x0*{registers['rip']:x} ", text, re.MULTILINE)
        if not first:
            return "(no stack)\n"
        skipped = int(first.group(1))
        return re.sub(r"^#(\d+) ", lambda m: f"#{int(m.group(1)) - skipped} ", text[first.start():],
                      flags=re.MULTILINE)


DETOUR = Detour()
gdb.unwinder.register_unwinder(None, DETOUR, replace=True)


def links(head):
    """The elements of a pri_link list, as addresses."""
    link = head["next"]
    while link != head.address:
        yield int(link)
        link = link["next"]


def container(address, type_name, member):
    structure = gdb.lookup_type(type_name)
    offset = next(f.bitpos // 8 for f in structure.fields() if f.name == member)
    return gdb.Value(address - offset).cast(structure.pointer()).dereference()


def coroutines():
    """Every coroutine of every loop in the process."""
    homes = gdb.lookup_global_symbol("pri_co_homes")
    if homes is None:
        raise gdb.GdbError("no coroutines: the program has no proactor, or no debugging information")
    for home in links(homes.value()):
        for link in links(container(home, "struct pri_co_home", "of_process")["all"]):
            yield container(link, "struct pri_co", "of_home")


def awaited(co):
    """The operation that it waits for, or None."""
    if co["awaited"]:
        return co["awaited"]
    waits = int(co["state"]) == 1 and int(co["op"]["pri_kernel_step"]["op_state"]) != 0  # PRI_CO_RUNNING
    return co["op"].address if waits else None


def state_of(co):
    if int(co["state"]) == 0:  # PRI_CO_STARTING
        return "has not begun"
    if co["away"]:
        return f"awaits a call to another loop, made at {co['away'].string()}"
    op = awaited(co)
    if not op:
        return "runs"
    kind = str(op["pri_kernel_step"]["op_kind"].cast(gdb.lookup_type("enum pri_op_kind")))
    what = kind.removeprefix("PRI_OP_").lower()
    return f"awaits {what} at {op['pri_site'].string()}"


class Coroutines(gdb.Command):
    """proactor-coroutines [-full] [NAME]: coroutines with their stacks."""

    def __init__(self):
        super().__init__("proactor-coroutines", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = argument.split()
        options = " -full" if "-full" in words else ""
        names = [w for w in words if w != "-full"]
        count = 0
        for co in coroutines():
            name = co["name"].string()
            if names and names[0] not in name:
                continue
            count += 1
            print(f"coroutine {name} ({int(co.address):#x}), started at {co['site'].string()}: "
                  f"{state_of(co)}")
            if awaited(co) or co["away"]:
                print(DETOUR.backtrace(saved_registers(co), options))
        print(f"{count} coroutine" + ("" if count == 1 else "s"))


Coroutines()
