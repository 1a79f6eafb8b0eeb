"""What the plots are drawn with: SVG elements, axes with round numbers, and labels that do not cover each other."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import ceil, floor, inf, log10
from typing import NamedTuple
from xml.etree import ElementTree as ET

from eval.results import Interval

LINE = 15
"""Pixels from one line of text to the next."""

_LETTER = 7.4  # pixels that a letter takes on average, in a wide font; Hangul takes less than twice as much


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """Return the area in common."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)


class Axis(NamedTuple):
    """Where values lie, in pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies."""
        low, high, value = (log10(one) if self.logarithmic else one for one in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def new_svg(width: int, height: int, title: str) -> ET.Element:
    """Return an empty picture that says what it shows to who cannot see it."""
    return ET.Element(
        "svg", {"viewBox": f"0 0 {width} {height}", "width": str(width), "role": "img", "aria-label": title}
    )


def add(parent: ET.Element, tag: str, content: str = "", **attributes: float | str) -> ET.Element:
    """Add an element. Numbers become pixels; ``class_`` is the class."""
    texts = {
        name.rstrip("_"): value if isinstance(value, str) else f"{value:.1f}" for name, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, texts)
    element.text = content or None
    return element


def to_text(svg: ET.Element) -> str:
    """Return a picture as HTML takes it."""
    return ET.tostring(svg, encoding="unicode")


def text_width(text: str) -> float:
    """Return about how many pixels a label takes."""
    return sum(_LETTER if ord(letter) < 0x1100 else 12.5 for letter in text)


def fit(text: str, width: float) -> str:
    """Return a label that takes no more pixels: of a long one the beginning and the end."""
    kept = len(text)
    short = text
    while text_width(short) > width and kept > 2:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}…{text[-(kept // 2) :]}"
    return short


def add_label(parent: ET.Element, name: str, width: float, **attributes: float | str) -> None:
    """Add a name as text, cut to so many pixels; the whole of it shows when one points at it."""
    text = fit(name, width)
    element = add(parent, "text", text, **attributes)
    if text != name:
        add(element, "title", name)


def mean_axis(intervals: Sequence[Interval], start: float, end: float) -> Axis:
    """Return an axis of means: not from 0, which would hide differences, nor so narrow that noise looks large."""
    low, high = min(one.low for one in intervals), max(one.high for one in intervals)
    room = max(0.02, 0.08 * (high - low))
    low, high = max(0.0, low - room), min(1.0, high + room)
    if high - low < 0.1:
        low = max(0.0, min(low, high - 0.1))
        high = low + 0.1
    return Axis(low, high, start, end)


def log_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Return a logarithmic axis that holds the values, over a factor of ten at least."""
    low, high = min(values) / 1.5, max(values) * 1.5
    if high / low < 10:
        middle = (low * high) ** 0.5
        low, high = middle / 10**0.5, middle * 10**0.5
    return Axis(low, high, start, end, logarithmic=True)


def linear_ticks(axis: Axis) -> list[tuple[float, str]]:
    """Return round values, as many as have room, and how they are written."""
    rough = (axis.high - axis.low) / max(2, abs(axis.end - axis.start) / 62)
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    digits = max(0, -floor(log10(step) + 1e-9))
    numbers = range(ceil(axis.low / step - 1e-9), floor(axis.high / step + 1e-9) + 1)
    return [(number * step, f"{number * step:,.{digits}f}") for number in numbers]


def log_ticks(axis: Axis) -> list[tuple[float, str]]:
    """Return 1, 2, 5, 10 ..., or only powers of ten where these have no room, and how they are written."""
    powers = range(floor(log10(axis.low)), ceil(log10(axis.high)) + 1)
    values = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [value for value in values if axis.low <= value <= axis.high]
    room = abs(axis.end - axis.start) / 40
    if len(inside) > room:
        inside = [value for value in inside if f"{value:e}".startswith("1")]
    return [(value, f"{value:,g}") for value in inside]


def draw_axes(
    svg: ET.Element, across: Axis, upward: Axis, ticks: Sequence[tuple[float, str]], x_name: str, y_name: str
) -> None:
    """Draw both axes with their lines and names."""
    for value, text in log_ticks(upward) if upward.logarithmic else linear_ticks(upward):
        y = upward.place(value)
        add(svg, "line", x1=across.start, x2=across.end, y1=y, y2=y, class_="grid")
        add(svg, "text", text, x=across.start - 6, y=y + 4, class_="tick end")
    add(svg, "text", y_name, x=0, y=12, class_="axis")
    draw_grid(svg, across, ticks, upward.start, x_name, upward.end)


def draw_grid(
    svg: ET.Element, across: Axis, ticks: Sequence[tuple[float, str]], bottom: float, name: str, top: float = 4
) -> None:
    """Draw what is below: the ticks, their lines upward and the name of the axis."""
    for value, text in ticks:
        x = across.place(value)
        add(svg, "line", x1=x, x2=x, y1=top, y2=bottom, class_="grid")
        add(svg, "text", text, x=x, y=bottom + 15, class_="tick middle")
    add(svg, "text", name, x=(across.start + across.end) / 2, y=bottom + 31, class_="axis middle")


def place_labels(
    points: Mapping[str, tuple[float, float]], bars: Sequence[Box], frame: Box, longest: float = inf
) -> Iterator[tuple[str, Box, bool]]:
    """Yield where each name can stand without covering another or a point, and whether that is far from its point.

    A name for which there is no room is left out.

    Args:
        points: By name, the most important first.
        bars: What should rather not be covered.
        frame: Where names have to be.
        longest: The most pixels of a name; longer ones are cut, as by `add_label`.
    """
    dots = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in points.values()]
    taken: list[Box] = []
    for name, (x, y) in points.items():
        width = text_width(fit(name, longest))
        best: tuple[float, Box, bool] | None = None
        for distance, (across, up) in product(
            (9, 22, 38, 56, 76), ((1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, -1), (0, 1))
        ):
            middle, centre = x + across * (distance + width / 2), y + up * distance
            box = Box(middle - width / 2, centre - LINE / 2, middle + width / 2, centre + LINE / 2)
            if box.left < frame.left or box.right > frame.right or box.top < frame.top or box.bottom > frame.bottom:
                continue
            if any(map(box.overlap, taken)):
                continue
            cost = 20 * sum(map(box.overlap, dots)) + 0.5 * sum(map(box.overlap, bars)) + 1.5 * distance
            if best is None or cost < best[0]:
                best = cost, box, distance > 9
        if best:
            taken.append(best[1])
            yield name, best[1], best[2]


def spread(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """Return places near those wanted, in the same order, at least a line apart where there is room."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    gap = min(LINE, (high - low) / max(1, len(wanted) - 1))
    places = list(wanted)
    for number, position in enumerate(order):
        least = low if number == 0 else places[order[number - 1]] + gap
        places[position] = max(wanted[position], least)
    most = high
    for position in reversed(order):
        places[position] = min(places[position], most)
        most = places[position] - gap
    return places
