"""What one passage and one question cost on one core of this machine: the rows of ``measured.toml``."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import faiss
import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray
from tokenizers import BertWordPieceTokenizer

from eval.capacity.figures import Figure
from eval.machine import machine
from eval.speed_corpus import PASSAGE_CHARS, source_sentences, speed_corpus
from eval.timing.klue import random_models
from rag_app.compressors import CrossEncoderCompressor, load_reranker
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.index import build_index
from rag_app.korean import analyzer
from rag_app.lexical import joined_units, korean_analyses
from rag_app.models import Backend
from rag_app.onnx.export import export_model
from rag_app.passages import split_documents
from rag_app.vectors import unit_rows

NEAREST = 10
CANDIDATES = 30
"""Passages that a reranker reads for a question, as `rag_app.retrieval.build_retriever` has it."""
_FEW = 16  # passages and pairs for a transformer on one core
_QUESTIONS = 200
_DEEP = 100  # passages that lexical search proposes
_REFINED = 400  # candidates of codes of a bit, compared exactly
_BACKENDS: tuple[tuple[str, Backend], ...] = (("float32", "torch"), ("int8", "onnx-int8"))
_ON_ONE_CORE: dict[str, dict[str, Any]] = {"torch": {"device": "cpu"}, "onnx-int8": {"threads": 1}}


class Measurement:
    """Figures, as they come, with where they were measured."""

    def __init__(self, place: str) -> None:
        self._place = place
        self.figures: list[Figure] = []

    def add(self, name: str, value: float, unit: str, how: str) -> None:
        """Add one figure, to four digits."""
        self.figures.append(Figure(name, float(f"{value:.4g}"), unit, f"{how}; {self._place}"))


def measure(articles: Sequence[Document], questions: Sequence[str], sizes: Sequence[int]) -> Iterator[list[Figure]]:
    """Yield the figures of one subject after the other.

    Args:
        articles: Real ones, at least a thousand: how many different words they have decides what analysis costs.
        questions: Real ones, at least `CANDIDATES`.
        sizes: How many passages the indexes have, two or more, smallest first.
    """
    faiss.omp_set_num_threads(1)
    here = machine()
    place = f"{here['processor']}, one thread, {datetime.now(UTC):%Y-%m-%d}"
    for part in (_texts, _transformers, _rerankers):
        result = Measurement(place)
        part(result, articles, questions)
        yield result.figures
    for size in sizes:
        result = Measurement(place)
        _indexes(result, articles, questions, size, forms=size == sizes[-1])
        yield result.figures


def _texts(result: Measurement, articles: Sequence[Document], questions: Sequence[str]) -> None:
    """Measure what comes before an index: splitting, analysis, the embedded model, and how large it all is."""
    embeddings = load_embeddings()
    embeddings.embed_query("준비")
    start = process_time()
    passages = list(split_documents(articles, fits=embeddings.fits))
    split = process_time() - start
    texts = [searchable_text(passage) for passage in passages]
    units: list[list[str]] = []
    start = process_time()
    for analyse in korean_analyses(analyzer()).values():
        units.append(list(joined_units(analyse, texts)))
    analysed = process_time() - start
    start = process_time()
    embeddings.encode(texts)
    embedded = process_time() - start
    start = process_time()
    for question in questions:
        embeddings.encode([question], query=True)
    asked = process_time() - start

    count = len(passages)
    of = f"{count:,} passages of {len(articles):,} real articles, each word met for the first time"
    result.add("passage_chars", sum(map(len, texts)) / count, "characters", of)
    result.add("passage_text_bytes", sum(len(text.encode()) for text in texts) / count, "bytes", of)
    result.add("passage_units_bytes", sum(len(text.encode()) for some in units for text in some) / count, "bytes", of)
    result.add("passage_units", sum(len(set(text.split())) for some in units for text in some) / count, "units", of)
    result.add("split_ms", 1000 * split / count, "CPU ms a passage", of)
    result.add("analyse_ms", 1000 * analysed / count, "CPU ms a passage", of)
    result.add("embed_embedded_ms", 1000 * embedded / count, "CPU ms a passage", of)
    result.add(
        "question_embedded_ms", 1000 * asked / len(questions), "CPU ms a question", f"{len(questions)} questions"
    )


def _transformers(result: Measurement, articles: Sequence[Document], questions: Sequence[str]) -> None:
    """Measure a bi-encoder of klue/roberta-base's size."""
    passages = list(islice(split_documents(articles), _FEW))
    texts = [searchable_text(passage) for passage in passages]
    with TemporaryDirectory() as folder:
        models = random_models(Path(folder) / "models", "base")
        for name, backend in _BACKENDS:
            if backend != "torch":
                export_model(models.embedding, "onnx-int8", check=False)
            embeddings = load_embeddings(models.embedding, backend=backend, **_ON_ONE_CORE[backend])
            spent = _cpu_ms(embeddings, texts)
            result.add(
                f"embed_base_{name}_ms", spent, "CPU ms a passage", f"random weights, {backend}, {_FEW} passages"
            )
            asked = _cpu_ms(embeddings, list(questions[:_FEW]))
            result.add(f"question_base_{name}_ms", asked, "CPU ms a question", f"the same, {_FEW} questions")
        pieces = BertWordPieceTokenizer(str(Path(models.embedding) / "vocab.txt"), lowercase=False, strip_accents=False)
        tokens = float(np.mean([len(pieces.encode(text).ids) for text in texts]))
        result.add("passage_tokens", tokens, "tokens", f"{len(texts)} passages, a tokenizer as long-winded as klue's")


