"""Document compressors for a `ContextualCompressionRetriever`: rerankers of two kinds, and keeping the first few."""

import copy
import threading
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from tqdm import tqdm

from rag_app.documents import searchable_text
from rag_app.korean import normalise
from rag_app.linear_reranker import LinearReranker, read_linear_reranker
from rag_app.models import EMBEDDED, ResolvedModel, load_cross_encoder, model_fingerprint, resolve_model
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
    ``stages["rerank"]``. A passage's title is read before its text. `acompress_documents` scores in a thread. Safe to
    share between threads.

    Attributes:
        model: The loaded model.
        name: The name the model was asked for by.
        top_n: How many documents to keep at most; None for all.
        threshold: Score a document needs in order to be kept; None for any.
        calibrated: Whether the best score tells how likely the question is answered at all, as
            `rag_app.evidence.evidence_score` then takes it; if not, ``stages["rerank"]`` says ``calibrated: False``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: Any = Field(exclude=True, repr=False)
    name: str
    top_n: int | None = Field(default=10, ge=1)
    threshold: float | None = Field(default=None, ge=0, le=1)

    calibrated: ClassVar[bool] = True

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the best documents with their scores, best first."""
        with timed("rerank"):
            scores = self.score_documents(documents, query).tolist()
        ranking = sorted(range(len(scores)), key=lambda i: -scores[i])  # stable: ties stay in order
        return [
            self._with_score(documents[i], rank, scores[i])
            for rank, i in enumerate(ranking[: self.top_n], 1)
            if self.threshold is None or scores[i] >= self.threshold
        ]

    def score_documents(self, documents: Sequence[Document], query: str) -> NDArray[np.float64]:
        """Return the score of each document for a question, ``(n,)`` float64 between 0 and 1."""
        return self.score_pairs([(query, searchable_text(document)) for document in documents])

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
        """Forget what is remembered of passages already met, so that times can be compared."""

    def _with_score(self, document: Document, rank: int, score: float) -> Document:
        details = {} if self.calibrated else {"calibrated": False}
        document = with_stage(document, "rerank", rank, score, **details)
        return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})


class CrossEncoderCompressor(RerankingCompressor):
    """Reranks documents with a cross-encoder, with PyTorch; see `RerankingCompressor`.

    Attributes:
        model: A sentence-transformers cross-encoder with one label; see `rag_app.models.load_cross_encoder`.
        batch_size: Pairs in one forward pass; they are sorted by length first.
    """

    batch_size: int = Field(default=32, ge=1)

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, progress: bool = False) -> NDArray[np.float64]:
        """Return the score of each (question, passage text) pair, ``(n,)`` float64 between 0 and 1.

        Pairs of several questions can be scored in one call, which fills the batches better than one call each.
        """
        from torch.nn import Identity

        texts = [(normalise(query), normalise(passage)) for query, passage in pairs]
        # The sigmoid that a cross-encoder with one label ends in, whatever its configuration says, and in float64:
        # in float32 all logits above 17 would tie.
        logits = self.model.predict(
            texts, batch_size=self.batch_size, activation_fn=Identity(), show_progress_bar=progress
        )
        scores: NDArray[np.float64] = 1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64)))
        return scores

    @property
    def window(self) -> int | None:
        """How many tokens of question and passage together, with the special ones, the model reads."""
        limit: int | None = self.model.max_seq_length
        return limit

    def fits(self, query: str, passage: str) -> bool:
        """Return whether question and passage, with the special tokens, have no more tokens than the model reads."""
        if self.window is None:
            return True
        tokens = self._tokenizer(normalise(query), normalise(passage), truncation=False, verbose=False)
        return len(tokens["input_ids"]) <= self.window

    @cached_property
    def _tokenizer(self) -> Any:
        # A copy: turning truncation off would turn it off for a thread that scores meanwhile.
        return copy.deepcopy(self.model.tokenizer)


class LinearCompressor(RerankingCompressor):
    """Reranks documents with a linear reranker, without PyTorch; see `RerankingCompressor`.

    Documents from a `rag_app.retrieval.HybridRetriever` bring the score of the fused search along, which has a large
    part in theirs. It is left out for all of them unless every one has it, so that documents found in another way can
    be reranked, by their text alone and less well. The scores of both cases, as of one document alone and among others,
    are not to be compared. The retriever's own ``fusion="adaptive"`` is what the reranker was fitted on; another
    fusion's scores are on another scale and count too much or too little.

    Attributes:
        model: See `rag_app.linear_reranker.LinearReranker`.
    """

    calibrated: ClassVar[bool] = False

    def score_documents(self, documents: Sequence[Document], query: str) -> NDArray[np.float64]:
        """Return the score of each document for a question, ``(n,)`` float64 between 0 and 1."""
        stages = [document.metadata.get("stages", {}).get("fusion") for document in documents]
        fused = [stage["score"] for stage in stages if stage]
        return self._score(
            query,
            [searchable_text(document) for document in documents],
            fused if len(fused) == len(documents) else None,
        )

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, progress: bool = False) -> NDArray[np.float64]:
        """Return the score of each (question, passage text) pair by the texts alone, ``(n,)`` float64 from 0 to 1."""
        of_question: dict[str, list[int]] = {}
        for i, (query, _) in enumerate(pairs):
            of_question.setdefault(query, []).append(i)
        scores = np.zeros(len(pairs))
        for query, numbers in tqdm(of_question.items(), unit="question", disable=not progress):
            scores[numbers] = self._score(query, [pairs[i][1] for i in numbers], None)
        return scores

    def forget(self) -> None:
        """Forget the passages taken apart."""
        self.model.matcher.forget()

    def _score(self, query: str, passages: Sequence[str], fused: Sequence[float] | None) -> NDArray[np.float64]:
        model: LinearReranker = self.model
        return model.probabilities(model.logits(query, passages, fused))


def load_reranker(
    name: str | Path = EMBEDDED,
    *,
    top_n: int | None = 10,
    threshold: float | None = None,
    batch_size: int | None = None,
    device: str | None = None,
) -> RerankingCompressor:
    """Load a reranker by name, once per process and device, as a document compressor.

    Args:
        name: "embedded" for the linear reranker that ships with the package, a folder, or a Hub id with optional
            ``@revision``; see `rag_app.models.resolve_model`. What is found is a `LinearCompressor` or a
            `CrossEncoderCompressor`.
        top_n: See `RerankingCompressor`, as for the following.
        threshold: Score a document needs in order to be kept.
        batch_size: Pairs in one forward pass of a cross-encoder, 32 if None; a linear reranker takes none.
        device: For a cross-encoder, for example "cpu" or "cuda"; sentence-transformers chooses if None.

    Raises:
        ImportError: The model needs PyTorch, which is not installed.
        ValueError: The model is not a reranker, not safe to load, or takes no such option.
        FileNotFoundError: See `rag_app.models.resolve_model`.
        ConnectionError: See `rag_app.models.resolve_model`.
    """
    resolved = resolve_model(name, role="reranker")
    linear = resolved.kind == "linear-reranker"
    if linear and (batch_size is not None or device is not None):
        raise ValueError(f"{resolved.name!r} is a linear reranker: it takes no batch size or device.")
    with _lock:
        model = _load(resolved, model_fingerprint(resolved), device)
    if linear:
        return LinearCompressor(model=model, name=resolved.name, top_n=top_n, threshold=threshold)
    batch_size = 32 if batch_size is None else batch_size
    return CrossEncoderCompressor(
        model=model, name=resolved.name, top_n=top_n, threshold=threshold, batch_size=batch_size
    )


_lock = threading.Lock()


@lru_cache(maxsize=2)
def _load(resolved: ResolvedModel, fingerprint: str, device: str | None) -> "CrossEncoder | LinearReranker":
    if resolved.kind == "linear-reranker":
        return read_linear_reranker(resolved.folder)
    return load_cross_encoder(resolved, device=device)
