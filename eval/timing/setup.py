"""What all parts of a measurement of speed share: data, models, and where they may write."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from eval.preparing import load_clean, own_training_part
from eval.protocols import Benchmark
from rag_app.data.questions import load_retrieval_data
from rag_app.data.records import Question
from rag_app.files.tables import Columns

T = TypeVar("T")

Found = dict[str, Any]
"""What a part has measured until now; fits into JSON."""


class Setup(NamedTuple):
    """What is measured on what.

    Attributes:
        benchmark: Questions with known answers, and the corpus.
        more_questions: Of the train split, for parts that only take times.
        folder: Temporary.
        arguments: Those of ``python -m eval.speed``.
    """

    benchmark: Benchmark
    more_questions: Sequence[Question]
    folder: Path
    arguments: argparse.Namespace

    @property
    def models(self) -> Path:
        """Where models with random weights are made, and found by the next part."""
        return self.folder / "models"

    def questions(self, count: int) -> list[Question]:
        """Return so many different questions, those of the benchmark first; fewer where there are fewer."""
        by_text: dict[str, Question] = {}
        for question in (*self.benchmark.questions, *self.more_questions):
            by_text.setdefault(question.text, question)
        return list(by_text.values())[:count]


def load_setup(arguments: argparse.Namespace, folder: Path) -> Setup:
    """Load the data.

    Raises:
        ValueError: The data are broken, or no question has an answer.
        OSError: They cannot be read.
        ImportError: An extra is missing.
    """
    columns = Columns(text=arguments.text_column, title=arguments.title_column)
    data = load_retrieval_data(arguments.data, split=arguments.split, columns=columns)
    training = own_training_part(arguments, columns, data)
    more = training.questions if training else []
    return Setup(load_clean(arguments, data, columns), more, folder, arguments)


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return items in groups of one size, the last perhaps smaller."""
    return [items[start : start + size] for start in range(0, len(items), size)]
