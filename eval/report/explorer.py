"""The questions that the page shows one by one, with what each system found."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.documents import Document

from eval.report.verdict import best_system, main_measure, measures_of
from eval.results import Answer, ProtocolResult, Results
from eval.slices.properties import slice_questions
from rag_app.data.records import Question
from rag_app.fusion import ranks

MOST_CHARACTERS = 3_000_000
"""What the questions and passages on the page have together at most; Korean takes up to three bytes a character."""
SIZES = ((500, 3000), (500, 1000), (500, 500), (500, 250), (250, 250), (125, 250), (60, 250))
"""How many questions of a protocol are shown, and how many characters of a wrong passage: the first that fits."""
RIGHT_CHARACTERS = 3000
"""How many characters of a right passage are shown."""
SHOWN = 10
"""How many of the passages that a system found."""
_VALUE = 80  # longer metadata is text rather than a property


class _Book:
    """The passages that the page needs, each once.

    Args:
        length: How many characters of a wrong passage it keeps.
    """

    def __init__(self, length: int) -> None:
        self.passages: list[list[str]] = []
        self.characters = 0
        self._length = length
        self._places: dict[tuple[str, str], int] = {}

    def place(self, document: Document | None, *, right: bool) -> int:
        """Return a passage's place; -1 for one that the corpus lacks."""
        if document is None:
            return -1
        text = _cut(document.page_content, RIGHT_CHARACTERS if right else self._length)
        passage = str(document.metadata.get("title") or ""), text
        if passage not in self._places:
            self._places[passage] = len(self.passages)
            self.passages.append(list(passage))
            self.characters += sum(map(len, passage))
        return self._places[passage]


class _Found(NamedTuple):
    """What the systems found for a question.

    Attributes:
        rankings: The doc_ids of each system.
        ranks: The rank of the first right one in each; 0 where there is none.
    """

    rankings: list[list[str]]
    ranks: list[int]


class _Shown(NamedTuple):
    """The questions of a protocol that may be shown, the hardest first."""

    result: ProtocolResult
    corpus: dict[str, Document]
    questions: list[tuple[Question, _Found]]


def explorer_data(results: Results) -> dict[str, Any]:
    """Return the questions and passages for the page as what fits into JSON.

    Of each protocol the questions come first for which most systems miss the first ten, then those for which most are
    wrong at rank 1; as many, and as much of the passages, as fits (`SIZES`). A passage is a title and a text; questions
    name it by its place.
    """
    protocols = {name: _hardest(result) for name, result in results.protocols.items()}
    for most, length in SIZES:
        book = _Book(length)
        records = {
            name: [_record(question, found, shown, book) for question, found in shown.questions[:most]]
            for name, shown in protocols.items()
        }
        if book.characters <= MOST_CHARACTERS:
            break
    return {
        "protocols": {name: _protocol(shown, records[name]) for name, shown in protocols.items()},
        "passages": book.passages,
        "shown": SHOWN,
    }


def _hardest(result: ProtocolResult) -> _Shown:
    answers = [system.answers for system in result.systems.values()]
    questions = [(question, _find(question, answers)) for question in result.benchmark.questions]
    questions.sort(key=lambda one: _difficulty(one[1].ranks), reverse=True)  # stable: equal ones keep their order
    corpus = {document.metadata["doc_id"]: document for document in result.benchmark.corpus}
    return _Shown(result, corpus, questions[: SIZES[0][0]])


def _difficulty(ranks: Sequence[int]) -> tuple[int, int]:
    return sum(not 0 < rank <= SHOWN for rank in ranks), sum(rank != 1 for rank in ranks)


def _protocol(shown: _Shown, records: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(shown.result.systems)
    questions = [question for question, _ in shown.questions[: len(records)]]
    groups = slice_questions(shown.result.benchmark._replace(questions=questions)) if questions else []
    places = {question.id: place for place, question in enumerate(questions)}
    return {
        "systems": names,
        "best": names.index(best_system(shown.result, main_measure(measures_of(shown.result)))) if names else 0,
        "total": len(shown.result.benchmark.questions),
        "questions": records,
        "groups": [[kind, name, [places[id_] for id_ in ids]] for kind, name, ids in groups],
    }


def _find(question: Question, answers: list[dict[str, Answer]]) -> _Found:
    rankings = [list(ranks(own[question.id].found)) if question.id in own else [] for own in answers]
    first_right = [
        next((rank for rank, doc_id in enumerate(found, 1) if doc_id in question.relevant), 0) for found in rankings
    ]
    return _Found(rankings, first_right)


def _record(question: Question, found: _Found, shown: _Shown, book: _Book) -> dict[str, Any]:
    book.characters += len(question.text)
    lists = [
        [
            [book.place(shown.corpus.get(doc_id), right=doc_id in question.relevant), int(doc_id in question.relevant)]
            for doc_id in doc_ids[:SHOWN]
        ]
        for doc_ids in found.rankings
    ]
    properties = {"id": question.id, **question.metadata}
    return {
        "text": question.text,
        "answers": list(question.answers),
        "right": [book.place(shown.corpus.get(doc_id), right=True) for doc_id in sorted(question.relevant)],
        "properties": [[name, str(value)] for name, value in properties.items() if len(str(value)) <= _VALUE],
        "ranks": found.ranks,
        "found": lists,
    }


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
