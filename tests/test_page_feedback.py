"""Thumbs and the review of feedback, run by Streamlit's own test harness."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rag_app.conversations.turn import Turn
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.feedback.entries import choose_right, rate
from rag_app.feedback.store import FILE_NAME, Counts, Feedback
from rag_app.index import build_index
from rag_app.rendering.text import escape_markdown
from rag_app.retrieval import HybridRetriever

pytest.importorskip("streamlit", reason="the ui extra is not installed")

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

HOSTILE = "<img src=x onerror=alert(1)> ![그림](//192.0.2.1/a) *비*"
ARTICLES = [
    make_document(
        "기상청은 주말에 비가 온다고 예보했다. 우산을 챙기는 것이 좋다.", title=HOSTILE, source="<b>누리</b>"
    ),
    make_document("국회는 내년 예산안을 의결했다. 찬성이 반대보다 많았다.", title="예산", source="누리통신"),
    make_document("프로야구 개막전이 잠실에서 열렸다. 관중 2만 명이 들었다.", title="개막", source="누리통신"),
    make_document("합창단이 새 노래를 불렀다. 공연은 두 시간 이어졌다.", title="합창", source="누리통신"),
]
RAIN, VOTE, GAME, SONG = (str(article.id) for article in ARTICLES)


@pytest.fixture(scope="module")
def news(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("feedback") / "news"
    build_index(path, ARTICLES, load_embeddings())
    return path


@pytest.fixture
def feedback(news: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Feedback:
    monkeypatch.setenv("RAG_INDEX", str(news))
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    return Feedback(tmp_path / "home" / FILE_NAME)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was searched for."""
    asked: list[str] = []
    search: Callable[..., Any] = HybridRetriever._get_relevant_documents

    def count(self: HybridRetriever, query: str, **options: Any) -> Any:
        asked.append(query)
        return search(self, query, **options)

    monkeypatch.setattr(HybridRetriever, "_get_relevant_documents", count)
    return asked


def below_an_answer() -> None:
    import streamlit as st

    from rag_app.conversations.turn import Turn
    from rag_app.page.feedback.thumbs import right_article, show_thumbs
    from rag_app.page.resources import current_index
    from rag_app.settings import load_settings

    index = current_index(load_settings().index, None)
    documents = list(index.snapshot.store.documents.values())
    cited = [d.model_copy(update={"metadata": {**d.metadata, "cited": n == 0}}) for n, d in enumerate(documents[:3])]
    turn = Turn("비가 오나요?", id="t1", documents=cited, finished=True, chat_model="모델", reranker="다시")
    show_thumbs(turn, index, "c1")
    draw = right_article(turn, index, "c1")
    for document in cited:
        with st.container():
            draw(document)


def review() -> None:
    from rag_app.page.feedback.view import show_review
    from rag_app.page.resources import current_index
    from rag_app.settings import load_settings

    settings = load_settings()
    show_review(current_index(settings.index, None), settings)


def shown(script: Callable[[], None]) -> "AppTest":
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_function(script, default_timeout=30).run()
    assert not app.exception
    return app


def press(app: "AppTest", key: str) -> "AppTest":
    app.button(key=key).click().run()
    assert not app.exception
    return app


def labelled(app: "AppTest", label: str) -> Any:
    return next(button for button in app.button if button.label == label)


def thumb(app: "AppTest", value: str | None) -> "AppTest":
    pills = app.button_group(key="thumb t1")
    pills.set_value(value).run()
    assert not app.exception
    return app


def test_a_thumb_is_kept_changed_and_taken_back(feedback: Feedback, searches: list[str]) -> None:
    app = thumb(shown(below_an_answer), "up")
    entry = feedback.find("t1")
    assert entry is not None
    assert (entry.thumb, entry.conversation, len(entry.shown)) == ("up", "c1", 3)
    assert entry.right == entry.shown[0].doc_id, "the only article that is cited"
    assert entry.models == {"embeddings": "embedded", "reranker": "다시", "chat": "모델"}
    assert not app.button, "a good answer asks for nothing"
    again = shown(below_an_answer)
    assert again.button_group(key="thumb t1").value == "up", "a reload finds it"
    thumb(again, "down")
    entry = feedback.find("t1")
    assert entry is not None
    assert (entry.thumb, entry.right) == ("down", "")
    thumb(again, None)
    assert feedback.find("t1") is None
    assert searches == []


