"""The plots of the report as SVG, drawn to be put into its page: the page's style sheet gives colours and fonts.

Drawn by hand rather than by matplotlib because they are part of the page: they follow its colours in light and dark,
have its fonts and Korean names, come in a wide and a narrow version with letters of the same size, and take some
kilobytes. The same results give the same text.
"""

from collections.abc import Mapping, Sequence

from eval.report.cells import ms, with_interval
from eval.report.drawing import (
    LINE,
    Axis,
    Box,
    add,
    add_label,
    draw_axes,
    draw_grid,
    linear_ticks,
    log_axis,
    log_ticks,
    mean_axis,
    new_svg,
    place_labels,
    spread,
    text_width,
    to_text,
)
from eval.report.tables import stage_names
from eval.report.verdict import p50
from eval.results import Scaling, SystemResult

FULL, HALF, NARROW = 900, 552, 350
"""Pixels: what fits into a desktop's page, two beside each other there, and what fits into a telephone's."""

_ROW = 24
_CLASSES = 8  # colours of lines in the style sheet


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names that no other beats in both: the quickest first, each next one slower and better.

    Args:
        points: By name, seconds (less is better) and quality (more is better).
    """
    front: list[str] = []
    for name, (_, quality) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if not front or quality > points[front[-1]][1]:
            front.append(name)
    return front


def quality_latency_plot(systems: Mapping[str, SystemResult], measure: str, width: int = FULL) -> str:
    """Return the plot of a measure against the median milliseconds of a question; empty where no time is known."""
    timed = {name: system for name, system in systems.items() if system.times}
    points = {
        name: (max(system.times.p50, 1e-6), system.intervals[measure].mean)
        for name, system in timed.items()
        if system.times
    }
    if not points:
        return ""
    height = min(440, round(0.5 * width) + 170)
    intervals = [system.intervals[measure] for system in timed.values()]
    across = log_axis([1000 * seconds for seconds, _ in points.values()], 48, width - 14)
    upward = mean_axis(intervals, height - 44, 28)
    front = pareto_front(points)
    title = f"{measure} against milliseconds per question; not beaten in both: {', '.join(front)}"
    svg = new_svg(width, height, title)
    draw_axes(svg, across, upward, log_ticks(across), "median ms per question (logarithmic)", measure)
    places = {name: (across.place(1000 * x), upward.place(y)) for name, (x, y) in points.items()}
    steps: list[tuple[float, float]] = []
    for name in front:
        x, y = places[name]
        steps += [(x, steps[-1][1] if steps else upward.start), (x, y)]
    steps.append((across.end, steps[-1][1]))
    add(svg, "polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in steps), class_="front")
    for name, system in timed.items():
        x, y = places[name]
        one = system.intervals[measure]
        mark = add(svg, "g", class_="point best" if name in front else "point")
        add(mark, "title", f"{name}: {measure} {with_interval(one)}, {ms(points[name][0])} ms per question")
        add(mark, "line", x1=x, x2=x, y1=upward.place(one.low), y2=upward.place(one.high), class_="whisker")
        add(mark, "circle", cx=x, cy=y, r=5)
    order = [*front, *sorted((name for name in points if name not in front), key=lambda name: -points[name][1])]
    bars = [
        Box(places[name][0] - 1, upward.place(one.high), places[name][0] + 1, upward.place(one.low))
        for name, one in zip(timed, intervals, strict=True)
    ]
    frame = Box(across.start, upward.end - 8, width, upward.start)
    longest = width / 2
    for name, box, far in place_labels({name: places[name] for name in order}, bars, frame, longest):
        x, y = places[name]
        side = "" if box.left > x else "end" if box.right < x else "middle"
        edge = {"": box.left, "end": box.right, "middle": (box.left + box.right) / 2}[side]
        if far:
            add(svg, "line", x1=x, y1=y, x2=edge, y2=(box.top + box.bottom) / 2, class_="leader")
        kind = f"label {'best' if name in front else ''} {side}"
        add_label(svg, name, longest, x=edge, y=box.bottom - 4, class_=" ".join(kind.split()))
    return to_text(svg)


def interval_plot(systems: Mapping[str, SystemResult], measure: str, width: int = HALF) -> str:
    """Return the intervals of a measure side by side (a forest plot), the best system first."""
    if not systems:
        return ""
    order = sorted(systems, key=lambda name: (-systems[name].intervals[measure].mean, p50(systems[name])))
    left, height = _label_column(order, width), _ROW * len(order) + 44
    across = mean_axis([systems[name].intervals[measure] for name in order], left + 8, width - 48)
    svg = new_svg(width, height, f"{measure} of each system with its 95% interval, best first")
    draw_grid(svg, across, linear_ticks(across), height - 34, measure)
    best = systems[order[0]].intervals[measure]
    edges = across.place(best.low), across.place(best.high)
    add(svg, "rect", x=edges[0], y=4, width=edges[1] - edges[0], height=height - 38, class_="band")
    for row, name in enumerate(order):
        one, y = systems[name].intervals[measure], _ROW * row + 18
        add_label(svg, name, left, x=left, y=y + 4, class_="label row")
        mark = add(svg, "g", class_="point best" if row == 0 else "point")
        add(mark, "title", f"{name}: {measure} {with_interval(one)}")
        add(mark, "line", x1=across.place(one.low), x2=across.place(one.high), y1=y, y2=y, class_="whisker thick")
        add(mark, "circle", cx=across.place(one.mean), cy=y, r=5)
        add(svg, "text", f"{one.mean:.3f}", x=width, y=y + 4, class_="value end")
    return to_text(svg)


def stage_plot(systems: Mapping[str, SystemResult], width: int = HALF) -> str:
    """Return the mean milliseconds of each stage as bars; empty where no stage is known."""
    known = {name: system.times for name, system in systems.items() if system.times and system.times.stages}
    if not known:
        return ""
    stages = stage_names(known.values())
    left = _label_column(list(known), width)
    rows = _legend_rows(stages, width)
    top = LINE * 1.3 * len(rows) + 8
    height = round(_ROW * len(known) + top + 40)
    longest = max(sum(times.stages.values()) for times in known.values())
    across = Axis(0.0, max(1000 * longest, 1e-6), left + 8, width - 62)
    svg = new_svg(width, height, "Mean milliseconds of each stage, by system")
    for line, row in enumerate(rows):
        for number, (stage, x) in enumerate(row, sum(map(len, rows[:line]))):
            add(svg, "rect", x=x, y=line * LINE * 1.3 + 2, width=11, height=11, class_=_colour("stage", number))
            add(svg, "text", stage, x=x + 16, y=line * LINE * 1.3 + 12, class_="label")
    draw_grid(svg, across, linear_ticks(across), height - 34, "mean ms per question", top - 2)
    for line, (name, times) in enumerate(known.items()):
        x, y = across.start, top + _ROW * line + 4
        add_label(svg, name, left, x=left, y=y + 12, class_="label row")
        for number, stage in enumerate(stages):
            spent = across.place(1000 * times.stages.get(stage, 0.0)) - across.start
            if spent > 0:
                bar = add(svg, "rect", x=x, y=y, width=spent, height=15, class_=_colour("stage", number))
                add(bar, "title", f"{name}, {stage}: {ms(times.stages[stage])} ms")
                x += spent
        add(svg, "text", f"{ms(sum(times.stages.values()))} ms", x=x + 6, y=y + 12, class_="value")
    return to_text(svg)


def scaling_plot(scaling: Scaling, measure: str, width: int = FULL) -> str:
    """Return how a measure falls as the corpus grows, a line for each system."""
    lines = {name: found[measure] for name, found in scaling.intervals.items() if measure in found}
    if not lines or len(scaling.passages) < 2:
        return ""
    height = 360
    column = _label_column(list(lines), width)
    right = width - column - 22
    across = Axis(scaling.passages[0], scaling.passages[-1], 48, right, logarithmic=True)
    upward = mean_axis([one for line in lines.values() for one in line], height - 44, 28)
    svg = new_svg(width, height, f"{measure} by number of passages, a line for each system")
    room = (across.end - across.start) / 46
    sizes = scaling.passages if len(scaling.passages) <= room else [scaling.passages[0], scaling.passages[-1]]
    draw_axes(svg, across, upward, [(float(size), f"{size:,}") for size in sizes], "passages (logarithmic)", measure)
    ends = spread([upward.place(line[-1].mean) for line in lines.values()], upward.end + 4, upward.start)
    for number, ((name, line), end) in enumerate(zip(lines.items(), ends, strict=True)):
        group = add(svg, "g", class_=_colour("line", number))
        places = [
            (across.place(size), upward.place(one.mean)) for size, one in zip(scaling.passages, line, strict=True)
        ]
        add(group, "polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places))
        for (x, y), one, size in zip(places, line, scaling.passages, strict=True):
            dot = add(group, "circle", cx=x, cy=y, r=3.5)
            add(dot, "title", f"{name}, {size:,} passages: {measure} {with_interval(one)}")
        add(group, "line", x1=places[-1][0] + 5, y1=places[-1][1], x2=across.end + 16, y2=end, class_="leader")
        add_label(group, name, column, x=across.end + 19, y=end + 4, class_="label")
    return to_text(svg)


def _label_column(names: Sequence[str], width: int) -> float:
    return min(max(map(text_width, names)), width * 0.45)


def _legend_rows(names: Sequence[str], width: int) -> list[list[tuple[str, float]]]:
    """Return the names line by line, with where each begins."""
    rows: list[list[tuple[str, float]]] = [[]]
    x = 0.0
    for name in names:
        needed = text_width(name) + 34
        if rows[-1] and x + needed > width:
            rows.append([])
            x = 0.0
        rows[-1].append((name, x))
        x += needed
    return rows


def _colour(kind: str, number: int) -> str:
    return f"{kind} c{number % _CLASSES}" + " again" * (number >= _CLASSES)
