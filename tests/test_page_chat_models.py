"""The choice of the chat model, run by Streamlit's own test harness without the rest of the page."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from rag_app.chat_models.errors import ChatModelError, ChatModelNameError, NameReason, Reason
from tests.openai_server import OpenAIServer, openai_server

pytest.importorskip("streamlit", reason="the ui extra is not installed")
pytest.importorskip("langchain_openai", reason="the chat extra is not installed")

import streamlit as st

from rag_app.page.chat_model.remedies import REMEDIES
from rag_app.page.problems import explain

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

KEY = "sk-secret-key-of-a-test"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAG_CHAT_MODEL", "RAG_CHAT_API_KEY", "RAG_CHAT_TIMEOUT", "RAG_CHAT_MODEL_FIXED", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server(lambda messages: ["안녕", "하세요"], models=("tiny", "<b>big</b>")) as running:
        yield running


def _page() -> None:
    import streamlit as st

    from rag_app.page.chat_model.choice import choose_chat_model
    from rag_app.page.secrets_file import load_secrets
    from rag_app.page.words import language_switch
    from rag_app.settings import load_settings

    load_secrets()
    language_switch(None)
    st.session_state["returned"] = choose_chat_model(load_settings())


def _opened() -> "AppTest":
    from streamlit.testing.v1 import AppTest

    return _sound(AppTest.from_function(_page, default_timeout=30).run())


def _sound(app: "AppTest") -> "AppTest":
    assert not app.exception
    return app


def _press(app: "AppTest", label: str) -> "AppTest":
    return _sound(next(button for button in app.button if label in button.label).click().run())


def _check(app: "AppTest") -> "AppTest":
    """Test the connection and look until the test has ended, as the browser does by itself."""
    app = _press(app, "연결 확인")
    for _ in range(100):
        if "중지" not in [button.label for button in app.button]:
            return app
        app = _sound(app.run())
    raise AssertionError("the connection test does not end")


def _type(app: "AppTest", label: str, text: str) -> "AppTest":
    return _sound(next(field for field in app.text_input if field.label == label).set_value(text).run())


def _kind(app: "AppTest", kind: str) -> "AppTest":
    return _sound(_press(app, "채팅 모델").radio[0].set_value(kind).run())


def _texts(elements: Any) -> str:
    return "\n".join(str(element.value) for element in elements)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_starts_from_the_environment_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_CHAT_MODEL", "http://127.0.0.1:1/v1#exaone")
    app = _opened()
    assert app.session_state["returned"] == "http://127.0.0.1:1/v1#exaone"
    assert app.button[0].label == "채팅 모델: exaone"
    app = _press(_kind(app, "none"), "인용으로 답하기")
    assert app.session_state["returned"] is None
    assert (
        app.button[0].label == "채팅 모델: 없음 \\(기사 인용\\)" or app.button[0].label == "채팅 모델: 없음 (기사 인용)"
    )
    assert not app.radio


def test_a_server_is_chosen_from_the_models_it_has(server: OpenAIServer) -> None:
    app = _type(_kind(_opened(), "address"), "주소", server.url)
    app = _press(app, "모델 목록 불러오기")
    assert app.selectbox[0].options == ["tiny", "<b>big</b>"]
    app = _sound(app.selectbox[0].set_value("<b>big</b>").run())
    app = _check(app)
    assert "연결되었습니다" in _texts(app.success)
    assert r"\<b\>big\</b\>" in _texts(app.success)
    assert "“안녕하세요”" in _texts(app.success)
    app = _press(app, "이 모델로 답하기")
    assert app.session_state["returned"] == f"{server.url}#<b>big</b>"
    assert app.button[0].label == r"채팅 모델: \<b\>big\</b\>"
    assert _sound(app.run()).session_state["returned"] == f"{server.url}#<b>big</b>"


def test_a_key_is_sent_to_its_own_server_alone_and_shown_nowhere(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("RAG_CHAT_MODEL", f"{server.url}#tiny")
    monkeypatch.setenv("RAG_CHAT_API_KEY", KEY)
    server.status = 401  # our server repeats the key that it refuses
    app = _check(_kind(_opened(), "address"))
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert "키를 받아들이지 않았습니다" in _texts(app.error)
    assert "`RAG_CHAT_API_KEY`의 키를 보냅니다" in _texts(app.caption)
    with openai_server(lambda messages: ["네"]) as other:
        app = _press(_check(_type(app, "주소", other.url)), "모델 목록 불러오기")
        assert len(other.requests) == 2
        assert KEY not in str(other.requests)
    assert "키를 보내지 않습니다" in _texts(app.caption)
    assert KEY not in str(app)
    assert KEY not in repr(app.session_state)
    assert KEY not in caplog.text


def test_a_connection_that_fails_is_explained(server: OpenAIServer) -> None:
    app = _type(_kind(_opened(), "address"), "주소", f"http://127.0.0.1:{closed_port()}/v1")
    app = _check(_type(app, "모델", "tiny"))
    assert "연결하지 못했습니다" in _texts(app.error)
    app = _check(_type(app, "주소", server.root))
    assert "대개 /v1로 끝납니다" in _texts(app.error)
    server.page = "<html>환영합니다</html>"
    app = _check(app)
    assert "OpenAI 형식으로 답하지 않습니다" in _texts(app.error)
    app = _type(app, "주소", "file:///etc/passwd")
    assert "http://호스트:포트/v1 꼴로" in _texts(app.error)
    assert all(button.disabled for button in app.button if button.label in ("연결 확인", "이 모델로 답하기"))


def test_ollama_that_is_off_says_how_to_start_it_and_that_is_on_what_it_has(server: OpenAIServer) -> None:
    app = _kind(_opened(), "ollama")
    app = _press(_type(app, "Ollama 주소", f"http://127.0.0.1:{closed_port()}"), "설치된 모델 불러오기")
    assert "Ollama가 켜져 있지 않습니다" in _texts(app.error)
    assert _texts(app.code) == "ollama serve"
    server.installed = {}
    app = _press(_type(app, "Ollama 주소", server.root), "설치된 모델 불러오기")
    assert _texts(app.code) == "ollama pull exaone3.5"
    server.installed = {"exaone3.5:7.8b": 4_800_000_000}
    app = _press(app, "설치된 모델 불러오기")
    assert app.selectbox[0].options == ["exaone3.5:7.8b · 4.8 GB"]
    app = _press(app, "이 모델로 답하기")
    assert app.session_state["returned"] == f"{server.url}#exaone3.5:7.8b"


def test_a_name_says_which_package_and_key_it_needs_and_a_key_is_no_name() -> None:
    app = _type(_kind(_opened(), "name"), "이름", "fireworks:x")
    assert not app.warning
    app = _type(app, "이름", "xai:grok-4")
    assert _texts(app.code) == "pip install langchain-xai"
    app = _type(app, "이름", "openai:gpt-5-mini")
    assert "`OPENAI_API_KEY`에 키가 없습니다" in _texts(app.warning)
    app = _check(app)
    assert "키가 없습니다" in _texts(app.error)
    app = _type(app, "이름", KEY)
    assert "키처럼 보입니다" in _texts(app.error)
    assert next(button for button in app.button if button.label == "이 모델로 답하기").disabled


def test_a_model_that_is_fixed_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_CHAT_MODEL", "openai:gpt-5-mini")
    monkeypatch.setenv("RAG_CHAT_MODEL_FIXED", "true")
    app = _opened()
    assert (app.session_state["returned"], len(app.button)) == ("openai:gpt-5-mini", 0)
    assert "gpt" in _texts(app.caption)


def test_keys_come_from_the_file_of_secrets(tmp_path: Path, secrets: Path, server: OpenAIServer) -> None:
    secrets.write_text(f'RAG_CHAT_MODEL = "{server.url}#tiny"\nRAG_CHAT_API_KEY = "{KEY}"\n')
    app = _check(_kind(_opened(), "address"))
    assert app.success
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in str(app)


@pytest.mark.parametrize("content", [f"RAG_CHAT_API_KEY = {KEY}".encode(), b'KEY = "\xff\xfe' + KEY.encode()])
def test_a_broken_file_of_secrets_is_explained_without_what_it_holds(
    secrets: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    secrets.write_bytes(content)
    app = _opened()
    assert "키를 둔 파일을 읽지 못했습니다" in _texts(app.error)
    assert "secret-key" not in str(app) + caplog.text


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[Path]:
    """An empty place for secrets.toml; whatever it brought into the environment is taken out again."""
    path = tmp_path / "secrets.toml"
    before = st.get_option("secrets.files")
    st.config.set_option("secrets.files", [str(path)])
    yield path
    st.secrets._reset()
    st.config.set_option("secrets.files", before)


def test_every_reason_has_a_remedy_in_both_languages() -> None:
    assert REMEDIES.keys() == {*get_args(Reason), *get_args(NameReason)}
    for reason in get_args(Reason):
        assert explain(ChatModelError("x", reason)) == REMEDIES[reason][0]
    for reason in get_args(NameReason):
        assert explain(ChatModelNameError("x", reason)) == REMEDIES[reason][0]
