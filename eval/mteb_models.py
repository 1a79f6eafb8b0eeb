"""Our models and searches as the `mteb` package (2.x) wants them, without importing it before they are used.

mteb's tasks differ from our own benchmark in two ways: an encoder gives one vector to a document however long it is,
where our index splits it into passages; and documents of equal score rank by falling, not rising, id.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from numpy.typing import NDArray

from eval.asking import ask_at_once
from rag_app.compressors import TopN, load_reranker
from rag_app.data.questions import Question
from rag_app.documents import make_document, searchable_text
from rag_app.embeddings import ModelEmbeddings, StaticEmbeddings
from rag_app.index import Index, build_index
from rag_app.korean import normalise
from rag_app.models import EMBEDDED, model_fingerprint, resolve_model
from rag_app.retrieval import WEIGHTS, build_retriever

ENCODER = "encoder"
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
        meta: From `encoder_meta`.
    """

    def __init__(self, embeddings: ModelEmbeddings, meta: Any) -> None:
        self.mteb_model_meta = meta
        self._embeddings = embeddings

    def encode(self, inputs: Iterable[Any], *, prompt_type: Any = None, **kwargs: Any) -> NDArray[np.float32]:
        """Return one vector per input, ``(n, dimension)`` float32 of length 1; a document's title goes above its text.

        Args:
            inputs: Batches, dicts of lists: ``text``, and of documents ``title`` and ``body``.
            prompt_type: ``"query"``, ``"document"`` or None.
            kwargs: Of which ``show_progress_bar`` counts; the model knows its best batch size.
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


class TaskIndex:
    """The index of one task's corpus, shared by the searches that run on it.

    Args:
        embeddings: The model of the index.
        folder: Where it is written, over that of the task before.
    """

    def __init__(self, embeddings: ModelEmbeddings, folder: Path) -> None:
        self._embeddings = embeddings
        self._folder = folder
        self._corpus_ids: dict[str, list[str]] = {}
        self._built: tuple[tuple[str, ...], Index] | None = None

    def build(self, corpus: Iterable[Mapping[str, Any]], key: tuple[str, ...]) -> Index:
        """Return the index of a corpus, the one at hand if it was built under the same key.

        Args:
            corpus: Dicts with ``id``, ``text`` and perhaps ``title``; a document without any text is left out.
            key: Which corpus it is.
        """
        if self._built is not None and self._built[0] == key:
            return self._built[1]
        self._built, self._corpus_ids = None, {}
        documents: dict[str, Document] = {}
        for row in corpus:
            text, title = str(row.get("text") or ""), str(row.get("title") or "")
            if not normalise(text):  # some corpora are all titles
                text, title = title, ""
            if not normalise(text):
                continue
            document = make_document(text, title=title)
            documents.setdefault(document.metadata["doc_id"], document)
            self._corpus_ids.setdefault(document.metadata["doc_id"], []).append(str(row["id"]))
        index = build_index(self._folder, documents.values(), self._embeddings, replace=True, progress=True)
        self._built = key, index
        return index

    def corpus_ids(self, doc_ids: Iterable[str]) -> list[str]:
        """Return the task's own ids of documents of the index: several where documents have the same text."""
        return [corpus_id for doc_id in doc_ids for corpus_id in self._corpus_ids[doc_id]]


