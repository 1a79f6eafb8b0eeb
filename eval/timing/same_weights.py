"""The tutorial's loop against ours, with one transformer's weights, on the same machine, questions and passages."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from time import perf_counter
from typing import NamedTuple

from eval.protocols import Benchmark, needed_passages, shrink
from eval.timing.klue import Models, random_models
from eval.timing.loop import Hit, TutorialLoop
from eval.timing.rounds import Recorder, interleave, to_json
from eval.timing.setup import Found, Setup, chunks
from eval.timing.variants import (
    LOOP,
    RERANKED,
    UNRERANKED,
    Variant,
    build_variant,
    export_unchecked,
    overlap,
    score_differences,
)
from rag_app.compressors import RerankingCompressor
from rag_app.documents import searchable_text
from rag_app.embeddings import load_embeddings
from rag_app.index import Index, build_index
from rag_app.models import Backend

KINDS: dict[str, Sequence[Variant]] = {"unreranked": UNRERANKED, "reranked": RERANKED}


class _Bench(NamedTuple):
    """Two models, what they have indexed, and what is asked."""

    models: Models
    loop: TutorialLoop
    indexes: Mapping[Backend, Index]
    benchmark: Benchmark


def measure_same_weights(setup: Setup, found: Found) -> None:
    """Measure each pair of models, by name."""
    for models in _all_models(setup):
        own: Found = found.setdefault(models.name, {"random_weights": models.random})
        bench = _prepare(setup, models, own)
        arguments = setup.arguments
        _measure(bench, "unreranked", arguments.rounds, arguments.questions, own)
        _measure(bench, "reranked", arguments.rerank_rounds, 1, own)


def _all_models(setup: Setup) -> Iterator[Models]:
    arguments = setup.arguments
    if arguments.embedding:
        name = f"{arguments.embedding} and {arguments.reranker}"
        yield Models(name, arguments.embedding, arguments.reranker, random=False)
        return
    for size in arguments.model_sizes:
        yield random_models(setup.models / size, size)


def _prepare(setup: Setup, models: Models, found: Found) -> _Bench:
    """Load the models of the loop and of ours, and let each index the passages."""
    arguments = setup.arguments
    asked = setup.questions(arguments.rounds * arguments.questions)
    benchmark = setup.benchmark._replace(questions=asked)
    passages = min(len(benchmark.corpus), max(arguments.passages, len(needed_passages(benchmark))))
    benchmark = shrink(benchmark, passages, seed=arguments.seed)
    indexing: Found = found.setdefault("indexing", {})
    indexes = {}
    for backend in dict.fromkeys(variant.backend for variants in KINDS.values() for variant in variants):
        export_unchecked(models, backend)
        embeddings = load_embeddings(models.embedding, backend=backend)
        start = perf_counter()
        folder = setup.folder / "indexes" / f"{len(list(setup.folder.glob('indexes/*')))}"
        indexes[backend] = build_index(folder, benchmark.corpus, embeddings)
        indexing[backend] = _per_second(len(indexes[backend]), perf_counter() - start)
    documents = next(iter(indexes.values())).snapshot.store.documents
    texts = [searchable_text(document) for document in documents.values()]
    loop = TutorialLoop(models.embedding, models.reranker)
    start = perf_counter()
    loop.index(list(documents), texts)
    indexing[LOOP] = _per_second(len(texts), perf_counter() - start)
    found["passages"] = {"count": len(texts), "mean_characters": mean(map(len, texts)), "mean_tokens": loop.tokens()}
    return _Bench(models, loop, indexes, benchmark)


def _measure(bench: _Bench, kind: str, rounds: int, questions: int, found: Found) -> None:
    """Let the loop and the variants of a kind answer the same questions, in turns."""
    search = bench.loop.rerank if kind == "reranked" else bench.loop.search
    contenders = {LOOP: Recorder(lambda questions: [search(question) for question in questions])}
    compressors: list[RerankingCompressor] = []
    for variant in KINDS[kind]:
        contenders[variant.name], compressor = build_variant(
            variant, bench.indexes[variant.backend], bench.models.reranker
        )
        compressors += [] if compressor is None else [compressor]

    def forget() -> None:
        for compressor in compressors:
            compressor.forget()

    asked = chunks([question.text for question in bench.benchmark.questions], questions)[:rounds]
    seconds: dict[str, list[float]] = {}
    own: Found = found.setdefault(kind, {})
    try:
        interleave(contenders, asked, seconds, name=f"{bench.models.name}, {kind}", before_each=forget)
    finally:  # after an interruption, what the rounds until then took
        if LOOP in seconds:
            own |= {"rounds": len(seconds[LOOP]), "questions": sum(map(len, asked[: len(seconds[LOOP])]))}
            own["rows"] = to_json(seconds, LOOP)
            for name, row in own["rows"].items():
                row |= _compare(contenders[LOOP].found, contenders[name].found, bench)
            for variant in KINDS[kind]:
                if variant.name in seconds:
                    own["rows"][variant.name]["exact"] = variant.exact


def _compare(theirs: Mapping[str, list[Hit]], ours: Mapping[str, list[Hit]], bench: _Bench) -> Found:
    """Return how what one found differs from what the loop found and, of trained weights, how often it is right."""
    asked = [question for question in bench.benchmark.questions if question.text in ours]
    pairs = [(theirs[question.text], ours[question.text]) for question in asked if question.text in theirs]
    differences = [one for pair in pairs for one in score_differences(*pair)]
    compared: Found = {
        "max_score_difference": max(differences, default=None),
        "compared_scores": len(differences),
        "same_passages": mean(overlap(*pair) for pair in pairs),
    }
    if not bench.models.random:
        documents = next(iter(bench.indexes.values())).snapshot.store.documents
        compared["hit_rate@1"] = mean(
            any(documents[hit.id].metadata["doc_id"] in question.relevant for hit in ours[question.text][:1])
            for question in asked
        )
    return compared


def _per_second(count: int, seconds: float) -> Found:
    return {"seconds": seconds, "passages_per_second": count / seconds}
