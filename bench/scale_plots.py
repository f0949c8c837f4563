#!/usr/bin/python3
"""Draws docs/figures/scale-*.svg from what scale_bench printed: one line of JSON a measurement.

Usage: bench/scale_plots.py FILE...    (files of scale_bench's output, any number)
"""

import json
import math
import pathlib
import sys

FIGURES = pathlib.Path(__file__).resolve().parent.parent / "docs" / "figures"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 420, 240, 62, 40, 28, 104
STYLE = """<style>
text { font: 11px sans-serif; fill: #333 } .title { font-weight: bold } .axis { stroke: #888 } .grid { stroke: #8884 }
.a { stroke: #1f6feb; fill: #1f6feb } .b { stroke: #bf5700; fill: #bf5700 } .c { stroke: #2e7d32; fill: #2e7d32 } polyline { fill: none !important; stroke-width: 1.8 } .label { stroke: none }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .a { stroke: #6ea8fe; fill: #6ea8fe } .b { stroke: #ffa657; fill: #ffa657 } .c { stroke: #7ee787; fill: #7ee787 } }
</style>"""


def decades(values):
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    return range(low, max(high, low + 1) + 1)


def text_of(value):
    return f"{value:g}" if 0.001 <= value < 10000 else f"1e{round(math.log10(value))}"


def plot(name, title, across, up, series):
    """series: {label: [(x, y), ...]}, both axes logarithmic."""
    points = [point for line in series.values() for point in line]
    xs, ys = decades([x for x, _ in points]), decades([y for _, y in points])
    place_x = lambda x: LEFT + (math.log10(x) - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - RIGHT)
    place_y = lambda y: HEIGHT - BOTTOM - (math.log10(y) - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - BOTTOM - TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{title}">', STYLE,
           f'<text class="title" x="{LEFT}" y="16">{title}</text>']
    for power in xs:
        x = place_x(10.0**power)
        out.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>'
                   f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{text_of(10.0**power)}</text>')
    for power in ys:
        y = place_y(10.0**power)
        out.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
                   f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text_of(10.0**power)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{across}</text>')
    out.append(f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">{up}</text>')
    taken = []
    for style, (label, line) in zip("abc", series.items()):
        line = sorted(line)
        out.append(f'<polyline class="{style}" points="{" ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in line)}"/>')
        out += [f'<circle class="{style}" cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="2.5"/>' for x, y in line]
        y = place_y(line[-1][1])
        while any(abs(y - other) < 12 for other in taken):
            y += 3
        taken.append(y)
        out.append(f'<text class="label {style}" x="{place_x(line[-1][0]) + 7:.1f}" y="{y + 4:.1f}">{label}</text>')
    out.append("</svg>")
    FIGURES.mkdir(parents=True, exist_ok=True)
    (FIGURES / f"{name}.svg").write_text("\n".join(out) + "\n")


def main(paths):
    rows = [json.loads(line) for path in paths for line in pathlib.Path(path).read_text().splitlines() if line.startswith("{")]
    kinds = {"uniform": "uniform", "clustered": "clustered", "nothing changed": "nothing changed"}
    figures = [("cpu", "CPU time of an incremental", "CPU seconds", lambda r: r["cpu_s"]),
               ("memory", "Peak memory of an incremental", "MB", lambda r: r["peak_bytes"] / 1e6),
               ("stored", "Stored beside the pages", "MB", lambda r: r["written_bytes"] / 1e6)]
    by_size = {kind: {r["tb"]: r for r in rows if r["what"] == kind and r["change"] in (0, 0.001)} for kind in kinds}
    by_change = {kind: {r["change"]: r for r in rows if r["what"] == kind and r["tb"] == 1 and r["change"] > 0} for kind in ("uniform", "clustered")}
    for name, title, up, value in figures:
        plot(f"scale-size-{name}", f"{title}, 0.1 % changed", "TB of cluster", up,
             {kind: [(tb, value(r)) for tb, r in found.items()] for kind, found in by_size.items() if found})
        plot(f"scale-change-{name}", f"{title}, 1 TB", "% of the pages changed", up,
             {kind: [(change * 100, value(r)) for change, r in found.items()] for kind, found in by_change.items() if found})


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
