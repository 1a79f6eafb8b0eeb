"""What an index makes of the documents it is given: one article for each text, under an id of its own."""

from collections.abc import Iterable

from langchain_core.documents import Document

from rag_app.documents import document_id, make_document
from rag_app.korean import normalise

_RESERVED = frozenset({"doc_id", "start", "end", "stages", "score", "relevance_score"})


def distinct_articles(documents: Iterable[Document]) -> tuple[dict[str, Document], int]:
    """Return the documents by doc_id, normalised, and how many repeated an earlier text."""
    articles: dict[str, Document] = {}
    repeated = 0
    for place, document in enumerate(documents, start=1):
        article = _as_article(document, place)
        repeated += article.metadata["doc_id"] in articles
        articles.setdefault(article.metadata["doc_id"], article)
    return articles, repeated


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
