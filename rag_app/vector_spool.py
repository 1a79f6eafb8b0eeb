"""Vectors put by as a slow model makes them, so that an interrupted build encodes only what is still missing.

A spool is a folder with two files that only grow: the rows of all vectors, and a journal whose every line names the ids
of the next few rows with a checksum over both. Rows are written before their line, so that a kill at any byte, or a
full disk, costs at most what the last `VectorSpool.add` brought.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from rag_app.documents import document_id
from rag_app.embeddings import StaticEmbeddings
from rag_app.identity import describe_model

logger = logging.getLogger(__name__)

FORMAT = "vector-spool-1"
_VECTORS = "vectors.float32"
_JOURNAL = "journal.jsonl"
_PIECE = 256  # texts encoded between two writes: a minute's work of a large model without a GPU


class VectorSpool:
    """An open spool; make one with `open`, in a ``with`` statement. For one thread of one process at a time.

    Vectors are kept as they come, in float32, so that an index is the same whether its build was interrupted or not.
    """

    def __init__(self, folder: Path, dimension: int, journal: FileIO, vectors: FileIO) -> None:
        self.folder = folder
        self.dimension = dimension
        self._journal = journal
        self._vectors = vectors
        self._rows: dict[str, int] = {}
        self._count = 0  # of rows; more than ids where one was added again
        self._end = 0  # of the journal's last whole line
        self._mapped: NDArray[np.float32] | None = None

    @classmethod
    def open(cls, folder: Path, fingerprint: str, dimension: int) -> Self:
        """Open a folder's spool, making it if need be, with all vectors that were added whole.

        One of another model, or whose beginning is damaged, is emptied, which is logged.

        Args:
            folder: Where the spool is, of its own.
            fingerprint: What identifies the model; see `rag_app.models.model_fingerprint`.
            dimension: Length of its vectors.
        """
        folder.mkdir(parents=True, exist_ok=True)
        spool = cls(folder, dimension, _open_file(folder / _JOURNAL), _open_file(folder / _VECTORS))
        try:
            spool._recover(_line({"format": FORMAT, "fingerprint": fingerprint, "dimension": dimension}))
        except BaseException:
            spool.close()
            raise
        return spool

    def _recover(self, header: bytes) -> None:
        """Read the journal as far as it and the vectors are whole, and cut off what follows."""
        lines = self._journal.readall().splitlines(keepends=True)
        if lines[:1] == [header]:
            self._end = len(header)
            for line in lines[1:]:
                ids = self._checked(line)
                if not ids:
                    break
                self._remember(ids, line)
        lost = sum(map(len, lines)) - self._end
        if lost and not self._end:
            logger.warning("%s: left there by another model, or damaged; starting anew.", self.folder)
        elif lost:
            logger.warning("%s: the last record is cut short or damaged; it is encoded again.", self.folder)
        if self._count:
            logger.warning("%s: going on with %d vectors of a build that was interrupted.", self.folder, self._count)
        self._journal.truncate(self._end)
        self._vectors.truncate(self._count * self._row_bytes)
        if not self._end:
            _write(self._journal, 0, header)
            self._end = len(header)

    def _checked(self, line: bytes) -> list[str]:
        """Return the ids of the next rows, none if the line or the rows are not as they were written."""
        try:
            record = json.loads(line)
            ids: list[str] = record["ids"]
            self._vectors.seek(self._count * self._row_bytes)
            rows = _read(self._vectors, len(ids) * self._row_bytes)
        except (KeyError, TypeError, ValueError):
            return []
        return ids if line == _record(ids, rows) else []

    def _remember(self, ids: Sequence[str], line: bytes) -> None:
        self._rows.update(zip(ids, range(self._count, self._count + len(ids)), strict=True))
        self._count += len(ids)
        self._end += len(line)

    @property
    def _row_bytes(self) -> int:
        return 4 * self.dimension

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._rows)

    def known(self, ids: Iterable[str]) -> set[str]:
        """Return those of the ids whose vectors are here."""
        return self._rows.keys() & set(ids)

    def add(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add vectors; all or none of one call are there after an interruption.

        Args:
            ids: Of each row; the last of several under one id counts.
            vectors: ``(n, dimension)``.

        Raises:
            ValueError: The shape is another.
            OSError: They could not be written, for example for want of space; what was there before is still whole.
        """
        matrix = np.ascontiguousarray(vectors, dtype="<f4")
        if matrix.shape != (len(ids), self.dimension):
            raise ValueError(f"Got vectors {matrix.shape} for {len(ids)} ids; give ({len(ids)}, {self.dimension}).")
        if not len(ids):
            return
        rows = matrix.tobytes()
        line = _record(ids, rows)
        # At offsets of our own, so that what a failed write left behind is written over.
        _write(self._vectors, self._count * self._row_bytes, rows)
        _write(self._journal, self._end, line)
        self._remember(ids, line)

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of known ids, ``(n, dimension)`` float32, read from the disk.

        Raises:
            KeyError: An id is unknown.
        """
        if not len(ids):
            return np.zeros((0, self.dimension), dtype=np.float32)
        if self._mapped is None or len(self._mapped) < self._count:
            shape = (self._count, self.dimension)
            self._mapped = np.memmap(self.folder / _VECTORS, dtype="<f4", mode="r", shape=shape)
        return np.asarray(self._mapped[[self._rows[id_] for id_ in ids]], dtype=np.float32)

    def encode(self, texts: Sequence[str], encode: Callable[[list[str]], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return one vector per text, ``(n, dimension)`` float32: those that are here, the others encoded and added.

        A vector is kept under its text's hash, so that it is right whatever else has changed since. What is missing is
        sorted by length over all the given texts, for batches of even length, and added piece by piece.

        Args:
            texts: Several thousand at a time sort well.
            encode: Returns one vector per text; see `rag_app.embeddings.ModelEmbeddings.encode`.
        """
        ids = [document_id(text) for text in texts]
        missing = {id_: text for id_, text in zip(ids, texts, strict=True) if id_ not in self._rows}
        order = sorted(missing, key=lambda id_: len(missing[id_]), reverse=True)
        for start in range(0, len(order), _PIECE):
            piece = order[start : start + _PIECE]
            self.add(piece, encode([missing[id_] for id_ in piece]))
        return self.vectors(ids)

    def close(self) -> None:
        """Close the files; everything stays for the next `open`."""
        self._mapped = None
        self._journal.close()
        self._vectors.close()

    def discard(self) -> None:
        """Delete the spool: what it was for is complete."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def spool_fingerprint(embeddings: Embeddings) -> str | None:
    """Return what a spool for a model goes by, None for a model that should not have one.

    A static model encodes a passage sooner than the rest of a build is done with it. Of a model that has neither
    fingerprint nor name another one's vectors could not be told apart.
    """
    if isinstance(embeddings, StaticEmbeddings):
        return None
    model = describe_model(embeddings)
    named = model["fingerprint"] or (model["name"] if ":" in model["name"] else None)
    return None if named is None else str(named)


def _open_file(path: Path) -> FileIO:
    path.touch()
    return FileIO(path, "r+")  # without a buffer, which would be written late, and again after a full disk


def _write(file: FileIO, offset: int, data: bytes | memoryview) -> None:
    file.seek(offset)
    rest = memoryview(data)
    while rest:  # one call may write less than all
        rest = rest[file.write(rest) :]


def _read(file: FileIO, size: int) -> bytes:
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _record(ids: Sequence[str], rows: bytes | memoryview) -> bytes:
    """Return the line of the journal for rows; the checksum is over both."""
    return _line({"ids": list(ids), "crc32": crc32(rows, crc32(json.dumps(list(ids)).encode()))})


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"
