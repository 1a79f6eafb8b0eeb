"""The same questions asked otherwise, as people do who type in a hurry or in other words."""

import random
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from eval.slices.typos import typos
from rag_app.data.questions import Question
from rag_app.korean import analyzer, normalise

PARAPHRASE = "paraphrase"
"""The way that takes its questions from a column of the data."""
PARAPHRASE_COLUMN = "rtt_question"
"""Where ``odqa_ko`` has paraphrases: translated into another language and back."""

_POLITE = "요"  # tagged as a particle, but part of the verb's ending: 무엇인가요
_MISSING = ("", "nan")  # the second is what pandas writes

Way = Callable[[Question, int], str]
"""From a question and a seed to how it is asked; the same for the same question and seed."""


def decompose(question: Question, seed: int = 0) -> str:
    """Return the question in NFD, with Hangul taken apart into jamo, as macOS spells file names."""
    return unicodedata.normalize("NFD", question.text)


def without_spaces(question: Question, seed: int = 0) -> str:
    """Return the question with nothing between its words."""
    return "".join(question.text.split())


def with_typos(question: Question, seed: int = 0) -> str:
    """Return the question with the slips of `eval.slices.typos.typos`; different from it if it has Hangul syllables."""
    return typos(question.text, random.Random(f"{seed}:{question.id}"))  # noqa: S311


def without_particles(question: Question, seed: int = 0) -> str:
    """Return the question without its particles, as one types into a search box: 달의 나이는? becomes 달 나이?

    A particle that is contracted with another word (뭘 for 무엇을, 누가 for 누구가) stays: nobody leaves it out alone.
    """
    text = question.text
    morphemes = analyzer().analyse(text)
    shortened = {end for start, end, form, tag in morphemes if tag == "NP" and text[start:end] != form}
    particles = {
        one for one in morphemes if one.tag.startswith("J") and one.form != _POLITE and one.start not in shortened
    }
    dropped = {place for one in particles for place in range(one.start, one.end)}
    kept = {place for one in morphemes if one not in particles for place in range(one.start, one.end)}
    return normalise("".join(letter for place, letter in enumerate(text) if place not in dropped - kept)) or text


WAYS: dict[str, Way] = {
    "NFD": decompose,
    "no spaces": without_spaces,
    "typos": with_typos,
    "no particles": without_particles,
}
"""The ways that any question can be asked in, by name."""


def asked_otherwise(
    questions: Sequence[Question], *, seed: int = 0, paraphrase_column: str = PARAPHRASE_COLUMN
) -> dict[str, list[Question]]:
    """Return, by the name of the way, the questions asked otherwise: same ids, same relevant passages, another text.

    Every way asks all questions, those too that it does not change (one without spaces, say), so that its scores can
    be compared with those of all questions; a way that changes none is left out. Only `PARAPHRASE` asks just the
    questions that have one.

    The retrievers of this project normalise what they are asked, so that NFD costs them nothing; others may not.

    Args:
        questions: As they are.
        seed: Chooses the typos, with the question's id.
        paraphrase_column: The questions' metadata that holds a paraphrase, for some of them.
    """
    asked = {
        name: [question._replace(text=way(question, seed)) for question in questions] for name, way in WAYS.items()
    }
    old = list(questions)
    return {name: new for name, new in asked.items() if new != old} | _paraphrased(questions, paraphrase_column)


def _paraphrased(questions: Sequence[Question], column: str) -> dict[str, list[Question]]:
    texts = [(question, _text(question.metadata.get(column))) for question in questions]
    asked = [question._replace(text=text) for question, text in texts if text and text != question.text]
    return {PARAPHRASE: asked} if asked else {}


def _text(value: Any) -> str:
    """Return the text of a cell, empty if it has none; NaN is what pandas makes of an empty one."""
    text = normalise(value) if isinstance(value, str) else ""
    return "" if text.lower() in _MISSING else text
