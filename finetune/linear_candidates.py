"""What a linear reranker is fitted on: what the search finds for the training questions, measured and weighted."""

import random
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray
from tqdm import tqdm

from finetune.linear_fit import Floats
from finetune.pairs import load_training_data
from finetune.reranking import load_retriever
from finetune.search_data import SearchData, ask_otherwise
from finetune.splits import draw
from rag_app.data.questions import Question, RetrievalData
from rag_app.documents import searchable_text
from rag_app.index import build_index
from rag_app.reranking.matching import Matcher
from rag_app.retrieval import HybridRetriever

QUESTIONS = "questions"
"""What questions are called, where those of a column of --also-ask are called like it."""


class Found(NamedTuple):
    """A training question and what the search returned for it, best first.

    Attributes:
        question: In the words of its column.
        source: The --train it is from.
        column: ``"questions"``, or one of --also-ask.
        doc_ids: The document of each passage.
        features: ``(n, len(FEATURES) + 1)``; the last column is the score of the search.
    """

    question: Question
    source: str
    column: str
    doc_ids: list[str]
    features: Floats

    @property
    def relevant(self) -> list[bool]:
        """Whether each passage is of a document that answers the question."""
        return [doc_id in self.question.relevant for doc_id in self.doc_ids]


def find_candidates(settings: Namespace, data: SearchData, matcher: Matcher) -> list[Found]:
    """Search for the training questions, and as --also-ask words them, each among the passages of its own source.

    Unanswerable ones are among them. Sources without questions are left out, for it is not known how questions would
    differ from their titles.

    Raises:
        OSError, ValueError, ImportError: The retriever cannot be loaded, or there are no questions.
    """
    embeddings = load_retriever(settings)
    labelled = [source for source in dict.fromkeys(settings.train) if source not in data.unlabelled]
    parts = {source: _training_part(source, data) for source in labelled}
    questions = [(source, question) for source, part in parts.items() for question in part.questions]
    questions = draw(questions, settings.limit, seed=settings.seed)
    found = []
    for source, part in parts.items():
        asked = list(_ask([question for own, question in questions if own == source], settings.also_ask or ()))
        with TemporaryDirectory() as place:
            index = build_index(Path(place) / "index", part.passages.values(), embeddings)
            retriever = HybridRetriever(index=index, k=settings.candidates)
            for question, column in tqdm(asked, desc=Path(source).name, unit="question"):
                if passages := retriever.invoke(question.text):
                    doc_ids = [passage.metadata["doc_id"] for passage in passages]
                    found.append(Found(question, source, column, doc_ids, _measure(question.text, passages, matcher)))
    if not found:
        raise ValueError(f"{', '.join(settings.train)}: no question to learn from, and titles alone are not enough")
    return found


def question_weights(sources: Sequence[str], balance: float) -> Floats:
    """Return how much each question counts, ``(n,)``, on average 1.

    Args:
        sources: Where each question is from.
        balance: A source of n questions counts for n ** (1 - balance): 0 lets every question count the same, 1 every
            source.
    """
    sizes = Counter(sources)
    weights = np.array([float(sizes[source]) ** -balance for source in sources])
    return np.asarray(weights / weights.mean())


def group_folds(
    questions: Sequence[Question], groups: Mapping[str, int], count: int, *, seed: int
) -> NDArray[np.int64]:
    """Return the fold of each question, ``(n,)`` from 0; those about passages of one group are in the same fold.

    A question about several groups goes by one of them.

    Args:
        questions: Each about a passage that has a group.
        groups: The group of passages by doc_id; see `finetune.groups`.
        count: How many folds.
        seed: Which groups.

    Raises:
        ValueError: There are fewer groups than folds.
    """
    own = [groups[min(_about(question) & groups.keys())] for question in questions]
    order = sorted(set(own))
    if len(order) < count:
        raise ValueError(
            f"The questions are about {len(order)} groups of passages, too few for {count} folds (--folds)"
        )
    random.Random(seed).shuffle(order)  # noqa: S311
    folds = {group: place % count for place, group in enumerate(order)}
    return np.array([folds[group] for group in own])


def _training_part(source: str, data: SearchData) -> RetrievalData:
    """Return what a source has of the training part: what is held out is not in it."""
    own = load_training_data([source]).data
    passages = {doc_id: passage for doc_id, passage in own.passages.items() if doc_id in data.train.passages}
    return RetrievalData(passages, [question for question in own.questions if _about(question) & passages.keys()])


def _about(question: Question) -> frozenset[str]:
    return question.relevant | {question.context_id}


def _ask(questions: Sequence[Question], columns: Sequence[str]) -> Iterator[tuple[Question, str]]:
    """Yield the questions, and again as each column words them, with what they are called."""
    yield from ((question, QUESTIONS) for question in questions)
    for column in columns:
        yield from ((question, column) for question in ask_otherwise(questions, [column]))


def _measure(query: str, passages: Sequence[Document], matcher: Matcher) -> Floats:
    features = matcher.features(query, [searchable_text(passage) for passage in passages])
    scores = [passage.metadata["stages"]["fusion"]["score"] for passage in passages]
    return np.column_stack([features, scores])
