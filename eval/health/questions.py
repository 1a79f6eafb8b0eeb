"""What is looked at before any score is believed: whether questions and corpus can be scored fairly.

    findings = [*check_duplicates(benchmark), *check_answers(benchmark)]
    print(text(findings))

What models read is looked at in `eval.health.windows`, what they know already in `eval.health.leakage`. Where a check
would take long it looks at a sample, and says so.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from eval.protocols import Benchmark, draw_in_order
from eval.results import Finding, Scores
from rag_app.data.questions import Question
from rag_app.documents import searchable_text
from rag_app.duplicates import near_duplicates
from rag_app.korean import analyzer, normalise
from rag_app.text_tables import aligned

SAMPLE = 2000
"""How many texts a check looks at where all of them would take long."""

ANALYSED = 300
"""How many questions, with their passages, are taken apart into morphemes; 2,000 would take 20 seconds."""

TOLERATED = 0.01
"""Scores are warned about where more than this share of texts or questions is affected."""

SOLVED = 0.95
"""Questions are warned about where lexical search alone finds more than this share first: little is left to show."""

_END = re.compile(r"[\W_]+$")

T = TypeVar("T")


def check_duplicates(benchmark: Benchmark) -> list[Finding]:
    """Return how much of the corpus repeats itself, and for how many questions that makes a right answer wrong.

    Wrong are all passages that the qrels do not name, also those that say the same, word for word or nearly
    (`rag_app.duplicates`), as one that they name.
    """
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for document in benchmark.corpus:
        holders[document.page_content].append(document.metadata["doc_id"])
    texts = list(holders)
    same = [set(doc_ids) for doc_ids in holders.values()]  # those that say what a text says
    near, pairs = set[int](), 0
    asked = _texts_asked_about(benchmark, texts, holders)
    for first, second in near_duplicates(texts):
        pairs += 1
        near.update((first, second))
        for one, other in ((first, second), (second, first)):
            if one in asked:
                same[one].update(holders[texts[other]])
    repeated = len(benchmark.corpus) - len(texts)
    total = len(benchmark.corpus)
    said = (
        f"of {total:,} passages {counted(repeated, total)} repeat another word for word; of {len(texts):,} texts "
        f"{counted(len(near), len(texts))} say nearly the same as another ({pairs:,} pairs)"
    )
    share = (repeated + len(near)) / max(1, total)
    saying = {doc_id: same[number] for number in asked for doc_id in holders[texts[number]]}
    return [Finding("duplicates", "corpus", said, share, warning=False), _repeated_questions(benchmark, saying)]


def check_answers(benchmark: Benchmark) -> list[Finding]:
    """Return how many questions have no passage in the corpus, and how many passages hold none of the answers.

    White space makes no difference, and an answer may stand in the title.
    """
    passages = {document.metadata["doc_id"]: searchable_text(document) for document in benchmark.corpus}
    asked = len(benchmark.questions)
    found = [question for question in benchmark.questions if question.relevant & passages.keys()]
    lost = asked - len(found)
    said = f"of {asked:,} questions {counted(lost, asked)} have no passage in the corpus, which no system can find"
    missing = Finding("answers", "passages", said, lost / max(1, asked), lost > TOLERATED * asked)
    named = [question for question in found if question.answers]
    if not named:
        said = "the questions name no answers: whether their passages hold them cannot be checked"
        return [missing, Finding("answers", "answers", said, None, warning=False)]
    wrong = sum(not _holds_answer(question, passages) for question in named)
    said = f"of {len(named):,} questions that name answers {counted(wrong, len(named))} have none in their passage"
    return [missing, Finding("answers", "answers", said, wrong / len(named), wrong > TOLERATED * len(named))]


def check_lexical(benchmark: Benchmark, scores: Mapping[str, Scores], k: int = 10) -> Finding:
    """Return how many questions need nothing but lexical search, and how far they repeat their passage's words.

    Args:
        benchmark: What was asked.
        scores: Of lexical search, by measure and question: ``hit_rate@1`` and ``hit_rate@{k}``. A question without a
            score was not solved.
        k: Of the hit rate.
    """
    questions = benchmark.questions
    first, within = (mean(scores[f"hit_rate@{n}"].get(q.id, 0.0) for q in questions) for n in (1, k))
    overlap = word_overlap(benchmark)
    note = sample_note(min(ANALYSED, len(questions)), len(questions))
    said = (
        f"lexical search alone finds {first:.1%} of {len(questions):,} questions first and {within:.1%} "
        f"within {k}; {overlap:.1%} of a question's content words stand in its passage{note}"
    )
    if first > SOLVED:
        said += ". Questions repeat their passages: little is left by which systems could differ"
    return Finding("lexical", "questions", said, first, first > SOLVED)


def word_overlap(benchmark: Benchmark) -> float:
    """Return the mean share of a question's different content morphemes that its passage has, of a sample.

    Of several passages the one that has most counts. Questions without content or without a passage are left out.
    """
    passages = {document.metadata["doc_id"]: document for document in benchmark.corpus}
    questions = [question for question in sample(benchmark.questions, ANALYSED) if question.relevant & passages.keys()]
    doc_ids = sorted({doc_id for question in questions for doc_id in question.relevant & passages.keys()})
    morphemes = analyzer().morphemes_batch
    read = map(frozenset, morphemes([searchable_text(passages[doc_id]) for doc_id in doc_ids]))
    of_passage = dict(zip(doc_ids, read, strict=True))
    asked = map(frozenset, morphemes([question.text for question in questions]))
    return mean(
        max(len(words & of_passage[doc_id]) for doc_id in question.relevant & passages.keys()) / len(words)
        for question, words in zip(questions, asked, strict=True)
        if words
    )


def text(findings: Iterable[Finding]) -> str:
    """Return a line for each finding, in columns, ``!`` before those that warn."""
    return aligned([("!" if f.warning else " ", f.check, f.subject, f.text) for f in findings])


def question_key(question: str) -> str:
    """Return the form under which two questions are the same: case, white space and the end's punctuation apart."""
    return _END.sub("", "".join(normalise(question).casefold().split()))


