from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

pytest.importorskip("streamlit", reason="the ui extra is not installed")

from rag_app.conversations.turn import Turn
from rag_app.page.chat import cards


def turn(*cited: bool, **state: Any) -> Turn:
    documents = [
        Document(str(number), metadata={"citation": number, "cited": is_cited})
        for number, is_cited in enumerate(cited, start=1)
    ]
    return Turn("언제인가요?", documents=documents, **state)


def shown(asked: Turn) -> tuple[str, str]:
    in_sight, folded = cards._sorted(asked)
    return "".join(one.page_content for one in in_sight), "".join(one.page_content for one in folded)


def test_cited_sources_are_in_sight() -> None:
    assert shown(turn(False, True, False, finished=True, written=True, answer="답 [2].")) == ("2", "13")
    assert shown(turn(True, False, answer="“답” [1]")) == ("1", "2")


def test_so_is_what_an_answer_cites_that_broke_off() -> None:
    assert shown(turn(False, False, False, written=True, answer="첫째 [3]. 둘째 [1")) == ("3", "12")


def test_a_refusal_shows_the_nearest_articles() -> None:
    assert shown(turn(*[False] * 5, finished=True, refused=True)) == ("123", "45")


def test_an_article_is_opened_from_the_index_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Open:
        path = Path("here")

    monkeypatch.setattr(cards, "current_index", lambda path, backend: f"opened {path}")
    here: Any = Open()
    assert cards._index_of(Turn("?", index="here"), here) is here
    assert cards._index_of(Turn("?"), here) is here
    there: Any = cards._index_of(Turn("?", index="there"), here)
    assert there == "opened there"
