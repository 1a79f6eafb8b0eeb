"""What a benchmark found out, as records: every part of the report is written from these."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eval.protocols import Benchmark
from rag_app.significance import Comparison

Scores = Mapping[str, float]
"""A measure's score of every question, by its id."""


class Answer(NamedTuple):
    """What one system found for one question.

    Attributes:
        found: The score of each document, best first; documents of equal score rank by doc_id.
        seconds: From question to documents.
        stages: Of these, the seconds of each stage; see `rag_app.timing.stage_times`. Empty for a foreign retriever.
        evidence: `rag_app.evidence.evidence_score` of what was found; None where the stages are not known.
    """

    found: dict[str, float]
    seconds: float
    stages: dict[str, float]
    evidence: float | None = None


class Interval(NamedTuple):
    """A mean over the questions, and between what it may lie for questions like these, with 95% confidence."""

    mean: float
    low: float
    high: float


class Times(NamedTuple):
    """Seconds per question, asked one at a time after a warm-up.

    Attributes:
        mean: Over all questions, as the rest.
        p50: Half of the questions take no longer.
        p95: 95% take no longer.
        p99: 99% take no longer.
        stages: The mean of each stage, and under ``"other"`` of the rest; empty where no stage is known.
    """

    mean: float
    p50: float
    p95: float
    p99: float
    stages: dict[str, float]


class Throughput(NamedTuple):
    """Many questions at once, through ``retriever.batch``.

    Attributes:
        questions: How many.
        seconds: What they took together.
    """

    questions: int
    seconds: float


class Abstention(NamedTuple):
    """Whether the evidence tells questions that the corpus answers from those that it does not.

    Attributes:
        threshold: Below this evidence an answer is refused.
        answerable: How many questions have an answer.
        unanswerable: How many have none.
        false_answers: The share of the unanswerable that is not refused.
        false_refusals: The share of the answerable that is refused.
        auc: How often an answerable question has more evidence than an unanswerable one; .5 is chance.
    """

    threshold: float
    answerable: int
    unanswerable: int
    false_answers: Interval
    false_refusals: Interval
    auc: float


class SystemResult(NamedTuple):
    """What was measured of one system.

    Attributes:
        answers: By question id, of the answerable questions.
        scores: By measure.
        intervals: By measure.
        times: Of single questions; None where they were only asked at once.
        throughput: Of many at once; None where it was not measured.
        passages: How many there were to search.
        memory_bytes: The most memory the whole process had while this system was asked; None where it cannot be known.
        index_bytes: What the system's index takes on disk; None for a foreign retriever.
        abstention: None where no question is unanswerable, or there is no evidence.
    """

    answers: dict[str, Answer]
    scores: dict[str, Scores]
    intervals: dict[str, Interval]
    times: Times | None
    throughput: Throughput | None
    passages: int
    memory_bytes: int | None
    index_bytes: int | None
    abstention: Abstention | None


class Pair(NamedTuple):
    """Two systems compared by one measure.

    Attributes:
        before: The name of the first.
        after: The name of the second.
        comparison: Of the second with the first; its p is two-sided.
        corrected_p: p, corrected for how many pairs were compared by this measure (Holm).
    """

    before: str
    after: str
    comparison: Comparison
    corrected_p: float


class ProtocolResult(NamedTuple):
    """What was measured under one protocol.

    Attributes:
        benchmark: What was asked of which corpus.
        systems: By name.
        pairs: By measure, every two systems compared.
    """

    benchmark: Benchmark
    systems: dict[str, SystemResult]
    pairs: dict[str, list[Pair]]


class Finding(NamedTuple):
    """What a health check saw.

    Attributes:
        check: Its name: ``truncation``, ``tokens``, ``leakage``, ``duplicates``, ``answers``, ``lexical``.
        subject: What was looked at: a model, a split, a data set.
        text: What was seen, in a sentence with the figures.
        share: The figure that the check is about, 0 to 1, or None.
        warning: Whether the scores below cannot be taken as they stand.
    """

    check: str
    subject: str
    text: str
    share: float | None
    warning: bool


class Slice(NamedTuple):
    """Some of the questions, or all of them asked in another way.

    Attributes:
        kind: What sets them apart: ``"asked otherwise"``, ``"question_type"``, ``"section"``, ``"passage length"`` ...
        name: Which of them: ``"typos"``, ``"정치"``, ``"301 to 600 characters"`` ...
        questions: How many.
        intervals: By system and measure.
        changes: By system and measure, the same questions asked otherwise (after) against as they are (before), with a
            two-sided p; empty where the questions are as they are.
    """

    kind: str
    name: str
    questions: int
    intervals: dict[str, dict[str, Interval]]
    changes: dict[str, dict[str, Comparison]]


class Scaling(NamedTuple):
    """How the scores fall as the corpus grows.

    Attributes:
        passages: The corpus sizes, ascending.
        intervals: By system and measure, one for each size.
    """

    passages: list[int]
    intervals: dict[str, dict[str, list[Interval]]]


class Results(NamedTuple):
    """All that a benchmark found out.

    Attributes:
        protocols: By name, ``clean`` first.
        health: What the checks before the benchmark saw.
        slices: Of the clean protocol.
        scaling: Of the clean protocol; None where it was not measured.
        details: What was run on what: ``arguments``, ``data``, ``machine``, ``versions``, ``date``, ``commit``,
            ``seconds`` (of loading models, building indexes). Fits into JSON.
        complete: Whether everything that was asked for was measured.
    """

    protocols: dict[str, ProtocolResult]
    health: Sequence[Finding]
    slices: Sequence[Slice]
    scaling: Scaling | None
    details: dict[str, Any]
    complete: bool
