from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from numpy.typing import NDArray

from rag_app.check import check_index
from rag_app.documents import make_document
from rag_app.index import build_index
from rag_app.lexical import LexicalHit
from rag_app.stores.address import Address
from rag_app.stores.server import Row
from tests.in_memory_server import Server, Store, memory_server

__all__ = ["memory_server"]

PLACE = Address("memory", "here", None, "", "news")
LONG = make_document(
    "\n\n".join(f"{n}번째 문장은 여기에서 끝난다. 그리고 이어진다." for n in range(200)), title="긴 글"
)
TOPICS = ["경제", "날씨", "문화", "과학", "사회"]
NEWS = [make_document(f"{topic} 소식을 전한다.", title=f"{topic} 기사") for topic in TOPICS]


@pytest.fixture
def rows(memory_server: Server) -> dict[str, Row]:
    """The rows of a sound index, as they lie in the database."""
    build_index(PLACE, [*NEWS, LONG, make_document("!!! ???")], DeterministicFakeEmbedding(size=8))
    assert check_index(PLACE) == []
    return memory_server.tables["news"].rows


def _passages(rows: dict[str, Row]) -> list[str]:
    """The ids of the passages of the long article, in order."""
    return sorted((id_ for id_ in rows if ":" in id_), key=lambda id_: int(id_.partition(":")[2]))


@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_missing_passage_is_found(place: int, rows: dict[str, Row]) -> None:
    assert len(_passages(rows)) > 4
    del rows[_passages(rows)[place]]
    [problem] = check_index(PLACE)
    assert problem.startswith("1 articles are not whole")
    assert str(LONG.id) in problem


def test_a_passage_that_is_there_twice_is_found(rows: dict[str, Row], monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(Store):
        def scan(self, *args: object) -> list[Document]:  # type: ignore[override]
            return [row.passage for _, row in sorted(rows.items()) for _ in range(2 if row.passage.id == LONG_1 else 1)]

    LONG_1 = _passages(rows)[1]  # noqa: N806
    monkeypatch.setattr("tests.in_memory_server.Store", Twice)
    first, second = check_index(PLACE)
    assert first.startswith("1 passages are there more than once")
    assert LONG_1 in first
    assert "counts" in second


@pytest.mark.parametrize("vector", [[1.0, 1.0, 0, 0, 0, 0, 0, 0], [np.nan] * 8])
def test_a_vector_that_is_not_normalised_is_found(vector: list[float], rows: dict[str, Row]) -> None:
    id_ = str(NEWS[0].id)
    rows[id_] = rows[id_]._replace(vector=np.array(vector, np.float32))
    [problem] = check_index(PLACE)
    assert problem.startswith("1 vectors are missing, not normalised or of another dimension")
    assert id_ in problem


def test_vectors_of_another_dimension_are_found(rows: dict[str, Row]) -> None:
    for id_, row in rows.items():
        rows[id_] = row._replace(vector=np.array([1, 0, 0], np.float32))
    [problem] = check_index(PLACE)
    assert problem.startswith(f"{len(rows)} vectors")


def test_words_that_find_nothing_are_found(rows: dict[str, Row]) -> None:
    id_ = str(NEWS[2].id)
    rows[id_] = rows[id_]._replace(units=dict.fromkeys(rows[id_].units, "다른 말"))
    [problem] = check_index(PLACE)
    assert problem.startswith("1 passages are not found by their own words")
    assert id_ in problem


def test_a_passage_that_only_its_id_finds_is_found(rows: dict[str, Row], monkeypatch: pytest.MonkeyPatch) -> None:
    lost = str(NEWS[2].id)

    class Losing(Store):
        def search_units(self, terms: Any, k: int, *, ids: Any = None) -> list[LexicalHit]:
            return [hit for hit in super().search_units(terms, k, ids=ids) if ids is not None or hit.id != lost]

    monkeypatch.setattr("tests.in_memory_server.Store", Losing)
    [problem] = check_index(PLACE)
    assert problem.startswith("1 passages are not found by their own words")
    assert lost in problem


def test_a_missing_vector_is_found(rows: dict[str, Row], monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking(Store):
        def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
            if NEWS[1].id in ids:
                raise KeyError(NEWS[1].id)
            return super().vectors(ids)

    monkeypatch.setattr("tests.in_memory_server.Store", Lacking)
    [problem] = check_index(PLACE)
    assert "has no vector" in problem
    assert str(NEWS[1].id) in problem


def test_what_this_version_did_not_make_is_told(memory_server: Server, rows: dict[str, Row]) -> None:
    memory_server.tables["news"].manifest = "{}"
    [problem] = check_index(PLACE)
    assert "not made by this version" in problem


def test_where_there_is_none_is_an_error(memory_server: Server) -> None:
    with pytest.raises(FileNotFoundError, match="memory://here/news"):
        check_index(PLACE)


def test_where_no_words_can_be_searched_nothing_is_wrong_and_it_is_said(
    rows: dict[str, Row], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Wordless(Store):
        has_words = False

        def search_units(self, *args: Any, **kwargs: Any) -> list[LexicalHit]:
            raise ValueError("It has no BM25.")

    monkeypatch.setattr("tests.in_memory_server.Store", Wordless)
    assert rows
    assert check_index(PLACE) == []
    assert "memory://here/news was not checked by words" in caplog.text
