"""The page, run by Streamlit's own test harness over the bundled sample."""

import re
import threading
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rag_app.chain import REFUSAL
from rag_app.data import load_retrieval_data, sample_documents
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index, open_index
from rag_app.rendering.text import escape_markdown
from rag_app.settings import load_settings
from tests.openai_server import openai_server

pytest.importorskip("streamlit", reason="the ui extra is not installed")

import streamlit_app
from rag_app.conversations.store import Conversations
from rag_app.conversations.turn import Turn
from rag_app.page.chat.view import _history
from rag_app.page.problems import REMEDIES, explain
from rag_app.page.suggestions import COUNT

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from rag_app.page.chat.answering import Answer
    from rag_app.page.chat.history import Current

PAGE = str(Path(streamlit_app.__file__))
ANSWERABLE = "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?"
RERANKED = "모델이 질문과 단락을 나란히 읽고 다시 매긴 점수"
UNANSWERABLE = "quantum chromodynamics lattice"
HOSTILE = make_document(
    "<script>alert(1)</script> 가람호수의 물은 ![그림](http://example.com/a.png)처럼 3~5도, 7~9도로 따뜻해졌다. "
    "가람호수 관리소는 <img src=x onerror=alert(2)> 물고기가 *많이* 늘었다고 $5$ 밝혔다.",
    title="<b>가람호수</b> [누르세요](javascript:alert(3))",
    url="javascript:alert(4)",
    section="<i>환경</i>",
)


@pytest.fixture(scope="module")
def sample_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index"
    build_index(path, sample_documents(), load_embeddings())
    return path


@pytest.fixture
def sample_page(sample_index: Path, monkeypatch: pytest.MonkeyPatch) -> "AppTest":
    return _open(sample_index, monkeypatch)


