"""Document compressors for a `ContextualCompressionRetriever`: rerankers of two kinds, and keeping the first few."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PrivateAttr, SkipValidation
from tqdm import tqdm

from rag_app.batching import shared_batcher
from rag_app.documents import searchable_text
from rag_app.korean import normalise_question
from rag_app.loaded import Loaded
from rag_app.models import (
    EMBEDDED,
    Backend,
    ResolvedModel,
    check_backend,
    is_onnx,
    load_cross_encoder,
    model_fingerprint,
    resolve_kind,
    resolve_model,
)
from rag_app.onnx.models import OnnxCrossEncoder
from rag_app.reranking.best_window import Spans, best_windows, read_through
from rag_app.reranking.budget import Limits, Pace, Spent, score_in_order
from rag_app.reranking.cross_encoders import PairModel, TorchCrossEncoder
from rag_app.reranking.early_stop import EarlyStop, read_early_stop
from rag_app.reranking.linear import LinearReranker, read_linear_reranker
from rag_app.reranking.score_cache import ScoreCache, Scored, cache_key
from rag_app.stages import with_stage
from rag_app.timing import timed

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class TopN(BaseDocumentCompressor):
    """Keeps the first ``top_n`` documents as they are: what a retriever compresses with when it has no reranker."""

    model_config = ConfigDict(extra="forbid")

    top_n: int = Field(default=10, ge=1)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the first ``top_n`` documents."""
        return list(documents[: self.top_n])