class MtebSearch:
    """A whole search, from index to reranking, as mteb's ``SearchProtocol``; built and asked as in serving.

    A search returns 100 documents, and with reranking those of 30 passages: measures beyond that rank count what is
    missing as not found.

    Args:
        system: One of `SEARCHES`, or with ``+rerank`` behind it.
        task_index: Shared by all searches with one embedding model.
        reranker: Name of the reranker, for ``+rerank``; see `rag_app.compressors.load_reranker`.
        meta: From `search_meta`.
    """

    def __init__(self, system: str, task_index: TaskIndex, reranker: str, meta: Any) -> None:
        self.mteb_model_meta = meta
        self._weights = SEARCHES[system.removesuffix(RERANK)]
        self._reranker = load_reranker(reranker, top_n=None) if system.endswith(RERANK) else None
        self._task_index = task_index
        self._retriever: BaseRetriever | None = None

    def index(
        self, corpus: Iterable[Mapping[str, Any]], *, task_metadata: Any, hf_split: str, hf_subset: str, **kwargs: Any
    ) -> None:
        """Index the documents of a part of a task; see `TaskIndex.build`."""
        index = self._task_index.build(corpus, (task_metadata.name, hf_split, hf_subset))
        compressor = self._reranker or TopN(top_n=len(index))
        self._retriever = build_retriever(index, compressor=compressor, weights=self._weights)

    def search(
        self, queries: Iterable[Mapping[str, Any]], *, top_k: int, top_ranked: Any = None, **kwargs: Any
    ) -> dict[str, dict[str, float]]:
        """Return the scores of the documents found for every query: minus their rank, so that no two are equal.

        A query that finds nothing is there too: mteb leaves those that are not out of its means.

        Args:
            queries: Dicts with ``id`` and ``text``.
            top_k: Return at most this many.
            top_ranked: Given by reranking tasks, which do not search.
            kwargs: What else mteb says, which does not matter here.

        Raises:
            ValueError: The task is one of reranking; or nothing has been indexed.
        """
        if top_ranked is not None:
            raise ValueError("A reranking task has no search to measure. Use --system encoder")
        if self._retriever is None:
            raise ValueError("Nothing has been indexed. Call index before search")
        asked = [_question(row) for row in queries]
        k = min(_FOUND if self._reranker is None else _RERANKED, top_k)
        answers = ask_at_once(self._retriever, [question for question in asked if question.text], k=k).answers
        found = {id_: self._task_index.corpus_ids(answer.found)[:top_k] for id_, answer in answers.items()}
        return {
            question.id: {doc_id: -float(rank) for rank, doc_id in enumerate(found.get(question.id, ()))}
            for question in asked
        }


def encoder_meta(embeddings: ModelEmbeddings) -> Any:
    """Return mteb's ``ModelMeta`` of an embedding model; its revision is the model's commit, or a hash of its files."""
    return _meta(embeddings, name=_model_name(embeddings), revision=embeddings.fingerprint.rpartition("@")[2])


def search_meta(system: str, embeddings: ModelEmbeddings, reranker: str) -> Any:
    """Return mteb's ``ModelMeta`` of a search; its revision is a hash of all that the results depend on."""
    depends: dict[str, Any] = {
        "system": system,
        "weights": dict(SEARCHES[system.removesuffix(RERANK)]),
        "embeddings": embeddings.fingerprint,
        "korean-rag": version("korean-rag"),
        "kiwipiepy": version("kiwipiepy"),
    }
    if system.endswith(RERANK):
        depends["reranker"] = model_fingerprint(resolve_model(reranker, role="reranker"))
    revision = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
    return _meta(embeddings, name=f"{_model_name(embeddings)}+{system}", revision=revision, model_type=["hybrid"])


def _meta(embeddings: ModelEmbeddings, **details: Any) -> Any:
    from mteb.models import ModelMeta

    vectors = embeddings.token_vectors.vectors if isinstance(embeddings, StaticEmbeddings) else None
    values = {
        "loader": None,
        "release_date": None,
        "languages": ["kor-Hang"],
        "n_parameters": None if vectors is None else vectors.size,
        "n_embedding_parameters": None if vectors is None else vectors.size,
        "memory_usage_mb": None if vectors is None else vectors.nbytes / 2**20,
        "max_tokens": float("inf") if embeddings.window is None else embeddings.window,
        "embed_dim": embeddings.dimension,
        "license": "apache-2.0" if embeddings.name == EMBEDDED else None,
        "open_weights": True,
        "public_training_code": None,
        "public_training_data": None,
        "framework": ["Sentence Transformers", "PyTorch"] if vectors is None else ["NumPy"],
        "similarity_fn_name": "cosine",
        "use_instructions": None if vectors is None else False,
        "training_datasets": None,
        **details,
    }
    return ModelMeta(**values)


def _model_name(embeddings: ModelEmbeddings) -> str:
    """Return a name as mteb wants it, ``owner/name``."""
    if embeddings.name == EMBEDDED:
        return "korean-rag/embedded"
    if Path(embeddings.name).is_absolute():
        return f"local/{Path(embeddings.name).name}"
    return embeddings.name.partition("@")[0]


def _document_text(body: str, title: str) -> str:
    return searchable_text(Document(body, metadata={"title": title}))


def _question(row: Mapping[str, Any]) -> Question:
    return Question(str(row["id"]), normalise(str(row["text"])), frozenset(), (), False, {})
