"""Measuring systems under a protocol: quality, times, memory, and what becomes of it when something is changed."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from eval.abstention import abstention
from eval.asking import ask, ask_at_once, warm_up
from eval.memory import forget_peak, peak_memory
from eval.metrics import question_scores
from eval.protocols import Benchmark
from eval.results import Abstention, Answer, Interval, Pair, Scores, SystemResult, Throughput, Times
from eval.statistics import compare_all, interval
from eval.systems import System
from rag_app.compressors import RerankingCompressor
from rag_app.evidence import MIN_EVIDENCE

AT_ONCE = 100
"""How many questions the throughput is measured on."""

Journals = Callable[..., Path | None]
"""From the parts of a name, such as ``("clean", "hybrid")``, to where those answers are kept; None keeps none."""


def measure_system(
    name: str, system: System, benchmark: Benchmark, *, k: int, protocol: str, journals: Journals
) -> SystemResult:
    """Ask a system the questions one at a time, and some of them at once.

    Args:
        name: The system's.
        system: See `eval.systems.build_system`.
        benchmark: The questions.
        k: Where the measures cut off.
        protocol: Its name, for the journals.
        journals: Where answers are kept.
    """
    asks_evidence = bool(benchmark.unanswerable)
    _forget(system)
    measured = forget_peak()
    warm_up(system.retriever)
    answers = ask(
        system.retriever,
        benchmark.questions,
        k=k,
        name=name,
        evidence=asks_evidence,
        journal=journals(protocol, name),
    )
    memory = peak_memory() if measured else None
    unanswered = {}
    if asks_evidence and all(answer.evidence is not None for answer in answers.values()):
        unanswered = ask(
            system.retriever,
            benchmark.unanswerable,
            k=k,
            name=f"{name}, no answer",
            evidence=True,
            journal=journals(protocol, "no answer", name),
        )
    _forget(system)
    some = benchmark.questions[:AT_ONCE]
    at_once = ask_at_once(system.retriever, some, k=k, name=f"{name}, at once")
    return _result(
        system,
        answers,
        score(benchmark, answers, k),
        times=times(answers.values()),
        throughput=Throughput(len(some), at_once.seconds),
        memory=memory,
        abstention=_abstention(answers, unanswered),
    )


def measure_flat(
    name: str, system: System, benchmark: Benchmark, *, k: int, one_at_a_time: bool, journal: Path | None
) -> SystemResult:
    """Ask a system all questions at once, as the tutorial does, or one at a time if asked; see `measure_system`."""
    _forget(system)
    measured = forget_peak()
    warm_up(system.retriever)
    throughput = None
    if one_at_a_time:
        answers = ask(system.retriever, benchmark.questions, k=k, name=name, journal=journal)
    else:
        answers, seconds = ask_at_once(system.retriever, benchmark.questions, k=k, name=name)
        throughput = Throughput(len(answers), seconds)
    memory = peak_memory() if measured else None
    return _result(
        system,
        answers,
        score(benchmark, answers, k),
        times=times(answers.values()) if one_at_a_time else None,
        throughput=throughput,
        memory=memory,
        abstention=None,
    )


def score(benchmark: Benchmark, answers: Mapping[str, Answer], k: int) -> dict[str, Scores]:
    """Return, by measure, the score of every question."""
    run = {id_: answer.found for id_, answer in answers.items()}
    return dict(question_scores(benchmark.qrels(), run, k))


def intervals(scores: Mapping[str, Scores]) -> dict[str, Interval]:
    """Return, by measure, the mean and its interval."""
    return {measure: interval(list(values.values())) for measure, values in scores.items()}


def compare_systems(systems: Mapping[str, SystemResult]) -> dict[str, list[Pair]]:
    """Return, by measure, every two systems compared; measures that agree on every question are compared once."""
    compared: dict[str, list[Pair]] = {}
    for measure in next(iter(systems.values())).scores if systems else {}:
        scores = {name: result.scores[measure] for name, result in systems.items()}
        same = next(
            (other for other in compared if all(systems[name].scores[other] == scores[name] for name in systems)), None
        )
        compared[measure] = compare_all(scores) if same is None else compared[same]
    return compared


def times(answers: Iterable[Answer]) -> Times:
    """Return what questions took that were asked one at a time."""
    answers = list(answers)
    seconds = np.array([answer.seconds for answer in answers])
    stages = {stage: 0.0 for answer in answers for stage in answer.stages}
    for answer in answers:
        for stage, spent in answer.stages.items():
            stages[stage] += spent / len(answers)
    mean = float(seconds.mean())
    if stages:
        stages["other"] = max(0.0, mean - sum(stages.values()))
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99]).tolist()
    return Times(mean, p50, p95, p99, stages)


def _result(
    system: System,
    answers: dict[str, Answer],
    scores: dict[str, Scores],
    *,
    times: Times | None,
    throughput: Throughput | None,
    memory: int | None,
    abstention: Abstention | None,
) -> SystemResult:
    return SystemResult(
        answers=answers,
        scores=scores,
        intervals=intervals(scores),
        times=times,
        throughput=throughput,
        passages=system.passages,
        memory_bytes=memory,
        index_bytes=system.index_bytes,
        abstention=abstention,
    )


def _abstention(answers: Mapping[str, Answer], unanswered: Mapping[str, Answer]) -> Abstention | None:
    if not unanswered:
        return None
    answerable, unanswerable = (
        [answer.evidence for answer in some.values() if answer.evidence is not None] for some in (answers, unanswered)
    )
    return abstention(answerable, unanswerable, MIN_EVIDENCE)


def _forget(system: System) -> None:
    """Forget passages that another system met, which would make this one look quicker."""
    if isinstance(system.compressor, RerankingCompressor):
        system.compressor.forget()