class RerankingCompressor(BaseDocumentCompressor):
    """Reranks documents with a model that reads question and passage together; what all of these models share.

    What comes back are copies in order of falling score, equal scores in the order they came in. Their metadata holds
    the score, between 0 and 1, as ``relevance_score`` and ``score``, and with the rank, from 1, in
    ``stages["rerank"]``; the first document's ``stages["rerank"]["spent"]`` is what all of it took, a
    `rag_app.reranking.budget.Spent`. A passage's title is read before its text. `acompress_documents` scores in a
    thread. Safe to share between threads.

    Documents are scored in the order they come in, which should be that of a search, best first. Where a limit leaves
    the last ones unscored, they stay in that order behind those scored. Such a document has no ``relevance_score``,
    its ``score`` is still the search's, on another scale, and ``stages["rerank"]`` says ``scored: False``. A
    ``threshold`` drops it. Scores are remembered, so that the same question is not scored again with other settings.

    Attributes:
        model: The loaded model.
        name: The name the model was asked for by.
        top_n: How many documents to keep at most; None for all.
        threshold: Score a document needs in order to be kept; None for any.
        budget_ms: Milliseconds after which no further document is scored; None for any time. The first batch is scored
            however long it takes, and the last one may end a little late.
        max_pairs: How many documents, the first ones, are scored at most; None for all.
        early_stop: The model's bound: no further document is scored when, by what was learned on validation data, none
            of them can come among the first ``settle``. None scores all.
        settle: How many of the first places the bound has to settle; as many as ``top_n`` if None. With 1 a few
            documents are often enough to be sure of the best, and the order behind it is rougher.
        cache: The scores that are remembered.
        calibrated: Whether the best score tells how likely the question is answered at all, as
            `rag_app.evidence.evidence_score` then takes it; if not, ``stages["rerank"]`` says ``calibrated: False``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: Any = Field(exclude=True, repr=False)
    name: str
    top_n: int | None = Field(default=10, ge=1)
    threshold: float | None = Field(default=None, ge=0, le=1)
    budget_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_pairs: int | None = Field(default=None, ge=1)
    early_stop: SkipValidation[EarlyStop | None] = None
    settle: int | None = Field(default=None, ge=1)
    cache: SkipValidation[ScoreCache] = Field(default_factory=ScoreCache, exclude=True, repr=False)
    _pace: Pace = PrivateAttr(default_factory=Pace)

    calibrated: ClassVar[bool] = True

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the best documents with their scores, best first, then those left unscored."""
        with timed("rerank", model=self.name, documents=len(documents)):
            scored, spent = self._score_in_order(documents, query)
        ranking = sorted(scored, key=lambda number: -scored[number].score)  # stable: ties stay in order
        if self.threshold is None:
            ranking += [number for number in range(len(documents)) if number not in scored]
        else:
            ranking = [number for number in ranking if scored[number].score >= self.threshold]
        return [
            self._with_score(documents[number], rank, scored.get(number), spent if rank == 1 else None)
            for rank, number in enumerate(ranking[: self.top_n], 1)
        ]

    def _score_in_order(self, documents: Sequence[Document], query: str) -> tuple[dict[int, Scored], Spent]:
        """Score documents from the first on, as far as the limits allow; see `rag_app.reranking.budget`."""
        start = perf_counter()
        question = normalise_question(query)
        depends = self._depends_on(documents)
        keys = [
            cache_key(question, searchable_text(document), more)
            for document, more in zip(documents, depends, strict=True)
        ]

        def score(numbers: Sequence[int]) -> list[Scored]:
            scores = self._score(question, [documents[number] for number in numbers], [depends[i] for i in numbers])
            self.cache.keep({keys[number]: found for number, found in zip(numbers, scores, strict=True)})
            return scores

        return score_in_order(
            len(documents),
            score,
            known=self.cache.find(keys),
            limits=Limits(self.budget_ms, self.max_pairs, self.early_stop, self.settle or self.top_n),
            pace=self._pace,
            start=start,
        )

    def _depends_on(self, documents: Sequence[Document]) -> Sequence[Any]:
        """Return what each document's score depends on besides question and text; hashable."""
        return [None] * len(documents)

    def _score(self, question: str, documents: Sequence[Document], depends: Sequence[Any]) -> list[Scored]:
        """Score some of the documents, with what `_depends_on` returned for each of them."""
        scores = self.score_pairs([(question, searchable_text(document)) for document in documents])
        return [Scored(score) for score in scores.tolist()]

    @abstractmethod
    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, progress: bool = False) -> NDArray[np.float64]:
        """Return the score of each (question, passage text) pair, ``(n,)`` float64 between 0 and 1.

        Pairs of several questions can be scored in one call.
        """

    @property
    def window(self) -> int | None:
        """How many tokens of question and passage together the model reads; None if there is no limit."""
        return None

    def fits(self, query: str, passage: str) -> bool:
        """Return whether the model reads a passage's text, beside the question, to its end."""
        return True

    def forget(self) -> None:
        """Forget the scores and what is remembered of passages already met, so that times can be compared."""
        self.cache.clear()

    def _with_score(self, document: Document, rank: int, scored: Scored | None, spent: Spent | None) -> Document:
        details: dict[str, Any] = {} if self.calibrated else {"calibrated": False}
        if spent is not None:
            details["spent"] = spent.record()
        if scored is None:
            stages = {**document.metadata.get("stages", {}), "rerank": {"rank": rank, "scored": False}}
            metadata = {key: value for key, value in document.metadata.items() if key != "relevance_score"}
            return document.model_copy(update={"metadata": {**metadata, "stages": stages}})
        if scored.windows is not None:
            details["windows"] = [list(window) for window in scored.windows]
        document = with_stage(document, "rerank", rank, scored.score, **details)
        return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": scored.score}})


