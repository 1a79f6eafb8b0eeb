from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_app.disk.metadata_columns import Columns, ColumnsBuilder
from rag_app.filters import Filter, matches

ROWS: list[dict[str, Any]] = [
    {"section": "경제", "views": 1, "new": True, "date": "2025-01-01"},
    {"section": "정치", "views": 1.5, "tags": ["쌀"]},
    {"views": "1", "new": 1, "section": None, "date": "2025-02-01", "title": "제목"},
    {},
    {"section": "경제", "late": 0},
]


def columns(folder: Path, rows: list[dict[str, Any]] = ROWS) -> Columns:
    builder = ColumnsBuilder()
    for row in rows:
        builder.add(row)
    builder.write(folder)
    return Columns(folder)


@pytest.mark.parametrize(
    "filter",
    [
        {},
        {"section": "경제"},
        {"section": {"$ne": "경제"}},
        {"section": {"$nin": ["경제"]}, "views": {"$gte": 1}},
        {"views": 1},
        {"views": "1"},
        {"new": True},
        {"date": {"$gte": "2025-01-01", "$lt": "2025-02-01"}},
        {"nowhere": 1},
        {"nowhere": {"$ne": 1}},
        {"late": {"$lte": 0}},
    ],
)
def test_columns_keep_what_the_documents_keep(tmp_path: Path, filter: Filter) -> None:
    found = columns(tmp_path).matches(filter)
    assert found is not None
    assert found.tolist() == [matches(row, filter) for row in ROWS]


@pytest.mark.parametrize("filter", [{"tags": {"$in": ["쌀"]}}, {"title": "제목"}, lambda metadata: True])
def test_what_is_in_no_column_is_left_to_the_documents(tmp_path: Path, filter: Filter) -> None:
    assert columns(tmp_path).matches(filter) is None


def test_a_key_of_too_many_values_has_no_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_app.disk.metadata_columns._MOST_VALUES", 3)
    found = columns(tmp_path, [{"n": n, "kind": n % 3} for n in range(9)])
    assert found.matches({"n": 1}) is None
    kinds = found.matches({"kind": 1})
    assert kinds is not None
    assert np.flatnonzero(kinds).tolist() == [1, 4, 7]


def test_no_documents_give_no_rows(tmp_path: Path) -> None:
    found = columns(tmp_path, []).matches({"section": "경제"})
    assert found is not None
    assert found.shape == (0,)
