"""docs/Performance.md and its pictures from the results of scripts/bench.

    report.py FOLDER --docs DIRECTORY

FOLDER holds the lists of rows that `scripts/bench kernels --json` and `scripts/bench model --json` wrote, as kernels*.json and
model*.json. Each kernels file is a section with tables and a roofline (roofline*.svg), each model file a table. What `scripts/bench accuracy --json`
wrote, accuracy*.json, becomes the part of docs/Accuracy.md between two comments.
"""
import argparse
import html
import json
import math
import pathlib
import re
import sys

COLOURS = {2: "#1b6ca8", 3: "#2e8540", 4: "#b5482a", 8: "#6b4c9a"}
ORDER = [1, 2, 4, 8, 32, 128, 512]


class ReportError(Exception):
    pass


def intensity(row: dict) -> float:
    """Operations per byte of packed weights."""
    return 2 * row["M"] * row["N"] * row["K"] / row["bytes"]


def roof(row: dict) -> float:
    """GOPS that memory and instructions leave, whichever is less."""
    memory = math.inf if row["memory"] == "cache" else intensity(row) * row["bandwidth_gb_s"]
    return min(memory, row.get("ceiling_gops", math.inf))


def algorithm(row: dict) -> str:
    return re.search(r'algorithm = "(\w+)"', row["kernel"]).group(1)


def kernel(row: dict) -> str:
    fields = dict(re.findall(r'(\w+) = "?(\w+)"?', row["kernel"]))
    return f"{fields['algorithm']}, {fields['m_tile']} × {fields['n_tile']}"


def microseconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def table(head: list, rows: list) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def is_goal(row: dict) -> bool:
    """Whether the row is one of shapes.json's own, not of its grid."""
    return not re.match(r"\d+x\d+ M\d", row["work"])


def goal_table(rows: list) -> str:
    lines = []
    for row in rows:
        share = f"{row['gops'] / roof(row):.2f}" if math.isfinite(roof(row)) else ""
        peer = f"{row['peer']} {row['peer_us']:.0f}" if row["peer"] else "no peer"
        lines.append([row["work"], kernel(row), microseconds(row["us"]), f"{row['gops']:.0f}",
                      f"{row['gb_s']:.1f}", f"{row['of_bandwidth']:.2f}", f"{row['huge_pages']:.2f}", share, peer, row["ratio"] or "", row["goal"] or "",
                      row["verdict"]])
    return table(["product", "kernel", "µs", "GOPS", "GB/s", "of bandwidth", "huge pages", "of roof", "fastest peer, µs", "ratio", "goal", "verdict"],
                 lines)


def peer_table(rows: list) -> str:
    labels = sorted({label for row in rows for label in row["peers"]})
    if not labels:
        return ""
    lines = [[row["work"], f"{row['us']:.0f}", *(f"{row['peers'][label]:.0f}" if label in row["peers"] else "" for label in labels)]
             for row in rows if row["peers"]]
    return "\nMicroseconds of each peer:\n\n" + table(["product", "ELUTQ", *labels], lines)


def grid_table(rows: list, threads: int, group: int) -> str:
    """Microseconds, and the ratio to the fastest peer."""
    cells = {(row["N"], row["K"], row["bits"], row["M"]): row for row in rows if (row["threads"], row["group"]) == (threads, group)}
    columns = [m for m in ORDER if any(key[3] == m for key in cells)]
    lines = []
    for n, k, bits in dict.fromkeys(key[:3] for key in cells):
        line = [f"{n} × {k}", bits]
        for m in columns:
            row = cells.get((n, k, bits, m))
            line.append("" if row is None else microseconds(row["us"]) + (f" ({row['ratio']:.2f}×)" if row["peer"] else ""))
        lines.append(line)
    return f"\nGroups of {group}, {count(threads, 'thread')}:\n\n" + table(["N × K", "bits", *(f"M = {m}" for m in columns)], lines)


