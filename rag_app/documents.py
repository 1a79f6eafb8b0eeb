"""Files and records -> Documents with a stable doc_id."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from langchain_core.documents import Document

from rag_app.files.dates import iso_date as iso_date
from rag_app.files.places import PLACES, Part, Places, joined, part_places
from rag_app.files.reading import ARCHIVE, SUPPORTED_SUFFIXES, LocalReader, Reader
from rag_app.files.tables import USUAL_COLUMNS
from rag_app.files.tables import Columns as Columns
from rag_app.files.unreadable import OverLimitError
from rag_app.generations import is_index
from rag_app.korean import normalise

OnError = Callable[[Path, Exception], None]

TITLE_CHARS = 1000
"""What is longer is no title; and each passage of an article is searched, embedded and stored with its title."""
METADATA_CHARS = 64 * 1024
"""The most characters that an article's metadata has as JSON, without ``places``: each of its passages holds them."""
_MOST_OVER = 5  # files of an archive that may take more than they should: it may hold thousands of them
_DEEPEST = 50  # levels of metadata; Python ends at about a thousand, wherever it walks through them


class Source(NamedTuple):
    """A file to read.

    Attributes:
        path: Where it is, or the zip archive that holds it.
        name: What messages call it; its suffix tells the format.
        origin: What the metadata of its articles has as ``path``.
        member: Its number in the archive; None if it is a file of its own.
    """

    path: Path
    name: str
    origin: str
    member: int | None = None

    @property
    def suffix(self) -> str:
        """The suffix of the name in lower case."""
        return PurePath(self.name).suffix.lower()


class FileResult(NamedTuple):
    """What reading a file gave.

    Attributes:
        name: The file's; of one in a zip archive behind the archive's.
        documents: Its articles; none if it cannot be read.
        error: Why it cannot be read, naming it; None if it can.
    """

    name: str
    documents: list[Document]
    error: Exception | None


