"""Long documents -> passages that point back into them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from langchain_core.documents import Document

from rag_app.documents import make_document, searchable_text
from rag_app.files.places import PLACES, Places
from rag_app.korean import analyzer

PASSAGE_CHARS = 1200
"""The most characters a passage has, unless asked otherwise: 300 to 800 were no better for articles on one subject, and
found 1 to 2 in a hundred more only in documents that string ten subjects together; see ``finetune/LOG.md``."""

Fits = Callable[[str], bool]
"""Whether a model reads a text to its end, as `rag_app.embeddings.ModelEmbeddings.fits` says."""

_SMALLEST = 100  # characters; passages are not split further to fit
_LOOK_AHEAD = 128  # articles whose sentences are looked for together, on all cores


def split_documents(
    documents: Iterable[Document], *, max_chars: int = PASSAGE_CHARS, overlap: int = 1, fits: Fits | None = None
) -> Iterator[Document]:
    """Yield the passages of articles: each article whole if it is short enough, else cut between sentences.

    A passage keeps its article's metadata and says where it stands in the article's text:
    ``article[metadata["start"]:metadata["end"]] == page_content``. Nothing but white space is left out.
    A sentence longer than ``max_chars`` is cut at white space, or anywhere if it has none. Of a file with pages or
    numbered paragraphs it has ``page`` or ``paragraph``, where it begins, and if it ends in another ``last_page`` or
    ``last_paragraph``, in place of the article's ``places``.

    Args:
        documents: Whole articles, read 128 at a time; one without ``doc_id`` goes through `make_document`. Passages
            stay as they are.
        max_chars: The most characters a passage has.
        overlap: How many sentences a passage repeats from the one before it, as far as they fit.
        fits: Whether the model that will read a passage, as `searchable_text` gives it, reads it to its end. An
            article with a passage that does not fit is split again into passages a fifth shorter, until all fit or
            they are at 100 characters. One whose title alone does not fit is left as it is without a model: no
            splitting would bring the model to its text.

    Raises:
        ValueError: ``max_chars`` is below 1 or ``overlap`` below 0.
    """
    if max_chars < 1 or overlap < 0:
        raise ValueError(f"Want max_chars of at least 1 and overlap of at least 0, got {max_chars} and {overlap}")
    articles = iter(documents)
    chunks = iter(lambda: list(islice(articles, _LOOK_AHEAD)), [])
    return (passage for chunk in chunks for passage in _split(chunk, max_chars, overlap, fits))


def _split(documents: Iterable[Document], max_chars: int, overlap: int, fits: Fits | None) -> Iterator[Document]:
    articles = [d if "doc_id" in d.metadata else make_document(d.page_content, **d.metadata) for d in documents]
    starts = _sentence_starts(a.page_content for a in articles if not _stays_whole(a, max_chars, fits))
    for article in articles:
        if _is_passage(article):
            yield article
        elif article.page_content in starts:
            yield from _cut_to_fit(article, starts[article.page_content], max_chars, overlap, fits)
        else:
            yield _whole(article)


def _is_passage(document: Document) -> bool:
    return document.id == f"{document.metadata['doc_id']}:{document.metadata.get('start')}"


def _stays_whole(document: Document, max_chars: int, fits: Fits | None) -> bool:
    size = len(document.page_content)
    if _is_passage(document) or size > max_chars:
        return _is_passage(document)
    return size <= _SMALLEST or fits is None or not _title_fits(document, fits) or fits(searchable_text(document))


def _title_fits(document: Document, fits: Fits) -> bool:
    return fits(str(document.metadata.get("title", "")))


def _cut_to_fit(
    document: Document, starts: Sequence[int], max_chars: int, overlap: int, fits: Fits | None
) -> Sequence[Document]:
    passages = _cut(document, starts, max_chars, overlap)
    if fits is None or not _title_fits(document, fits):
        return passages
    max_chars = min(max_chars, len(document.page_content))
    while max_chars > _SMALLEST and not all(fits(searchable_text(passage)) for passage in passages):
        max_chars = max(_SMALLEST, max_chars * 4 // 5)
        passages = _cut(document, starts, max_chars, overlap)
    return passages


def _cut(document: Document, starts: Sequence[int], max_chars: int, overlap: int) -> list[Document]:
    """Return the article as one passage if it is short enough, else its passages."""
    text = document.page_content
    if len(text) <= max_chars:
        return [_whole(document)]
    metadata = passage_metadata(document)
    return [
        Document(
            page_content=text[start:end],
            metadata=metadata(start, end),
            id=f"{document.metadata['doc_id']}:{start}",
        )
        for start, end in _passages(_pieces(text, starts, max_chars), max_chars, overlap)
    ]


def _whole(document: Document) -> Document:
    text = document.page_content
    metadata = passage_metadata(document)(0, len(text))
    return Document(page_content=text, metadata=metadata, id=document.metadata["doc_id"])


def passage_metadata(article: Document) -> Callable[[int, int], dict[str, Any]]:
    """Return what makes the metadata of an article's passages, by where each starts and ends in the article's text."""
    places = Places.of(article.metadata)
    shared = {key: value for key, value in article.metadata.items() if places is None or key != PLACES}
    return lambda start, end: {**shared, **(places.between(start, end) if places else {}), "start": start, "end": end}


def _sentence_starts(texts: Iterable[str]) -> dict[str, list[int]]:
    starts = {text: _known_starts(text) for text in texts}
    if new := [text for text, known in starts.items() if not known]:
        for text, sentences in zip(new, analyzer().sentences_batch(new), strict=True):
            starts[text][:] = [sentence.start for sentence in sentences]
    return starts


@lru_cache(maxsize=1024)  # an article is cut again to index what was trained on
def _known_starts(text: str) -> list[int]:
    """Return where the text's sentences start, to be filled in where it is empty: many texts are analysed at once."""
    return []


def _pieces(text: str, starts: Sequence[int], max_chars: int) -> list[tuple[int, int]]:
    """Return the spans of the sentences, those too long cut further."""
    # Only the starts come from the analyser, so that no character between two sentences can be lost.
    pieces: list[tuple[int, int]] = []
    for start, stop in zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True):
        end = start + len(text[start:stop].rstrip())
        while end - start > max_chars:
            window = text[start : start + max_chars + 1]
            cut = start + (max((i for i, c in enumerate(window) if c.isspace()), default=0) or max_chars)
            pieces.append((start, start + len(text[start:cut].rstrip())))
            start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
        pieces.append((start, end))
    return pieces


def _passages(pieces: list[tuple[int, int]], max_chars: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Fill passages with pieces from the front; each repeats the last ``overlap`` pieces before it if they fit."""
    first = following = 0
    while following < len(pieces):
        while following < len(pieces) and pieces[following][1] - pieces[first][0] <= max_chars:
            following += 1
        yield pieces[first][0], pieces[following - 1][1]
        if following < len(pieces):
            first = max(first + 1, following - overlap)
            while pieces[following][1] - pieces[first][0] > max_chars:
                first += 1