def behind_table(rows: list) -> str:
    """How many of the rows with a peer are behind it, by group and number of rows of activations."""
    compared = [row for row in rows if row["peer"]]
    if not compared:
        return ""
    groups, columns = sorted({row["group"] for row in compared}), [m for m in ORDER if any(row["M"] == m for row in compared)]
    lines = []
    for group in groups:
        line = [group]
        for m in columns:
            ratios = [row["ratio"] for row in compared if (row["group"], row["M"]) == (group, m)]
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else 0
            line.append(f"{mean:.2f}× ({sum(ratio < 1 for ratio in ratios)} of {len(ratios)})" if ratios else "")
        lines.append(line)
    return ("\nBeside the fastest peer, the geometric mean of all shapes, widths and threads, and how many are behind it:\n\n"
            + table(["group", *(f"M = {m}" for m in columns)], lines))


def grid_section(rows: list) -> str:
    """All shapes: what is behind a peer, then the most threads in all groups, fewer threads in the largest."""
    if not rows:
        return ""
    threads, groups = sorted({row["threads"] for row in rows}, reverse=True), sorted({row["group"] for row in rows}, reverse=True)
    shown = [(threads[0], group) for group in groups] + [(fewer, groups[0]) for fewer in threads[1:]]
    return ("\nEvery shape: µs, and how many times as long the fastest peer takes.\n" + behind_table(rows)
            + "".join(grid_table(rows, *key) for key in shown if any((row["threads"], row["group"]) == key for row in rows)))


class Plot:
    """A picture with two logarithmic axes."""

    WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 480, 64, 44, 24, 48

    def __init__(self, x_range: tuple, y_range: tuple) -> None:
        self.x_range, self.y_range = x_range, y_range
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.WIDTH}" height="{self.HEIGHT}" '
                      f'viewBox="0 0 {self.WIDTH} {self.HEIGHT}" font-family="sans-serif" font-size="12">',
                      f'<rect width="{self.WIDTH}" height="{self.HEIGHT}" fill="white"/>']

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.LEFT + (self.WIDTH - self.LEFT - self.RIGHT) * math.log(value / low) / math.log(high / low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.HEIGHT - self.BOTTOM - (self.HEIGHT - self.TOP - self.BOTTOM) * math.log(value / low) / math.log(high / low)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str, extra: str = "") -> None:
        self.parts.append(f'<line x1="{self.x(x1):.1f}" y1="{self.y(y1):.1f}" x2="{self.x(x2):.1f}" y2="{self.y(y2):.1f}" '
                          f'stroke="{colour}" {extra}/>')

    def text(self, x: float, y: float, text: str, extra: str = "") -> None:
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{html.escape(text)}</text>')

    def circle(self, x: float, y: float, colour: str, filled: bool, title: str) -> None:
        fill = colour if filled else "white"
        self.parts.append(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="4.5" fill="{fill}" stroke="{colour}" stroke-width="1.8">'
                          f"<title>{html.escape(title)}</title></circle>")

    def axes(self, x_label: str, y_label: str) -> None:
        for (low, high), along_x in ((self.x_range, True), (self.y_range, False)):
            for power in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1):
                value = 2.0**power
                if along_x:
                    self.line(value, self.y_range[0], value, self.y_range[1], "#e4e4e4")
                    self.text(self.x(value), self.HEIGHT - self.BOTTOM + 16, f"{value:g}", 'text-anchor="middle"')
                else:
                    self.line(self.x_range[0], value, self.x_range[1], value, "#e4e4e4")
                    self.text(self.LEFT - 6, self.y(value) + 4, f"{value:g}", 'text-anchor="end"')
        self.text((self.LEFT + self.WIDTH) / 2, self.HEIGHT - 10, x_label, 'text-anchor="middle"')
        middle = (self.TOP + self.HEIGHT - self.BOTTOM) / 2
        self.text(16, middle, y_label, f'text-anchor="middle" transform="rotate(-90 16 {middle})"')

    def finish(self) -> str:
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def ceilings(rows: list) -> dict:
    """Colour and GOPS of each ceiling by its name: look-ups at each width, products of bytes for all widths."""
    result = {}
    for row in rows:
        if "ceiling_gops" not in row:
            continue
        looks_up = algorithm(row) == "lut"
        name, colour = (f"look-ups, {row['bits']} bits", COLOURS[row["bits"]]) if looks_up else ("products of bytes", "#555555")
        result[name] = (colour, max(row["ceiling_gops"], result.get(name, (colour, 0))[1]))
    return result


