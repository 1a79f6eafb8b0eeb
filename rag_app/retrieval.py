"""Assembly: lexical and dense search fused, then compressed, as one LangChain retriever."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.config import ContextThreadPoolExecutor
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field, SkipValidation, field_validator

from rag_app.batching import Batcher, shared_batcher
from rag_app.collapsing import CollapseDuplicates
from rag_app.compressors import TopN
from rag_app.embeddings import ModelEmbeddings
from rag_app.filters import Filter, matches, matching_ids
from rag_app.fusion import FUSIONS, ranks
from rag_app.index import Index, Snapshot
from rag_app.korean import normalise_question
from rag_app.lexical import FIELDS, LexicalHit, check_analyses
from rag_app.news import NewsSense, infer_filter
from rag_app.observability.tracing import span
from rag_app.source_cap import SourceCap
from rag_app.stages import with_stages
from rag_app.timing import timed

CANDIDATES = 100
WEIGHTS = {"lexical": 0.9, "dense": 0.1}
"""How much each search counts where the words of a question match well; see `rag_app.fusion.adaptive_sum`."""

Fusion = Literal["adaptive", "standardised", "rrf"]


class HybridRetriever(BaseRetriever):
    """Finds passages by words and by meaning, and fuses both by passage id.

    Each search proposes its best ``candidates``; every proposal is then scored by both, so that the fused score of a
    passage never depends on which search happened to list it. Every returned document tells in
    ``metadata["stages"]`` each stage's rank and score.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: SkipValidation[Index]
    k: int = Field(default=10, ge=1)
    """How many passages to return."""
    candidates: int = Field(default=CANDIDATES, ge=1)
    """How many passages each search proposes, at least k."""
    weights: dict[str, float] = Field(default_factory=lambda: dict(WEIGHTS))
    """The weights of ``lexical`` and ``dense``; a search of weight 0 is not run."""
    analyses: dict[str, float] = Field(default_factory=lambda: dict(FIELDS))
    """The weights of ``bigrams`` and ``morphemes`` in lexical search; one of weight 0, or left out, is not searched."""
    fusion: Fusion = "adaptive"
    """One of `rag_app.fusion.FUSIONS`."""
    filter: SkipValidation[Filter | None] = None
    """Only passages whose metadata matches are searched; see `rag_app.filters`."""
    news: NewsSense = Field(default_factory=NewsSense)
    """How much the dates of articles count, and whether a question may choose among articles by itself."""

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        if set(weights) != set(WEIGHTS) or min(weights.values()) < 0 or not any(weights.values()):
            raise ValueError(f"The weights are {weights}. Give 'lexical' and 'dense', none below 0 and not both 0.")
        return weights

    @field_validator("analyses")
    @classmethod
    def _check_analyses(cls, analyses: dict[str, float]) -> dict[str, float]:
        check_analyses(analyses)
        return analyses

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        question, vector, wanted = _checked(query), None, self.k if k is None else k
        with span("retrieve", k=wanted, index=self.index.path.name) as traced:
            traced.note_content(question=question)
            if (foreign := self._foreign) is not None:
                with timed("encode"):
                    vector = foreign.embed_query(question)
            found = self._searches.submit(_Asked(self, question, wanted, vector))
            traced.note(documents=len(found))
        return found

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        question, vector, wanted = _checked(query), None, self.k if k is None else k
        with span("retrieve", k=wanted, index=self.index.path.name) as traced:
            traced.note_content(question=question)
            if (foreign := self._foreign) is not None:
                with timed("encode"):
                    vector = await foreign.aembed_query(question)
            found = await self._searches.asubmit(_Asked(self, question, wanted, vector))
            traced.note(documents=len(found))
        return found

    @property
    def _foreign(self) -> Embeddings | None:
        """Embeddings that are not ours, which cannot embed the questions of many callers at once."""
        embeddings = self.index.embeddings
        return embeddings if self.weights["dense"] and not isinstance(embeddings, ModelEmbeddings) else None

    @property
    def _searches(self) -> "Batcher[_Asked, list[Document]]":
        # Of the index, not of this object: threads that search one index side by side only wait for each other.
        return shared_batcher(self.index, _answer)

    def _find(self, questions: Sequence[str], vectors: Sequence[list[float] | None], k: int) -> list[list[Document]]:
        """Return the best passages of each question; those without a vector are embedded."""
        snapshot = self.index.snapshot
        allowed = None if self.filter is None else matching_ids(snapshot.store.documents, self.filter)
        count = max(k, self.candidates)

        def find(question: str, vector: ArrayLike) -> list[Document]:
            among = self._named(snapshot, question) if self.news.infer_filters else None
            hits, cosines = self._search(snapshot, question, vector, count, among or allowed, alone=len(questions) == 1)
            with timed("fusion"):
                return self._fuse(snapshot, question, hits, cosines, k)

        matrix: Iterable[ArrayLike] = [()] * len(questions)
        if self.weights["dense"]:
            with timed("encode", model=getattr(snapshot.store.embeddings, "name", None)):
                matrix = _matrix(snapshot.store.embeddings, questions, vectors)
        if (threads := min(len(questions), snapshot.store.at_once)) <= 1:
            return list(map(find, questions, matrix))
        with ContextThreadPoolExecutor(threads) as pool:
            return list(pool.map(find, questions, matrix))

    def _named(self, snapshot: Snapshot, question: str) -> Collection[str] | None:
        """Return what the question restricts the search to, within the filter; nothing if it names no part of it."""
        store, filter = snapshot.store, self.filter
        named = infer_filter(question, store.values("section"), store.values("source"))
        if not named:
            return None
        if callable(filter):
            return matching_ids(store.documents, lambda metadata: filter(metadata) and matches(metadata, named))
        return matching_ids(store.documents, {**named, **(filter or {})})

    def _search(
        self,
        snapshot: Snapshot,
        question: str,
        vector: ArrayLike,
        k: int,
        among: Collection[str] | None,
        *,
        alone: bool,
    ) -> tuple[dict[str, LexicalHit], dict[str, float]]:
        """Return the candidates' lexical hits, for those that share a word with the question, and their cosines."""

        def words(k: int, ids: Collection[str] | None) -> dict[str, LexicalHit]:
            if not self.weights["lexical"]:
                return {}
            with timed("lexical"):
                return {hit.id: hit for hit in snapshot.lexical.search(question, k, ids=ids, weights=self.analyses)}

        def near(k: int, ids: Collection[str] | None) -> dict[str, float]:
            if not self.weights["dense"]:
                return {}
            with timed("dense"):
                return dict(snapshot.store.search_vector(vector, k, ids=ids))

        side_by_side = alone and snapshot.store.at_once > 1
        with ContextThreadPoolExecutor(1) as pool:  # which starts no thread unless asked to

            def both(
                for_words: Collection[str] | None, for_near: Collection[str] | None, k: int | None = None
            ) -> tuple[dict[str, LexicalHit], dict[str, float]]:
                wanted = [(len(ids or ()) if k is None else k, ids) for ids in (for_words, for_near)]
                if not side_by_side:
                    return words(*wanted[0]), near(*wanted[1])
                found = pool.submit(near, *wanted[1])
                return words(*wanted[0]), found.result()

            hits, cosines = both(among, among, k)
            more, nearer = both(
                [id_ for id_ in cosines if id_ not in hits], [id_ for id_ in hits if id_ not in cosines]
            )
        return hits | more, cosines | nearer

    def _fuse(
        self, snapshot: Snapshot, question: str, hits: Mapping[str, LexicalHit], cosines: Mapping[str, float], k: int
    ) -> list[Document]:
        """Return the k best candidates of one question, each with what every stage thought of it."""
        found: dict[str, Mapping[str, float]] = {}
        if self.weights["lexical"]:
            found["lexical"] = {id_: hit.coverage for id_, hit in hits.items()}
        if self.weights["dense"]:
            found["dense"] = cosines
        stage_ranks = {stage: ranks(scores) for stage, scores in found.items()}
        fused = FUSIONS[self.fusion](found, self.weights)
        best = abs(max(fused.values(), default=0.0))  # standardised scores can all be below 0
        gains = self.news.gains(question, fused, snapshot.store.get_by_ids)
        fused |= {id_: fused[id_] + gain * best for id_, gain in gains.items()}
        results = []
        for rank, document in enumerate(snapshot.store.get_by_ids(list(ranks(fused))[:k]), start=1):
            id_ = str(document.id)
            stages: dict[str, dict[str, float]] = {}
            if hit := hits.get(id_):
                stages["lexical"] = {"rank": stage_ranks["lexical"][id_], "score": hit.score, "coverage": hit.coverage}
            if id_ in cosines:
                stages["dense"] = {"rank": stage_ranks["dense"][id_], "score": cosines[id_]}
            stages["fusion"] = {"rank": rank, "score": fused[id_]}
            if id_ in gains:
                stages["fusion"]["timely"] = gains[id_] * best
            results.append(with_stages(document, stages))
        return results


