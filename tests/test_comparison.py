"""Systems side by side: what moved, what only one of them found, and what the times are medians of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import SkipValidation

from rag_app.compressors import load_reranker
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.explaining import comparison
from rag_app.explaining.comparison import (
    KINDS,
    RERANKED,
    Answer,
    Move,
    ask_side_by_side,
    best_passages,
    build_system,
    dropped,
    leading_articles,
    move,
    only_finders,
)
from rag_app.index import Index, build_index
from rag_app.timing import timed

NEWS = [
    make_document("헬륨 배관에서 누출이 확인돼 발사가 미뤄졌다.", title="한빛 3호 발사 연기", date="2025-01-06"),
    make_document("로켓이 폭발한 까닭은 스펀지 조각이었다.", title="은하로 사고 원인", date="2025-03-02"),
    make_document("수도권에 한파가 와 수도가 얼었다.", title="한파 동파 신고", date="2025-01-10"),
]


class Known(BaseRetriever):
    """Finds what it is given, and notes when it was asked."""

    name: str
    ids: Sequence[str]
    asked: SkipValidation[list[str]]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        self.asked.append(self.name)
        with timed("dense"):
            return [Document(page_content=id_, id=f"{id_}:0", metadata={"doc_id": id_}) for id_ in self.ids]


def answer(*ids: str) -> Answer:
    documents = [Document(page_content=id_, metadata={"doc_id": id_}) for id_ in ids]
    return Answer(tuple(documents), 1.0, {}, 3)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return build_index(tmp_path_factory.mktemp("compare") / "index", NEWS, load_embeddings())


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        (3, 1, Move("up", 2)),
        (1, 4, Move("down", 3)),
        (2, 2, Move("same")),
        (None, 5, Move("new")),
        (5, None, Move("gone")),
    ],
)
def test_moves(before: int | None, after: int | None, moved: Move) -> None:
    assert move(before, after) == moved


def test_the_union_is_ordered_by_the_best_rank_anywhere() -> None:
    answers = [answer("a", "b", "c", "x"), answer("d", "a", "b", "x")]
    assert list(leading_articles(answers, 3)) == ["a", "d", "b", "c"]


def test_what_only_one_system_found_names_that_system() -> None:
    assert only_finders([answer("a", "b"), answer("a", "c"), answer("a", "c")], 2) == {"b": 0}
    assert only_finders([answer("a", "b"), answer("b", "a")], 1) == {"a": 0, "b": 1}


def test_what_left_the_first_places_says_where_it_went() -> None:
    left = dropped(answer("a", "b", "c", "d"), answer("b", "e", "a"), 2)
    assert [(document.metadata["doc_id"], was, now) for document, was, now in left] == [("a", 1, 3)]
    assert [now for *_, now in dropped(answer("a"), answer("b"), 2)] == [None]


def test_an_article_ranks_by_its_best_passage() -> None:
    passages = [Document(page_content=text, metadata={"doc_id": text[0]}) for text in ("a1", "b1", "a2", "c1")]
    assert [passage.page_content for passage in best_passages(passages)] == ["a1", "b1", "c1"]


def test_systems_are_asked_by_turns_and_the_first_round_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    clock = iter(range(1000))
    monkeypatch.setattr(comparison, "perf_counter", lambda: float(next(clock)) ** 2)
    systems = [Known(name=name, ids=["a", "b"], asked=asked) for name in ("first", "second")]
    first, second = ask_side_by_side("물음", systems, forget=lambda: asked.append("forget"), runs=3, seconds=1e9)
    measured = ["forget", "first", "forget", "second"]
    assert asked == ["first", "second", *measured, *measured, *measured]
    assert first.runs == second.runs == 3
    assert first.ranks == {"a": 1, "b": 2}
    # The clock is read at 0, then by each question twice and after each measured round: question n lasts 2 * start + 1.
    starts = [5, 10, 15]
    assert first.seconds == 2 * starts[1] + 1
    assert set(first.stages) == {"dense"}


def test_one_round_is_measured_however_long_it_takes_and_no_more_then() -> None:
    asked: list[str] = []
    [found] = ask_side_by_side("물음", [Known(name="slow", ids=["a"], asked=asked)], seconds=0.0)
    assert (found.runs, asked) == (1, ["slow", "slow"])


def test_stopped_it_keeps_what_was_found() -> None:
    asked: list[str] = []
    systems = [Known(name=name, ids=[name], asked=asked) for name in ("a", "b")]
    answers = ask_side_by_side("물음", systems, before_each=lambda run, system: (run, system) < (0, 1))
    assert asked == ["a", "b"]
    assert [(found.runs, list(found.ranks)) for found in answers] == [(0, ["a"]), (0, ["b"])]
    assert all(found.seconds > 0 for found in answers)


def test_each_kind_of_system_runs_its_stages(index: Index) -> None:
    reranker = load_reranker(top_n=None)
    systems = [build_system(index, kind, k=3, reranker=reranker) for kind in KINDS]
    answers = ask_side_by_side("로켓 발사가 왜 미뤄졌나?", systems, runs=1, forget=reranker.forget)
    stages = [set(found.articles[0].metadata["stages"]) for found in answers]
    assert stages == [
        {"lexical", "fusion"},
        {"dense", "fusion"},
        {"lexical", "dense", "fusion"},
        {"lexical", "dense", "fusion", "rerank"},
    ]
    assert [set(found.stages) for found in answers] == [
        {"lexical", "fusion"},
        {"encode", "dense", "fusion"},
        {"encode", "lexical", "dense", "fusion"},
        {"encode", "lexical", "dense", "fusion", "rerank"},
    ]


def test_one_search_alone_does_not_look_at_dates(index: Index) -> None:
    question = "2025년 1월 발사 소식"
    alone, fused = (build_system(index, kind, k=3).invoke(question) for kind in ("base", "hybrid"))
    assert not any("timely" in document.metadata["stages"]["fusion"] for document in alone)
    assert any("timely" in document.metadata["stages"]["fusion"] for document in fused)


@pytest.mark.parametrize(("kind", "said"), [(RERANKED, "needs a reranker"), ("bm25", "There is no system")])
def test_what_cannot_be_built_is_refused(index: Index, kind: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build_system(index, kind, k=3)


def test_another_index_has_systems_of_its_own(index: Index, tmp_path: Path, tiny_static: Path) -> None:
    tuned = build_index(tmp_path / "tuned", NEWS, load_embeddings(tiny_static))
    answers: list[Any] = ask_side_by_side("서울", [build_system(one, "base", k=3) for one in (index, tuned)], runs=1)
    scores = [found.articles[0].metadata["score"] for found in answers]
    assert scores[0] != scores[1]
    assert set(answers[0].ranks) == set(answers[1].ranks)  # the same article has the same id in every index