def _cpu_ms(embeddings: ModelEmbeddings, texts: Sequence[str]) -> float:
    embeddings.encode(texts[:2])
    start = process_time()
    embeddings.encode(texts)
    return 1000 * (process_time() - start) / len(texts)


def _rerankers(result: Measurement, articles: Sequence[Document], questions: Sequence[str]) -> None:
    """Measure the reranker in the package, and a cross-encoder of klue/roberta-small's size."""
    passages = list(islice(split_documents(articles), _FEW * CANDIDATES))
    linear = load_reranker()
    linear.compress_documents(passages[:2], questions[0])
    rounds = len(passages) // CANDIDATES
    start = process_time()
    for number in range(rounds):
        some = passages[number * CANDIDATES : (number + 1) * CANDIDATES]
        linear.compress_documents(some, questions[number])
    spent = 1000 * (process_time() - start) / rounds
    how = f"{CANDIDATES} passages not met before, {rounds} questions"
    result.add("rerank_embedded_ms", spent, "CPU ms a question", how)
    with TemporaryDirectory() as folder:
        models = random_models(Path(folder) / "models", "klue")
        pairs = [(questions[0], searchable_text(passage)) for passage in passages[:_FEW]]
        for name, backend in _BACKENDS:
            if backend != "torch":  # random weights mean nothing that int8 could keep
                export_model(models.reranker, "onnx-int8", role="reranker", check=False)
            reranker = load_reranker(models.reranker, backend=backend, **_ON_ONE_CORE[backend])
            if not isinstance(reranker, CrossEncoderCompressor):
                raise TypeError(f"Want a cross-encoder, got {reranker}")
            reranker.score_pairs(pairs[:2])
            start = process_time()
            reranker.score_pairs(pairs)
            spent = 1000 * (process_time() - start) * CANDIDATES / len(pairs)
            how = f"{CANDIDATES} passages, from {len(pairs)} pairs, random weights, {backend}"
            result.add(f"rerank_small_{name}_ms", spent, "CPU ms a question", how)