@pytest.fixture
def hostile_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "AppTest":
    build_index(tmp_path, [HOSTILE], load_embeddings())
    return _open(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("RERANKER", "CHAT_MODEL", "K", "TOP_N", "SOURCES", "MODEL"):
        monkeypatch.delenv(f"RAG_{name}", raising=False)
    monkeypatch.setenv("RAG_HOME", str(tmp_path_factory.mktemp("home")))


def _open(index: Path, monkeypatch: pytest.MonkeyPatch) -> "AppTest":
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("RAG_INDEX", str(index))
    app = AppTest.from_file(PAGE, default_timeout=30).run()
    assert not app.exception
    return app


def _ask(app: "AppTest", question: str) -> "AppTest":
    return _at_rest(app.chat_input[0].set_value(question).run())


def _at_rest(app: "AppTest") -> "AppTest":
    """Run the page until nothing is being answered, as the fragment that looks at an answer does by itself."""
    while any(str(button.key).startswith("stop ") for button in app.button):
        app.run()
    assert not app.exception
    return app


def _texts(app: Any, kind: str) -> list[str]:
    return [str(getattr(element, "value", "")) for element in app.get(kind)]


def _html(app: "AppTest") -> str:
    """Everything shown as HTML but the style sheet."""
    return "\n".join(element.proto.body for element in app.get("html") if "<style>" not in element.proto.body)


def _text(html: str) -> str:
    return re.sub("<[^>]*>", "", html)


def _answer(app: "AppTest") -> str:
    """The last answer as Markdown."""
    return str(app.chat_message[-1].markdown[0].value)


def _labelled(elements: Any, label: str) -> Any:
    return next(element for element in elements if element.label == label)


def test_a_question_gets_a_cited_answer_with_the_quoted_sentence_marked_in_its_source(sample_page: "AppTest") -> None:
    app = _ask(sample_page, ANSWERABLE)
    assert "헬륨 배관 이음매" in _answer(app)
    assert "[:small[출처] 1](#source-" in _answer(app)
    card = _html(app).split('<article class="source"')[1]
    assert "한빛 3호 발사 14시간 앞두고 연기… 헬륨이 샜다" in card
    assert "누리통신 · 2025-01-06 · 기술" in _text(card)
    assert "가상 기사" in card
    assert any("헬륨 배관 이음매에서" in marked for marked in re.findall("<mark>(.*?)</mark>", card))
    assert "낱말 (BM25)" in card


def test_a_question_no_article_answers_is_refused_with_the_nearest_articles_folded(sample_page: "AppTest") -> None:
    app = _ask(sample_page, UNANSWERABLE)
    assert _answer(app) == REFUSAL
    assert [(box.label, box.proto.expanded) for box in app.expander] == [("가까운 기사 2건 더", False)]


def test_a_follow_up_is_searched_with_what_it_refers_to_and_says_so(sample_page: "AppTest") -> None:
    app = _ask(_ask(sample_page, ANSWERABLE), "그곳의 기준치는 얼마였나요?")
    assert [text for text in _texts(app, "caption") if text.startswith("찾은 질문:")] == [
        f"찾은 질문: {ANSWERABLE} 그곳의 기준치는 얼마였나요?"
    ]


def test_of_a_question_without_end_only_the_beginning_is_repeated(sample_page: "AppTest") -> None:
    store = Conversations(load_settings().home / "chat.sqlite")
    id_ = store.create("예산은?")
    store.save(id_, Turn("예산은?", searched=f"{'가' * 6000} 예산은?", answer="없습니다", finished=True))
    sample_page.query_params["c"] = id_
    assert f"찾은 질문: {'가' * 200}…" in _texts(sample_page.run(), "caption")


def test_a_rerun_shows_the_same_answers_and_sources_without_searching_again(
    sample_page: "AppTest", monkeypatch: pytest.MonkeyPatch
) -> None:
    app = _ask(sample_page, ANSWERABLE)
    answer, sources = _answer(app), _html(app)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr("rag_app.retrieval.HybridRetriever._get_relevant_documents", fail)
    app.run()
    assert not app.exception
    assert (_answer(app), _html(app)) == (answer, sources)


def test_the_section_filter_limits_the_sources_and_is_named_above_the_answer(sample_page: "AppTest") -> None:
    sections = _labelled(sample_page.sidebar.multiselect, "분야")
    assert sections.options == ["경제", "기술", "날씨", "문화", "사회", "세계", "스포츠", "정치"]
    sections.set_value(["경제"])
    app = _ask(sample_page, ANSWERABLE)
    origins = re.findall(r'<div class="meta">(.*?)</div>', _html(app))
    assert len(origins) == 5
    assert all(" · 경제" in _text(origin) for origin in origins)
    assert "찾은 범위: 경제" in _texts(app, "caption")


def test_the_date_filter_limits_the_sources(sample_page: "AppTest") -> None:
    chosen = _labelled(sample_page.sidebar.date_input, "날짜")
    assert chosen.value == (date(2025, 1, 5), date(2025, 6, 27))
    chosen.set_value((date(2025, 3, 1), date(2025, 3, 31)))
    app = _ask(sample_page, ANSWERABLE)
    assert "2025-03-" in _html(app)
    assert "2025-01-" not in _html(app)


def test_the_number_of_sources_is_the_one_set(sample_page: "AppTest") -> None:
    _labelled(sample_page.sidebar.slider, "답에 쓸 기사 수").set_value(2)
    assert _html(_ask(sample_page, ANSWERABLE)).count('<article class="source"') == 2


def test_what_an_article_holds_is_shown_as_text(hostile_page: "AppTest") -> None:
    app = _ask(hostile_page, "가람호수의 물은 몇 도로 따뜻해졌나요?")
    assert r"\<script\>alert\(1\)\</script\>" in _answer(app)
    assert r"\!\[그림\]\(" in _answer(app)
    assert r"http\://example\.com/a\.png" in _answer(app)
    assert r"3\~5도, 7\~9도" in _answer(app)
    shown = _html(app)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "&lt;b&gt;가람호수&lt;/b&gt;" in shown
    assert "&lt;i&gt;환경&lt;/i&gt;" in shown
    for dangerous in ("<script", "<img", "<b>", "<i>", "<a ", 'href="javascript'):
        assert dangerous not in shown


def test_a_question_is_shown_as_text(sample_page: "AppTest") -> None:
    app = _ask(sample_page, "![x](http://example.com/x.png) <b>한빛 3호</b>는?")
    assert app.chat_message[0].markdown[0].value == r"\!\[x\]\(http\://example\.com/x\.png\) \<b\>한빛 3호\</b\>는?"


def test_a_blank_question_is_asked_for_and_not_searched(sample_page: "AppTest") -> None:
    app = _ask(sample_page, " \u200b ")
    assert "질문이 비어 있습니다" in _texts(app, "warning")[0]
    assert not app.chat_message


def test_the_sample_s_own_questions_are_offered_and_asked_by_a_click(sample_page: "AppTest") -> None:
    offered = [button.label for button in sample_page.main.button]
    asked = {question.text for question in load_retrieval_data("sample").questions}
    assert len(offered) == COUNT
    assert set(offered) <= asked
    app = _at_rest(sample_page.main.button[0].click().run())
    assert not app.exception
    assert [message.name for message in app.chat_message] == ["user", "assistant"]
    assert app.chat_message[0].markdown[0].value == offered[0]
    assert not {button.label for button in app.main.button} & set(offered)


def test_another_index_offers_what_its_articles_tell_as_text(hostile_page: "AppTest") -> None:
    [offered] = hostile_page.main.button
    assert offered.label == escape_markdown("<b>가람호수</b> [누르세요](javascript:alert(3))")
    app = _at_rest(offered.click().run())
    assert not app.exception
    assert "따뜻해졌다" in _answer(app)


def test_a_new_conversation_leaves_the_old_one_in_the_list(sample_page: "AppTest") -> None:
    app = _ask(sample_page, ANSWERABLE)
    _labelled(app.sidebar.button, "새 대화").click().run()
    assert not app.chat_message
    assert "c" not in app.query_params
    next(button for button in app.sidebar.button if button.label.startswith(ANSWERABLE)).click().run()
    assert not app.exception
    assert "헬륨 배관 이음매" in _answer(app)


def test_a_reload_finds_the_conversation_by_its_address(sample_page: "AppTest") -> None:
    from streamlit.testing.v1 import AppTest

    before = _ask(sample_page, ANSWERABLE)
    after = AppTest.from_file(PAGE, default_timeout=30)
    after.query_params["c"] = before.query_params["c"]
    after.run()
    assert not after.exception
    assert (_answer(after), _html(after)) == (_answer(before), _html(before))


def test_a_question_from_another_view_begins_a_new_conversation(sample_page: "AppTest") -> None:
    app = _ask(sample_page, ANSWERABLE)
    app.session_state["pending"] = "한파 동파 신고 건수는?"
    app.run()
    assert not app.exception
    assert [message.name for message in app.chat_message] == ["user", "assistant"]
    assert app.chat_message[0].markdown[0].value == escape_markdown("한파 동파 신고 건수는?")
    assert len([button for button in app.sidebar.button if "질문 1개" in button.label]) == 2


def test_the_last_question_can_be_answered_again_and_any_be_asked_otherwise(sample_page: "AppTest") -> None:
    app = _ask(_ask(sample_page, ANSWERABLE), "한파 동파 신고 건수는?")
    _at_rest(_labelled(app.main.button, "다시 답하기").click().run())
    assert not app.exception
    assert len(app.chat_message) == 4
    edits = [button for button in app.main.button if button.label == "질문 고치기"]
    edits[0].click().run()
    assert any("그 뒤에 나눈 질문과 답 1개가 지워집니다" in text for text in _texts(app, "caption"))
    app.text_area[0].set_value(" ")
    _labelled(app.button, "고쳐서 묻기").click().run()
    assert _texts(app, "warning") == ["질문을 적어 주세요."]
    assert len(app.chat_message) == 4
    app.text_area[0].set_value("두루시민축구단 김도윤 감독 계약 기간?")
    _at_rest(_labelled(app.button, "고쳐서 묻기").click().run())
    assert not app.exception
    assert [message.name for message in app.chat_message] == ["user", "assistant"]
    assert "2년 6개월" in _answer(app)
    assert any(button.label.startswith("두루시민축구단") for button in app.sidebar.button)


def test_a_conversation_that_cannot_be_kept_goes_on_and_says_so(sample_page: "AppTest") -> None:
    kept = load_settings().home / "chat.sqlite"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b"not a database" * 100)
    app = _ask(_ask(sample_page, ANSWERABLE), "한파 동파 신고 건수는?")
    assert len(app.chat_message) == 4
    assert "대화가 저장되지 않고 있습니다" in _texts(app, "warning")[0]
    assert kept.read_bytes() == b"not a database" * 100


