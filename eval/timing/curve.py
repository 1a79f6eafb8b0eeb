"""The cost of a larger corpus as a picture."""

from collections.abc import Callable, Mapping
from typing import Any

from eval.report.drawing import add, draw_axes, log_axis, new_svg, spread, to_text

_WIDTH, _HEIGHT = 900, 320
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 }
.middle { text-anchor: middle } .end { text-anchor: end }
.grid { stroke: #ddd } polyline { fill: none; stroke-width: 2 }
"""
_COLOURS = ("#1b6ca8", "#c1440e", "#3a7d44", "#7b3fa0")

_LINES: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "hybrid p95, ms": lambda own: 1000 * float(own["serve"]["search"]["hybrid"]["p95"]),
    "dense p95, ms": lambda own: 1000 * float(own["serve"]["search"]["dense"]["p95"]),
    "indexing, s": lambda own: float(own["build"]["seconds"]),
    "memory to build, 100 MB": lambda own: float(own["build"]["memory_bytes"]) / 1e8,
}


def cost_curve(sizes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return an SVG picture of time and memory by number of passages; empty with fewer than two sizes.

    Args:
        sizes: What `eval.timing.sizes.measure_sizes` found.
    """
    done = {int(size): own for size, own in sizes.items() if "build" in own and "serve" in own}
    if len(done) < 2:
        return ""
    values = {name: [value(own) for own in done.values()] for name, value in _LINES.items()}
    everything = [one for line in values.values() for one in line]
    svg = new_svg(_WIDTH, _HEIGHT, "Time and memory by number of passages")
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    add(svg, "style", _STYLE)
    across = log_axis(list(done), 70, _WIDTH - 190)
    upward = log_axis(everything, _HEIGHT - 44, 28)
    draw_axes(svg, across, upward, [(float(size), f"{size:,}") for size in done], "passages", "in the units named")
    ends = spread([upward.place(line[-1]) for line in values.values()], upward.end, upward.start)
    for colour, end, (name, line) in zip(_COLOURS, ends, values.items(), strict=True):
        places = [(across.place(size), upward.place(one)) for size, one in zip(done, line, strict=True)]
        add(svg, "polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places), stroke=colour)
        for (x, y), one in zip(places, line, strict=True):
            add(add(svg, "circle", cx=x, cy=y, r=3.5, fill=colour), "title", f"{name}: {one:,.2f}")
        add(svg, "text", name, x=places[-1][0] + 10, y=end + 4, fill=colour)
    return to_text(svg)
