"""At most so many results of one source, so that no outlet and no upload fills a list of results by itself."""

from collections import Counter
from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field, SkipValidation

from rag_app.compressors import RerankingCompressor

_TELLS_SOURCE = ("source", "path", "doc_id")


class SourceCap(BaseDocumentCompressor):
    """Keeps at most ``max_per_source`` results of one source, the best by the order of a reranker, if it has one.

    What is left out makes room for the next best of other sources. So hand it more documents than are wanted: of these
    the reranker reads the first ``k``, but for the last of sources that have too many, in whose place others are read
    where less than ``top_n`` results would remain.

    Attributes:
        max_per_source: See `source_of`.
        top_n: How many documents come back.
        k: How many the reranker reads.
        compressor: The reranker; its own ``top_n`` is not heeded. One that is not ours must return all that it scores.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    max_per_source: int = Field(ge=1)
    top_n: int = Field(default=10, ge=1)
    k: int = Field(default=30, ge=1)
    compressor: SkipValidation[BaseDocumentCompressor | None] = None

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the best documents, not too many of any source."""
        if self.compressor is not None:
            reranker = self.compressor
            if isinstance(reranker, RerankingCompressor):
                reranker = reranker.model_copy(update={"top_n": None})
            documents = reranker.compress_documents(self._to_read(documents), query, callbacks)
        return [documents[place] for place in places_within(documents, self.max_per_source)[: self.top_n]]

    def _to_read(self, documents: Sequence[Document]) -> list[Document]:
        kept = places_within(documents, self.max_per_source)[: min(self.top_n, self.k)]
        others = sorted(set(range(len(documents))).difference(kept))
        return [documents[place] for place in sorted([*kept, *others[: self.k - len(kept)]])]


def places_within(documents: Sequence[Document], max_per_source: int) -> list[int]:
    """Return the places of the documents that are among the first ``max_per_source`` of their source."""
    counts: Counter[object] = Counter()
    places = []
    for place, document in enumerate(documents):
        source = source_of(document)
        counts[source] += 1
        if source is None or counts[source] <= max_per_source:
            places.append(place)
    return places


def source_of(document: Document) -> object:
    """Return whose a document is: ``source`` in its metadata, the outlet, else ``path``, else ``doc_id``.

    None where it has none of these, which makes it a source of its own.
    """
    return next(((key, value) for key in _TELLS_SOURCE if (value := document.metadata.get(key))), None)