class CrossEncoderCompressor(RerankingCompressor):
    """Reranks documents with a cross-encoder, on PyTorch or onnxruntime; see `RerankingCompressor`.

    Attributes:
        model: A sentence-transformers cross-encoder with one label, see `rag_app.models.load_cross_encoder`, or a
            `rag_app.onnx.models.OnnxCrossEncoder`.
        batch_size: Pairs in one forward pass; they are sorted by length first.
        window_tokens: How many tokens of question and passage together to read; None for as many as the model can.
            Of a document that has more, the title and the sentences that best match the question are read, see
            `rag_app.reranking.best_window`, and ``stages["rerank"]["windows"]`` says which characters of its text these
            are. Fewer tokens take less time and may miss what answers the question in other words.
    """

    batch_size: int = Field(default=32, ge=1)
    window_tokens: int | None = Field(default=None, ge=32)

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, progress: bool = False) -> NDArray[np.float64]:
        """Return the score of each (question, passage text) pair, ``(n,)`` float64 between 0 and 1.

        Pairs of several questions can be scored in one call, which fills the batches better than one call each.
        """
        logits = self._pairs.logits(pairs, batch_size=self.batch_size, progress=progress)
        # The sigmoid that a cross-encoder with one label ends in, whatever its configuration says, and in float64:
        # in float32 all logits above 17 would tie.
        scores: NDArray[np.float64] = 1 / (1 + np.exp(-logits))
        return scores

    @property
    def window(self) -> int | None:
        """How many tokens of question and passage together, with the special ones, the model reads."""
        return self._pairs.window

    def fits(self, query: str, passage: str) -> bool:
        """Return whether question and passage, with the special tokens, have no more tokens than the model reads."""
        if self.window is None:
            return True
        return sum(self._pairs.count_tokens([query, passage])) + self._pairs.special_tokens <= self.window

    def _depends_on(self, documents: Sequence[Document]) -> Sequence[Any]:
        # The same text under a title, and with the title in it, has its windows elsewhere.
        return [(self.window_tokens, len(document.page_content)) for document in documents]

    def _score(self, question: str, documents: Sequence[Document], depends: Sequence[Any]) -> list[Scored]:
        texts = [searchable_text(document) for document in documents]
        windows = self._windows(question, documents)
        for number, spans in windows.items():
            document = documents[number]
            part = document.model_copy(update={"page_content": read_through(document.page_content, spans)})
            texts[number] = searchable_text(part)
        pairs = [(question, text) for text in texts]
        scores = shared_batcher(self.model, _score_together, most=8).submit((self, pairs))
        return [Scored(score, windows.get(number)) for number, score in enumerate(scores)]

    def _windows(self, question: str, documents: Sequence[Document]) -> dict[int, Spans]:
        """Return the best windows of the documents that are not read whole, by number."""
        limits = [limit for limit in (self.window, self.window_tokens) if limit is not None]
        if not limits:
            return {}
        return best_windows(question, documents, min(limits) - self._pairs.special_tokens, self._pairs.count_tokens)

    @cached_property
    def _pairs(self) -> PairModel:
        return self.model if isinstance(self.model, OnnxCrossEncoder) else TorchCrossEncoder(self.model)


def _score_together(asked: Sequence[tuple[CrossEncoderCompressor, list[tuple[str, str]]]]) -> list[list[float]]:
    """Score the pairs of several callers in one call, which sorts them by length together."""
    scores = iter(asked[0][0].score_pairs([pair for _, pairs in asked for pair in pairs]).tolist())
    return [list(islice(scores, len(pairs))) for _, pairs in asked]


class LinearCompressor(RerankingCompressor):
    """Reranks documents with a linear reranker, without PyTorch; see `RerankingCompressor`.

    Documents from a `rag_app.retrieval.HybridRetriever` bring the score of the fused search along, which has a large
    part in theirs. It is left out for all of them unless every one has it, so that documents found in another way can
    be reranked, by their text alone and less well. The scores of both cases, as of one document alone and among others,
    are not to be compared. The retriever's own ``fusion="adaptive"`` is what the reranker was fitted on; another
    fusion's scores are on another scale and count too much or too little.

    Attributes:
        model: See `rag_app.reranking.linear.LinearReranker`.
    """

    calibrated: ClassVar[bool] = False

    def _depends_on(self, documents: Sequence[Document]) -> Sequence[Any]:
        stages = [document.metadata.get("stages", {}).get("fusion") for document in documents]
        return [float(stage["score"]) for stage in stages] if all(stages) else [None] * len(documents)

    def _score(self, question: str, documents: Sequence[Document], depends: Sequence[Any]) -> list[Scored]:
        texts = [searchable_text(document) for document in documents]
        scores = self._probabilities(question, texts, None if None in depends else depends)
        return [Scored(score) for score in scores.tolist()]

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, progress: bool = False) -> NDArray[np.float64]:
        """Return the score of each (question, passage text) pair by the texts alone, ``(n,)`` float64 from 0 to 1."""
        of_question: dict[str, list[int]] = {}
        for i, (query, _) in enumerate(pairs):
            of_question.setdefault(query, []).append(i)
        scores = np.zeros(len(pairs))
        for query, numbers in tqdm(of_question.items(), unit="question", disable=not progress):
            scores[numbers] = self._probabilities(query, [pairs[i][1] for i in numbers], None)
        return scores

    def forget(self) -> None:
        """Forget the scores and the passages taken apart."""
        super().forget()
        self.model.matcher.forget()

    def _probabilities(self, query: str, passages: Sequence[str], fused: Sequence[float] | None) -> NDArray[np.float64]:
        model: LinearReranker = self.model
        return model.probabilities(model.logits(query, passages, fused))