def test_articles_added_meanwhile_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_index(tmp_path, [HOSTILE], load_embeddings())
    app = _open(tmp_path, monkeypatch)
    open_index(tmp_path).add([make_document("누리시 시장은 새 도서관을 5월에 연다고 밝혔다.", section="사회")])
    app = _ask(app, "누리시 도서관은 언제 여나요?")
    assert "도서관을 5월에 연다고" in _answer(app)
    assert any("기사 2건" in text for text in _texts(app, "caption"))


def test_reranking_waits_for_a_model_and_then_shows_its_score(sample_page: "AppTest", tiny_cross_encoder: Path) -> None:
    _labelled(sample_page.sidebar.text_input, "재순위 모델").set_value("none").run()
    assert _labelled(sample_page.sidebar.toggle, "재순위 쓰기").disabled
    _labelled(sample_page.sidebar.text_input, "재순위 모델").set_value(str(tiny_cross_encoder)).run()
    toggle = _labelled(sample_page.sidebar.toggle, "재순위 쓰기")
    assert toggle.value
    assert not toggle.disabled
    assert RERANKED in _html(_ask(sample_page, ANSWERABLE))
    _labelled(sample_page.sidebar.toggle, "재순위 쓰기").set_value(False)
    app = _ask(sample_page, "한파 동파 신고 건수는?")
    assert RERANKED not in app.chat_message[-1].get("html")[0].proto.body


