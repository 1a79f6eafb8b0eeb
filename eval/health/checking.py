"""The health checks in the order in which they are shown, before any score."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from eval.asking import PASSAGES, WORKERS, ask_at_once
from eval.health.leakage import check_leakage, check_training
from eval.health.questions import check_answers, check_duplicates, check_lexical, sample
from eval.health.windows import check_reranker, check_tokens, check_window
from eval.labels import labelled
from eval.measuring import score
from eval.preparing import Setup
from eval.protocols import Benchmark
from eval.results import Finding
from eval.systems import BASE, System
from rag_app.compressors import RerankingCompressor
from rag_app.models import EMBEDDED, resolve_model

MOST = 1000
"""How many questions lexical search is tried on."""


def check_setup(setup: Setup, arguments: argparse.Namespace) -> list[Finding]:
    """Return what can be seen without searching: truncation, leakage, duplicates, answers that are not there."""
    benchmark = next(iter(setup.benchmarks.values()))
    return [
        *check_duplicates(benchmark),
        *check_answers(benchmark),
        *(finding for protocol in setup.benchmarks for finding in _windows(setup, protocol, arguments.reranker)),
        *(check_tokens(label, model, benchmark) for label, model in setup.models.items()),
        *_leakage(setup, benchmark, arguments),
        *_missing(setup, benchmark, arguments.k),
    ]


def check_search(lexical: System, benchmark: Benchmark, *, k: int) -> list[Finding]:
    """Return how far lexical search alone gets, on some of the questions where there are many."""
    some = benchmark._replace(questions=sample(benchmark.questions, MOST))
    answers = ask_at_once(lexical.retriever, some.questions, k=k, name="lexical, check", workers=WORKERS).answers
    finding = check_lexical(some, score(some, answers, k), k)
    if len(some.questions) < len(benchmark.questions):
        finding = finding._replace(text=f"{finding.text}; tried on a sample of {len(benchmark.questions):,} questions")
    return [finding]


def _windows(setup: Setup, protocol: str, reranker: str) -> Iterator[Finding]:
    benchmark = setup.benchmarks[protocol]
    split = protocol == "clean"
    told = not split and "clean" in setup.benchmarks  # what has no window has none under any protocol
    note = "" if split else f" ({protocol})"
    for label, model in setup.models.items():
        if not (told and model.window is None):
            yield check_window(f"{label}{note}", model, benchmark, split=split)
    compressor = setup.stock.reranker
    if isinstance(compressor, RerankingCompressor) and not (told and compressor.window is None):
        base = next(iter(setup.models.values()))
        yield check_reranker(f"reranker {reranker}{note}", compressor, benchmark, embeddings=base, split=split)


def _leakage(setup: Setup, benchmark: Benchmark, arguments: argparse.Namespace) -> list[Finding]:
    places = [Path(source) for source in (arguments.data, *arguments.distractors)]
    places += [place.parent for place in places]
    findings = check_leakage(benchmark, setup.training)
    for name, folder in _trained_models(arguments):
        findings += check_training(name, folder, benchmark, places=places)
    return findings


def _trained_models(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Yield the models' names and folders, except for the embedded embedding model, which no question trained."""
    models = labelled([f"{BASE}={arguments.base}", *arguments.model], "tuned")
    for label, name in models.items():
        if name != EMBEDDED:
            yield label, resolve_model(name).folder
    if arguments.reranker is not None:
        yield f"reranker {arguments.reranker}", resolve_model(arguments.reranker, role="reranker").folder


def _missing(setup: Setup, benchmark: Benchmark, k: int) -> Iterator[Finding]:
    """Yield which indexes lack passages that answer questions, and which retrievers find too little to be measured."""
    relevant = benchmark.relevant()
    for label, index in setup.stock.served.items():
        missing = len(relevant - index.document_ids())
        said = f"lacks {missing:,} of the {len(relevant):,} passages that answer a question"
        yield Finding("answers", label, said, missing / len(relevant), missing > 0)
    for label, retriever in setup.stock.foreign.items():
        found = len(retriever.invoke(benchmark.questions[0].text, k=max(k, PASSAGES)))
        said = f"finds {found:,} passages for the first question, and is measured on {k:,} documents"
        yield Finding("answers", label, said, None, found < k)