def document_id(text: str) -> str:
    """Return the id of a normalised text: the first 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def make_document(text: str | Sequence[Part], /, **metadata: Any) -> Document:
    """Return an article as a Document: normalised text, clean metadata, and the id that its text gives it.

    Args:
        text: The article, or the parts of a file that make it up: then ``places`` in its metadata says where each
            begins, and `rag_app.passages.split_documents` makes each passage's ``page`` and ``paragraph`` of it.
        metadata: ``title``, ``date``, ``section``, ``source``, ``url`` and whatever else; text in it is normalised,
            empty values are dropped, dates become ``YYYY-MM-DD``, a title ends after `TITLE_CHARS` and what JSON cannot
            hold becomes text.

    Raises:
        ValueError: The text is empty, or the metadata is nested without end or longer than `METADATA_CHARS`.
    """
    content = normalise(text if isinstance(text, str) else joined(text))
    if not content:
        raise ValueError("holds no text")
    if not isinstance(text, str):
        metadata[PLACES] = part_places(content, text)
    clean = {key: value for key, value in _clean(metadata).items() if value is not None and value not in ("", [], {})}
    if "path" in clean:  # not normalised: the name of a file in decomposed Hangul opens only as it is spelt
        clean["path"] = str(metadata["path"]).encode(errors="replace").decode()
    if "title" in clean:
        clean["title"] = " ".join(str(clean["title"]).split())[:TITLE_CHARS].rstrip()
    if "date" in clean:
        clean["date"] = iso_date(str(clean["date"]))
    _check_size(clean)
    doc_id = document_id(content)
    return Document(page_content=content, metadata={**clean, "doc_id": doc_id}, id=doc_id)


def searchable_text(document: Document) -> str:
    """Return what is searched, embedded and reranked of a document: its title, if it has one, above its text."""
    title = document.metadata.get("title")
    return f"{title}\n{document.page_content}" if title else document.page_content


def load_documents(
    path: str | Path,
    *,
    columns: Columns = USUAL_COLUMNS,
    on_error: OnError | None = None,
    reader: Reader | None = None,
) -> Iterator[Document]:
    """Yield the articles of a file, or of all files of a folder and the folders in it, each text once.

    The files in a zip archive count as files of a folder of its name. In a folder or archive, hidden files and files of
    other formats are passed over.

    Args:
        path: A file of one of the formats in `rag_app.files.reading.SUPPORTED_SUFFIXES`, or a folder.
        columns: Which columns of tables hold what, where they have no usual name.
        on_error: Called with each file that cannot be read, and why; nothing of that file is yielded, and the rest is.
            To know in time, each file is then read whole before its first article is yielded. Without it the error is
            raised, and files are read as a stream.
        reader: What reads the files: a `rag_app.files.parsing.FileReader` for files of strangers, in a process with
            limits on time and memory; None reads them here.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: The path is a file of another format or a folder without readable files; or, from the iterator when
            ``on_error`` is None, a file is broken.
    """
    root = Path(path)
    formats = ", ".join(SUPPORTED_SUFFIXES)
    if not root.exists():
        raise FileNotFoundError(f"There is no file or folder {root}")
    if not root.is_dir():
        if root.suffix.lower() not in SUPPORTED_SUFFIXES:
            raise ValueError(f"{root} has the suffix {root.suffix!r}. Known formats are {formats}")
        return _load_files([root], columns, on_error, reader)
    if not (files := files_in(root)):
        raise ValueError(f"The folder {root} holds no file of a known format ({formats})")
    return _load_files(files, columns, on_error, reader)


def files_in(folder: Path) -> list[Path]:
    """Return the files of known formats in a folder and the folders in it, sorted, but hidden ones and our indexes."""
    files: list[Path] = []
    for place, folders, names in os.walk(folder):
        # An index of ours is no article; "~$" is the lock file Word leaves beside an open document.
        folders[:] = [name for name in folders if not name.startswith(".") and not is_index(Path(place, name))]
        paths = (Path(place, name) for name in names if not name.startswith((".", "~$")))
        files += (path for path in paths if path.suffix.lower() in SUPPORTED_SUFFIXES and path.is_file())
    return sorted(files)


def _load_files(
    files: Iterable[Path], columns: Columns, on_error: OnError | None, reader: Reader | None
) -> Iterator[Document]:
    sources = (Source(path, str(path), str(path.resolve())) for path in files)
    with nullcontext(reader) if reader else LocalReader() as reads:
        articles: Iterator[Document]
        if on_error is None:
            found = (file for source in sources for file in find_sources(source, reads))
            articles = (article for file in found for article in read_articles(file, columns, reads))
        else:
            articles = _reported((result for s in sources for result in read_files(s, columns, reads)), on_error)
        seen: set[str] = set()
        for article in articles:
            if article.metadata["doc_id"] not in seen:
                seen.add(article.metadata["doc_id"])
                yield article


def _reported(results: Iterable[FileResult], on_error: OnError) -> Iterator[Document]:
    for result in results:
        if result.error is not None:
            on_error(Path(result.name), result.error)
        yield from result.documents


def read_files(source: Source, columns: Columns, reader: Reader) -> Iterator[FileResult]:
    """Yield what reading a file gave; of a zip archive, what reading each file in it gave, as soon as it is known."""
    try:
        files = find_sources(source, reader)
    except (OSError, ValueError) as error:
        yield FileResult(source.name, [], error)
        return
    over = 0
    for file in files:
        try:
            if over == _MOST_OVER:
                raise ValueError(f"{file.name}: {over} files before it took too much. Pack it anew without those")
            result = FileResult(file.name, list(read_articles(file, columns, reader)), None)
        except (OSError, ValueError) as error:
            over += isinstance(error.__cause__, OverLimitError)
            result = FileResult(file.name, [], error)
        yield result


def find_sources(source: Source, reader: Reader) -> list[Source]:
    """Return the files of known formats in a zip archive; of another file, the file itself.

    Raises:
        ValueError: The archive cannot be read, or there is none in it; names the archive.
    """
    if source.suffix != ARCHIVE:
        return [source]
    try:
        members = reader.members(source.path)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error}") from error
    files = [
        Source(source.path, f"{source.name}/{name}", f"{source.origin}/{name}", number) for number, name in members
    ]
    if not (known := [file for file in files if file.suffix in SUPPORTED_SUFFIXES]):
        formats = ", ".join(SUPPORTED_SUFFIXES)
        raise ValueError(f"{source.name}: holds no file of a known format ({formats}). Pack some of these")
    return known


def read_articles(file: Source, columns: Columns, reader: Reader) -> Iterator[Document]:
    """Yield the articles of a file.

    Raises:
        ValueError: It cannot be read or holds no text; names it.
    """
    article = None
    try:
        for record in reader.records(file.path, file.suffix, columns, file.member):
            text = record.pop("text") if "text" in record else record.pop("parts")
            article = make_document(text, **{**record, "path": file.origin})
            yield article
        if article is None:
            raise ValueError("holds no text")
    except ValueError as error:
        remedy = ". Leave it out, or save it again with its text" if str(error) == "holds no text" else ""
        raise ValueError(f"{file.name}: {error}{remedy}") from error


def _check_size(metadata: dict[str, Any]) -> None:
    """Refuse metadata that would fill the disk: a text of a megabyte has a thousand passages."""
    shared = {key: value for key, value in metadata.items() if key != PLACES or Places.of(metadata) is None}
    if (size := len(json.dumps(shared, ensure_ascii=False))) > METADATA_CHARS:
        longest = max(shared, key=lambda key: len(str(shared[key])))
        raise ValueError(
            f"has {size:,} characters of metadata, more than {METADATA_CHARS:,}. Leave out what is none, most of all "
            f"{longest[:100]!r}"
        )


def _clean(value: Any, depth: int = 0) -> Any:
    """Return a value that JSON and UTF-8 can hold."""
    if depth > _DEEPEST:
        raise ValueError(f"nests its metadata more than {_DEEPEST} deep. Flatten it")
    if callable(plain := getattr(value, "tolist", None)):  # numpy's numbers and arrays; its floats are Python's too
        value = plain()
    if isinstance(value, str):
        return normalise(value)
    if isinstance(value, dict):
        return {normalise(str(key)): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    if isinstance(value, float | int) or value is None:
        return None if isinstance(value, float) and not math.isfinite(value) else value
    return str(value)
