"""A large store: documents and vectors in segments on disk, searched exactly or through clusters.

A generation holds ``segments/<number>/``, whose files never change and are shared with the generations before and after
by hard links; ``gone.npy``, which rows of all segments are deleted, ``(rows,)`` bool; and ``clusters.faiss``, what
approximate search reads. A document's row is its place in all segments one after the other.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from langchain_core.documents import Document
from numpy.typing import ArrayLike, NDArray

from rag_app.disk.array_files import read_array
from rag_app.disk.clusters import FORMS, Clusters, Tuning
from rag_app.disk.damage import REMEDY
from rag_app.disk.id_hashes import hash_ids
from rag_app.disk.metadata_terms import TermCondition, term_condition
from rag_app.disk.segments import Segment, SegmentWriter, mask_parameters
from rag_app.filters import Filter, check_filter, plain_filter
from rag_app.vectors import unit_rows

SEGMENTS = "segments"
GONE_FILE = "gone.npy"
CLUSTERS_FILE = "clusters.faiss"
EXACT_KEPT = 50_000
"""The most documents that are compared one by one where a filter keeps no more; lists would not be faster."""
_MOST_SELECTIONS = 16  # that are remembered, a byte for each document, as the same filter is asked for again and again
_BATCH = 4096


class Segments(NamedTuple):
    """The open segments of a generation.

    Attributes:
        parts: In order.
        gone: Which rows are deleted, ``(rows,)``.
    """

    parts: tuple[Segment, ...]
    gone: NDArray[np.bool_]

    @property
    def starts(self) -> list[int]:
        """The row of each segment's first document, and behind them the number of rows."""
        return [0, *np.cumsum([len(part) for part in self.parts]).tolist()]

    def with_gone(self) -> Iterator[tuple[Segment, NDArray[np.bool_]]]:
        """Yield each segment and which of its documents are deleted."""
        for part, first in zip(self.parts, self.starts, strict=False):
            yield part, self.gone[first : first + len(part)]

    def split(self, rows: NDArray[np.int64]) -> Iterator[tuple[Segment, NDArray[np.bool_], NDArray[np.int64]]]:
        """Yield the segments of some rows: which of the rows are in it, and their places there."""
        for part, first in zip(self.parts, self.starts, strict=False):
            inside = (rows >= first) & (rows < first + len(part))
            if inside.any():
                yield part, inside, rows[inside] - first

    def matrix(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some rows, ``(n, dimension)`` float32."""
        matrix = np.zeros((len(rows), int(self.parts[0].vectors.d)), np.float32)
        for part, inside, places in self.split(rows):
            matrix[inside] = part.matrix(places)
        return matrix

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the ids of some rows."""
        ids = [""] * len(rows)
        for part, inside, places in self.split(rows):
            for position, place in zip(np.flatnonzero(inside).tolist(), places.tolist(), strict=True):
                ids[position] = part.id(place)
        return ids

    def live(self) -> NDArray[np.int64]:
        """Return the rows that are not deleted, in order."""
        return np.flatnonzero(~self.gone)

    def rows_of(self, name: str, values: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield (position, row) of the live documents whose hash of ``"id"`` or ``"doc_id"`` is a value's."""
        hashes = hash_ids(values)
        for part, first in zip(self.parts, self.starts, strict=False):
            for position, place in part.rows(name, hashes):
                if not self.gone[first + place]:
                    yield position, first + place


class Selection(Collection[str]):
    """The ids of the documents that a filter keeps, as a mask over the rows.

    Attributes:
        mask: Which rows are kept, ``(rows,)``.
        conditions: What the filter asks of the terms of metadata; None if it cannot be told by them.
    """

    def __init__(
        self, segments: Segments, mask: NDArray[np.bool_], conditions: Sequence[TermCondition] | None = None
    ) -> None:
        self._segments = segments
        self.mask = mask
        self.conditions = conditions
        self._count = int(np.count_nonzero(mask))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return iter(self._segments.ids(np.flatnonzero(self.mask)))

    def __contains__(self, id_: object) -> bool:
        return any(self.mask[row] for _, row in self._segments.rows_of("id", [str(id_)]))

    def keeps(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether the id of each hash is among these."""
        kept = np.zeros(len(hashes), np.bool_)
        for part, first in zip(self._segments.parts, self._segments.starts, strict=False):
            if len(part):
                kept |= part.keeps(hashes, self.mask[first : first + len(part)])
        return kept


class SegmentedDocuments(Mapping[str, Document]):
    """The documents of a large store by id, each made anew when it is read."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments
        self._selections: dict[str, Selection] = {}

    def __len__(self) -> int:
        return len(self.segments.gone) - int(np.count_nonzero(self.segments.gone))

    def __getitem__(self, id_: str) -> Document:
        rows = self.rows([id_])
        if rows[0] < 0:
            raise KeyError(id_)
        return self.document_at(int(rows[0]))

    def __iter__(self) -> Iterator[str]:
        rows = self.segments.live()
        for start in range(0, len(rows), _BATCH):
            yield from self.segments.ids(rows[start : start + _BATCH])

    def values(self) -> ValuesView[Document]:
        """Return the documents in order."""
        return _Values(self)

    def count_articles(self) -> int:
        """Return how many different doc_ids the documents have."""
        return len(np.unique(np.concatenate([part.live_articles(gone) for part, gone in self.segments.with_gone()])))

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each id, -1 where it is unknown."""
        rows = np.full(len(ids), -1, np.int64)
        if found := list(self.segments.rows_of("id", ids)):
            places = np.array(found, np.int64)
            for (position, row), id_ in zip(found, self.segments.ids(places[:, 1]), strict=True):
                if id_ == ids[position]:  # hashes may collide
                    rows[position] = row
        return rows

    def rows_of_articles(self, doc_ids: Iterable[str]) -> dict[str, list[int]]:
        """Return the rows of each article of which there is a passage, by its doc_id."""
        wanted = list(doc_ids)
        found: dict[str, list[int]] = {}
        for position, row in self.segments.rows_of("doc_id", wanted):
            if self.document_at(row).metadata.get("doc_id") == wanted[position]:
                found.setdefault(wanted[position], []).append(row)
        return found

    def matching(self, filter: Filter) -> Selection:
        """Return the ids of the documents whose metadata matches.

        Raises:
            ValueError: The filter names an unknown operator.
        """
        if callable(filter):
            return self._match(filter)
        check_filter(filter)
        filter = plain_filter(filter)  # whose repr tells all of it, as that of a long array does not
        if (selection := self._selections.get(name := repr(filter))) is None:
            selection = self._match(filter)
            if len(self._selections) >= _MOST_SELECTIONS:
                self._selections = {}
            self._selections[name] = selection
        return selection

    def _match(self, filter: Filter) -> Selection:
        mask = np.concatenate([part.matches(filter) for part in self.segments.parts])
        return Selection(self.segments, mask & ~self.segments.gone, self._conditions(filter))

    def _conditions(self, filter: Filter) -> list[TermCondition] | None:
        if callable(filter):
            return None
        conditions = []
        for key, condition in filter.items():
            values = [part.values(key) for part in self.segments.parts]
            if None in values:
                return None
            known = chain.from_iterable(found for found in values if found is not None)
            conditions.append(term_condition(key, known, condition))
        return conditions

    def texts(self, key: str) -> set[str]:
        """Return the different texts that the documents have under a key of their metadata."""
        return set().union(*(part.texts(key, ~gone) for part, gone in self.segments.with_gone()))

    def document_at(self, row: int) -> Document:
        """Return the document of a row."""
        [(part, _, places)] = self.segments.split(np.array([row]))
        return part.document(int(places[0]))


class _Values(ValuesView[Document]):
    """The documents in order; the inherited view would look each up by its id."""

    def __init__(self, documents: SegmentedDocuments) -> None:
        super().__init__(documents)
        self._documents = documents

    def __iter__(self) -> Iterator[Document]:
        segments = self._documents.segments
        for part, first in zip(segments.parts, segments.starts, strict=False):
            yield from (part.document(row) for row in range(len(part)) if not segments.gone[first + row])


class SegmentedVectors:
    """The vectors of a large store; the interface of `rag_app.vectors.Vectors`, but for adding and removing.

    Attributes:
        documents: Whose vectors they are.
        clusters: What approximate search reads; None to search exactly.
        tuning: How wide that is.
    """

    def __init__(self, documents: SegmentedDocuments, clusters: Clusters | None, tuning: Tuning | None) -> None:
        self.documents = documents
        self.clusters = clusters
        self.tuning = tuning
        gone = documents.segments.gone
        self._live = ~gone if gone.any() else None

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def dimension(self) -> int:
        """The number of dimensions."""
        return int(self._segments.parts[0].vectors.d)

    @property
    def _segments(self) -> Segments:
        return self.documents.segments

    def search(self, vector: ArrayLike, k: int, *, ids: Collection[str] | None = None) -> list[tuple[str, float]]:
        """Return ids and cosines of the k nearest; see `rag_app.vectors.Vectors.search`."""
        query = unit_rows(np.asarray(vector)[np.newaxis])
        if query.shape[1] != self.dimension:
            raise ValueError(
                f"The store holds vectors of {self.dimension} dimensions but got {query.shape[1]}. "
                "Use the embedding model it was built with, or build it anew."
            )
        if ids is not None and not isinstance(ids, Selection):
            rows, cosines = self._compare(query, k, self.documents.rows(list(dict.fromkeys(ids))))
        else:
            mask = ids.mask if ids is not None else self._live
            kept = len(self) if mask is None else int(np.count_nonzero(mask))
            rows, cosines = self._nearest(query, min(k, kept), mask, kept)
        hits = zip(self._segments.ids(rows), cosines.tolist(), strict=True)
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))

    def get(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of known ids, ``(n, dimension)`` float32.

        Raises:
            KeyError: An id is unknown.
        """
        rows = self.documents.rows(ids)
        if len(unknown := np.flatnonzero(rows < 0)):
            raise KeyError(ids[int(unknown[0])])
        return self._segments.matrix(rows)

    def exact(self, questions: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Return the rows of the k nearest of each question by an exact scan, ``(questions, k)``; -1 for none."""
        gone, found = self._segments.gone, []
        for part, first in zip(self._segments.parts, self._segments.starts, strict=False):
            mask = ~gone[first : first + len(part)]
            scores, rows = part.vectors.search(questions, k, params=mask_parameters(None if mask.all() else mask))
            found.append((np.where(rows < 0, -np.inf, scores), np.where(rows < 0, -1, rows + first)))
        scores, rows = (np.concatenate(columns, axis=1) for columns in zip(*found, strict=True))
        return np.asarray(np.take_along_axis(rows, np.argsort(-scores, axis=1, kind="stable")[:, :k], axis=1))

    def refine(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a question's cosines with some rows."""
        return np.asarray(self._segments.matrix(rows) @ query[0])

    def misses(self) -> bool:
        """Return whether the clusters hold other rows than those that are not deleted."""
        return self.clusters is not None and not np.array_equal(np.sort(self.clusters.rows()), self._segments.live())

    def _refine_known(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        self._check_rows(rows)
        return self.refine(query, rows)

    def _check_rows(self, rows: NDArray[np.int64]) -> None:
        if len(rows) and rows.max() >= len(self._segments.gone):
            raise ValueError(f"The clusters are damaged: they name vectors beyond the last. {REMEDY}")

    def _compare(
        self, query: NDArray[np.float32], k: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the k nearest of some rows; those of -1 are passed over."""
        rows = rows[rows >= 0]
        cosines = self.refine(query, rows)
        best = np.argsort(-cosines, kind="stable")[: max(0, k)]
        return rows[best], cosines[best]

    def _nearest(
        self, query: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None, kept: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if k < 1:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if self.clusters is not None and self.tuning is not None and (kept > EXACT_KEPT or kept == len(self)):
            only = None if kept == len(self) else mask  # what is deleted is in no list
            rows, cosines = self.clusters.search(query, k, self.tuning, self._refine_known, only)
            self._check_rows(rows)
            if len(rows) >= k:
                return rows, cosines
        found = []
        for part, first in zip(self._segments.parts, self._segments.starts, strict=False):
            rows, cosines = part.search(query, k, None if mask is None else mask[first : first + len(part)])
            found.append((rows + first, cosines))
        rows, cosines = (np.concatenate(columns) for columns in zip(*found, strict=True))
        best = np.argsort(-cosines, kind="stable")[:k]
        return rows[best], cosines[best]


def open_segments(folder: Path) -> Segments:
    """Open the segments of a generation."""
    parts = tuple(Segment(path) for path in sorted((folder / SEGMENTS).iterdir()) if path.is_dir())
    if len({int(part.vectors.d) for part in parts if len(part)}) > 1 or not parts:
        raise ValueError(f"{folder / SEGMENTS} holds vectors of several dimensions, or none. {REMEDY}")
    path = folder / GONE_FILE
    count = sum(map(len, parts))
    # A byte that is neither 0 nor 1 counts as 1 here, as nowhere in NumPy.
    gone = read_array(path, np.bool_).view(np.uint8) != 0 if path.exists() else np.zeros(count, np.bool_)
    if len(gone) != count:
        raise ValueError(f"{path} tells of {len(gone)} documents, there are {count}. {REMEDY}")
    return Segments(parts, gone)


def open_segmented(folder: Path, details: Mapping[str, Any]) -> tuple[SegmentedDocuments, SegmentedVectors]:
    """Open the documents and vectors of a generation.

    Args:
        folder: The generation.
        details: The manifest's ``vectors``: the form, and how wide to search.

    Raises:
        OSError: A file is missing.
        ValueError: They are damaged, or do not fit together.
    """
    documents = SegmentedDocuments(open_segments(folder))
    vectors = SegmentedVectors(documents, None, None)
    form = details.get("form")
    if form == "exact":
        return documents, vectors
    tuning: dict[str, Any] = {name: details.get(name) for name in Tuning._fields}
    counts = [tuning[name] for name in ("lists", "probes", "filtered", "depth", "passages", "changed")]
    if form not in FORMS or not all(type(count) is int and 0 <= count < 2**40 for count in counts):
        raise ValueError(f"The manifest does not tell how to search the vectors in {folder}: {details}. {REMEDY}")
    clusters = Clusters.read(form, folder / CLUSTERS_FILE)
    if (clusters.index.d, clusters.index.ntotal) != (vectors.dimension, len(documents)):
        raise ValueError(f"{folder / CLUSTERS_FILE} holds other vectors than {folder / SEGMENTS}. {REMEDY}")
    return documents, SegmentedVectors(documents, clusters, Tuning(**tuning))


def copy_segment(source: Segment, rows: Iterable[int], target: SegmentWriter) -> None:
    """Add some documents of a segment to one that is being written."""
    places = iter(rows)
    while batch := list(islice(places, _BATCH)):
        target.add([source.document(row) for row in batch], source.matrix(np.array(batch, np.int64)))