def _indexes(
    result: Measurement, articles: Sequence[Document], questions: Sequence[str], size: int, *, forms: bool
) -> None:
    """Measure the index in a folder and, of its vectors, the forms of FAISS that servers have too."""
    embeddings = load_embeddings()
    documents = list(speed_corpus(source_sentences(articles), size))
    with TemporaryDirectory() as name:
        folder = Path(name) / "index"
        start = process_time()
        index = build_index(folder, iter(documents), embeddings)
        built = process_time() - start
        of = f"{size:,} generated passages of {PASSAGE_CHARS} characters"
        result.add(f"folder_build_ms_at_{size}", 1000 * built / size, "CPU ms a passage", of)
        total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        lexical = sum(
            path.stat().st_size for path in folder.rglob("*") if path.is_file() and "lexical" in str(path.parent)
        )
        result.add(f"folder_bytes_at_{size}", total / size, "bytes a passage", f"{of}; index in a folder, all of it")
        result.add(f"lexical_bytes_at_{size}", lexical / size, "bytes a passage", f"{of}; Tantivy alone")
        snapshot = index.snapshot
        asked = questions[:_QUESTIONS]
        snapshot.lexical.search(asked[0], _DEEP)
        start = process_time()
        for question in asked:
            snapshot.lexical.search(question, _DEEP)
        spent = 1000 * (process_time() - start) / len(asked)
        result.add(f"lexical_ms_at_{size}", spent, "CPU ms a question", f"{of}; best {_DEEP} of {len(asked)} questions")
    if forms:
        vectors = unit_rows(embeddings.encode([searchable_text(document) for document in documents]))
        queries = unit_rows(embeddings.encode(list(asked), query=True))
        _forms(result, vectors, queries)


def _forms(result: Measurement, vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> None:
    """Measure size, build, recall and time of FAISS indexes of some vectors."""
    count, dimension = vectors.shape
    lists = int(4 * count**0.5)
    exact = faiss.index_factory(dimension, "Flat", faiss.METRIC_INNER_PRODUCT)
    exact.add(vectors)
    _, nearest = exact.search(queries, NEAREST)
    of = f"{count:,} vectors of {dimension} dimensions, embedded model, {len(queries)} real questions"
    for form, factory, widths in (
        ("flat", "Flat", (0,)),
        ("hnsw", "HNSW32", (32, 128, 512)),
        ("ivf_sq8", f"IVF{lists},SQ8", (16, 64, 256)),
        ("ivf_rabitq", f"IVF{lists},RaBitQ", (16, 64, 256)),
    ):
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        start = process_time()
        index.train(vectors[np.random.default_rng(0).choice(count, min(count, 30 * lists), replace=False)])
        index.add(vectors)
        built = process_time() - start
        named = f"{of}; {factory}"
        result.add(f"{form}_build_ms", 1000 * built / count, "CPU ms a vector", named)
        result.add(f"{form}_bytes", len(faiss.serialize_index(index)) / count, "bytes a vector", named)
        for width in widths:
            recall, spent = _search(index, form, width, queries, nearest, vectors)
            at = f"_{width}" if width else ""
            how = f"{named}{f', width {width}' if width else ''}"
            result.add(f"{form}_recall{at}", recall, f"recall@{NEAREST}", how)
            result.add(f"{form}_ms{at}", spent, "CPU ms a question", how)


def _search(
    index: Any,
    form: str,
    width: int,
    queries: NDArray[np.float32],
    nearest: NDArray[np.int64],
    vectors: NDArray[np.float32],
) -> tuple[float, float]:
    """Return recall and CPU milliseconds of questions asked one at a time; the best of RaBitQ are compared exactly."""
    parameters = {"hnsw": "efSearch", "ivf_sq8": "nprobe", "ivf_rabitq": "nprobe"}
    if form in parameters:
        faiss.ParameterSpace().set_index_parameter(index, parameters[form], width)
    wanted = _REFINED if form == "ivf_rabitq" else NEAREST
    hits = 0
    start = process_time()
    for query, right in zip(queries, nearest, strict=True):
        _, [rows] = index.search(query[np.newaxis], wanted)
        if wanted > NEAREST:
            rows = rows[rows >= 0]
            rows = rows[np.argsort(-(vectors[rows] @ query), kind="stable")[:NEAREST]]
        hits += len(set(rows.tolist()) & set(right.tolist()))
    spent = process_time() - start
    return hits / nearest.size, 1000 * spent / len(queries)