def roofline(rows: list) -> str:
    rows = [row for row in rows if row["memory"] != "cache" and row.get("tables", 8) == 8]
    if not rows:
        return ""
    # One machine with all its threads; fewer threads have roofs of their own.
    threads = max(row["threads"] for row in rows)
    rows = [row for row in rows if row["threads"] == threads]
    speeds = [row["gops"] for row in rows] + [2 * row["M"] * row["N"] * row["K"] / row["peer_us"] / 1e3 for row in rows if row["peer"]]
    roofs = ceilings(rows)
    bandwidth = sorted(row["bandwidth_gb_s"] for row in rows)[len(rows) // 2]
    top = max([*speeds, *(gops for _, gops in roofs.values())]) * 1.3
    x_range = (min(map(intensity, rows)) / 1.6, max(map(intensity, rows)) * 2)
    plot = Plot(x_range, (min(speeds) / 1.6, top))
    plot.axes("operations per byte of weights", "GOPS")
    meets = min(top / bandwidth, x_range[1])
    plot.line(max(x_range[0], plot.y_range[0] / bandwidth), max(x_range[0] * bandwidth, plot.y_range[0]), meets, meets * bandwidth,
              "#555555", 'stroke-width="2"')
    plot.text(plot.x(meets) + 6, plot.TOP - 4, f"memory, {bandwidth:.0f} GB/s", 'fill="#555555"')
    for name, (colour, gops) in roofs.items():
        plot.line(min(gops / bandwidth, x_range[1]), gops, x_range[1], gops, colour, 'stroke-width="1.5" stroke-dasharray="6 3"')
        plot.text(plot.WIDTH - plot.RIGHT - 4, plot.y(gops) - 4, f"{name}, {gops:.0f}", f'text-anchor="end" fill="{colour}"')
    for row in rows:
        x, colour = intensity(row), COLOURS[row["bits"]]
        if row["peer"]:
            speed = 2 * row["M"] * row["N"] * row["K"] / row["peer_us"] / 1e3
            plot.circle(x, speed, colour, False, f"{row['work']}: {row['peer']}, {speed:.0f} GOPS")
        plot.circle(x, row["gops"], colour, True, f"{row['work']}: {row['gops']:.0f} GOPS")
        if is_goal(row):
            plot.text(plot.x(x) + 7, plot.y(row["gops"]) + 14, f"M={row['M']}", f'font-size="10" fill="{colour}"')
    x = plot.LEFT + 10
    for name, colour, filled in [*((f"{bits} bits", COLOURS[bits], True) for bits in sorted({row["bits"] for row in rows})),
                                 ("fastest peer", "#777777", False)]:
        plot.parts.append(f'<circle cx="{x}" cy="20" r="4.5" fill="{colour if filled else "white"}" stroke="{colour}" stroke-width="1.8"/>')
        plot.text(x + 9, 24, name)
        x += 22 + 7 * len(name)
    return plot.finish()


def load(path: pathlib.Path) -> list:
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ReportError(f"cannot read '{path}': {error}") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ReportError(f"'{path}' is no list of rows; expected what scripts/bench --json writes")
    return rows


def source(rows: list) -> str:
    """Where and how rows were measured, as far as they say so; a line for each run that they are of."""
    def line(row: dict) -> str:
        place = ", ".join(row[key] for key in ("machine", "date") if key in row)
        return (place + (f": `{row['command']}`" if "command" in row else "") + "\n\n") if place else ""
    return "".join(dict.fromkeys(map(line, rows)))


def kernel_section(path: pathlib.Path, docs: pathlib.Path) -> str:
    rows = load(path)
    goals, grid = [row for row in rows if is_goal(row)], [row for row in rows if not is_goal(row)]
    text = f"## {'Products' if goals else 'All shapes'} on {rows[0]['isa']}\n\n" + source(rows)
    # Hundreds of products are no picture.
    picture = roofline(rows) if goals else ""
    if picture:
        name = path.name.replace("kernels", "roofline").replace(".json", ".svg")
        (docs / name).write_text(picture)
        text += f"![Roofline: operations per second over operations per byte]({name})\n\n"
    return text + (goal_table(goals) if goals else "") + peer_table(goals) + grid_section(grid)


def model_section(path: pathlib.Path) -> str:
    rows = load(path)
    hidden = {"machine", "date", "command"}
    keys = list(dict.fromkeys(key for row in rows for key, value in row.items()
                              if key not in hidden and not isinstance(value, (list, dict))))
    lines = [["" if row.get(key) is None else row[key] for key in keys] for row in rows]
    return f"## Whole models ({path.stem})\n\n" + source(rows) + table([key.replace("_", " ") for key in keys], lines)


ACCURACY = ("<!-- accuracy: written by scripts/bench report -->\n", "<!-- end of accuracy -->\n")


def accuracy_section(path: pathlib.Path) -> str:
    """A table of accuracy.py's rows, with the text and how it was measured."""
    rows = load(path)

    def number(row: dict, key: str, how: str, scale: float = 1) -> str:
        return "" if row.get(key) is None else format(row[key] * scale, how)

    def changed(row: dict) -> str:
        return number(row, "delta", ".4f") + (f" ± {row['delta_error']:.2g}" if row.get("delta") is not None and row.get("delta_error") else "")

    def seconds(row: dict) -> str:
        return number(row, "seconds", ".0f") + (f" ({row['cpu_seconds']:.0f})" if row.get("cpu_seconds") is not None else "")

    head = ["method", "bits", "group", "bits per weight", "perplexity", "Δ", "KL", "top-1, %", "s (CPU s)", "MB", "perplexity, second halves"]
    lines = [[row["label"], row["bits"] if isinstance(row["bits"], str) else number(row, "bits", "g"), number(row, "group", "d"),
              number(row, "bpw", ".3f"), number(row, "ppl", ".5g"), changed(row), number(row, "kl", ".4f"), number(row, "top1", ".2f", 100),
              seconds(row), number(row, "peak_rss_mb", "d"),
              number(row, "half_ppl", ".5g") + (f" (its own program: {row['own_ppl']:.5g})" if row.get("own_ppl") else "")] for row in rows]
    first = rows[0]
    notes = [f"- {row['label']}, {row['bits']:g} bits: {row['head_bytes'] / 1e6:.1f} MB per token are read for the head."
             for row in rows if row.get("head_bytes")]
    return (f"`{first['command']}`, {first['date']}, {first['machine']}. Text: {first['text']}, {first['windows']} windows of {first['window']} tokens; "
            f"calibration: {first['calibration_windows']} windows of {first['calibration']}.\n\n" + table(head, lines)
            + ("\n" + "\n".join(notes) + "\n" if notes else ""))


def write_accuracy(paths: list, path: pathlib.Path) -> None:
    """Replaces what is between the comments."""
    begin, end = ACCURACY
    try:
        text = path.read_text()
    except OSError as error:
        raise ReportError(f"cannot read '{path}': {error.strerror}") from None
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ReportError(f"'{path}' has no place for the table: the lines '{begin.strip()}' and '{end.strip()}'")
    path.write_text(text[:text.index(begin) + len(begin)] + "\n" + "\n".join(map(accuracy_section, paths)) + "\n" + text[text.index(end):])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--docs", type=pathlib.Path, required=True)
    args = parser.parse_args()
    kernels, models, accuracies = (sorted(args.folder.glob(f"{name}*.json")) for name in ("kernels", "model", "accuracy"))
    if not kernels and not models and not accuracies:
        raise ReportError(f"'{args.folder}' has no kernels*.json, no model*.json and no accuracy*.json")
    if accuracies:
        write_accuracy(accuracies, args.docs / "Accuracy.md")
    if not kernels and not models:
        return
    sections = [kernel_section(path, args.docs) for path in kernels] + [model_section(path) for path in models]
    head = ("# Performance\n\nThe last run of the benchmarks, written by `scripts/bench report`; "
            "[benchmarks/README.md](../benchmarks/README.md) says what the columns mean and how times are taken.\n\n")
    (args.docs / "Performance.md").write_text(head + "\n".join(sections))


if __name__ == "__main__":
    try:
        main()
    except ReportError as error:
        sys.exit(f"report.py: error: {error}")
