"""Documents and their vectors on disk, read where they stand: what a million of them need instead of memory.

A segment is a folder of files that never change:

- ``documents.jsonl``: a line for each document, in order, as a small store has them.
- ``offsets.npy``: where each line begins, ``(n + 1,)`` int64.
- ``id_hashes.npy``, ``id_rows.npy``: the hashes of the ids, ascending, and the row of each; ``doc_id_...``: likewise of
  ``metadata["doc_id"]``, which several documents may share.
- ``vectors.faiss``: their unit vectors in half precision, in order.
- ``columns.npy``, ``columns.json``: see `rag_app.disk.metadata_columns`.
"""

import json
import mmap
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import faiss
import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from rag_app.disk.array_files import read_array, save_array
from rag_app.disk.damage import REMEDY
from rag_app.disk.faiss_files import HALF, read_faiss, save_faiss
from rag_app.disk.id_hashes import hash_id
from rag_app.disk.metadata_columns import Columns, ColumnsBuilder
from rag_app.filters import Filter, satisfies, texts_of

DOCUMENTS_FILE = "documents.jsonl"
VECTORS_FILE = "vectors.faiss"
OFFSETS_FILE = "offsets.npy"
_HASH_TABLE = {"hashes": np.uint64, "rows": np.uint32}
_FEW = 4096  # rows that are gathered and multiplied rather than scanned