def test_after_a_thumbs_down_each_card_can_be_the_right_one(feedback: Feedback, searches: list[str]) -> None:
    app = shown(below_an_answer)
    assert not app.button
    thumb(app, "down")
    first, second, _ = (source.doc_id for source in feedback.entries()[0].shown)
    press(app, f"right t1 {second}")
    assert feedback.entries()[0].right == second
    assert [b.label for b in app.button].count("이 기사가 맞습니다") == 2
    press(app, f"right t1 {first}")
    assert feedback.entries()[0].right == first
    press(app, f"right t1 {first}")
    assert feedback.entries()[0].right == ""
    assert searches == []


def give(feedback: Feedback, number: int, *, right: str = "", searched: str = "") -> None:
    documents = [article.model_copy() for article in (ARTICLES[1], ARTICLES[0], ARTICLES[2])]
    turn = Turn(f"{number}번째 {HOSTILE}", id=f"t{number}", documents=documents, searched=searched)
    feedback.save(choose_right(rate(turn, "down"), right), ARTICLES)


def test_a_review_ticks_negatives_words_the_question_accepts_and_takes_back(
    feedback: Feedback, searches: list[str]
) -> None:
    assert "아직 피드백이 없습니다" in shown(review).info[0].value
    give(feedback, 1, right=RAIN)
    give(feedback, 2, right=RAIN, searched="혼자 읽히는 질문")
    app = shown(review)
    app.text_area(key="wording t1").set_value("주말에 비가 오나요?").run()
    vote = app.checkbox(key=f"negative t1 {RAIN} {VOTE}")
    assert vote.value
    vote.uncheck().run()
    app.selectbox(key=f"answer t1 {RAIN}").set_value("우산을 챙기는 것이 좋다.").run()
    labelled(app, "승인").click().run()
    assert not app.exception
    entry = feedback.find("t1")
    assert entry is not None
    assert (entry.state, entry.asks, entry.negatives) == ("accepted", "주말에 비가 오나요?", (GAME,))
    assert entry.answer == "우산을 챙기는 것이 좋다."
    assert app.text_area[0].value == "혼자 읽히는 질문", "the next one"
    labelled(app, "되돌리기").click().run()
    assert feedback.counts() == Counts(new=2)
    labelled(app, "거절").click().run()
    labelled(app, "거절").click().run()
    assert feedback.counts() == Counts(rejected=2)
    assert "모두 검토했습니다" in app.success[0].value
    app.button_group(key="feedback filter").set_value("rejected").run()
    labelled(app, "되돌리기").click().run()
    assert not app.exception
    assert feedback.counts() == Counts(new=1, rejected=1)
    assert searches == []


def test_another_article_is_found_by_words_searched_for_once_and_taken(feedback: Feedback, searches: list[str]) -> None:
    give(feedback, 1)
    app = shown(review)
    assert labelled(app, "승인").disabled
    app.text_input(key="search for t1").set_value("합창단 노래").run()
    assert app.radio[0].options[1] == "합창"
    app.radio[0].set_value(GAME).run()
    app.radio[0].set_value(SONG)  # just before the button is pressed
    labelled(app, "이 기사로 정하기").click().run()
    assert not app.exception
    entry = feedback.find("t1")
    assert entry is not None
    assert entry.right == SONG
    assert feedback.articles([SONG])[SONG].page_content == ARTICLES[3].page_content
    app.run()
    assert searches == ["합창단 노래"]
    app.radio[0].set_value(GAME).run()
    labelled(app, "승인").click().run()
    entry = feedback.find("t1")
    assert entry is not None
    assert (entry.right, entry.state) == (SONG, "new"), "an article that is marked and not taken is asked about first"
    assert "먼저" in app.toast[0].value


def test_what_questions_and_articles_hold_is_shown_as_text(feedback: Feedback) -> None:
    give(feedback, 1, right=RAIN)
    app = shown(review)
    escaped = escape_markdown(HOSTILE)
    assert f"{escape_markdown('1번째 ')}{escaped}" in app.button(key="entry t1").label
    assert any(escaped in text.value for text in app.markdown)
    assert all("<img" not in element.proto.body for element in app.get("html"))
    assert escaped in app.radio[0].options
    assert not any("<b>" in caption.value for caption in app.caption)
    assert any(str(feedback.path.name) in caption.value.replace("\\", "") for caption in app.caption)


def test_a_file_that_cannot_be_read_is_said(feedback: Feedback) -> None:
    feedback.path.parent.mkdir()
    feedback.path.write_bytes(b"something else" * 100)
    assert "is not a file of feedback" in shown(review).error[0].value.replace("\\", "")
    assert any("is not a file of feedback" in c.value.replace("\\", "") for c in shown(below_an_answer).caption)
