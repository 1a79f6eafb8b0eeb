"""A chat model is chosen, tried, asked and found again; its failures are explained and its key is seen nowhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import READABLE, Served, Shot, Visit, ask, contrast, serve_sample
from tests.openai_server import OpenAIServer, openai_server

pytest.importorskip("langchain_openai", reason="the chat extra is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUESTION = "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?"
KEY = "sk-secret-key-of-a-test"


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with openai_server(lambda messages: ["첫마디입니다. 끝", "마디입니다 [1]."], models=("tiny", "big")) as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, server: OpenAIServer) -> Iterator[Served]:
    """The page, served over the sample; it starts with a chat model that has a key."""
    with serve_sample(
        tmp_path_factory.mktemp("models"), RAG_CHAT_MODEL=f"{server.url}#tiny", RAG_CHAT_API_KEY=KEY
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _well(server: OpenAIServer) -> Iterator[None]:
    yield
    server.status, server.break_after, server.error_after = 200, None, None
    server.disconnected.clear()
    server.open_gates()


def _open(page: "Page") -> None:
    page.get_by_role("button", name="채팅 모델").click()
    page.get_by_role("dialog").wait_for()


def _answered(page: "Page", words: str) -> None:
    page.get_by_test_id("stChatMessage").last.get_by_text(words).wait_for()


def test_a_model_is_chosen_tried_and_asked_and_is_there_after_a_reload(
    visit: Visit, shot: Shot, server: OpenAIServer
) -> None:
    page = visit()
    _open(page)
    page.get_by_role("button", name="모델 목록 불러오기").click()
    page.get_by_role("combobox", name="모델").click()
    page.get_by_role("option", name="big").click()
    page.get_by_role("button", name="연결 확인").click()
    page.get_by_text("연결되었습니다.").wait_for()
    assert re.search(r"big · 첫 글자까지 \d+\.\d초 · 모두 \d+\.\d초", page.get_by_role("dialog").inner_text())
    assert contrast(page, '[data-testid="stAlertContentSuccess"] p') >= READABLE
    page.get_by_role("button", name="중지").wait_for(state="hidden")
    shot(page, "chat-model-connected")

    server.first_gate.clear()
    server.asked.clear()
    page.get_by_role("button", name="연결 확인").click()
    page.get_by_text("답을 기다리는 중입니다").wait_for()
    assert server.asked.wait(10)
    page.get_by_role("button", name="중지").click()
    page.get_by_text("연결 확인을 멈췄습니다.").wait_for()
    assert server.disconnected.wait(10)
    page.get_by_role("button", name="중지").wait_for(state="hidden")
    server.first_gate.set()

    server.status = 401
    page.get_by_role("button", name="연결 확인").click()
    page.get_by_text("키를 받아들이지 않았습니다").wait_for()
    shot(page, "chat-model-refused")
    server.status = 200

    page.get_by_role("button", name="이 모델로 답하기").click()
    page.get_by_role("dialog").wait_for(state="hidden")
    page.get_by_role("button", name="채팅 모델: big").wait_for()
    server.gate.clear()
    ask(page, QUESTION)
    _answered(page, "첫마디입니다.")
    assert page.get_by_text("끝마디입니다").count() == 0
    server.gate.set()
    _answered(page, "끝마디입니다")
    page.get_by_role("button", name="다시 답하기").wait_for()
    assert server.requests[-1].body["model"] == "big"
    page.get_by_role("link", name="비교").click()
    page.get_by_role("heading", name="비교").wait_for()
    page.get_by_role("link", name="대화").click()
    page.get_by_role("button", name="채팅 모델: big").wait_for()
    page.reload()
    page.get_by_role("button", name="채팅 모델: big").wait_for()
    assert "big" not in page.url


@pytest.mark.parametrize(
    ("fault", "remedy"), [("break_after", "연결이 끊겼습니다"), ("error_after", "서버에서 오류가 났습니다")]
)
def test_an_answer_that_fails_in_the_middle_keeps_its_text_and_says_what_to_do(
    visit: Visit, shot: Shot, server: OpenAIServer, fault: str, remedy: str
) -> None:
    page = visit()
    setattr(server, fault, 1)
    ask(page, QUESTION)
    _answered(page, remedy)
    _answered(page, "첫마디입니다.")
    assert page.get_by_text("끝마디입니다").count() == 0
    shot(page, f"chat-model-{fault.replace('_', '-')}")


def test_a_key_that_is_refused_is_neither_shown_nor_kept(visit: Visit, served: Served, server: OpenAIServer) -> None:
    page = visit()
    server.status = 401  # our server repeats the key that it refuses
    ask(page, QUESTION)
    _answered(page, "키를 받아들이지 않았습니다")
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    kept = [path for path in served.home.rglob("*") if path.is_file()]
    assert kept
    for path in [*kept, Path(f"{served.home}.log")]:
        assert KEY.encode() not in path.read_bytes()
    assert KEY not in page.content() + page.url + str(page.context.cookies())


def test_on_a_phone_in_the_dark_a_silent_ollama_says_how_to_start_it(visit: Visit, shot: Shot) -> None:
    page = visit(390, dark=True, path="?lang=en")
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_role("button", name="Chat model: tiny").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Ollama", exact=True).click()
    address = dialog.get_by_role("textbox", name="Ollama's address")
    address.fill("http://127.0.0.1:1")
    address.press("Enter")
    dialog.get_by_role("button", name="List the installed models").click()
    dialog.get_by_text("Ollama is not running.").wait_for()
    dialog.get_by_text("ollama serve", exact=True).wait_for()
    shot(page, "chat-model-ollama-phone")
    edges = dialog.locator("*").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert max(edges) <= 390
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
