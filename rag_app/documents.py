"""Files and records -> Documents with a stable doc_id, and long documents -> passages that point back into them."""

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from rag_app.generations import is_index
from rag_app.korean import analyzer, normalise
from rag_app.loaders import LOADERS as LOADERS
from rag_app.tables import USUAL_COLUMNS
from rag_app.tables import Columns as Columns

PASSAGE_CHARS = 1200
"""The most characters a passage has, unless asked otherwise."""

OnError = Callable[[Path, Exception], None]
Fits = Callable[[str], bool]
"""Whether a model reads a text to its end, as `rag_app.embeddings.ModelEmbeddings.fits` says."""

_SMALLEST = 100  # characters; passages are not split further to fit
_LOOK_AHEAD = 128  # articles whose sentences are looked for together, on all cores

_TIME = r"(?:T|\s)\s*(?:\(.\)\s*)?(?:오전|오후|[AaPp][Mm])?\s*\d{1,2}\s*[:시].*"
_DATES = (
    re.compile(rf"(\d{{4}})\s*[-./년]\s*(\d{{1,2}})\s*[-./월]\s*(\d{{1,2}})\s*[.일]?\s*(?:\([^)]*\))?(?:{_TIME})?"),
    re.compile(r"(\d{4})(\d\d)(\d\d)(?:T?\d{4,6}.*)?"),
)


def document_id(text: str) -> str:
    """Return the id of a normalised text: the first 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def iso_date(value: str) -> str:
    """Return a date as ``YYYY-MM-DD``: ``2025.3.14``, ``20250314``, ``2025년 3월 14일``, with a time of day or without.

    The day is the one written; a time zone does not move it. What is no such date comes back as it is.
    """
    for pattern in _DATES:
        if match := pattern.fullmatch(value.strip()):
            try:
                return date(*map(int, match.groups())).isoformat()
            except ValueError:  # the 31st of February: keep what is written
                return value
    return value


def make_document(text: str, /, **metadata: Any) -> Document:
    """Return an article as a Document: normalised text, clean metadata, and the id that its text gives it.

    Args:
        text: The article.
        metadata: ``title``, ``date``, ``section``, ``source``, ``url`` and whatever else; text in it is normalised,
            empty values are dropped, dates become ``YYYY-MM-DD`` and what JSON cannot hold becomes text.

    Raises:
        ValueError: The text is empty.
    """
    content = normalise(text)
    if not content:
        raise ValueError("holds no text")
    clean = {key: value for key, value in _clean(metadata).items() if value is not None and value not in ("", [], {})}
    if "path" in clean:  # not normalised: the name of a file in decomposed Hangul opens only as it is spelt
        clean["path"] = str(metadata["path"]).encode(errors="replace").decode()
    if "title" in clean:
        clean["title"] = " ".join(str(clean["title"]).split())
    if "date" in clean:
        clean["date"] = iso_date(str(clean["date"]))
    doc_id = document_id(content)
    return Document(page_content=content, metadata={**clean, "doc_id": doc_id}, id=doc_id)


def searchable_text(document: Document) -> str:
    """Return what is searched, embedded and reranked of a document: its title, if it has one, above its text."""
    title = document.metadata.get("title")
    return f"{title}\n{document.page_content}" if title else document.page_content


def load_documents(
    path: str | Path, *, columns: Columns = USUAL_COLUMNS, on_error: OnError | None = None
) -> Iterator[Document]:
    """Yield the articles of a file, or of all files of a folder and the folders in it, each text once.

    In a folder, hidden files and files of other formats are passed over.

    Args:
        path: A file of one of the formats in `LOADERS`, or a folder.
        columns: Which columns of tables hold what, where they have no usual name.
        on_error: Called with each file that cannot be read, and why; nothing of that file is yielded, and the rest is.
            To know in time, each file is then read whole before its first article is yielded. Without it the error is
            raised, and files are read as a stream.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: The path is a file of another format or a folder without readable files; or, from the iterator when
            ``on_error`` is None, a file is broken.
    """
    root = Path(path)
    formats = ", ".join(LOADERS)
    if not root.exists():
        raise FileNotFoundError(f"There is no file or folder {root}")
    if not root.is_dir():
        if root.suffix.lower() not in LOADERS:
            raise ValueError(f"{root} has the suffix {root.suffix!r}. Known formats are {formats}")
        return _load_files([root], columns, on_error)
    if not (files := _find_files(root)):
        raise ValueError(f"The folder {root} holds no file of a known format ({formats})")
    return _load_files(files, columns, on_error)


def split_documents(
    documents: Iterable[Document], *, max_chars: int = PASSAGE_CHARS, overlap: int = 1, fits: Fits | None = None
) -> Iterator[Document]:
    """Yield the passages of articles: each article whole if it is short enough, else cut between sentences.

    A passage keeps its article's metadata and says where it stands in the article's text:
    ``article[metadata["start"]:metadata["end"]] == page_content``. Nothing but white space is left out.
    A sentence longer than ``max_chars`` is cut at white space, or anywhere if it has none.

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


def _find_files(folder: Path) -> list[Path]:
    files: list[Path] = []
    for place, folders, names in os.walk(folder):
        # An index of ours is no article; "~$" is the lock file Word leaves beside an open document.
        folders[:] = [name for name in folders if not name.startswith(".") and not is_index(Path(place, name))]
        paths = (Path(place, name) for name in names if not name.startswith((".", "~$")))
        files += (path for path in paths if path.suffix.lower() in LOADERS and path.is_file())
    return sorted(files)


def _load_files(files: Iterable[Path], columns: Columns, on_error: OnError | None) -> Iterator[Document]:
    seen: set[str] = set()
    for path in files:
        articles: Iterable[Document] = _load_file(path, columns)
        if on_error is not None:
            try:
                articles = list(articles)
            except (OSError, ValueError) as error:
                on_error(path, error)
                continue
        for article in articles:
            if article.metadata["doc_id"] not in seen:
                seen.add(article.metadata["doc_id"])
                yield article


def _load_file(path: Path, columns: Columns) -> Iterator[Document]:
    article = None
    try:
        for record in LOADERS[path.suffix.lower()](path, columns):
            article = make_document(record.pop("text"), **{**record, "path": str(path.resolve())})
            yield article
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if article is None:
        raise ValueError(f"{path}: holds no text")


def _clean(value: Any) -> Any:
    """Return a value that JSON and UTF-8 can hold."""
    if callable(plain := getattr(value, "tolist", None)):  # numpy's numbers and arrays; its floats are Python's too
        value = plain()
    if isinstance(value, str):
        return normalise(value)
    if isinstance(value, dict):
        return {normalise(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    if isinstance(value, float | int) or value is None:
        return None if isinstance(value, float) and not math.isfinite(value) else value
    return str(value)


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
    text, metadata = document.page_content, document.metadata
    if len(text) <= max_chars:
        return [_whole(document)]
    return [
        Document(
            page_content=text[start:end],
            metadata={**metadata, "start": start, "end": end},
            id=f"{metadata['doc_id']}:{start}",
        )
        for start, end in _passages(_pieces(text, starts, max_chars), max_chars, overlap)
    ]


def _whole(document: Document) -> Document:
    text, metadata = document.page_content, document.metadata
    return Document(page_content=text, metadata={**metadata, "start": 0, "end": len(text)}, id=metadata["doc_id"])


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