def test_the_embedded_reranker_is_in_use_from_the_start(sample_page: "AppTest") -> None:
    assert _labelled(sample_page.sidebar.text_input, "재순위 모델").value == "embedded"
    assert RERANKED in _html(_ask(sample_page, ANSWERABLE))


def test_reranking_can_be_switched_off_in_the_environment(sample_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_RERANKER", "none")
    app = _open(sample_index, monkeypatch)
    assert _labelled(app.sidebar.text_input, "재순위 모델").value == ""
    assert RERANKED not in _html(_ask(app, ANSWERABLE))


def test_a_missing_reranker_is_an_explained_error(sample_page: "AppTest", tmp_path: Path) -> None:
    _labelled(sample_page.sidebar.text_input, "재순위 모델").set_value(str(tmp_path / "없음")).run()
    app = _ask(sample_page, ANSWERABLE)
    assert "찾지 못했습니다. 이름을 확인하세요." in _texts(app, "error")[0]


def test_a_chat_model_s_answer_is_shown_with_the_sources_it_cites(sample_page: "AppTest") -> None:
    pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
    with openai_server(lambda _: ["**헬륨 배관", " 이음매**입니다 [1", ", 9]. ![x](http://example.com)"]) as server:
        sample_page.session_state["chat_model"] = server.url
        app = _ask(sample_page, ANSWERABLE)
        cited = r"\*\*헬륨 배관 이음매\*\*입니다\W*\[:small\[출처\] 1\]\(#source-\w+-1\)\. "
        assert re.fullmatch(cited + re.escape(r"\!\[x\] \(‹주소 삭제›\)"), _answer(app))
        assert [box.label for box in app.expander] == ["함께 찾은 기사 4건"]


def test_a_failing_chat_model_is_explained_without_its_key_and_the_question_can_be_asked_again(
    sample_page: "AppTest", monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    with openai_server(lambda _: ["답입니다 [1]."]) as server:
        sample_page.session_state["chat_model"] = f"{server.url}#tiny"
        server.status = 401
        app = _ask(sample_page, ANSWERABLE)
        assert "채팅 모델의 서버가 키를 받아들이지 않았습니다" in _texts(app, "error")[0]
        assert app.chat_message[0].markdown[0].value == escape_markdown(ANSWERABLE)
        assert [box.label for box in app.expander] == ["찾은 기사 5건"]
        assert "secret-key" not in str(app)
        server.status = 200
        app = _at_rest(_labelled(app.main.button, "다시 묻기").click().run())
        assert not app.exception
        assert not app.error
        assert "답입니다" in _answer(app)
        assert len(app.chat_message) == 2


def test_a_chat_model_that_breaks_off_keeps_what_it_said(sample_page: "AppTest") -> None:
    pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
    with openai_server(lambda _: ["첫 조각 ", "둘째 조각 ", "셋째"]) as server:
        server.break_after = 2
        sample_page.session_state["chat_model"] = f"{server.url}#tiny"
        app = _ask(sample_page, ANSWERABLE)
        assert app.error
        app.run()
        assert "첫 조각" in _answer(app)
        assert app.error


def test_an_answer_that_could_not_be_saved_stays_in_sight(
    sample_page: "AppTest", monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Conversations.save

    def full(self: Conversations, id_: str, turn: Turn) -> None:
        if turn.answer:
            raise OSError("database or disk is full")
        save(self, id_, turn)

    monkeypatch.setattr(Conversations, "save", full)
    app = _ask(sample_page, ANSWERABLE).run()
    assert "헬륨 배관 이음매" in _answer(app)
    assert "disk is full" in _texts(app, "warning")[0]
    monkeypatch.setattr(Conversations, "save", save)
    app = _ask(app, "한파 동파 신고 건수는?")
    assert not app.warning
    kept = Conversations(load_settings().home / "chat.sqlite")
    [listed] = kept.list()
    assert [turn.finished for turn in kept.open(listed.id).turns] == [True, True]


def test_what_was_interrupted_can_be_asked_again_and_is_left_out_of_the_history(sample_page: "AppTest") -> None:
    store = Conversations(load_settings().home / "chat.sqlite")
    id_ = store.create("어디인가요?")
    turns = [
        Turn("어디인가요?", answer="반쯤"),
        Turn("얼마인가요?", answer="읽다가", stopped=True),
        Turn(ANSWERABLE, answer="이음매", finished=True),
        Turn(ANSWERABLE, answer="도중에"),
    ]
    for turn in turns:
        store.save(id_, turn)
    sample_page.query_params["c"] = id_
    app = sample_page.run()
    assert _texts(app, "warning") == ["답변이 도중에 끊겼습니다."] * 2
    assert "답변을 멈췄습니다." in _texts(app, "caption")
    assert app.chat_message[1].markdown[0].value == "반쯤"
    assert [message.text for message in _history(turns)] == ["얼마인가요?", "읽다가", ANSWERABLE, "이음매"]
    _at_rest(_labelled(app.main.button, "다시 묻기").click().run())
    assert len(app.chat_message) == 8
    assert "헬륨" in _answer(app)


def test_without_an_index_the_page_names_the_command_and_builds_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = _open(tmp_path / "new", monkeypatch)
    assert f"rag-app index sample --index {tmp_path / 'new'}" in app.code[0].value
    app.button[0].click().run()
    assert not app.exception
    assert app.chat_input
    assert any("기사 168건" in text for text in _texts(app, "caption"))


def test_a_damaged_index_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_index(tmp_path, [HOSTILE], load_embeddings())
    (tmp_path / "generation-000001" / "vectors.faiss").write_bytes(b"broken")
    app = _open(tmp_path, monkeypatch)
    assert "열지 못했습니다" in _texts(app, "error")[0]
    assert f"rag-app check --index {tmp_path}" in app.code[0].value
    assert not app.chat_input


def test_an_index_built_anew_with_another_model_is_opened_with_that_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_static: Path
) -> None:
    build_index(tmp_path, [HOSTILE], load_embeddings())
    app = _open(tmp_path, monkeypatch)
    build_index(tmp_path, [HOSTILE], load_embeddings(str(tiny_static)), replace=True)
    app.run()
    assert not app.exception
    assert not app.error
    assert any(escape_markdown(tiny_static.name) in text for text in _texts(app, "caption"))


def test_wrong_settings_are_explained(sample_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_K", "many")
    assert "환경 변수" in _texts(_open(sample_index, monkeypatch), "error")[0]


def test_the_page_shows_nothing_of_its_source(sample_page: "AppTest") -> None:
    assert _texts(sample_page.main, "markdown") == ["이렇게 물어볼 수 있습니다."]


@pytest.mark.parametrize("kind", [kind for kind, _ in REMEDIES])
def test_every_kind_of_error_has_a_korean_remedy(kind: type[Exception]) -> None:
    assert explain(kind("x")) == dict(REMEDIES)[kind].korean


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_answer_that_ends_while_the_page_is_drawn_is_shown(
    sample_page: "AppTest", monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    from rag_app.page.chat import view

    asked, really = 0, view._running

    def running(state: "Current") -> "Answer | None":
        nonlocal asked
        answer = really(state)
        if answer and (asked := asked + 1) == call:
            answer.wait()  # it ends right after one has looked
        return answer

    monkeypatch.setattr(view, "_running", running)
    app = _ask(sample_page, ANSWERABLE)
    assert len(app.chat_message) == 2
    assert "헬륨 배관 이음매" in _answer(app)


def test_the_language_is_in_the_address_of_every_view(sample_page: "AppTest") -> None:
    sample_page.session_state["lang"] = "en"
    app = sample_page.run()
    assert app.query_params["lang"] == "en"
    del app.query_params["lang"]  # as going to another view does
    app.run()
    assert app.query_params["lang"] == "en"
    assert app.title[0].value == "Ask the news"


def test_a_conversation_that_was_deleted_elsewhere_is_said_to_be_gone(sample_page: "AppTest") -> None:
    app = _ask(sample_page, ANSWERABLE)
    store = Conversations(load_settings().home / "chat.sqlite")
    store.delete(store.list()[0].id)
    app = _ask(app, "한파 동파 신고 건수는?")
    assert [conversation.turns for conversation in store.list()] == [1]
    assert any("보던 대화를 찾지 못해" in text for text in _texts(app, "info"))


def test_the_dictionary_is_read_before_anything_but_the_frame_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from rag_app.page import frame

    awake: list[bool] = []

    class Analyzer:
        def morphemes(self, text: str) -> None:
            awake.append(frame.awake())

    monkeypatch.setattr(frame, "_awake", threading.Event())
    monkeypatch.setattr("rag_app.korean.analyzer", Analyzer)
    frame.wake()
    assert awake == [False]
    assert frame.awake()
