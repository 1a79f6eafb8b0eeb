import socket
from collections.abc import Iterator

import pytest

from rag_app.chat_models.errors import ChatModelError, ChatModelNameError
from rag_app.chat_models.servers import Address, Installed, list_models, list_ollama_models, parse_address, same_server
from tests.openai_server import OpenAIServer, openai_server

pytest.importorskip("openai", reason="the chat extra is not installed")

KEY = "sk-secret-key-of-a-test"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server(lambda messages: ["네"], models=("a", "b")) as running:
        yield running


def test_an_address_is_a_server_and_a_model() -> None:
    assert parse_address(" http://127.0.0.1:8000/v1/#exaone3.5:7.8b ") == Address(
        "http://127.0.0.1:8000/v1", "exaone3.5:7.8b"
    )
    assert str(Address("https://host/v1", "org/model")) == "https://host/v1#org/model"
    assert parse_address("https://api.openai.com/v1#gpt").is_openai
    assert not parse_address("http://api.openai.com/v1#gpt").is_openai
    assert not parse_address("https://api.openai.com.example/v1").is_openai


@pytest.mark.parametrize(
    "name", ["ftp://host/v1", "http://", "http://host:0/v1", "https://a:b@host", "http://host?k=v"]
)
def test_what_is_no_address_or_may_hold_a_secret_is_refused(name: str) -> None:
    with pytest.raises(ChatModelNameError) as caught:
        parse_address(name)
    assert caught.value.reason == "bad_address"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://host/v1#b", True),
        ("https://host/v1/", True),
        ("https://host/other/v1", False),
        ("http://host/v1", False),
        ("https://host:444/v1", False),
        ("https://host.example/v1", False),
        ("openai:gpt-5-mini", False),
        (None, False),
    ],
)
def test_a_server_is_its_whole_address_whichever_model_it_runs(other: str | None, same: bool) -> None:
    assert same_server("https://host/v1#a", other) is same


def test_a_server_s_models_are_listed(server: OpenAIServer) -> None:
    assert list_models(parse_address(server.url), api_key=KEY) == ["a", "b"]
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_ollama_s_models_are_listed_with_their_sizes(server: OpenAIServer) -> None:
    server.installed = {"gemma3:4b": 3_300_000_000, "exaone3.5:7.8b": 4_800_000_000}
    assert list_ollama_models(server.root) == [
        Installed("exaone3.5:7.8b", 4_800_000_000),
        Installed("gemma3:4b", 3_300_000_000),
    ]


def test_who_is_not_ollama_is_told_from_who_is_not_there(server: OpenAIServer) -> None:
    with pytest.raises(ChatModelError) as caught:
        list_ollama_models(server.root)
    assert caught.value.reason == "wrong_address"
    server.page = "<html></html>"
    with pytest.raises(ChatModelError) as caught:
        list_ollama_models(server.root)
    assert caught.value.reason == "not_openai"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(ChatModelError) as caught:
        list_ollama_models(closed)
    assert caught.value.reason == "unreachable"


def test_a_server_that_is_slow_to_say_its_models_is_not_waited_for(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_app.chat_models.servers.LIST_TIMEOUT", 0.2)
    server.models_gate.clear()
    with pytest.raises(ChatModelError) as caught:
        list_models(parse_address(server.url))
    assert caught.value.reason == "timeout"
