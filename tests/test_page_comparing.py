"""A comparison in the background: it is found again, can be stopped, and says what went wrong."""

import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the ui extra is not installed")

from rag_app.data import sample_documents
from rag_app.embeddings import load_embeddings
from rag_app.explaining.comparison import RUNS, Answer, build_system
from rag_app.index import Index, build_index
from rag_app.page.compare.comparing import Comparing, System, compare
from rag_app.page.compare.ranks_html import stage_seconds, times_html
from rag_app.settings import Settings

QUESTION = "로켓이 왜 안 떴어?"


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[System, Index]]:
    index = build_index(tmp_path_factory.mktemp("comparing") / "news", sample_documents(), load_embeddings())
    return [(System("news", kind), index) for kind in ("base", "hybrid", "hybrid+rerank")]


def test_every_system_answers_with_a_sentence_for_each_article(systems: list[tuple[System, Index]]) -> None:
    begun = Comparing(QUESTION, systems, "embedded", Settings())
    assert begun.finished(60)
    answers, quotes = begun.result()
    assert [found.runs for found in answers] == [RUNS] * 3
    for document in (document for found in answers for document in found.articles[:10]):
        start, end = quotes[str(document.id)]
        assert document.page_content[start:end].strip()


def test_the_same_question_is_not_asked_again_until_that_is_wanted(systems: list[tuple[System, Index]]) -> None:
    first, second = (compare(QUESTION, systems[:2], None, Settings()) for _ in range(2))
    assert first is second
    assert compare(QUESTION, systems[:2], None, Settings(), number=1) is not first
    assert compare("한파는?", systems[:2], None, Settings()) is not first


def test_articles_added_meanwhile_are_a_new_comparison(tmp_path: Path) -> None:
    documents = sample_documents()
    index = build_index(tmp_path / "news", documents[:20], load_embeddings())
    chosen = [(System("news", kind), index) for kind in ("lexical", "base")]
    before = compare(QUESTION, chosen, None, Settings())
    index.add(documents[20:22])
    assert compare(QUESTION, chosen, None, Settings()) is not before


def test_stopped_it_tells_what_was_found(systems: list[tuple[System, Index]], monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return build_system(*args, **kwargs)

    monkeypatch.setattr("rag_app.page.compare.comparing.build_system", wait)
    running = Comparing(QUESTION, systems[:2], None, Settings())
    assert begun.wait(60)
    assert not running.finished()
    assert not running.asking
    running.stop()
    go_on.set()
    assert running.finished(60)
    assert [(found.runs, len(found.articles) > 9) for found in running.result().answers] == [(0, True), (0, True)]


def test_what_goes_wrong_is_raised_where_it_can_be_shown(systems: list[tuple[System, Index]]) -> None:
    begun = Comparing(QUESTION, systems, "/nowhere/model", Settings())
    assert begun.finished(60)
    with pytest.raises(FileNotFoundError, match="/nowhere/model"):
        begun.result()


def test_the_longest_bar_is_full_also_where_it_is_no_stage_of_the_search() -> None:
    answer = Answer((), 1.0, {"lexical": 0.2}, 1)
    longest = max(stage_seconds(answer).values())
    assert stage_seconds(answer) == {"lexical": 0.2, "other": 0.8}
    assert "width:100.0%" in times_html(answer, longest)
