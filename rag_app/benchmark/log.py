"""How far a benchmark is and what went wrong, from what it wrote to its log."""

import re
from collections.abc import Collection
from typing import Literal, NamedTuple

from rag_app.benchmark.order import Order

Phase = Literal["loading", "indexing", "asking", "writing"]

_BAR = re.compile(r"(?:(?P<label>[^\r\n|]*): +)?\d+%\|[^|\r\n]*\| *(?P<done>\d+)/(?P<total>\d+) ")
_ERROR = "eval.hit_rate: error: "
_TRACEBACK = "Traceback (most recent call last):"


class Bar(NamedTuple):
    """A progress bar, as it was last drawn.

    Attributes:
        label: What stands before it; empty without.
        done: How much is done.
        total: Of how much.
    """

    label: str
    done: int
    total: int


class Step(NamedTuple):
    """One system that is asked under one protocol.

    Attributes:
        protocol: ``clean`` or ``tutorial``.
        system: Its name.
        done: How many questions it was asked.
        total: How many there are; 0 while it has not begun.
    """

    protocol: str
    system: str
    done: int
    total: int


class Progress(NamedTuple):
    """How far a benchmark is.

    Attributes:
        phase: What it is doing.
        bar: What moves at the moment, None where nothing does.
        steps: Every system that is waiting, being asked or done.
    """

    phase: Phase
    bar: Bar | None
    steps: list[Step]


def bars(log: str) -> list[Bar]:
    """Return the progress bars that tqdm drew, in order, each as it was last drawn."""
    drawn: list[Bar] = []
    for found in _BAR.finditer(log):
        bar = Bar((found["label"] or "").strip(), int(found["done"]), int(found["total"]))
        if drawn and (drawn[-1].label, drawn[-1].total) == (bar.label, bar.total) and bar.done >= drawn[-1].done:
            drawn.pop()
        drawn.append(bar)
    return drawn


def progress(order: Order, log: str) -> Progress:
    """Return how far a benchmark is that writes this log.

    Under both protocols those systems that the tutorial's can measure are asked a second time; they are listed once
    they begin.
    """
    drawn = bars(log)
    first = "tutorial" if order.protocol == "tutorial" else "clean"
    steps = {(first, system): Step(first, system, 0, 0) for system in order.systems}
    for bar in drawn:
        if (first, bar.label) in steps:
            again = order.protocol == "both" and steps[first, bar.label].total > 0
            protocol = "tutorial" if again else first
            steps[protocol, bar.label] = Step(protocol, bar.label, bar.done, bar.total)
    last = drawn[-1] if drawn else None
    moving = last if last is not None and last.done < last.total else None
    return Progress(_phase(order, log, last, steps.values()), moving, list(steps.values()))


def problem(log: str) -> str:
    """Return what the benchmark said that went wrong: its own message, or how an exception ends; empty if nothing."""
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", log)]
    for number, line in reversed(list(enumerate(lines))):
        _, found, message = line.partition(_ERROR)
        if found:
            return "\n".join([message, *lines[number + 1 :]]).strip()
    if _TRACEBACK in lines:
        return next((line for line in reversed(lines) if line), "")
    return ""


def tail(log: str, lines: int = 20) -> str:
    """Return the last lines as a terminal shows them: of a bar that was drawn again and again the last."""
    shown = [line.rsplit("\r", 1)[-1].rstrip() for line in log.replace("\r\n", "\n").split("\n")]
    return "\n".join([line for line in shown if line][-lines:])


def _phase(order: Order, log: str, last: Bar | None, steps: Collection[Step]) -> Phase:
    if last is not None and order.protocol != "both":  # else the tutorial's systems may still follow
        asked = all(step.total and step.done == step.total for step in steps) and last.done == last.total
        if asked and last.label.endswith(", at once" if order.protocol == "clean" else ""):
            return "writing"
    if any(step.total for step in steps):
        return "asking"
    return "indexing" if "Protocol " in log else "loading"
