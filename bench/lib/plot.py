"""Plots for docs/benchmarks: SVG by gnuplot, in one look.

Text only goes in, so a plot is made again wherever gnuplot is, and its figures stand in the document beside
it.  Colours are told apart in print and by the colour-blind; a line is named at the curve's key."""
import subprocess

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#8c6d31"]


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def lines(path, title, x_label, y_label, series, log_x=True, log_y=False, y_from=None, y_to=None, guide=None):
    """series: [(name, [(x, y) or (x, y, low, high), ...]), ...], the latter with an interval drawn.
    guide: (y, name) of a horizontal line."""
    script = ["set terminal svg size 760,440 dynamic font 'sans,13' background '#ffffff'",
              f"set output {quoted(path)}",
              f"set title {quoted(title)} noenhanced", f"set xlabel {quoted(x_label)} noenhanced",
              f"set ylabel {quoted(y_label)} noenhanced",
              "set key outside right top noenhanced", "set grid lc rgb '#dddddd'", "set border 3", "set tics nomirror"]
    if log_x:
        script += ["set logscale x", "set format x '%.0s%c'"]
    if log_y:
        script += ["set logscale y"]
    if y_from is not None or y_to is not None:
        script += [f"set yrange [{'' if y_from is None else y_from}:{'' if y_to is None else y_to}]"]
    curves = []
    for i, (name, points) in enumerate(series):
        script += [f"$data{i} << END", *(" ".join(f"{value:.6g}" for value in point) for point in points), "END"]
        colour = COLOURS[i % len(COLOURS)]
        style = f"lc rgb '{colour}' lw 2 pt {5 + i % 8} ps 0.6 title {quoted(name)}"
        curves.append(f"$data{i} using 1:2 with linespoints {style}")
        if points and len(points[0]) == 4:
            curves.append(f"$data{i} using 1:2:3:4 with yerrorbars lc rgb '{colour}' pt 0 notitle")
    if guide:
        curves.append(f"{guide[0]} with lines lc rgb '#888888' dt 2 title {quoted(guide[1])}")
    script.append("plot " + ", ".join(curves))
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


def bars(path, title, y_label, groups, series, log_y=False):
    """groups: names below; series: [(name, [one value for each group, or None]), ...]."""
    script = ["set terminal svg size 760,440 dynamic font 'sans,13' background '#ffffff'",
              f"set output {quoted(path)}",
              f"set title {quoted(title)} noenhanced", f"set ylabel {quoted(y_label)} noenhanced",
              "set style data histogram", "set style histogram clustered gap 1", "set style fill solid 0.85 border -1",
              "set key outside right top noenhanced", "set grid y lc rgb '#dddddd'", "set border 3",
              "set tics nomirror", "set xtics rotate by -25 noenhanced",
              "set logscale y" if log_y else "set yrange [0:]", "$data << END"]
    for row, group in enumerate(groups):
        values = ["?" if values[row] is None else f"{values[row]:.6g}" for _, values in series]
        script.append(" ".join([quoted(group), *values]))
    script += ["END", "set datafile missing '?'"]
    script.append("plot " + ", ".join(
        f"$data using {i + 2}:xtic(1) lc rgb '{COLOURS[i % len(COLOURS)]}' title {quoted(name)}"
        for i, (name, _) in enumerate(series)))
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)
