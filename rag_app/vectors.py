"""Unit vectors by id, searched exactly by FAISS."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rag_app.disk.damage import REMEDY
from rag_app.disk.faiss_files import NUMBERED_HALF, read_faiss, save_faiss

_ONE_THREAD = 100_000


class Vectors:
    """Half-precision unit vectors under text ids. Never changed: `adding` and `removing` return another.

    So whoever holds one can search it from any thread while others move on.

    Attributes:
        rows: Each id's number in the FAISS index.
        index: The FAISS index; None until there is a first vector to tell the dimension.
    """

    def __init__(self, rows: dict[str, int] | None = None, index: Any | None = None) -> None:
        self.rows = rows or {}
        self.index = index
        self._ids = {row: id_ for id_, row in self.rows.items()}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dimension(self) -> int | None:
        """The number of dimensions, None until there is a first vector."""
        return None if self.index is None else int(self.index.d)

    def adding(self, ids: Sequence[str], matrix: NDArray[np.float32]) -> "Vectors":
        """Return these vectors and more.

        Args:
            ids: New and distinct.
            matrix: ``(n, dimension)``, as `unit_rows` returns.

        Raises:
            ValueError: The dimension is another.
        """
        if not ids:
            return self
        first = max(self._ids, default=-1) + 1
        rows = np.arange(first, first + len(ids))
        if self.index is None:
            index = _flat_index(matrix.shape[1])
        else:
            self._check_dimension(matrix)
            index = faiss.clone_index(self.index)
        index.add_with_ids(matrix, rows)
        return Vectors({**self.rows, **dict(zip(ids, rows.tolist(), strict=True))}, index)

    def removing(self, ids: Iterable[str]) -> "Vectors":
        """Return these vectors without some; unknown ids change nothing."""
        gone = {id_: self.rows[id_] for id_ in ids if id_ in self.rows}
        if not gone or self.index is None:
            return self
        index = faiss.clone_index(self.index)
        index.remove_ids(np.fromiter(gone.values(), dtype=np.int64))
        return Vectors({id_: row for id_, row in self.rows.items() if id_ not in gone}, index)

    def search(self, vector: ArrayLike, k: int, *, ids: Collection[str] | None = None) -> list[tuple[str, float]]:
        """Return ids and cosines of the k nearest, nearest first, those of equal cosine among them by id.

        Args:
            vector: ``(dimension,)``, of any length.
            k: At most this many.
            ids: Only these are scanned; unknown ones are passed over.

        Raises:
            ValueError: The dimension is another, or a component is not finite.
        """
        query = unit_rows(np.asarray(vector)[np.newaxis])
        allowed = self.rows if ids is None else {id_: self.rows[id_] for id_ in ids if id_ in self.rows}
        if self.index is None or not allowed or k < 1:
            return []
        self._check_dimension(query)
        only = None
        if len(allowed) < len(self):
            only = faiss.SearchParameters(sel=faiss.IDSelectorBatch(np.fromiter(allowed.values(), dtype=np.int64)))
        threads = faiss.omp_get_max_threads()
        if len(allowed) < _ONE_THREAD:
            faiss.omp_set_num_threads(1)  # waking a pool costs more than such a scan
        try:
            scores, rows = self.index.search(query, min(k, len(allowed)), params=only)
        finally:
            faiss.omp_set_num_threads(threads)
        pairs = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        hits = [(self._ids[row], score) for row, score in pairs if row >= 0]  # a damaged vector has no place
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))

    def get(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of known ids, ``(n, dimension)`` float32.

        Raises:
            KeyError: An id is unknown.
        """
        rows = np.array([self.rows[id_] for id_ in ids], dtype=np.int64)
        if self.index is None or not len(rows):
            return np.zeros((0, self.dimension or 0), dtype=np.float32)
        return np.asarray(self.index.reconstruct_batch(rows), dtype=np.float32)

    def write(self, path: Path) -> None:
        """Write the vectors in the order of `rows`, without gaps."""
        index = _flat_index(self.dimension or 1)
        if len(self):
            index.add_with_ids(self.get(list(self.rows)), np.arange(len(self)))
        save_faiss(path, index)

    @classmethod
    def read(cls, path: Path, ids: Sequence[str]) -> "Vectors":
        """Read what `write` wrote.

        Args:
            path: The file.
            ids: The ids in the order they were written.

        Raises:
            ValueError: There is another number of vectors than ids, or the file is damaged.
        """
        index = read_faiss(path, NUMBERED_HALF)
        if index.ntotal != len(ids):
            raise ValueError(f"{path} holds {index.ntotal} vectors for {len(ids)} documents. {REMEDY}")
        if not np.array_equal(faiss.vector_to_array(index.id_map), np.arange(len(ids))):
            raise ValueError(f"{path} is damaged: its vectors are not numbered in order. {REMEDY}")
        return cls({id_: row for row, id_ in enumerate(ids)}, index) if ids else cls()

    def _check_dimension(self, matrix: NDArray[np.float32]) -> None:
        if matrix.shape[1] != self.dimension:
            raise ValueError(
                f"The store holds vectors of {self.dimension} dimensions but got {matrix.shape[1]}. "
                "Use the embedding model it was built with, or build it anew."
            )


def unit_rows(vectors: ArrayLike) -> NDArray[np.float32]:
    """Return vectors scaled to length 1, ``(n, dimension)`` float32; zero vectors stay zero.

    Raises:
        ValueError: They are no matrix, or one is not finite.
    """
    try:
        matrix = np.array(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Vectors are no matrix of numbers ({error}). Check the embedding model.") from error
    if matrix.ndim != 2:
        raise ValueError(f"Vectors have the shape {matrix.shape}; give (n, dimension).")
    if not np.isfinite(matrix).all():
        raise ValueError("A vector holds NaN or infinity. Check the embedding model on the texts that were added.")
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.maximum(lengths, 1e-12), dtype=np.float32)


def _flat_index(dimension: int) -> Any:
    flat = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexIDMap2(flat)
    flat.this.disown()
    index.own_fields = True
    return index