class _Asked(NamedTuple):
    """A question to a retriever; its vector where the embeddings are not ours, which cannot embed many at once."""

    retriever: HybridRetriever
    question: str
    k: int
    vector: list[float] | None


def _answer(asked: Sequence[_Asked]) -> list[list[Document]]:
    """Return what each question finds; those asked in the same way are searched for together."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, (retriever, _, k, _) in enumerate(asked):
        groups.setdefault((id(retriever), k), []).append(number)
    found: dict[int, list[Document]] = {}
    for numbers in groups.values():
        some = [asked[number] for number in numbers]
        results = some[0].retriever._find([a.question for a in some], [a.vector for a in some], some[0].k)
        found |= zip(numbers, results, strict=True)
    return [found[number] for number in range(len(asked))]


def _checked(query: str) -> str:
    if question := normalise_question(query):
        return question
    raise ValueError("The question is empty. Ask something, for example: 누리호는 언제 발사됐나요?")


def _matrix(
    embeddings: Embeddings, questions: Sequence[str], vectors: Sequence[list[float] | None]
) -> NDArray[np.float32]:
    if isinstance(embeddings, ModelEmbeddings):
        return embeddings.encode(questions, query=True)
    return np.asarray(vectors, dtype=np.float32)


def build_retriever(
    index: Index,
    *,
    compressor: BaseDocumentCompressor | None = None,
    k: int = 30,
    top_n: int = 10,
    filter: Filter | None = None,
    weights: Mapping[str, float] = WEIGHTS,
    fusion: Fusion = "adaptive",
    analyses: Mapping[str, float] = FIELDS,
    news: NewsSense | None = None,
    collapse: bool = False,
    max_per_source: int | None = None,
) -> ContextualCompressionRetriever:
    """Return the retriever for a LangChain chain: hybrid search over an index, then compression.

    Of a question its first `rag_app.korean.QUESTION_CHARS` characters are read; an empty one is a ValueError.

    Args:
        index: From `rag_app.index.open_index` or `build_index`. The retriever follows its changes.
        compressor: Reorders or drops what was found, for example a
            `rag_app.compressors.CrossEncoderCompressor`; None keeps the fused order.
        k: How many passages the search hands to the compressor.
        top_n: How many passages come back when there is no compressor; a compressor has its own.
        filter: Only passages whose metadata matches are searched; see `rag_app.filters`.
        weights: How much ``lexical`` and ``dense`` search count; 0 leaves one out.
        fusion: ``"adaptive"``, ``"standardised"`` or ``"rrf"``; see `rag_app.fusion`.
        analyses: How much ``bigrams`` and ``morphemes`` count in lexical search; 0 leaves one out.
        news: How much the dates of articles count, whether a question that names a section or outlet is restricted to
            it, and what day it is; None for the defaults of `rag_app.news.NewsSense`.
        collapse: Let one passage stand for those of other articles that nearly repeat it, and name these in its
            metadata as ``duplicates``; see `rag_app.collapsing`.
        max_per_source: At most so many results of one outlet, or of one file where documents name no outlet; None for
            any number. See `rag_app.source_cap`.
    """
    if max_per_source is not None:
        top_n = top_n if compressor is None else getattr(compressor, "top_n", None) or k
        compressor = SourceCap(max_per_source=max_per_source, top_n=top_n, k=k, compressor=compressor)
        k = max(k, 2 * CANDIDATES)  # as many as both searches propose: one source may have filled the first k
    elif compressor is None:
        k, compressor = max(k, top_n) if collapse else top_n, TopN(top_n=top_n)
    if collapse:  # before a reranker, which then has less to read
        compressor = DocumentCompressorPipeline(transformers=[CollapseDuplicates(), compressor])
    hybrid = HybridRetriever(
        index=index,
        k=k,
        filter=filter,
        weights=dict(weights),
        fusion=fusion,
        analyses=dict(analyses),
        news=news or NewsSense(),
    )
    return compress_results(hybrid, compressor)


def compress_results(retriever: BaseRetriever, compressor: BaseDocumentCompressor) -> ContextualCompressionRetriever:
    """Return a retriever that compresses what any other retriever finds."""
    return ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
