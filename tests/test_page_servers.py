"""The page over an index on a server, run by Streamlit's own test harness; the server fails at will."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document

from rag_app.conversations.store import Conversation
from rag_app.conversations.turn import Turn
from rag_app.corpus.catalogue import count_articles, holds_articles, list_articles
from rag_app.corpus.indexing_job import IndexingJob
from rag_app.data import sample_documents
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.feedback.entries import rate
from rag_app.feedback.store import FILE_NAME, Feedback
from rag_app.index import build_index, open_index
from rag_app.language import KOREAN
from rag_app.rendering.text import escape_markdown
from rag_app.settings import load_settings
from rag_app.stores.address import Address
from tests.in_memory_server import SERVERS, Server, memory_server  # noqa: F401

pytest.importorskip("streamlit", reason="the ui extra is not installed")

import streamlit as st

import streamlit_app
from rag_app.page.chat.cards import _index_of
from rag_app.page.chat.history import _write
from rag_app.page.corpus import article_list
from rag_app.page.corpus.jobs import _outcome_words, jobs
from rag_app.page.library import new_folder
from rag_app.page.powers import shown_path, shown_place, without_folders

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

PAGE = str(Path(streamlit_app.__file__))
HOST = "db-7.internal"
ADDRESS = f"memory://leser:geheim123@{HOST}:7531/news"
ANSWERABLE = "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?"
PATIENCE = 60.0  # seconds


@pytest.fixture
def server(
    memory_server: Server,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    """A server that the page is set to; nothing is on it yet."""
    monkeypatch.setitem(SERVERS, HOST, memory_server)
    monkeypatch.setenv("RAG_INDEX", ADDRESS)
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    for name in ("RERANKER", "CHAT_MODEL", "K", "TOP_N", "SOURCES", "MODEL", "VISITORS", "LANG"):
        monkeypatch.delenv(f"RAG_{name}", raising=False)
    st.cache_resource.clear()
    jobs()._jobs.clear()
    yield memory_server
    st.cache_resource.clear()


@pytest.fixture
def news(server: Server) -> Server:
    """The same, holding the sample."""
    build_index(Address.parse(ADDRESS), sample_documents(), load_embeddings())
    return server


def _open(**parameters: str) -> "AppTest":
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(PAGE, default_timeout=30)
    for name, value in parameters.items():
        app.query_params[name] = value
    return _settle(app)


def _view(view: str, part: str = "", **state: Any) -> "AppTest":
    """Open another view than the chat."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_function(_show, args=(view,), default_timeout=30)
    for name, value in state.items():
        app.session_state[name] = value
    if part:
        app.query_params["part"] = part
    return _settle(app)


def _show(view: str) -> None:
    from rag_app.page.opening import _show as show
    from rag_app.page.views import VIEWS
    from rag_app.settings import load_settings

    show(next(one for one in VIEWS if one.path == view), load_settings())


def _settle(app: "AppTest") -> "AppTest":
    """Run the page until nothing is waited for any more."""
    deadline = monotonic() + PATIENCE
    while True:
        app.run()
        assert not app.exception
        if not _status(app):
            return app
        assert monotonic() < deadline


def _status(app: "AppTest") -> str:
    return " ".join(html.proto.body for html in app.get("html") if 'role="status"' in html.proto.body)


def _labelled(elements: Any, label: str) -> Any:
    return next(element for element in elements if element.label == label)


def _everything(app: "AppTest") -> str:
    """Return all that goes to the browser."""
    return "\n".join(str(element.proto) for block in (app.main, app.sidebar) for element in _elements(block))


def _elements(block: Any) -> Iterator[Any]:
    for child in block.children.values():
        if hasattr(child, "children"):
            yield from _elements(child)
        if hasattr(child, "proto"):
            yield child


def _texts(app: "AppTest") -> str:
    return "\n".join([*(m.value for m in app.markdown), *(c.value for c in app.caption), *(i.value for i in app.info)])


def _fails(error: Exception) -> Callable[[str], None]:
    def fail(call: str) -> None:
        raise error

    return fail


def _waits_for(may: threading.Event, wanted: str = "") -> Callable[[str], None]:
    def fail(call: str) -> None:
        if wanted in call:
            assert may.wait(PATIENCE)

    return fail


def test_the_chat_answers_from_a_server_with_its_sources(news: Server) -> None:
    app = _open()
    assert any(button.key == "suggestion 0" for button in app.button)
    app.chat_input[0].set_value(ANSWERABLE)
    _settle(app)
    assert "산화제" in _texts(app) or "누출" in _texts(app)
    assert any("source" in html.proto.body for html in app.get("html"))
    _labelled(app.button, "기사 전체 보기").click()
    app.run()
    assert not app.exception


