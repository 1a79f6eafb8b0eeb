"""Results of a benchmark that nobody ran: ten systems, two protocols, sixty questions, and texts that mean harm."""

import random
from functools import cache

from langchain_core.documents import Document

from eval.metrics import question_scores
from eval.protocols import Benchmark
from eval.results import (
    Abstention,
    Answer,
    Finding,
    Interval,
    ProtocolResult,
    Results,
    Scaling,
    Slice,
    SystemResult,
    Throughput,
    Times,
)
from eval.statistics import compare_all, interval, wilson
from rag_app.data.records import Question
from rag_app.significance import compare

HOSTILE = "<script>window.broken = true; alert(1)</script>"
HOSTILE_END = "</script><img src=x onerror='window.broken = true'><!-- <script>"
LONG = "서울특별시와경기도를잇는광역급행철도의개통이늦어지는까닭에대한감사원의보고서 " * 6
SKILL = {
    "bigrams": 0.80,
    "morphemes": 0.82,
    "lexical": 0.85,
    "base": 0.55,
    "hybrid": 0.86,
    "tuned": 0.78,
    "tuned+hybrid": 0.90,
    "lexical+rerank": 0.91,
    "hybrid+rerank": 0.92,
    "mine|<b>": 0.30,
}
"""By system, how likely it is to find a passage first."""
MILLISECONDS = (1.1, 2.3, 2.9, 0.4, 3.4, 0.42, 3.5, 21.0, 23.0, 310.0)
MEASURE = "mrr@10"


