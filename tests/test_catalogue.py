"""The articles of an index as a table."""

from pathlib import Path

import pytest

from rag_app.corpus.catalogue import ArticleRow, count_articles, find_articles, list_articles
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.filters import Filter
from rag_app.index import Index, build_index

LONG = make_document(
    "한빛 3호가 발사됐다. 연구원이 밝혔다. " * 60,
    title="긴 기사",
    date="2025-02-01",
    section="기술",
    path="/자료/a.csv",
)
ARTICLES = [
    make_document("가람호수의 물이 따뜻해졌다.", title="호수", source="누리통신", date="2025-01-02", section="환경"),
    LONG,
    make_document("날짜가 없는 글이다.", path="/자료/b.txt"),
    make_document("어제 나온 글이다.", title="어제", date="어제"),
]


@pytest.fixture(params=["exact", "ivf"])
def index(request: pytest.FixtureRequest, tmp_path: Path, tiny_static: Path) -> Index:
    return build_index(tmp_path, ARTICLES, load_embeddings(str(tiny_static)), passage_chars=300, vectors=request.param)


def test_each_article_is_a_row_and_the_newest_comes_first(index: Index) -> None:
    rows = list_articles(index.snapshot.store)
    assert [row.title for row in rows] == ["긴 기사", "호수", "", "어제"]
    assert rows[0].characters == len(LONG.page_content)
    assert rows[0].passages == len(index) - 3 > 1
    assert rows[0].doc_id == LONG.id
    assert rows[0].file == "a.csv"
    assert rows[1] == ArticleRow(str(ARTICLES[0].id), "호수", "누리통신", "환경", "2025-01-02", "", 15, 1)


def test_what_was_deleted_is_no_row(index: Index) -> None:
    index.delete([str(LONG.id)])
    assert "긴 기사" not in {row.title for row in list_articles(index.snapshot.store)}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", 4),
        ("호수", 1),
        ("누리통신 환경", 1),
        ("2025", 2),
        ("A.CSV", 1),
        ("호수 기술", 0),
    ],
)
def test_every_word_must_be_found_somewhere(index: Index, words: str, found: int) -> None:
    assert len(find_articles(list_articles(index.snapshot.store), words)) == found


@pytest.mark.parametrize(
    ("filter", "count"), [({}, 4), ({"section": {"$in": ["기술"]}}, 1), ({"date": {"$gte": "2025-01-02"}}, 3)]
)
def test_articles_are_counted_not_passages(index: Index, filter: Filter, count: int) -> None:
    assert count_articles(index.snapshot.store, filter) == count