def test_what_goes_on_without_a_change_asks_the_server_nothing(news: Server) -> None:
    app = _open()
    news.calls.clear()
    for _ in range(3):
        app.run()
    assert news.calls == []


def test_the_server_is_asked_little_when_the_chat_is_opened_and_for_a_question(news: Server) -> None:
    news.calls.clear()
    app = _open()
    assert Counter(news.calls) == {"manifest": 2, "count": 4, "values": 3}
    news.calls.clear()
    app.chat_input[0].set_value(ANSWERABLE)
    _settle(app)
    assert _labelled(app.button, "기사 전체 보기")
    app.run()
    assert Counter(news.calls) == {"search_vector": 2, "search_units": 2, "get_by_ids": 1}


def test_a_choice_of_sections_is_counted_by_the_server(news: Server) -> None:
    app = _open()
    sections = _labelled(app.multiselect, "분야")
    section = sections.options[0]
    held = sum(document.metadata["section"] == section for document in sample_documents())
    news.calls.clear()
    sections.select(section)
    _settle(app)
    assert f"이 범위의 기사 {held:,}건에서 찾습니다." in _texts(app)
    assert news.calls == ["count"]


def test_counts_and_lists_on_a_server_are_those_of_a_folder(news: Server, tmp_path: Path) -> None:
    section = {"section": sample_documents()[0].metadata["section"]}
    text = "\n\n".join(f"{number}번째 문장은 여기에서 끝난다. 그리고 이어진다." for number in range(200))
    long = make_document(text, title="긴 글", **section)  # of several passages
    remote = open_index(Address.parse(ADDRESS))
    remote.add([long])
    there = remote.snapshot.store
    here = build_index(tmp_path / "index", [*sample_documents(), long], load_embeddings()).snapshot.store
    assert there.count() > len(sample_documents()) + 1
    assert count_articles(there, section) == count_articles(here, section) > 0
    assert list_articles(there) == list_articles(here)
    ids = [row.doc_id for row in list_articles(here)]
    assert holds_articles(there, ids)
    assert not holds_articles(there, [*ids, "0" * 32])


def test_an_empty_server_is_filled_from_a_folder_and_what_was_written_is_seen(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "문서"
    folder.mkdir()
    (folder / "도서관.txt").write_text("누리시 도서관이 5월에 문을 연다.", encoding="utf-8")
    (folder / "운동장.txt").write_text("다온군 운동장이 새로 열린다.", encoding="utf-8")
    app = _view("corpus", **{"upload from": "server"})
    assert "색인이 없습니다" in _texts(app)
    _index_folder(app, folder)
    assert app.success[0].value == "news: 기사 2건을 색인했습니다."
    (folder / "수영장.txt").write_text("새봄구 수영장이 문을 닫는다.", encoding="utf-8")
    app.query_params["part"] = "upload"
    _settle(app)
    _index_folder(app, folder)
    assert "기사 1건을 색인했습니다" in app.success[0].value
    app.query_params["part"] = "articles"
    _settle(app)
    [table] = app.dataframe
    assert len(table.value) == 3


def _index_folder(app: "AppTest", folder: Path) -> None:
    _labelled(app.text_input, "파일이나 폴더의 경로").set_value(str(folder)).run()
    _labelled(app.button, "색인 시작").click()
    app.run()
    job = jobs().of(Address.parse(ADDRESS))
    assert job is not None
    job.wait(PATIENCE)
    assert job.error is None
    _settle(app)


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_a_lost_server_is_explained_and_the_page_goes_on_when_it_is_back(news: Server, lang: str) -> None:
    news.fail = _fails(ConnectionError(f"No connection to {Address.parse(ADDRESS)}"))
    app = _open(lang=lang)
    words, again = {
        "ko": ("색인 ‘news’의 서버에 연결하지 못했습니다.", "다시 해 보기"),
        "en": ("There is no connection to the server of the index “news”.", "Try again"),
    }[lang]
    assert words in app.error[0].value
    assert not app.chat_input
    news.fail = lambda call: None
    _labelled(app.button, again).click()
    _settle(app)
    assert not app.error
    assert app.chat_input


def test_a_server_lost_in_the_middle_of_a_view_leaves_no_half_of_it(news: Server) -> None:
    def fail(call: str) -> None:
        if call == "values":
            raise ConnectionError("The connection was lost")

    news.fail = fail
    app = _open()
    assert "연결하지 못했습니다" in app.error[0].value
    assert not app.chat_input
    news.fail = lambda call: None
    _labelled(app.button, "다시 해 보기").click()
    assert _settle(app).chat_input
    assert not app.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError("late"), "제때 답하지 않았습니다"),
        (PermissionError("no"), "요청을 거절했습니다"),
        (OSError("memory://here/news refuses: too many requests"), "요청을 처리하지 못했습니다"),
        (ValueError("was not made by this version"), "was not made by this version"),
    ],
)
def test_what_a_server_refuses_is_told_for_what_it_is(news: Server, error: Exception, words: str) -> None:
    news.fail = _fails(error)
    assert words in _open().error[0].value


