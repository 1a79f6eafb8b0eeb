"""Asking a system every question, one at a time or many at once, and keeping what it found on disk as it goes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from tqdm import tqdm

from eval.results import Answer
from rag_app.data.questions import Question
from rag_app.evidence import evidence_score
from rag_app.timing import stage_times

PASSAGES = 30
"""How many passages a search hands on, as `build_retriever` does in serving."""
EVIDENCE = 10
"""From how many of them the evidence is taken, as in serving."""

WORKERS = 2
"""How many threads ask where no time is measured: more of them only wait for each other."""

WARM_UP = "오늘 날씨는 어떤가요?"
"""A question that is asked, or a text that is read, before anything is measured."""

_MOST = 100_000  # passages asked for, of a retriever that finds one document again and again
_AT_ONCE = 256  # questions between two steps of the progress bar


class AtOnce(NamedTuple):
    """What a system found for many questions asked at once.

    Attributes:
        answers: By question id; their ``seconds`` are the mean, as no question has a time of its own.
        seconds: What all of them took together.
    """

    answers: dict[str, Answer]
    seconds: float


def warm_up(retriever: BaseRetriever) -> float:
    """Ask one question that is not measured, which loads what is loaded on first use; return its seconds."""
    start = perf_counter()
    retriever.invoke(WARM_UP)
    return perf_counter() - start


def ask(
    retriever: BaseRetriever,
    questions: Iterable[Question],
    *,
    k: int = 10,
    name: str = "",
    evidence: bool = False,
    journal: Path | None = None,
) -> dict[str, Answer]:
    """Ask a retriever all questions, one at a time, as a chat would.

    Args:
        retriever: Takes ``k``, how many passages to look at, when invoked; see `eval.systems`.
        questions: With ids that are unique.
        k: How many different documents to find for each question, where there are that many.
        name: Stands before the progress bar on stderr.
        evidence: Whether to tell how likely the question is answered, which takes time of its own, not counted.
        journal: Where every answer is written down at once; questions that are in it already are not asked again.

    Raises:
        Exception: What the retriever raised, with a note that names the question.
    """
    answers = {} if journal is None else read_journal(journal)
    questions = list(questions)
    for question in tqdm(questions, desc=name, unit="question"):
        if question.id in answers:
            continue
        with stage_times() as stages:
            start = perf_counter()
            passages = _search(retriever, question, k)
            seconds = perf_counter() - start
        weight = evidence_score(question.text, passages[:EVIDENCE]) if evidence and _tells_stages(passages) else None
        answers[question.id] = Answer(document_scores(passages), seconds, stages, weight)
        if journal is not None:
            _write_down(journal, {question.id: answers[question.id]})
    return {question.id: answers[question.id] for question in questions}


def ask_at_once(
    retriever: BaseRetriever,
    questions: Iterable[Question],
    *,
    k: int = 10,
    name: str = "",
    workers: int | None = None,
    journal: Path | None = None,
) -> AtOnce:
    """Ask a retriever all questions through its ``batch``, as a program with many questions would.

    Args:
        retriever: See `ask`, as for the other arguments.
        questions: See `ask`.
        k: See `ask`.
        name: See `ask`.
        workers: How many threads ask; LangChain decides if None.
        journal: See `ask`. The seconds are those of the questions that were not in it.
    """
    answers = {} if journal is None else read_journal(journal)
    questions = list(questions)
    waiting = [question for question in questions if question.id not in answers]
    seconds = 0.0
    with tqdm(total=len(questions), desc=name, unit="question", initial=len(questions) - len(waiting)) as bar:
        for start in range(0, len(waiting), _AT_ONCE):
            part = waiting[start : start + _AT_ONCE]
            before = perf_counter()
            found = _search_at_once(retriever, part, k, workers)
            spent = perf_counter() - before
            new = {id_: Answer(document_scores(passages), spent / len(part), {}) for id_, passages in found.items()}
            if journal is not None:
                _write_down(journal, new)
            answers |= new
            seconds += spent
            bar.update(len(part))
    return AtOnce({question.id: answers[question.id] for question in questions}, seconds)


def document_scores(passages: Iterable[Document]) -> dict[str, float]:
    """Return a score for each document that has one of these passages, which keeps the order they came in.

    A document split into several passages counts once, by the first of them. Neighbours with the same score get the
    same score here too, so that their order is left to the doc_id and not to chance.
    """
    scores: dict[str, float] = {}
    for rank, (_, tied) in enumerate(groupby(passages, key=lambda passage: passage.metadata["score"])):
        for passage in tied:
            scores.setdefault(passage.metadata["doc_id"], -float(rank))
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


def read_journal(path: Path) -> dict[str, Answer]:
    """Return the answers in a journal by question id, none if there is no such file.

    From the first line on that is cut short or damaged the file is cut off, so that the rest is asked again.
    """
    if not path.exists():
        return {}
    answers = {}
    whole = 0
    content = path.read_bytes()
    for line in content.splitlines(keepends=True):
        try:
            id_, answer = _parse(line)
        except (KeyError, TypeError, ValueError):
            break
        answers[id_] = answer
        whole += len(line)
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    return answers


def _write_down(journal: Path, answers: dict[str, Answer]) -> None:
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as file:
        # Escaped, as an id may hold half of a surrogate pair; and in one piece.
        file.write("".join(f"{json.dumps(_record(id_, answer))}\n" for id_, answer in answers.items()))


def _parse(line: bytes) -> tuple[str, Answer]:
    if not line.endswith(b"\n"):
        raise ValueError("cut short")
    record = json.loads(line)
    found = {doc_id: float(score) for doc_id, score in record["found"]}
    return record["id"], Answer(found, record["seconds"], record["stages"], record["evidence"])


def _record(id_: str, answer: Answer) -> dict[str, Any]:
    stages = {stage: round(seconds, 6) for stage, seconds in answer.stages.items()}
    return {
        "id": id_,
        "found": list(answer.found.items()),
        "seconds": round(answer.seconds, 6),
        "stages": stages,
        "evidence": answer.evidence,
    }


def _search(retriever: BaseRetriever, question: Question, k: int) -> list[Document]:
    """Return the passages found, looking at twice as many until they come from k documents or there are no more."""
    try:
        for count in _counts(k):
            passages = retriever.invoke(question.text, k=count)
            if _enough(passages, k, count):
                break
    except Exception as error:
        error.add_note(f"while asking question {question.id!r}: {question.text[:200]}")
        raise
    return passages


def _search_at_once(
    retriever: BaseRetriever, questions: Sequence[Question], k: int, workers: int | None
) -> dict[str, list[Document]]:
    config: RunnableConfig = {} if workers is None else {"max_concurrency": workers}
    passages: dict[str, list[Document]] = {}
    waiting = list(questions)
    for count in _counts(k):
        found = retriever.batch([question.text for question in waiting], config, k=count)
        passages |= {question.id: result for question, result in zip(waiting, found, strict=True)}
        waiting = [question for question in waiting if not _enough(passages[question.id], k, count)]
        if not waiting:
            break
    return {question.id: passages[question.id] for question in questions}


def _counts(k: int) -> Iterator[int]:
    count = max(PASSAGES, k)
    yield count
    while count < _MOST:
        count *= 2
        yield count


def _enough(passages: Sequence[Document], k: int, count: int) -> bool:
    return len({passage.metadata["doc_id"] for passage in passages}) >= k or len(passages) < count


def _tells_stages(passages: Sequence[Document]) -> bool:
    return all("stages" in passage.metadata for passage in passages)
