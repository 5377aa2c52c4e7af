"""What becomes of a file while examples/follow.c follows it, wherever that runs."""
import os
import tempfile


def follow(begin, end):
    """begin(path) starts it, end is the signal that ends it.  Its status, what it printed, and what it should have."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "log")

        def add(text, to=path):
            with open(to, "a", encoding="ascii") as file:
                file.write(text + "\n")

        def wait_for(text):
            program.wait_output(f"^{text}\\r?$")

        add("before")
        program = begin(path)
        wait_for("before")
        for i in range(100):
            add(f"line {i}")
        wait_for("line 99")
        os.rename(path, path + ".1")
        add("new file")
        wait_for("new file")
        add("late", path + ".1")  # nobody looks there any more
        os.truncate(path, 0)
        add("cut")
        wait_for("cut")
        os.unlink(path)
        add("once more")
        wait_for("once more")
        program.signal(end)
        status, lines = program.wait()
    return status, lines, ["before"] + [f"line {i}" for i in range(100)] + ["new file", "cut", "once more"]
