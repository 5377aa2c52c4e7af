"""The plots of the trade-off matrix: SVG by gnuplot, which gets its data inline."""
import os
import shutil
import subprocess

import matrix_measure
import matrix_page

# Few enough to be told apart; colours that differ in lightness too (Okabe and Ito).
LINES = [("thread", "#000000"), ("epoll", "#e69f00"), ("uv", "#56b4e9"), ("asio-co-epoll", "#999999"),
         ("pro-epoll", "#009e73"), ("uring", "#d55e00"), ("pro-uring", "#0072b2"),
         ("pro-leased-uring", "#cc79a7"), ("pro-co-uring", "#8a6d00")]


def label(name):
    return matrix_page.LABELS[name]


def block(name, rows):
    return f"${name} << EOD\n" + "\n".join(" ".join(str(cell) for cell in row) for row in rows) + "\nEOD\n"


def quoted(text):
    return '"' + text.replace('"', "'") + '"'


def by_connections(results, value, ylabel, logscale):
    """A panel for each size of message, a line for each model."""
    sizes = results.sizes()
    text = f"set multiplot layout 1,{len(sizes)} margins 0.06,0.985,0.30,0.92 spacing 0.05\n"
    text += "set logscale x\nset xlabel 'connections'\nset grid ytics lt 1 lc rgb '#dddddd'\n"
    text += f"set ylabel '{ylabel}'\n" + ("set logscale y\n" if logscale else "set yrange [0.5:*]\n")
    for at, size in enumerate(sizes):
        text += f"set title '{matrix_page.size_name(size)}'\n"
        text += "unset key\n" if at else "set key at screen 0.5,0.02 center bottom horizontal maxrows 3 width 1\n"
        plotted = []
        for name, colour in LINES:
            rows = [(c, value(results.tcp[name, c, size])) for c in results.connections()
                    if (name, c, size) in results.tcp]
            if rows:
                block_name = f"d{at}_{len(plotted)}"
                text += block(block_name, rows)
                plotted.append(f"${block_name} with linespoints lc rgb '{colour}' pt 7 ps 0.4 lw 1.5 "
                               f"title {quoted(label(name))}")
        text += "plot " + ", ".join(plotted) + "\nset ylabel ''\n"
    return "1000,460", text + "unset multiplot\n"


def memory(results):
    rows = [(quoted(label(name)), row["user_bytes"] / 1024, row["kernel_bytes"] / 1024)
            for name, row in results.parts["memory"].items()]
    text = block("d", rows)
    text += ("set style data histograms\nset style histogram rowstacked\nset style fill solid 0.9\nset boxwidth 0.7\n"
             "set xtics rotate by -35 noenhanced\nset ylabel 'KiB a connection'\nset yrange [0:*]\nset bmargin 9\nset rmargin 20\n"
             "set grid ytics lt 1 lc rgb '#dddddd'\n"
             "plot $d using 2:xtic(1) lc rgb '#0072b2' title 'user', '' using 3 lc rgb '#e69f00' "
             "title 'kernel: stacks, page tables'\n")
    return "800,460", text


def handlers(results):
    works = [w or "none" for w in matrix_measure.WORKS]
    names = [n for n in matrix_measure.HANDLERS if (n, works[0]) in results.parts["handlers"]]
    shown = {"b": "blocks", "c": "computes"}
    rows = []
    for work in works:
        cells = [results.parts["handlers"].get((name, work), {}).get("p99_us") for name in names]
        title = work if work == "none" else f"{shown[work[0]]} {matrix_page.micro(int(work[1:]))}"
        rows.append((quoted(title), *(c / 1000 if c else "NaN" for c in cells)))
    colours = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#66d0b0", "#0072b2", "#8a6d00", "#cc79a7", "#80b8e8"]
    text = block("d", rows)
    text += ("set style data histograms\nset style histogram clustered gap 2\nset style fill solid 0.9\nset logscale y\n"
             "set ylabel 'p99 of the others, ms'\nset grid ytics lt 1 lc rgb '#dddddd'\nset xlabel \"the one handler\"\n"
             "set key outside bottom center horizontal maxrows 3\n")
    text += "plot " + ", ".join(f"$d using {i + 2}{':xtic(1)' if i == 0 else ''} lc rgb '{colours[i]}' "
                                f"title {quoted(label(name))}" for i, name in enumerate(names)) + "\n"
    return "1000,460", text


def offload(results):
    text, plotted = "", []
    for name, colour in (("pro-uring", "#0072b2"), ("pro-uring+pool", "#80b8e8"), ("thread", "#000000")):
        rows = sorted((us, row["per_s"]) for (server, us), row in results.parts["offload"].items() if server == name)
        if rows:
            text += block(f"d{len(plotted)}", rows)
            plotted.append(f"$d{len(plotted)} with linespoints lc rgb '{colour}' pt 7 ps 0.5 lw 1.5 "
                           f"title {quoted(label(name))}")
    text += ("set logscale xy\nset xlabel 'computed for each message, us'\nset ylabel 'messages a second'\n"
             "set grid ytics lt 1 lc rgb '#dddddd'\nplot " + ", ".join(plotted) + "\n")
    return "700,400", text


def draw(results, out):
    """Draw what there are results for; {plot: file name}.  Without gnuplot none."""
    if not shutil.which("gnuplot"):
        print("matrix: no plots, gnuplot is not installed")
        return {}
    parts = results.parts
    plots = {}
    if results.tcp:
        plots["cpu"] = by_connections(results, lambda row: row["cpu_ratio"]["mid"], "CPU / reactor by hand", False)
        plots["p99"] = by_connections(results, lambda row: row["p99_us"], "p99, us", True)
    for name, plot in (("memory", memory), ("handlers", handlers), ("offload", offload)):
        if parts[name]:
            plots[name] = plot(results)
    files = {}
    for name, (size, text) in plots.items():
        files[name] = f"trade-offs-{name}.svg"
        path = os.path.join(out, files[name])
        head = (f"set terminal svg size {size} dynamic background '#ffffff' font 'sans-serif,11' noenhanced\n"
                f"set output '{path}'\n")
        subprocess.run(["gnuplot"], input=head + text, text=True, check=True)
    return files
