"""The articles of an index as a table: what a list, a search by title and an overview need, without their texts."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import PurePath
from sys import intern
from typing import Any, NamedTuple

import numpy as np

from rag_app.disk.segmented import SegmentedDocuments
from rag_app.filters import Filter, matching_ids
from rag_app.korean import normalise
from rag_app.stores.cosines import CosineStore
from rag_app.stores.server import Scope, ServerStore

NO_DATE = "0000"
BEGINNING = {"start": 0}
"""What the first passage of each article matches, and no other."""
_ASKED = 200  # ids that a server is asked for at once


class ArticleRow(NamedTuple):
    """An article in a table; what it does not say is empty.

    Attributes:
        doc_id: Its id.
        title: Its title.
        source: Its outlet.
        section: Its section.
        date: As it says, ``YYYY-MM-DD`` where it could be read.
        path: The file it was read from.
        characters: How long its text is.
        passages: How many it was cut into.
    """

    doc_id: str
    title: str
    source: str
    section: str
    date: str
    path: str
    characters: int
    passages: int

    @property
    def file(self) -> str:
        """The name of its file, without folders."""
        return PurePath(self.path).name


def list_articles(store: CosineStore) -> list[ArticleRow]:
    """Return the articles of a store, the newest first and those without a date last."""
    metadatas: dict[str, dict[str, Any]] = {}
    passages: Counter[str] = Counter()
    ends: dict[str, int] = {}
    for metadata, length in _passages(store):
        doc_id = str(metadata["doc_id"])
        metadatas.setdefault(doc_id, metadata)
        passages[doc_id] += 1
        ends[doc_id] = max(ends.get(doc_id, 0), int(metadata.get("end", length)))
    rows = [_row(doc_id, metadata, ends[doc_id], passages[doc_id]) for doc_id, metadata in metadatas.items()]
    rows.sort(key=lambda row: row.title)
    rows.sort(key=lambda row: row.date if row.date[:4].isdigit() else NO_DATE, reverse=True)
    return rows


def find_articles(rows: Sequence[ArticleRow], words: str) -> list[ArticleRow]:
    """Return the articles that hold every word somewhere in title, outlet, section, date or file, in any case."""
    wanted = normalise(words).casefold().split()
    if not wanted:
        return list(rows)

    def fits(row: ArticleRow) -> bool:
        shown = f"{row.title}\n{row.source}\n{row.section}\n{row.date}\n{row.path}".casefold()
        return all(word in shown for word in wanted)

    return [row for row in rows if fits(row)]


def count_articles(store: CosineStore, filter: Filter) -> int:
    """Return how many articles of a store a filter keeps."""
    documents = store.documents
    ids = matching_ids(documents, filter)
    if isinstance(ids, Scope) and isinstance(store, ServerStore):
        return store.count({**ids.filter, **BEGINNING})
    if not isinstance(documents, SegmentedDocuments):
        return len({documents[id_].metadata["doc_id"] for id_ in ids})
    mask, first = documents.matching(filter).mask, 0
    kept = []
    for part in documents.segments.parts:
        kept.append(part.live_articles(~mask[first : first + len(part)]))
        first += len(part)
    return len(np.unique(np.concatenate(kept)))


def holds_articles(store: ServerStore, doc_ids: Collection[str]) -> bool:
    """Return whether a server has all of some articles."""
    ids = sorted(doc_ids)
    parts = (ids[start : start + _ASKED] for start in range(0, len(ids), _ASKED))
    return all(store.count({"doc_id": {"$in": part}, **BEGINNING}) == len(part) for part in parts)


def _passages(store: CosineStore) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the metadata and length of each passage, without making Documents of those on disk."""
    if isinstance(store, ServerStore):
        yield from ((passage.metadata, len(passage.page_content)) for passage in store.scan())
        return
    documents = store.documents
    if not isinstance(documents, SegmentedDocuments):
        yield from ((document.metadata, len(document.page_content)) for document in documents.values())
        return
    for part, gone in documents.segments.with_gone():
        for place in np.flatnonzero(~gone).tolist():
            record = part.record(place)
            yield record["metadata"], len(record["text"])


def _row(doc_id: str, metadata: dict[str, Any], characters: int, passages: int) -> ArticleRow:
    source, section, date, path = (_text(metadata.get(key)) for key in ("source", "section", "date", "path"))
    return ArticleRow(doc_id, _text(metadata.get("title")), source, section, date, path, characters, passages)


def _text(value: Any) -> str:
    """Return a value of metadata as text; equal ones share their memory."""
    values: Iterable[Any] = value if isinstance(value, list) else [value]
    return intern(", ".join(str(item) for item in values if item is not None))