@cache
def make_results(*, tutorial: bool = True, questions: int = 60, seed: int = 1) -> Results:
    """Return the results.

    Args:
        tutorial: Whether there is a second protocol, in which questions were asked all at once.
        questions: How many were asked.
        seed: Decides what the systems found.
    """
    benchmark = _benchmark(questions)
    protocols = {"clean": _protocol(benchmark, list(SKILL), seed, timed=True)}
    if tutorial:
        some = benchmark._replace(questions=benchmark.questions[: questions // 2], unanswerable=[])
        protocols["tutorial"] = _protocol(some, ["base", "tuned"], seed + 1, timed=False)
    systems = protocols["clean"].systems
    return Results(
        protocols,
        [
            Finding("truncation", "klue/roberta-base", f"12.0% of the passages are cut. {HOSTILE}", 0.12, True),
            Finding("duplicates", "corpus", "No passage is there twice.", 0.0, False),
            Finding("lexical", "validation", "81.7% of the questions are solved by lexical search.", 0.817, False),
        ],
        _slices(systems, benchmark),
        Scaling(
            [60, 200, 800, 2400],
            {
                name: {MEASURE: [_moved(system.intervals[MEASURE], 0.03 * step) for step in (3, 2, 1, 0)]}
                for name, system in systems.items()
                if "rerank" not in name
            },
        ),
        {
            "arguments": {"data": "sample", "limit": None, "protocol": "both"},
            "command": "python -m eval.hit_rate --data 'a & b.jsonl' --report reports/a",
            "data": {"source": "sample", "split": "validation"},
            "machine": {"processor": "x86_64", "cores": 4},
            "versions": {"python": "3.11", "torch": "2.13.0"},
            "date": "2026-11-22",
            "commit": "0123abc",
            "seconds": {"models": 1.25, "indexes": 3.5},
        },
        complete=True,
    )


def _benchmark(count: int) -> Benchmark:
    corpus = [
        Document(
            page_content=f"{number}번째 기사의 첫 문장이다. {'중간에는 다른 이야기가 길게 이어진다. ' * (number % 30)}"
            f"가람호수 {number}호의 깊이는 {number + 3}미터로 측정되었다. 마지막 문장은 날씨를 전한다.",
            metadata={"doc_id": f"d{number}"} | ({"title": f"가람호수 {number}호"} if number % 4 else {}),
        )
        for number in range(3 * count)
    ]
    corpus[1] = Document(page_content=HOSTILE_END + " 본문이다.", metadata={"doc_id": "d1", "title": HOSTILE})
    corpus[2] = Document(page_content="짧은 글.", metadata={"doc_id": "d2", "title": LONG})
    questions = [
        Question(
            f"q {number}",
            f"가람호수 {number}호의 깊이는 몇 미터인가요?",
            frozenset({f"d{number}"} | ({f"d{number + count}"} if number % 10 == 0 else set())),
            (f"{number + 3}미터",),
            False,
            {"question_type": 1 + number % 3, "news_category": "정치" if number % 2 else "기술", "guid": f"g{number}"},
            f"d{number}",
        )
        for number in range(count)
    ]
    questions[1] = questions[1]._replace(text=HOSTILE_END, answers=("본문",))
    questions[2] = questions[2]._replace(text=LONG)
    unanswerable = [Question(f"u{n}", f"없는 {n}?", frozenset(), (), True, {}, f"d{n}") for n in range(20)]
    return Benchmark(corpus, questions, unanswerable)


def _protocol(benchmark: Benchmark, names: list[str], seed: int, *, timed: bool) -> ProtocolResult:
    systems = {
        name: _system(benchmark, name, seed, MILLISECONDS[list(SKILL).index(name)] if timed else None) for name in names
    }
    measures = next(iter(systems.values())).scores
    pairs = {
        measure: compare_all({name: system.scores[measure] for name, system in systems.items()}) for measure in measures
    }
    return ProtocolResult(benchmark, systems, pairs)


def _system(benchmark: Benchmark, name: str, seed: int, milliseconds: float | None) -> SystemResult:
    known = milliseconds is not None and name in ("base", "hybrid", "lexical", "hybrid+rerank", "lexical+rerank")
    answers = {
        question.id: _answer(benchmark, question, name, f"{seed}{name}", milliseconds or 1.0)
        for question in benchmark.questions
    }
    scores = question_scores(benchmark.qrels(), {id_: answer.found for id_, answer in answers.items()})
    times = None
    if milliseconds is not None:
        mean = 1.1e-3 * milliseconds
        shares = {"encode": 0.1, "lexical": 0.2, "dense": 0.1} | ({"rerank": 0.5} if "rerank" in name else {})
        stages = {stage: mean * share for stage, share in shares.items()}
        stages["other"] = mean - sum(stages.values())
        times = Times(mean, 0.9 * mean, 1.8 * mean, 2.5 * mean, stages if known else {})
    return SystemResult(
        answers,
        dict(scores),
        {measure: interval(list(values.values()), rounds=1000) for measure, values in scores.items()},
        times,
        Throughput(len(answers), len(answers) * (milliseconds or 1.0) / 4000),
        len(benchmark.corpus),
        300 * 2**20 if known else None,
        5_000_000 if known else None,
        Abstention(0.35, 60, 20, wilson(3, 20), wilson(6, 60), 0.912) if known else None,
    )


def _answer(benchmark: Benchmark, question: Question, name: str, seed: str, milliseconds: float) -> Answer:
    chance = random.Random(f"{seed}{question.id}")
    if name == "base" and question.id == "q 5":
        return Answer({}, milliseconds / 1000, {})
    found = [document.metadata["doc_id"] for document in chance.sample(benchmark.corpus, 12)]
    # The same luck for every system, so that what is hard for one is hard for the others.
    luck = random.Random(question.id).random() * 0.7 + chance.random() * 0.3
    rank = 0 if luck < SKILL[name] else chance.choice([1, 1, 2, 4, 8, 20])
    relevant = sorted(question.relevant)
    found = [doc_id for doc_id in found if doc_id not in relevant]
    found[rank:rank] = relevant
    return Answer({doc_id: 1 / (place + 2) for place, doc_id in enumerate(found)}, milliseconds / 1000, {})


def _slices(systems: dict[str, SystemResult], benchmark: Benchmark) -> list[Slice]:
    slices = []
    for kind in (1, 2, 3):
        ids = [question.id for question in benchmark.questions if question.metadata["question_type"] == kind]
        intervals = {
            system: {MEASURE: interval([result.scores[MEASURE][id_] for id_ in ids], rounds=1000)}
            for system, result in systems.items()
        }
        slices.append(Slice("question_type", str(kind), len(ids), intervals, {}))
    for way, loss in (("NFD", 0.0), ("typos", 0.2), ("no spaces", 0.6)):
        changes = {}
        for system, result in systems.items():
            before = list(result.scores[MEASURE].values())
            after = [0.2 * score if i % 10 < 10 * loss else score for i, score in enumerate(before)]
            changes[system] = {MEASURE: compare(before, after, two_sided=True, rounds=1000)}
        means = {name: {MEASURE: _at(change[MEASURE].after)} for name, change in changes.items()}
        slices.append(Slice("asked otherwise", way, len(benchmark.questions), means, changes))
    return slices


def _at(mean: float) -> Interval:
    return Interval(mean, max(0.0, mean - 0.05), min(1.0, mean + 0.05))


def _moved(one: Interval, up: float) -> Interval:
    return Interval(*(min(1.0, value + up) for value in one))