def counted(part: int, whole: int) -> str:
    """Return a number with the share that it is of another: ``12 (5.1%)``."""
    return f"{part:,} ({part / max(1, whole):.1%})" if part else "0"


def sample(items: Collection[T], most: int | None = None) -> list[T]:
    """Return at most so many of the items, `SAMPLE` if None, drawn at random but always the same, in their order."""
    items, most = list(items), SAMPLE if most is None else most
    return items if len(items) <= most else draw_in_order(items, most)


def sample_note(looked_at: int, total: int) -> str:
    """Return a remark if not all were looked at."""
    return f" (a sample of {looked_at:,})" if looked_at < total else ""


def mean(values: Iterable[float]) -> float:
    """Return the mean; 0 of nothing."""
    numbers = np.fromiter(values, np.float64)
    return float(numbers.mean()) if numbers.size else 0.0


def _repeated_questions(benchmark: Benchmark, saying: Mapping[str, Collection[str]]) -> Finding:
    """Return the finding about questions; ``saying`` tells which documents say what a relevant one says, by its id."""
    asked = len(benchmark.questions)
    wrong = sum(
        any(not question.relevant.issuperset(saying.get(doc_id, ())) for doc_id in question.relevant)
        for question in benchmark.questions
    )
    targets: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
    for question in benchmark.questions:
        targets[question_key(question.text)].append(question.relevant)
    again = [relevant for relevant in targets.values() if len(relevant) > 1]
    differently = sum(len(set(relevant)) > 1 for relevant in again)
    said = (
        f"of {asked:,} questions {counted(wrong, asked)} have a right passage that counts as wrong, as it repeats "
        f"theirs; {len(again):,} are asked more than once, {differently:,} of these of different passages"
    )
    return Finding("duplicates", "questions", said, wrong / max(1, asked), wrong > TOLERATED * asked)


def _texts_asked_about(benchmark: Benchmark, texts: Sequence[str], holders: Mapping[str, Sequence[str]]) -> set[int]:
    relevant = benchmark.relevant()
    return {number for number, content in enumerate(texts) if not relevant.isdisjoint(holders[content])}


def _holds_answer(question: Question, passages: Mapping[str, str]) -> bool:
    read = ["".join(passages[doc_id].split()) for doc_id in question.relevant & passages.keys()]
    return any("".join(normalise(answer).split()) in passage for answer in question.answers for passage in read)
