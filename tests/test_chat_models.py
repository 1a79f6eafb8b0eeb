import asyncio
import logging
import pickle
import socket
import sys
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import cast

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser

from rag_app.chat_models.errors import REMEDIES, Reason, reason_of
from rag_app.chat_models.loading import ChatModelError, ChatModelNameError, load_chat_model
from tests.openai_server import OpenAIServer, openai_server

pytest.importorskip("langchain_openai", reason="the chat extra is not installed")

KEY = "sk-secret-key-of-a-test"
PIECES = ["도서관은", " 3월 2일에", " 열었습니다", " [1]."]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server(lambda messages: PIECES) as running:
        yield running


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
    model = load_chat_model(f"{server.url}#tiny")
    assert (await model.ainvoke("언제?")).text == "".join(PIECES)
    assert [chunk.text async for chunk in model.astream("언제?") if chunk.text] == PIECES


def test_a_model_outlives_the_event_loop_it_was_first_used_in(server: OpenAIServer) -> None:
    model = load_chat_model(f"{server.url}#tiny")
    for _ in range(3):
        assert asyncio.run(model.ainvoke("언제?")).text == "".join(PIECES)


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


def test_a_foreign_url_gets_nothing_else_that_the_environment_holds_for_openai(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-a-test")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-of-a-test")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {KEY}\nX-Gateway-Key: {KEY}")
    load_chat_model(server.url, default_headers={"X-Wanted": "yes"}).invoke("언제?")
    asyncio.run(load_chat_model(server.url, api_key="its-own").ainvoke("언제?"))
    assert len(server.requests) == 4
    assert not any(secret in str(server.requests) for secret in (KEY, "org-of-a-test", "proj-of-a-test"))
    assert [request.headers["authorization"] for request in server.requests[1:]] == [
        "Bearer not-needed",
        "Bearer its-own",
        "Bearer its-own",
    ]
    assert server.requests[1].headers["x-wanted"] == "yes"


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


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("break_after", "broken_stream"), ("cut_after", "broken_stream"), ("error_after", "server_error")],
)
async def test_what_came_before_a_stream_failed_is_kept(server: OpenAIServer, fault: str, reason: str) -> None:
    setattr(server, fault, 2)
    model = load_chat_model(f"{server.url}#tiny", api_key=KEY)
    received: list[str] = []
    with pytest.raises(ChatModelError) as caught:
        received.extend(chunk.text for chunk in model.stream("언제?"))
    assert caught.value.reason == reason
    assert KEY not in str(caught.value)
    with pytest.raises(ChatModelError) as caught:
        await _collect(model, received)
    assert caught.value.reason == reason
    assert "".join(received) == 2 * "".join(PIECES[:2])


async def _collect(model: BaseChatModel, received: list[str]) -> None:
    async for chunk in model.astream("언제?"):
        received.append(chunk.text)


@pytest.mark.parametrize("gate", ["first_gate", "gate"])
async def test_a_silent_server_times_out(server: OpenAIServer, gate: str) -> None:
    getattr(server, gate).clear()
    model = load_chat_model(f"{server.url}#tiny", timeout=0.2)
    with pytest.raises(ChatModelError, match="RAG_CHAT_TIMEOUT") as caught:
        list(model.stream("언제?"))
    assert caught.value.reason == "timeout"
    with pytest.raises(ChatModelError) as caught:
        [chunk async for chunk in model.astream("언제?")]
    assert caught.value.reason == "timeout"
    assert len(server.requests) == 2  # nothing is asked again by itself


async def test_an_answer_that_is_stopped_closes_its_connection(server: OpenAIServer) -> None:
    server.gate.clear()
    first = asyncio.Event()

    async def answer() -> None:
        async for _ in load_chat_model(f"{server.url}#tiny").astream("언제?"):
            first.set()

    task = asyncio.create_task(answer())
    await asyncio.wait_for(first.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.disconnected.wait, 10)


async def test_an_answer_that_is_left_between_two_pieces_closes_its_connection(server: OpenAIServer) -> None:
    server.gate.clear()
    chain = load_chat_model(f"{server.url}#tiny") | StrOutputParser()
    async with aclosing(cast("AsyncGenerator[str, None]", chain.astream("언제?"))) as pieces:
        assert [piece async for piece in _first(pieces)] == [PIECES[0]]
    assert await asyncio.to_thread(server.disconnected.wait, 10)


