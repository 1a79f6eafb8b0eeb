import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest
from langchain_core.language_models import BaseChatModel

from rag_app.chat_models import ChatModelError, load_chat_model
from tests.openai_server import OpenAIServer, openai_server

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI

pytest.importorskip("langchain_openai", reason="the chat extra is not installed")

KEY = "sk-secret-key-of-a-test"
PIECES = ["도서관은", " 3월 2일에", " 열었습니다", " [1]."]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server(lambda messages: PIECES) as running:
        yield running


@asynccontextmanager
async def closing(model: BaseChatModel) -> AsyncIterator[BaseChatModel]:
    """Close the connections that the client would keep for its next request, in the event loop they belong to."""
    try:
        yield model
    finally:
        await cast("ChatOpenAI", model).root_async_client.close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_url_answers_whole(server: OpenAIServer) -> None:
    model = load_chat_model(f"{server.url}#tiny")
    assert isinstance(model, BaseChatModel)
    assert model.invoke("언제 열었나요?").text == "".join(PIECES)
    assert server.requests[-1].body["messages"] == [{"role": "user", "content": "언제 열었나요?"}]


def test_a_url_streams_each_piece_as_it_is_sent(server: OpenAIServer) -> None:
    server.gate.clear()
    stream = load_chat_model(f"{server.url}#tiny").stream("언제?")
    assert next(chunk.text for chunk in stream if chunk.text) == PIECES[0]  # while the server waits at the gate
    server.gate.set()
    assert [chunk.text for chunk in stream if chunk.text] == PIECES[1:]


async def test_a_url_answers_and_streams_asynchronously(server: OpenAIServer) -> None:
    async with closing(load_chat_model(f"{server.url}#tiny")) as model:
        assert (await model.ainvoke("언제?")).text == "".join(PIECES)
        assert [chunk.text async for chunk in model.astream("언제?") if chunk.text] == PIECES


def test_a_url_without_a_model_takes_the_only_one(server: OpenAIServer) -> None:
    load_chat_model(server.url).invoke("언제?")
    assert server.requests[-1].body["model"] == "tiny"


def test_a_url_without_a_model_lists_several() -> None:
    with (
        openai_server(lambda messages: PIECES, models=("a", "b")) as server,
        pytest.raises(ValueError, match=r"2 models \(a, b\).*#a"),
    ):
        load_chat_model(server.url)


def test_a_foreign_url_never_gets_the_key_of_the_environment(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    foreign = load_chat_model("https://models.example/v1#tiny")
    assert foreign.openai_api_key.get_secret_value() != KEY  # type: ignore[attr-defined]
    own = load_chat_model("https://api.openai.com/v1#tiny")
    assert own.openai_api_key.get_secret_value() == KEY  # type: ignore[attr-defined]
    load_chat_model(server.url).invoke("언제?")
    assert len(server.requests) == 2
    assert not any(KEY in str(request) for request in server.requests)


def test_a_key_passed_by_the_caller_is_sent(server: OpenAIServer) -> None:
    load_chat_model(f"{server.url}#tiny", api_key=KEY).invoke("언제?")
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_options_reach_the_server(server: OpenAIServer) -> None:
    load_chat_model(f"{server.url}#tiny", temperature=0.25).invoke("언제?")
    assert server.requests[-1].body["temperature"] == 0.25


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_server_that_is_not_there_is_named_with_a_remedy(way: str) -> None:
    address = f"http://127.0.0.1:{closed_port()}/v1"
    model = load_chat_model(f"{address}#tiny", max_retries=0)
    with pytest.raises(ChatModelError, match=f"{address} does not answer.*Start its server"):
        list(getattr(model, way)("언제?"))


async def test_a_server_that_is_not_there_is_named_asynchronously() -> None:
    model = load_chat_model(f"http://127.0.0.1:{closed_port()}/v1#tiny", max_retries=0)
    with pytest.raises(ChatModelError, match="does not answer"):
        await model.ainvoke("언제?")
    with pytest.raises(ChatModelError, match="does not answer"):
        [chunk async for chunk in model.astream("언제?")]


def test_asking_an_absent_server_for_its_models_is_explained() -> None:
    with pytest.raises(ChatModelError, match="does not answer"):
        load_chat_model(f"http://127.0.0.1:{closed_port()}/v1", max_retries=0)


def test_a_stream_that_breaks_off_is_an_error_not_a_short_answer(server: OpenAIServer) -> None:
    server.break_after = 2
    stream = load_chat_model(f"{server.url}#tiny").stream("언제?")
    received: list[str] = []
    with pytest.raises(ChatModelError, match="does not answer"):
        received.extend(chunk.text for chunk in stream)
    assert "".join(received) in ("", "".join(PIECES[:2]))


def test_a_silent_server_times_out(server: OpenAIServer) -> None:
    server.gate.clear()
    model = load_chat_model(f"{server.url}#tiny", timeout=0.2, max_retries=0)
    with pytest.raises(ChatModelError, match="does not answer"):
        list(model.stream("언제?"))


@pytest.mark.parametrize(("status", "remedy"), [(401, "OPENAI_API_KEY"), (404, "/v1"), (429, "wait"), (500, "log")])
def test_a_refusal_is_explained_without_the_key(
    server: OpenAIServer, status: int, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.status = status
    model = load_chat_model(f"{server.url}#tiny", api_key=KEY, max_retries=0)
    with pytest.raises(ChatModelError, match=f"status {status}.*{remedy}") as caught:
        model.invoke("언제?")
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__
    assert KEY not in repr(model)
    assert KEY not in caplog.text


def test_the_model_stays_what_its_provider_made_it(server: OpenAIServer) -> None:
    from langchain_openai import ChatOpenAI

    model = load_chat_model(f"{server.url}#tiny")
    assert isinstance(model, ChatOpenAI)
    assert type(model).__name__ == "ChatOpenAI"
    assert model.model_copy().invoke("언제?").text == "".join(PIECES)


def test_a_provider_name_loads_through_langchain(server: OpenAIServer) -> None:
    model = load_chat_model("openai:tiny", base_url=server.url, api_key="x")
    assert model.invoke("언제?").text == "".join(PIECES)
    server.status = 401
    with pytest.raises(ChatModelError, match="openai:tiny answered with status 401"):
        model.invoke("언제?")


@pytest.mark.parametrize("name", ["openai:tiny", "https://api.openai.com/v1#tiny"])
def test_a_missing_key_says_where_to_put_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"needs a key.*OPENAI_API_KEY"):
        load_chat_model(name)


def test_a_provider_that_is_not_installed_names_its_package() -> None:
    with pytest.raises(ImportError, match=r"pip install.*langchain-"):
        load_chat_model("fireworks:tiny")


@pytest.mark.parametrize(
    ("name", "module"), [("http://127.0.0.1:1/v1#tiny", "langchain_openai"), ("openai:tiny", "langchain.chat_models")]
)
def test_without_the_extra_the_message_says_how_to_install_it(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "korean-rag\[chat\]"'):
        load_chat_model(name)


@pytest.mark.parametrize("name", ["", "  ", "http://", "http://user:password@127.0.0.1/v1", "nonsense"])
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        load_chat_model(name)
    assert "password@" not in str(caught.value)