class SegmentWriter:
    """Writes a segment document by document, holding only ids and vectors in memory, in a ``with`` statement.

    Args:
        folder: Created; must not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._lines = (folder / DOCUMENTS_FILE).open("wb")
        self._offsets = array("q", [0])
        self._hashes = {"id": array("Q"), "doc_id": array("Q")}
        self._columns = ColumnsBuilder()
        self._vectors: Any = None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def add(self, documents: Sequence[Document], matrix: NDArray[np.float32]) -> None:
        """Add documents with ids, and their unit vectors ``(n, dimension)``.

        Raises:
            TypeError: Metadata cannot be written as JSON.
            ValueError: There are not as many vectors as documents, or of another dimension, or one is not finite.
        """
        if not documents:
            return
        dimension = matrix.shape[-1] if self._vectors is None else int(self._vectors.d)
        fits, finite = matrix.shape == (len(documents), dimension), bool(np.isfinite(matrix).all())
        if not (fits and finite):
            problem = "that do not fit" if finite else "that are not all finite"
            raise ValueError(
                f"Got vectors {matrix.shape} {problem} for {len(documents)} documents of {dimension} dimensions. "
                "Check the embedding model."
            )
        if self._vectors is None:
            self._vectors = flat_index(matrix.shape[1])
        self._vectors.add(matrix)
        for document in documents:
            line = document_line(document).encode()
            self._lines.write(line)
            self._offsets.append(self._offsets[-1] + len(line))
            self._hashes["id"].append(hash_id(str(document.id)))
            self._hashes["doc_id"].append(hash_id(str(document.metadata.get("doc_id"))))
            self._columns.add(document.metadata)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.close()
        if error is None:
            self._finish()

    def _finish(self) -> None:
        save_array(self.folder / OFFSETS_FILE, np.frombuffer(self._offsets, np.int64))
        for name, hashes in self._hashes.items():
            order = np.argsort(values := np.array(hashes, np.uint64), kind="stable")
            save_array(self.folder / f"{name}_hashes.npy", values[order])
            save_array(self.folder / f"{name}_rows.npy", order.astype(np.uint32))
        save_faiss(self.folder / VECTORS_FILE, self._vectors or flat_index(1))
        self._columns.write(self.folder)


class Segment:
    """An open segment. Nothing is read before it is asked for, and nothing is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offsets = read_array(folder / OFFSETS_FILE, np.int64)
        self._hashes = {
            name: tuple(read_array(folder / f"{name}_{part}.npy", kind) for part, kind in _HASH_TABLE.items())
            for name in ("id", "doc_id")
        }
        self._columns = Columns(folder)
        with (folder / DOCUMENTS_FILE).open("rb") as file:
            size = (folder / DOCUMENTS_FILE).stat().st_size
            self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        self.vectors = read_faiss(folder / VECTORS_FILE, HALF, mapped=True)
        tables = {len(array) for arrays in self._hashes.values() for array in arrays}
        if {self.vectors.ntotal, len(self._columns)} | tables != {len(self)}:
            raise ValueError(f"{folder} holds {self.vectors.ntotal} vectors for {len(self)} documents. {REMEDY}")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def live_articles(self, gone: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Return the hashes of the doc_ids of the documents that are not deleted; one for each document."""
        hashes, rows = self._hashes["doc_id"]
        return np.asarray(hashes[~gone[self._known(rows)]])

    def record(self, row: int) -> dict[str, Any]:
        """Return a document's record: ``id``, ``text`` and ``metadata``."""
        return parse_record(self._lines[self._offsets[row] : self._offsets[row + 1]], self.folder / DOCUMENTS_FILE)

    def document(self, row: int) -> Document:
        """Return a document."""
        record = self.record(row)
        return Document(page_content=record["text"], metadata=record["metadata"], id=record["id"])

    def id(self, row: int) -> str:
        """Return a document's id, which stands first in its line."""
        start = int(self._offsets[row]) + 8  # behind {"id": "
        found = self._lines[start : self._lines.find(b'"', start)]
        return str(self.record(row)["id"]) if b"\\" in found else found.decode()

    def rows(self, name: str, hashes: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
        """Yield (position, row) of the documents whose ``"id"`` or ``"doc_id"`` has the hash at a position."""
        known, order = self._hashes[name]
        first, last = (np.searchsorted(known, hashes, side) for side in ("left", "right"))
        for position in np.flatnonzero(last > first).tolist():
            for place in range(first[position], last[position]):
                yield position, int(self._known(order[place]))

    def keeps(self, hashes: NDArray[np.uint64], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether the document whose id has a hash is here, and in a mask over the rows."""
        known, order = self._hashes["id"]
        first, last = (np.searchsorted(known, hashes, side) for side in ("left", "right"))
        kept = np.zeros(len(hashes), np.bool_)
        for more in range(int((last - first).max(initial=0))):  # one id's document may be deleted and added anew
            here = np.flatnonzero(first + more < last)
            kept[here] |= mask[self._known(order[first[here] + more])]
        return kept

    def _known(self, rows: Any) -> Any:
        """Return rows that a table names, which there must be."""
        if np.any(rows >= len(self)):
            raise ValueError(f"{self.folder} is damaged: its tables of ids name documents beyond the last. {REMEDY}")
        return rows

    def matches(self, filter: Filter) -> NDArray[np.bool_]:
        """Return for each document whether its metadata satisfies a filter."""
        found = self._columns.matches(filter)
        if found is None:
            records = map(self.record, range(len(self)))
            found = np.fromiter((satisfies(record["metadata"], filter) for record in records), np.bool_, len(self))
        return found

    def values(self, key: str) -> list[Any] | None:
        """Return the different values under a key of metadata, also of documents that are deleted; None if unknown."""
        return self._columns.distinct(key)

    def texts(self, key: str, kept: NDArray[np.bool_]) -> set[str]:
        """Return the different texts under a key of metadata of the documents that a mask keeps."""
        found = self._columns.texts(key, kept)
        if found is None:
            records = map(self.record, np.flatnonzero(kept).tolist())
            found = set().union(*(texts_of(record["metadata"].get(key)) for record in records))
        return found

    def matrix(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some rows, ``(n, dimension)`` float32."""
        codes = faiss.rev_swig_ptr(self.vectors.codes.data(), self.vectors.ntotal * self.vectors.code_size)
        half = codes.view(np.float16).reshape(self.vectors.ntotal, self.vectors.d)
        return np.asarray(half[rows], dtype=np.float32)

    def search(
        self, query: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and cosines of the k nearest of the rows that a mask keeps, by an exact scan.

        Args:
            query: ``(1, dimension)``, of length 1.
            k: At most this many.
            mask: ``(n,)``; None keeps all.
        """
        kept = len(self) if mask is None else int(np.count_nonzero(mask))
        if not kept:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if mask is not None and kept <= _FEW:
            rows = np.flatnonzero(mask)
            cosines = self.matrix(rows) @ query[0]
            best = np.argsort(-cosines, kind="stable")[:k]
            return rows[best], cosines[best]
        with one_thread():
            scores, found = self.vectors.search(query, min(k, kept), params=mask_parameters(mask))
        there = found[0] >= 0  # a damaged vector has no place
        return found[0][there], scores[0][there]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let FAISS use one thread of its pool: for one question, waking the others costs more than they bring."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def mask_parameters(mask: NDArray[np.bool_] | None, make: Any = faiss.SearchParameters, **details: Any) -> Any:
    """Return FAISS's search parameters that keep the rows of a mask; all if it is None."""
    if mask is None:
        return make(**details) if details else None
    bits = np.packbits(mask, bitorder="little")
    selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    parameters = make(sel=selector, **details)
    parameters.bits = bits  # the selector only points to them
    return parameters


def flat_index(dimension: int) -> Any:
    """Return an empty FAISS index of half-precision vectors, compared by their inner product."""
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def document_line(document: Document) -> str:
    """Return a document as its line of ``documents.jsonl``.

    Raises:
        TypeError: Metadata cannot be written as JSON.
    """
    record = {"id": document.id, "text": document.page_content, "metadata": document.metadata}
    return json.dumps(record, ensure_ascii=False) + "\n"


def parse_record(line: bytes, path: Path) -> dict[str, Any]:
    """Return what `document_line` made a line of: ``id``, ``text`` and ``metadata``.

    Args:
        line: The line.
        path: The file it stands in, for messages.

    Raises:
        ValueError: It is none.
    """
    try:
        record = json.loads(line)
        sound = [type(record[key]) for key in ("id", "text", "metadata")] == [str, str, dict]
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise ValueError(f"{path} is damaged: {line[:40]!r} begins no document. {REMEDY}")
    found: dict[str, Any] = record
    return found
