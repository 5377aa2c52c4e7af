"""The plots of the trade-off matrix."""
import os
import shutil

import matrix_measure
import matrix_page
import plot

# Few enough to be told apart.
LINES = ["thread", "epoll", "uv", "asio-co-epoll", "pro-epoll", "uring", "pro-uring", "pro-leased-uring"]


def label(name):
    return matrix_page.LABELS[name]


def by_connections(results, size, value):
    series = []
    for name in LINES:
        points = [(c, *value(results.tcp[name, c, size])) for c in results.connections()
                  if (name, c, size) in results.tcp]
        if points:
            series.append((label(name), points))
    return series


def cpu(results, size, path):
    def value(row):
        return [row["cpu_ratio"][key] for key in ("mid", "lo", "hi")]
    plot.lines(path, f"CPU for a message of {matrix_page.size_name(size)}", "connections", "CPU / reactor by hand",
               by_connections(results, size, value), y_from=0)


def p99(results, size, path):
    plot.lines(path, f"p99 of a message of {matrix_page.size_name(size)}", "connections", "us",
               by_connections(results, size, lambda row: [row["p99_us"]]), log_y=True)


def memory(results, path):
    rows = results.parts["memory"]
    plot.bars(path, "Memory of a connection", "KiB", [label(name) for name in rows],
              [("user", [row["user_bytes"] / 1024 for row in rows.values()]),
               ("kernel: stacks, page tables", [row["kernel_bytes"] / 1024 for row in rows.values()])])


def handlers(results, path):
    rows = results.parts["handlers"]
    works = [w or "none" for w in matrix_measure.WORKS]
    names = [name for name in matrix_measure.HANDLERS if (name, works[0]) in rows]
    shown = {"b": "blocks ", "c": "computes "}
    groups = [w if w == "none" else shown[w[0]] + matrix_page.micro(int(w[1:])) for w in works]
    plot.bars(path, "p99 of ten connections beside one whose handler blocks or computes", "ms", groups,
              [(label(name), [rows[name, work]["p99_us"] / 1000 for work in works]) for name in names], log_y=True)


def offload(results, path):
    series = []
    for name in ("pro-uring", "pro-uring+pool", "thread"):
        points = sorted((us, row["per_s"]) for (server, us), row in results.parts["offload"].items() if server == name)
        if points:
            series.append((label(name), points))
    plot.lines(path, "Every message computes: on the loop, on its pool, on threads", "us computed for each message",
               "messages a second", series, log_y=True)


def draw(results, out):
    """Draw what there are results for; {plot: file name}.  Without gnuplot none."""
    if not shutil.which("gnuplot"):
        print("matrix: no plots, gnuplot is not installed")
        return {}
    plots = {}

    def one(name, function, *words):
        plots[name] = f"trade-offs-{name}.svg"
        function(results, *words, os.path.join(out, plots[name]))

    for size in results.sizes():
        one(f"cpu-{size}", cpu, size)
        one(f"p99-{size}", p99, size)
    for name, function in (("memory", memory), ("handlers", handlers), ("offload", offload)):
        if results.parts[name]:
            one(name, function)
    return plots
