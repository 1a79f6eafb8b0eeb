"""Files and records -> Documents with a stable doc_id."""

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from rag_app.generations import is_index
from rag_app.korean import normalise
from rag_app.loaders import LOADERS as LOADERS
from rag_app.tables import USUAL_COLUMNS
from rag_app.tables import Columns as Columns

OnError = Callable[[Path, Exception], None]
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