def load_reranker(
    name: str | Path = EMBEDDED,
    *,
    top_n: int | None = 10,
    threshold: float | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    budget_ms: float | None = None,
    max_pairs: int | None = None,
    settle: int | None = None,
    window_tokens: int | None = None,
    backend: Backend | None = None,
    threads: int | None = None,
) -> RerankingCompressor:
    """Load a reranker by name, once per process, device and backend, as a document compressor.

    Args:
        name: "embedded" for the linear reranker that ships with the package, a folder, or a Hub id with optional
            ``@revision``; see `rag_app.models.resolve_model`. What is found is a `LinearCompressor` or a
            `CrossEncoderCompressor`.
        top_n: See `RerankingCompressor`, as for the following.
        threshold: Score a document needs in order to be kept.
        batch_size: Pairs in one forward pass of a cross-encoder, 32 if None; a linear reranker takes none.
        device: For a cross-encoder, for example "cpu" or "cuda"; sentence-transformers chooses if None.
        budget_ms: See `RerankingCompressor`, as for the following. Its bound is in the model's folder, if it has one.
        max_pairs: How many documents, the first ones, are scored at most.
        settle: How many of the first places the bound has to settle.
        window_tokens: Tokens that a cross-encoder reads, see `CrossEncoderCompressor`; a linear reranker takes none.
        backend: What a cross-encoder runs on, as for `rag_app.embeddings.load_embeddings`.
        threads: Likewise.

    Raises:
        ImportError: The model needs PyTorch or onnxruntime, which is not installed.
        ValueError: The model is not a reranker, not safe to load, takes no such option, or int8 would rank too
            differently.
        FileNotFoundError: See `rag_app.models.resolve_model`.
        ConnectionError: See `rag_app.models.resolve_model`.
    """
    resolved = resolve_model(name, role="reranker")
    linear = resolved.kind == "linear-reranker"
    if linear and any(option is not None for option in (batch_size, device, window_tokens, backend, threads)):
        raise ValueError(
            f"{resolved.name!r} is a linear reranker: it takes no batch size, device, window, backend or threads."
        )
    check_backend(backend, device, threads)
    key = (resolved, model_fingerprint(resolved), device, backend, threads)
    model = _models.get(key, lambda: _load(resolved, device, backend, threads))
    cache = _caches.setdefault(model, ScoreCache())
    shared: dict[str, Any] = {
        "model": model,
        "name": resolved.name,
        "top_n": top_n,
        "threshold": threshold,
        "budget_ms": budget_ms,
        "max_pairs": max_pairs,
        "early_stop": read_early_stop(resolved.folder),
        "settle": settle,
        "cache": cache,
    }
    if linear:
        return LinearCompressor(**shared)
    return CrossEncoderCompressor(
        **shared, batch_size=32 if batch_size is None else batch_size, window_tokens=window_tokens
    )


_models: Loaded[Any] = Loaded()
_caches: WeakKeyDictionary[Any, ScoreCache] = WeakKeyDictionary()
"""The scores of each loaded model, which all of its compressors share."""


def _load(
    resolved: ResolvedModel, device: str | None, backend: Backend | None, threads: int | None
) -> "CrossEncoder | OnnxCrossEncoder | LinearReranker":
    if resolved.kind == "linear-reranker":
        return read_linear_reranker(resolved.folder)
    if is_onnx(backend):
        from rag_app.onnx.export import load_onnx_model

        return OnnxCrossEncoder(load_onnx_model(resolve_kind(resolved, "cross-encoder"), backend, threads=threads))
    return load_cross_encoder(resolved, device=device, backend=backend or "torch")
