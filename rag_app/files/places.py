"""Where in its file a passage stands: its page, its paragraph."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from rag_app.korean import normalise

PLACES = "places"
"""The metadata of an article that lists where its parts begin, as ``[start, {"page": 3, "paragraph": 12}]`` in their
order. Its passages have `Places.between` instead."""

PLACE = ("page", "last_page", "paragraph", "last_paragraph")
"""The metadata of a passage that says where in its file it stands."""

_UNITS = ("page", "paragraph")


class Part(NamedTuple):
    """A stretch of a text and where in its file it stands; between two parts there is a line break.

    Attributes:
        text: The stretch.
        place: ``page``, ``paragraph`` or both, counting from 1; empty for white space.
    """

    text: str
    place: dict[str, int]


def numbered(lines: Iterable[str]) -> list[Part]:
    """Return the lines of a document as parts, those that are not blank numbered."""
    numbers = count(1)
    return [Part(line, {"paragraph": next(numbers)} if line.strip() else {}) for line in lines]


def joined(parts: Sequence[Part]) -> str:
    """Return the text that parts make up."""
    return "\n".join(text for text, _ in parts)


def part_places(content: str, parts: Sequence[Part]) -> list[list[Any]]:
    """Return where in an article its parts begin, as its metadata has it.

    Args:
        content: The article, the parts `joined` and normalised. That is each part normalised, with white space between
            them: nothing that `normalise` does reaches from one line to the next, but that blank ones are dropped.
        parts: What it was made of; one that is blank has no place.
    """
    places: list[list[Any]] = []
    start = 0
    for text, place in parts:
        if normal := normalise(text):
            start = content.index(normal, start)
            places.append([start, place])
            start += len(normal)
    return places


class Places(NamedTuple):
    """Where the parts of an article begin in its text, ascending, and what each is."""

    starts: list[int]
    parts: list[dict[str, int]]

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "Places | None":
        """Return those of an article; None if it does not say, or has something else under that name."""
        value = metadata.get(PLACES)
        if not (isinstance(value, list) and value and all(map(_is_place, value))):
            return None
        return cls([start for start, _ in value], [part for _, part in value])

    def between(self, start: int, end: int) -> dict[str, int]:
        """Return where a stretch of the article's text stands.

        Returns:
            ``page`` or ``paragraph`` or both in which it begins, counting from 1, and ``last_page`` and
            ``last_paragraph`` in which it ends where that is another.
        """
        first, last = (self.parts[max(0, bisect_right(self.starts, at) - 1)] for at in (start, end - 1))
        return {**first, **{f"last_{unit}": last[unit] for unit in last if last[unit] != first.get(unit)}}


def _is_place(value: object) -> bool:
    match value:
        case [int(), dict() as part]:
            return all(unit in _UNITS and isinstance(number, int) for unit, number in part.items())
    return False
