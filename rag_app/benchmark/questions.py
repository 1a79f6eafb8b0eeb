"""The questions of a finished benchmark one by one: what each system found, and which went wrong."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

Wrong = Literal["missed", "not first"]


class Found(NamedTuple):
    """A passage that a system found.

    Attributes:
        title: Empty where it has none.
        text: Perhaps cut; empty where the report does not keep it.
        right: It answers the question.
    """

    title: str
    text: str
    right: bool


class Asked(NamedTuple):
    """A question and what the systems made of it.

    Attributes:
        id: In its data set.
        text: The question.
        answers: As the data name them.
        right: The passages that answer it.
        ranks: By system, the rank of the first right passage; 0 where it was not found.
        found: By system, the first passages that it found.
    """

    id: str
    text: str
    answers: list[str]
    right: list[Found]
    ranks: dict[str, int]
    found: dict[str, list[Found]]


class AskedQuestions(NamedTuple):
    """The questions of a protocol.

    Attributes:
        questions: Those that the report shows, the hardest first.
        total: How many were asked.
        shown: How many of the passages that a system found are kept.
    """

    questions: list[Asked]
    total: int
    shown: int


def read_questions(report: Path) -> dict[str, AskedQuestions]:
    """Return the questions that a report shows, by protocol.

    Raises:
        FileNotFoundError: The report keeps none: it is of an earlier version.
        ValueError: It is broken.
    """
    path = report / "explorer.json"
    try:
        content = json.loads(path.read_text("utf-8"))
        passages: list[Sequence[str]] = content["passages"]
        return {
            name: AskedQuestions(
                [_asked(question, protocol["systems"], passages) for question in protocol["questions"]],
                protocol["total"],
                content["shown"],
            )
            for name, protocol in content["protocols"].items()
        }
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error!r}. Run the benchmark again") from error


def went_wrong(asked: AskedQuestions, system: str, wrong: Wrong) -> list[Asked]:
    """Return the questions whose right passage a system did not find among the first, or found but not first."""
    if wrong == "missed":
        return [question for question in asked.questions if not 0 < question.ranks[system] <= asked.shown]
    return [question for question in asked.questions if 1 < question.ranks[system] <= asked.shown]


def _asked(record: Mapping[str, Any], systems: Sequence[str], passages: Sequence[Sequence[str]]) -> Asked:
    return Asked(
        next((value for name, value in record["properties"] if name == "id"), ""),
        record["text"],
        record["answers"],
        [_found(place, True, passages) for place in record["right"]],
        dict(zip(systems, record["ranks"], strict=True)),
        {
            system: [_found(place, bool(right), passages) for place, right in found]
            for system, found in zip(systems, record["found"], strict=True)
        },
    )


def _found(place: int, right: bool, passages: Sequence[Sequence[str]]) -> Found:
    title, text = passages[place] if place >= 0 else ("", "")
    return Found(title, text, right)
