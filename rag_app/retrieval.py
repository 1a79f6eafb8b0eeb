"""Assembly: lexical and dense search fused, then compressed, as one LangChain retriever."""

from collections.abc import Mapping
from typing import Literal

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, SkipValidation, field_validator

from rag_app.compressors import TopN
from rag_app.filters import Filter, matching_ids
from rag_app.fusion import FUSIONS, ranks
from rag_app.index import Index, Snapshot
from rag_app.korean import normalise
from rag_app.lexical import FIELDS, LexicalHit, check_analyses
from rag_app.stages import with_stage
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
        question = normalise(query)
        if not question:
            raise ValueError("The question is empty. Ask something, for example: 누리호는 언제 발사됐나요?")
        k = self.k if k is None else k
        snapshot = self.index.snapshot
        hits, cosines = self._search(snapshot, question, max(k, self.candidates))
        found: dict[str, dict[str, float]] = {}
        if self.weights["lexical"]:
            found["lexical"] = {id_: hit.coverage for id_, hit in hits.items()}
        if self.weights["dense"]:
            found["dense"] = cosines
        with timed("fusion"):
            stage_ranks = {stage: ranks(scores) for stage, scores in found.items()}
            fused = FUSIONS[self.fusion](found, self.weights)
            results = []
            for rank, id_ in enumerate(list(ranks(fused))[:k], start=1):
                document = snapshot.store.documents[id_]
                if hit := hits.get(id_):
                    position = stage_ranks["lexical"][id_]
                    document = with_stage(document, "lexical", position, hit.score, coverage=hit.coverage)
                if id_ in cosines:
                    document = with_stage(document, "dense", stage_ranks["dense"][id_], cosines[id_])
                results.append(with_stage(document, "fusion", rank, fused[id_]))
            return results

    def _search(self, snapshot: Snapshot, question: str, count: int) -> tuple[dict[str, LexicalHit], dict[str, float]]:
        """Return the candidates' lexical hits, for those that share a word with the question, and their cosines."""
        allowed = None if self.filter is None else matching_ids(snapshot.store.documents, self.filter)
        hits: dict[str, LexicalHit] = {}
        cosines: dict[str, float] = {}
        if self.weights["lexical"]:
            with timed("lexical"):
                found = snapshot.lexical.search(question, count, ids=allowed, weights=self.analyses)
                hits = {hit.id: hit for hit in found}
        if self.weights["dense"]:
            with timed("encode"):
                vector = snapshot.store.embeddings.embed_query(question)
            with timed("dense"):
                cosines = dict(snapshot.store.search_vector(vector, count, ids=allowed))
                unseen = [id_ for id_ in hits if id_ not in cosines]
                cosines.update(snapshot.store.search_vector(vector, len(unseen), ids=unseen))
        if self.weights["lexical"]:
            with timed("lexical"):
                unseen = [id_ for id_ in cosines if id_ not in hits]
                found = snapshot.lexical.search(question, len(unseen), ids=unseen, weights=self.analyses)
                hits |= {hit.id: hit for hit in found}
        return hits, cosines


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
) -> ContextualCompressionRetriever:
    """Return the retriever for a LangChain chain: hybrid search over an index, then compression.

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
    """
    if compressor is None:
        k, compressor = top_n, TopN(top_n=top_n)
    hybrid = HybridRetriever(
        index=index, k=k, filter=filter, weights=dict(weights), fusion=fusion, analyses=dict(analyses)
    )
    return compress_results(hybrid, compressor)


def compress_results(retriever: BaseRetriever, compressor: BaseDocumentCompressor) -> ContextualCompressionRetriever:
    """Return a retriever that compresses what any other retriever finds."""
    return ContextualCompressionRetriever(base_retriever=retriever, base_compressor=compressor)
