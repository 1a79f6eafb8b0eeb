import threading
from collections.abc import Callable, Iterator

import pytest
from langchain_core.language_models import BaseChatModel

from rag_app.chat_models.connection_check import ENOUGH, ConnectionCheck
from rag_app.chat_models.errors import ChatModelError
from rag_app.chat_models.loading import load_chat_model
from tests.openai_server import OpenAIServer, openai_server

pytest.importorskip("langchain_openai", reason="the chat extra is not installed")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server(lambda messages: ["안녕", "하세요"]) as running:
        yield running


def loading(server: OpenAIServer) -> Callable[[], BaseChatModel]:
    return lambda: load_chat_model(f"{server.url}#tiny")


def test_a_model_that_answers_is_timed_and_named(server: OpenAIServer) -> None:
    check = ConnectionCheck(loading(server), limit=20)
    assert check.wait(20)
    assert (check.state, check.text, check.model) == ("answered", "안녕하세요", "tiny")
    assert check.first_seconds is not None
    assert 0 < check.first_seconds <= check.seconds
    assert check.seconds == check.seconds  # it has ended, and so has the clock


def test_a_model_that_talks_on_is_heard_no_further_than_needed() -> None:
    with openai_server(lambda messages: ["가" * 50] * 100) as server:
        check = ConnectionCheck(loading(server), limit=20)
        assert check.wait(20)
    assert check.state == "answered"
    assert ENOUGH < len(check.text) <= ENOUGH + 50


def test_a_check_that_waits_can_be_stopped_and_leaves_its_server(server: OpenAIServer) -> None:
    server.first_gate.clear()
    check = ConnectionCheck(loading(server), limit=20)
    assert server.asked.wait(10)
    assert check.state == "running"
    check.stop()
    assert check.wait(10)
    assert (check.state, check.error) == ("stopped", None)
    assert server.disconnected.wait(10)
    check.stop()


def test_a_check_can_be_stopped_while_its_model_loads(server: OpenAIServer) -> None:
    loads, goes_on = threading.Event(), threading.Event()

    def load() -> BaseChatModel:
        loads.set()
        goes_on.wait(10)
        return load_chat_model(f"{server.url}#tiny")

    check = ConnectionCheck(load, limit=20)
    assert loads.wait(10)
    check.stop()
    assert check.state == "stopped"
    goes_on.set()
    assert check.wait(10)
    assert server.requests == []


def test_a_model_that_is_too_slow_says_so(server: OpenAIServer) -> None:
    server.gate.clear()
    check = ConnectionCheck(loading(server), limit=0.5)
    assert check.wait(10)
    assert check.state == "failed"
    assert isinstance(check.error, ChatModelError)
    assert check.error.reason == "timeout"
    assert check.text == "안녕"
    assert server.disconnected.wait(10)


def test_a_refusal_is_the_check_s_error(server: OpenAIServer) -> None:
    server.status = 401
    check = ConnectionCheck(loading(server), limit=20)
    assert check.wait(10)
    assert check.state == "failed"
    assert isinstance(check.error, ChatModelError)
    assert check.error.reason == "refused_key"


def test_what_loading_raises_is_the_check_s_error() -> None:
    check = ConnectionCheck(lambda: load_chat_model("nonsense"), limit=20)
    assert check.wait(10)
    assert isinstance(check.error, ValueError)
