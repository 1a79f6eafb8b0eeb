"""What an index makes of the documents it is given: one article for each text, under an id of its own."""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice

from langchain_core.documents import Document

from rag_app.documents import document_id, make_document
from rag_app.korean import normalise

_RESERVED = frozenset(
    {"doc_id", "start", "end", "stages", "score", "relevance_score", "spans", "passages", "duplicates"}
)
_BATCH = 1024


class NewArticles(Iterator[Document]):
    """Passes on the articles of a stream that are new, normalised, each text once; keeps of them only the ids.

    Args:
        documents: Read a thousand at a time.
        known: Returns which of some doc_ids are known already.

    Attributes:
        added: How many were passed on so far.
        skipped: How many so far repeated an earlier text, or were known.
    """

    def __init__(
        self, documents: Iterable[Document], known: Callable[[Collection[str]], Collection[str]] | None = None
    ) -> None:
        self.added = 0
        self.skipped = 0
        self._known = known
        self._articles = self._read(enumerate(documents, start=1))

    def __next__(self) -> Document:
        article = next(self._articles)
        self.added += 1
        return article

    def _read(self, documents: Iterator[tuple[int, Document]]) -> Iterator[Document]:
        seen: set[bytes] = set()
        while batch := [_as_article(document, place) for place, document in islice(documents, _BATCH)]:
            known = self._known({str(article.id) for article in batch}) if self._known else ()
            for article in batch:
                if (key := bytes.fromhex(str(article.id))) in seen or article.id in known:
                    self.skipped += 1
                else:
                    seen.add(key)
                    yield article


def distinct_articles(documents: Iterable[Document]) -> tuple[dict[str, Document], int]:
    """Return the documents by doc_id, normalised, and how many repeated an earlier text."""
    new = NewArticles(documents)
    return {article.metadata["doc_id"]: article for article in new}, new.skipped


def _as_article(document: Document, place: int) -> Document:
    """Return a document under the id of its text; an id or reserved metadata of the user's own get another name."""
    metadata = {str(key): value for key, value in document.metadata.items()}
    doc_id = document_id(normalise(document.page_content))
    ours = metadata.get("doc_id") == doc_id
    for key in _RESERVED & metadata.keys():
        value = metadata.pop(key)
        if not ours:
            metadata[f"source_{key}"] = value
    if not ours and document.id:
        metadata["source_id"] = document.id
    try:
        return make_document(document.page_content, **metadata)
    except ValueError as error:
        name = metadata.get("title") or metadata.get("path") or document.id
        raise ValueError(f"Document {place} ({name}) cannot be indexed: it {error}. Leave it out.") from error
