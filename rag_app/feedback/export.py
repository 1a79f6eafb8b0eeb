"""Accepted feedback -> training data: each question with its right article and what was taken for it.

    python -m finetune.mrc --model embedded --train feedback.jsonl --output models/mrc
    python -m finetune.cross_encoder --model embedded --train feedback.jsonl --output models/reranker

A row is a question with its article as ``context``, whole, so that an evaluation can tell that it was trained on; the
sentence that answers among ``answers``, so that of a long article the right part is trained; and the articles that do
not answer under ``negatives``, each with title and text. ``origin`` is ``"feedback"`` in each (``source`` is the
article's outlet, as in every table of articles).
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.documents import Document

from rag_app.duplicates import near_duplicates_of
from rag_app.durable_files import write_text
from rag_app.feedback.entries import Entry
from rag_app.feedback.store import Feedback

ORIGIN = "feedback"
NEAR = 2
"""How many articles that ranked below the right one are proposed for negatives besides those above it."""
_TOLD = ("title", "date", "section", "source", "url")


class Candidate(NamedTuple):
    """An article that was shown beside the right one.

    Attributes:
        article: Whole.
        rank: From 1; 0 if it was not shown.
        repeats: It says nearly the same as the right one, so it is never a negative.
        proposed: It is taken for a negative until a reviewer says otherwise.
    """

    article: Document
    rank: int
    repeats: bool
    proposed: bool


def candidates(entry: Entry, articles: Mapping[str, Document]) -> list[Candidate]:
    """Return the articles shown that are not the right one, best first, each once.

    Proposed are those above the right one, or all if it was not shown, and the next `NEAR` below it; but none that the
    answer cites, which may well answer too, unless the reader put the thumb down; and none that repeats the right one.
    Where nobody has said which one is right, none is proposed.

    Args:
        entry: What was shown.
        articles: By doc_id.
    """
    shown = {source.doc_id: source for source in reversed(entry.shown) if source.doc_id in articles}
    others = [source for source in sorted(shown.values(), key=lambda s: s.rank) if source.doc_id != entry.right]
    right = articles.get(entry.right)
    place = shown[entry.right].rank if entry.right in shown else len(entry.shown)
    texts = [articles[source.doc_id].page_content for source in others]
    parts = [source.passage for source in others]
    same = {n for n, _ in near_duplicates_of(texts, [right.page_content])} if right else set[int]()
    same |= {n for n, _ in near_duplicates_of(parts, [s.passage for s in entry.shown if s.doc_id == entry.right])}
    return [
        Candidate(
            articles[source.doc_id],
            source.rank,
            repeats=number in same,
            proposed=bool(right)
            and number not in same
            and source.rank <= place + NEAR
            and not (source.cited and entry.thumb == "up"),
        )
        for number, source in enumerate(others)
    ]


def negatives(entry: Entry, articles: Mapping[str, Document]) -> list[Document]:
    """Return the articles to train against: what the reviewer ticked, or else what is proposed; never a repetition."""
    found = candidates(entry, articles)
    if entry.negatives is None:
        return [one.article for one in found if one.proposed]
    return [one.article for one in found if one.article.metadata["doc_id"] in entry.negatives and not one.repeats]


def training_row(entry: Entry, articles: Mapping[str, Document]) -> dict[str, Any]:
    """Return an accepted entry as `rag_app.data.load_retrieval_data` reads it.

    Raises:
        KeyError: Its article is not among those given.
    """
    right = articles[entry.right]
    start = right.page_content.find(entry.answer) if entry.answer else -1
    found = {"text": [entry.answer], "answer_start": [start]} if start >= 0 else {"text": [], "answer_start": []}
    return {
        "id": f"{ORIGIN}-{entry.turn}",
        "question": entry.asks,
        "context": right.page_content,
        **_told(right),
        "answers": found,
        "is_impossible": False,
        "negatives": [{**_told(article), "text": article.page_content} for article in negatives(entry, articles)],
        "origin": ORIGIN,
        "thumb": entry.thumb,
        "asked": entry.question,
        "asked_at": entry.created,
        "reviewed_at": entry.reviewed,
        "models": entry.models,
    }


def training_lines(feedback: Feedback) -> Iterator[str]:
    """Yield the accepted entries as lines of JSON, oldest first."""
    for entry in feedback.entries("accepted"):
        row = training_row(entry, feedback.articles(entry.doc_ids))
        yield json.dumps(row, ensure_ascii=False) + "\n"


def write_training_data(feedback: Feedback, path: Path) -> int:
    """Write the accepted entries to a file, complete or not at all; return how many there are.

    Raises:
        ValueError: None is accepted.
        OSError: The file cannot be written.
    """
    lines = list(training_lines(feedback))
    if not lines:
        raise ValueError(f"{feedback.path} holds no accepted feedback. Review it on the page first.")
    write_text(path, "".join(lines))
    return len(lines)


def _told(article: Document) -> dict[str, Any]:
    return {name: article.metadata[name] for name in _TOLD if article.metadata.get(name)}
