"""Metadata as columns, so that a filter over a million documents reads none of them."""

import json
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_app.disk.array_files import read_array, save_array
from rag_app.disk.damage import REMEDY
from rag_app.filters import Filter, holds

CODES_FILE = "columns.npy"
VALUES_FILE = "columns.json"
_MOST_VALUES = 65_536  # a key with more distinct values, as of titles, is looked up in the documents
NOT_KEPT = frozenset({"start", "end", "doc_id", "title", "url"})  # nearly one value for each document
_MOST_TABLES = 64  # conditions that are remembered, as the same filter is asked for again and again
SCALARS = (str, int, float, bool)


class ColumnsBuilder:
    """Collects the columns of documents that come one after the other."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[type, Any], int]] = {}
        self._codes: dict[str, array[int]] = {}
        self._dropped = set(NOT_KEPT)
        self._count = 0

    def add(self, metadata: Mapping[str, Any]) -> None:
        """Add the next document's metadata."""
        for key, value in metadata.items():
            if key in self._dropped or value is None:
                continue
            known = self._values.setdefault(key, {})
            if not isinstance(value, SCALARS) or (len(known) >= _MOST_VALUES and (type(value), value) not in known):
                self._dropped.add(key)
                self._values.pop(key)
                self._codes.pop(key, None)
                continue
            codes = self._codes.setdefault(key, array("i"))
            codes.extend([-1] * (self._count - len(codes)))
            codes.append(known.setdefault((type(value), value), len(known)))
        self._count += 1

    def write(self, folder: Path) -> None:
        """Write the columns to two files in a folder."""
        codes = np.full((len(self._codes), self._count), -1, np.int32)
        for row, column in zip(codes, self._codes.values(), strict=True):
            row[: len(column)] = column
        save_array(folder / CODES_FILE, codes)
        values = {key: [value for _, value in self._values[key]] for key in self._codes}
        record = {"values": values, "dropped": sorted(self._dropped)}
        (folder / VALUES_FILE).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


class Columns:
    """The columns of a folder's documents, read through a memory map.

    Attributes:
        values: The distinct values of each key that is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CODES_FILE
        self.values, self._dropped = _read_values(folder / VALUES_FILE)
        self._codes = read_array(self._path, np.int32, 2)
        if len(self._codes) != len(self.values):
            raise ValueError(f"{self._path} holds {len(self._codes)} columns for {len(self.values)} keys. {REMEDY}")
        self._tables: dict[tuple[str, str], NDArray[np.bool_]] = {}
        self._rows = {key: row for row, key in enumerate(self.values)}

    def __len__(self) -> int:
        """The number of documents."""
        return int(self._codes.shape[1])

    def matches(self, filter: Filter) -> NDArray[np.bool_] | None:
        """Return for each document whether its metadata satisfies a filter; None where that takes the documents."""
        if callable(filter) or not self._dropped.isdisjoint(filter):
            return None
        kept = np.ones(self._codes.shape[1], np.bool_)
        for key, condition in filter.items():
            if key not in self._rows:  # no document has it
                kept &= holds(None, condition)
            else:
                kept &= self._table(key, condition)[self._column(key)]
        return kept

    def distinct(self, key: str) -> list[Any] | None:
        """Return the different values under a key; None where that takes the documents."""
        return None if key in self._dropped else self.values.get(key, [])

    def texts(self, key: str, kept: NDArray[np.bool_]) -> set[str] | None:
        """Return the different texts that some documents have under a key; None where that takes the documents."""
        if key in self._dropped:
            return None
        if key not in self._rows:
            return set()
        values = self.values[key]
        counts = np.bincount(self._column(key)[kept] + 1, minlength=len(values) + 1)
        found = (values[code] for code in np.flatnonzero(counts[1:]).tolist())
        return {value for value in found if isinstance(value, str)}

    def _column(self, key: str) -> NDArray[np.int32]:
        codes: NDArray[np.int32] = self._codes[self._rows[key]]
        if len(codes) and not -1 <= codes.min() <= codes.max() < len(self.values[key]):
            raise ValueError(f"{self._path} is damaged: it names values of {key!r} that there are not. {REMEDY}")
        return codes

    def _table(self, key: str, condition: Any) -> NDArray[np.bool_]:
        """Return whether each code's value satisfies a condition; the last is code -1, no value."""
        try:
            name = (key, json.dumps(condition, sort_keys=True))
        except TypeError:  # neither text nor number, such as a day or an array: not remembered
            return self._new_table(key, condition)
        if name not in self._tables:
            if len(self._tables) >= _MOST_TABLES:
                self._tables = {}
            self._tables[name] = self._new_table(key, condition)
        return self._tables[name]

    def _new_table(self, key: str, condition: Any) -> NDArray[np.bool_]:
        values = (*self.values[key], None)
        return np.fromiter((holds(value, condition) for value in values), np.bool_, len(values))


def _read_values(path: Path) -> tuple[dict[str, list[Any]], frozenset[str]]:
    """Return the distinct values of each key, and the keys that have no column."""
    try:
        record = json.loads(path.read_bytes())
        values, dropped = record["values"], record["dropped"]
        sound = type(values) is dict and all(type(known) is list for known in values.values())
        sound = sound and all(isinstance(value, SCALARS) for known in values.values() for value in known)
        sound = sound and type(dropped) is list and all(type(key) is str for key in dropped)
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise ValueError(f"{path} is damaged: it does not name the values of keys. {REMEDY}")
    return values, frozenset(dropped)
