"""Our models and searches as the `mteb` package (2.x) wants them, without importing it before they are used.

mteb's tasks differ from our own benchmark in two ways: an encoder gives one vector to a document however long it is,
where our index splits it into passages; and documents of equal score rank by falling, not rising, id.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from numpy.typing import NDArray

from eval.asking import ask_at_once
from rag_app.compressors import RerankingCompressor, TopN
from rag_app.data.questions import Question
from rag_app.documents import make_document, searchable_text
from rag_app.embeddings import ModelEmbeddings
from rag_app.generations import MANIFEST
from rag_app.index import build_index, open_index
from rag_app.korean import normalise
from rag_app.models import EMBEDDED, model_fingerprint, resolve_model
from rag_app.provenance import versions
from rag_app.retrieval import WEIGHTS, build_retriever

RERANK = "+rerank"
SEARCHES: dict[str, Mapping[str, float]] = {
    "lexical": {"lexical": 1.0, "dense": 0.0},
    "dense": {"lexical": 0.0, "dense": 1.0},
    "hybrid": WEIGHTS,
}
"""The weights of each search, see `rag_app.retrieval.build_retriever`; each also goes by its name with ``+rerank``."""

_FOUND = 100  # documents that a search returns: where mteb's own measures still differ between systems
_RERANKED = 10  # as in serving, 30 passages are reranked, from at least this many documents


class MtebEncoder:
    """An embedding model as mteb's ``EncoderProtocol``, comparable with the models on its leaderboard.

    Args:
        embeddings: The model. It puts its own prompts before queries and documents.
    """

    def __init__(self, embeddings: ModelEmbeddings) -> None:
        # The revision is the model's commit on the Hub, or a hash of its files.
        self.mteb_model_meta = _meta(embeddings, _name(embeddings), embeddings.fingerprint.rpartition("@")[2])
        self._embeddings = embeddings

    def encode(self, inputs: Iterable[Any], *, prompt_type: Any = None, **kwargs: Any) -> NDArray[np.float32]:
        """Return one vector per input, ``(n, dimension)`` float32 of length 1; a document's title goes above its text.

        Args:
            inputs: Batches, dicts of lists: ``text``, and of documents ``title`` and ``body``.
            prompt_type: ``"query"``, ``"document"`` or None.
            kwargs: Of which only ``show_progress_bar`` counts.
        """
        texts: list[str] = []
        for batch in inputs:
            bodies = batch.get("body") if prompt_type == "document" else None
            titles = batch.get("title") or [""] * len(batch["text"])
            texts += batch["text"] if bodies is None else map(_document_text, bodies, titles)
        progress = bool(kwargs.get("show_progress_bar", False))
        return self._embeddings.encode(texts, query=prompt_type == "query", progress=progress)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> NDArray[np.float32]:
        """Return the cosine of every first with every second vector, ``(n, m)`` float32."""
        cosines: NDArray[np.float32] = np.asarray(embeddings1) @ np.asarray(embeddings2).T
        return cosines

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> NDArray[np.float32]:
        """Return the cosine of each first with its second vector, ``(n,)`` float32."""
        cosines: NDArray[np.float32] = np.sum(np.asarray(embeddings1) * np.asarray(embeddings2), axis=1)
        return cosines


class MtebSearch:
    """A whole search, from index to reranking, as mteb's ``SearchProtocol``; built and asked as in serving.

    A search returns 100 documents, and with reranking those of 30 passages: measures beyond that rank count what is
    missing as not found.

    Args:
        system: One of `SEARCHES`.
        embeddings: The model of the index.
        folder: Where indexes are kept; searches of the same task share it and build each only once.
        reranker: Reranks what is found; it drops nothing (``top_n=None``).
    """

    def __init__(
        self,
        system: str,
        embeddings: ModelEmbeddings,
        folder: Path,
        reranker: RerankingCompressor | None = None,
    ) -> None:
        self._weights = SEARCHES[system]
        self._embeddings = embeddings
        self._folder = folder
        self._reranker = reranker
        self._retriever: BaseRetriever | None = None
        self._corpus_ids: dict[str, list[str]] = {}
        depends = {  # all that the results depend on
            "weights": dict(self._weights),
            "embeddings": embeddings.fingerprint,
            "reranker": None if reranker is None else model_fingerprint(resolve_model(reranker.name, role="reranker")),
            **versions(("korean-rag", "kiwipiepy")),
        }
        revision = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
        name = f"{_name(embeddings)}+{system}{'' if reranker is None else RERANK}"
        self.mteb_model_meta = _meta(embeddings, name, revision)

    def index(
        self, corpus: Iterable[Mapping[str, Any]], *, task_metadata: Any, hf_split: str, hf_subset: str, **kwargs: Any
    ) -> None:
        """Index a part of a task, or open what another search has indexed; an empty document is left out."""
        documents: dict[str, Document] = {}
        self._corpus_ids = {}
        for row in corpus:
            title, text = str(row.get("title") or ""), str(row.get("text") or "")
            if not normalise(text):  # some corpora are all titles
                title, text = "", title
            if normalise(text):
                document = make_document(text, title=title)
                documents.setdefault(document.metadata["doc_id"], document)
                self._corpus_ids.setdefault(document.metadata["doc_id"], []).append(str(row["id"]))
        folder = self._folder / task_metadata.name / f"{hf_split}-{hf_subset}"
        if (folder / MANIFEST).exists():
            index = open_index(folder, self._embeddings)
        else:
            index = build_index(folder, documents.values(), self._embeddings, progress=True)
        compressor = self._reranker or TopN(top_n=len(index))
        self._retriever = build_retriever(index, compressor=compressor, weights=self._weights)

    def search(
        self, queries: Iterable[Mapping[str, Any]], *, top_k: int, top_ranked: Any = None, **kwargs: Any
    ) -> dict[str, dict[str, float]]:
        """Return the scores of the documents found for every query: minus their rank, so that no two are equal.

        A query that finds nothing is there too: mteb leaves those that are not out of its means.

        Raises:
            ValueError: The task is one of reranking; or nothing has been indexed.
        """
        if top_ranked is not None or self._retriever is None:
            raise ValueError("Call index before search; a task of reranking has none, measure --system encoder on it")
        asked = [Question(str(row["id"]), normalise(str(row["text"])), frozenset(), (), False, {}) for row in queries]
        k = min(_FOUND if self._reranker is None else _RERANKED, top_k)
        answers = ask_at_once(self._retriever, [question for question in asked if question.text], k=k).answers
        found: dict[str, dict[str, float]] = {question.id: {} for question in asked}
        for id_, answer in answers.items():  # a document stands for all that have its text
            same = [corpus_id for doc_id in answer.found for corpus_id in self._corpus_ids[doc_id]]
            found[id_] = {corpus_id: -float(rank) for rank, corpus_id in enumerate(same[:top_k])}
        return found


def _meta(embeddings: ModelEmbeddings, name: str, revision: str) -> Any:
    from mteb.models import ModelMeta

    window = float("inf") if embeddings.window is None else embeddings.window
    known = {"name": name, "revision": revision, "embed_dim": embeddings.dimension, "max_tokens": window}
    return ModelMeta.create_empty({**known, "languages": ["kor-Hang"]})


def _name(embeddings: ModelEmbeddings) -> str:
    """Return a name as mteb wants it, ``owner/name``."""
    if embeddings.name == EMBEDDED:
        return "korean-rag/embedded"
    if Path(embeddings.name).is_absolute():
        return f"local/{Path(embeddings.name).name}"
    return embeddings.name.partition("@")[0]


def _document_text(body: str, title: str) -> str:
    return searchable_text(Document(body, metadata={"title": title}))