def test_a_server_lost_over_a_question_fails_the_answer_and_no_more(news: Server) -> None:
    app = _open()

    def fail(call: str) -> None:
        if call.startswith("search"):
            raise ConnectionError(f"{Address.parse(ADDRESS)} does not answer")

    news.fail = fail
    app.chat_input[0].set_value(ANSWERABLE)
    _settle(app)
    assert "색인 ‘news’의 서버에 연결하지 못했습니다" in app.error[0].value
    news.fail = lambda call: None
    _labelled(app.button, "다시 묻기").click()
    _settle(app)
    assert not app.error


def test_a_slow_server_freezes_no_page(news: Server) -> None:
    from streamlit.testing.v1 import AppTest

    may = threading.Event()
    news.fail = _waits_for(may)
    app = AppTest.from_file(PAGE, default_timeout=30)
    app.run()
    try:
        assert "서버의 답을 기다리는 중입니다" in _status(app)
        assert not app.exception
    finally:
        may.set()
    assert _settle(app).chat_input


def test_the_chat_is_there_before_what_one_can_choose_from(news: Server) -> None:
    from streamlit.testing.v1 import AppTest

    may = threading.Event()
    news.fail = _waits_for(may, "values")
    app = AppTest.from_file(PAGE, default_timeout=30)
    deadline = monotonic() + PATIENCE
    try:
        while not app.run().chat_input:
            assert monotonic() < deadline
        assert "분야와 날짜를 알아보는 중입니다" in _status(app)
    finally:
        may.set()
    assert _labelled(_settle(app).multiselect, "분야")