async def _first(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    async for piece in pieces:
        if piece:
            yield piece
            return


REFUSALS = [
    (400, {"message": "max_tokens is wrong"}, "bad_request"),
    (400, {"message": "API key not valid. Please pass a valid API key."}, "refused_key"),
    (
        400,
        {"message": "This model's maximum context length is 4096 tokens.", "code": "context_length_exceeded"},
        "too_long",
    ),
    (400, {"message": "exaone is not a valid model ID"}, "unknown_model"),
    (401, {"message": f"Incorrect API key provided: {KEY}"}, "refused_key"),
    (402, {"message": "Insufficient Balance"}, "rate_limit"),
    (403, {"message": "Project has no access"}, "no_right"),
    (404, {"message": "no /chat/completions"}, "wrong_address"),
    (404, {"message": 'model "exaone" not found, try pulling it first'}, "unknown_model"),
    (
        404,
        {"message": "The model `x` does not exist or you do not have access", "code": "model_not_found"},
        "unknown_model",
    ),
    (405, {"message": "Method Not Allowed"}, "wrong_address"),
    (413, {"message": "too large"}, "too_long"),
    (429, {"message": "slow down"}, "rate_limit"),
    (500, {"message": "out of memory"}, "server_error"),
    (503, {"message": "Loading model"}, "server_error"),
    (504, {"message": "gateway"}, "timeout"),
]


@pytest.mark.parametrize(("status", "refusal", "reason"), REFUSALS)
def test_every_refusal_has_its_reason(
    server: OpenAIServer, status: int, refusal: dict[str, str], reason: Reason
) -> None:
    server.status, server.refusal = status, refusal
    with pytest.raises(ChatModelError, match=f"status {status}") as caught:
        load_chat_model(f"{server.url}#tiny").invoke("언제?")
    assert caught.value.reason == reason
    assert REMEDIES[reason] in str(caught.value)
    assert refusal["message"] not in str(caught.value)


def test_each_failure_to_connect_has_its_reason(server: OpenAIServer) -> None:
    addresses: dict[str, Reason] = {
        f"http://127.0.0.1:{closed_port()}/v1": "unreachable",
        server.url.replace("http:", "https:"): "tls",
        server.root: "wrong_address",
        f"{server.url}/elsewhere": "wrong_address",
    }
    for address, reason in addresses.items():
        with pytest.raises(ChatModelError) as caught:
            load_chat_model(f"{address}#tiny").invoke("언제?")
        assert (address, caught.value.reason) == (address, reason)


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_server_of_another_kind_is_told_from_one_that_fails(server: OpenAIServer, way: str) -> None:
    server.page = "<html>환영합니다</html>"
    with pytest.raises(ChatModelError, match="not of OpenAI's protocol") as caught:
        list(getattr(load_chat_model(f"{server.url}#tiny"), way)("언제?"))
    assert caught.value.reason == "not_openai"


def test_a_server_is_not_followed_to_another_address(server: OpenAIServer) -> None:
    with openai_server(lambda messages: PIECES) as elsewhere:
        server.moved = f"{elsewhere.url}/chat/completions"
        with pytest.raises(ChatModelError) as caught:
            load_chat_model(f"{server.url}#tiny", api_key=KEY).invoke("언제?")
        assert caught.value.reason == "wrong_address"
        assert elsewhere.requests == []


def test_what_is_no_network_error_stays_itself() -> None:
    assert reason_of(KeyError("choices")) is None
    assert reason_of(ValueError("temperature")) is None


def test_an_error_keeps_its_reason_when_it_is_copied() -> None:
    error = pickle.loads(pickle.dumps(ChatModelError("too slow", "timeout")))
    assert (str(error), error.reason) == (f"too slow. {REMEDIES['timeout']}", "timeout")


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "OPENAI_API_KEY"), (404, "/v1"), (429, "wait"), (500, "log"), (504, "RAG_CHAT")]
)
def test_a_refusal_is_explained_without_the_key(
    server: OpenAIServer, status: int, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.status = status
    model = load_chat_model(f"{server.url}#tiny", api_key=KEY)
    with pytest.raises(ChatModelError, match=f"status {status}.*{remedy}") as caught:
        model.invoke("언제?")
    assert KEY not in "".join(traceback.format_exception(caught.value))
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


def test_an_option_that_is_wrong_is_told_without_the_key() -> None:
    with pytest.raises(ChatModelNameError, match="n must be 1") as caught:
        load_chat_model("openai:tiny", api_key=KEY, n=2, streaming=True)
    assert not any(word in "".join(traceback.format_exception(caught.value)) for word in (KEY, "input_value"))


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


def test_ollama_without_its_package_can_be_named_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("langchain_ollama", "langchain_community.chat_models"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install langchain-ollama.*http://127.0.0.1:11434/v1#exaone3.5"):
        load_chat_model("ollama:exaone3.5")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "http://",
        "http://[::1/v1",
        "http://127.0.0.1:99999/v1",
        "http://user:password@127.0.0.1/v1",
        "https://host/v1?key=password@",
        "nonsense",
    ],
)
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(ChatModelNameError) as caught:
        load_chat_model(name)
    assert "password@" not in str(caught.value)


def test_a_key_with_a_line_break_stands_in_no_traceback() -> None:
    with openai_server(lambda messages: ["답"]) as server, pytest.raises(ChatModelError) as raised:
        load_chat_model(f"{server.url}#tiny", api_key=f"{KEY}\n").invoke("질문")
    assert KEY not in "".join(traceback.format_exception(raised.value))