def test_guests_see_the_name_of_an_index_and_nothing_else_of_its_server(
    news: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_VISITORS", "guests")
    pages = [_open(), _view("corpus"), _view("corpus", part="indexes"), _view("compare"), _view("feedback")]
    news.fail = _fails(
        ConnectionError(
            f'{Address.parse(ADDRESS)}: connection to "{HOST}" (10.0.0.5), port 7531 failed for user "leser"'
        )
    )
    st.cache_resource.clear()
    pages.append(_open())
    assert "news" in pages[-1].error[0].value
    for page in pages:
        shown = _everything(page)
        for secret in (HOST, "leser", "geheim123", "7531", "10.0.0.5"):
            assert secret not in shown


def test_guests_are_told_no_more_by_what_was_noted_before(news: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_VISITORS", "guests")
    place = str(Address.parse(ADDRESS))
    failed = Turn("?", index=place, problem="연결하지 못했습니다.", detail=f'{place}: "{HOST}" (10.0.0.5), port 7531')
    Feedback(load_settings().home / FILE_NAME).save(rate(failed, "down", conversation="c", models={}), [])
    review = _view("feedback")
    assert escape_markdown("색인: news") in _texts(review)
    exported = _write(Conversation("c", "제목", 0, [failed]), KOREAN, UTC)
    assert "연결하지 못했습니다" in exported
    for secret in (HOST, "leser", "7531", "10.0.0.5"):
        assert secret not in _everything(review)
        assert secret not in exported


def test_guests_can_name_no_server(news: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_PASSWORD", "einlass-99")
    monkeypatch.setitem(SERVERS, "elsewhere", elsewhere := Server())
    other = "memory://elsewhere/other"
    news.calls.clear()
    pages = [_open(index=other), _view("corpus", part="upload", **{"upload target": "new"}), _view("compare")]
    assert {box.label for page in pages for box in page.text_input} <= {"새 색인의 이름", "질문"}
    with pytest.raises(ValueError, match="other"):
        new_folder(other, load_settings())
    assert elsewhere.calls == []


def test_a_command_holds_no_password(server: Server) -> None:
    app = _open()
    assert app.code[0].value.splitlines()[1] == 'rag-app index sample --index "$RAG_INDEX"'
    assert "geheim123" not in _everything(app)


def test_a_setting_that_is_wrong_is_told_without_its_password(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.testing.v1 import AppTest

    for wrong in ("postgresql://leser:ge heim@db/artikel/ne-ws", "postgresql:/leser:geheim123@db/artikel/news"):
        monkeypatch.setenv("RAG_INDEX", wrong)
        app = AppTest.from_file(PAGE, default_timeout=30).run()
        assert escape_markdown("RAG_INDEX=postgresql") in app.error[0].value
        assert "heim" not in _everything(app)


def test_nobody_sees_the_password_of_a_server(news: Server) -> None:
    pages = [_open(), _view("corpus"), _view("corpus", part="indexes"), _view("compare")]
    news.fail = _fails(ConnectionError("gone"))
    st.cache_resource.clear()
    pages.append(_open())
    for page in pages:
        assert "geheim123" not in _everything(page)
    assert escape_markdown(f"memory://leser@{HOST}:7531/news: gone") in pages[-1].error[0].value


def test_errors_are_told_to_guests_without_host_user_and_port(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_VISITORS", "guests")
    settings = load_settings()
    assert shown_path(Address.parse(ADDRESS), settings) == "news"
    assert shown_place(f"memory://leser@{HOST}:7531/news", settings) == "news"
    assert shown_place("/srv/rag/old", settings) == "old"
    assert shown_place("gone://host/old", settings) == "old"
    told = without_folders(
        f'memory://leser@{HOST}:7531/news: "{HOST}" ([fe80::1]:7531), port 7531, user "leser" failed'
    )
    assert told == 'news: "…" (…), …, user "…" failed'
    assert without_folders("Ask http://127.0.0.1/v1 at 9") == "Ask http://…/v1 at 9"
    monkeypatch.setenv("RAG_VISITORS", "owner")
    assert shown_place(f"memory://leser@{HOST}:7531/news", load_settings()) == f"memory://leser@{HOST}:7531/news"


def test_more_passages_than_can_be_read_are_not_listed_and_it_says_what_to_do(
    news: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(article_list, "LISTED", 5)
    for part in ("overview", "articles"):
        news.calls.clear()
        app = _view("corpus", part=part)
        assert "단락 5개까지만" in _texts(app)
        assert "rag-app delete" in _texts(app)
        assert "scan" not in news.calls


def test_an_index_on_a_server_is_checked_beside_the_page(news: Server) -> None:
    app = _view("corpus")
    _labelled(app.button, "온전한지 검사하기").click()
    deadline = monotonic() + PATIENCE
    while not _settle(app).success:
        assert monotonic() < deadline
    assert app.success[0].value == "이상 없습니다."


def test_an_index_on_a_server_is_neither_renamed_nor_deleted_here(news: Server) -> None:
    app = _view("corpus", part="indexes")
    assert "서버에서 하세요" in _texts(app)
    assert "서버에 있음" in _texts(app)
    assert not [button for button in app.button if str(button.key).startswith(("rename", "delete"))]


def test_a_stopped_upload_says_that_a_part_of_it_may_be_there(server: Server) -> None:
    def write(documents: list[Document], watch: Any) -> Any:
        raise ConnectionError("gone")

    for in_parts, words in ((True, "이미 들어간 기사는 남아 있습니다"), (False, "색인은 그대로입니다")):
        job = IndexingJob(Address.parse(ADDRESS), [], write, in_parts=in_parts)
        job.phase = "stopped"
        assert words in _outcome_words(job)


def test_a_conversation_leads_the_page_to_no_server_but_its_own(news: Server) -> None:
    current = open_index(Address.parse(ADDRESS))
    assert _index_of(Turn("?", index=str(current.path)), current) is current
    news.calls.clear()
    with pytest.raises(FileNotFoundError, match="does not serve"):
        _index_of(Turn("?", index=f"memory://{HOST}/other"), current)
    assert news.calls == []


def test_systems_are_compared_over_a_server_and_after_it_was_lost(news: Server) -> None:
    app = _view("compare")
    _labelled(app.text_input, "질문").set_value(ANSWERABLE)
    news.fail = lambda call: _fails(ConnectionError("gone"))(call) if call.startswith("search") else None
    _labelled(app.button, "비교하기").click()
    _settle_comparison(app)
    assert app.error
    news.fail = lambda call: None
    _settle_comparison(app)
    assert not app.error


def _settle_comparison(app: "AppTest") -> None:
    deadline = monotonic() + PATIENCE
    app.run()
    while app.get("progress"):
        assert monotonic() < deadline
        app.run()
    assert not app.exception
