"""The page in a real browser: what only a browser can tell."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from rag_app.data import sample_documents
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from tests.openai_server import openai_server

pytest.importorskip("streamlit", reason="the ui extra is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page

PAGE = Path(__file__).parent.parent / "streamlit_app.py"
QUESTION = "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?"
HOSTILE = make_document(
    "가람호수의 물은 <img src=x onerror=alert(1)> ![그림](//192.0.2.1/a) 9도로 따뜻해졌다. "
    '<script>alert(2)</script><a href="javascript:alert(3)">관리소</a>는 물고기가 늘었다고 밝혔다.',
    title="<img src=http://192.0.2.1/b> 가람호수 ![그림](http://192.0.2.1/c)",
    source="<svg onload=alert(4)>",
)
READABLE = 4.5
"""The contrast that WCAG 2.2 asks of text, https://www.w3.org/TR/WCAG22/#contrast-minimum."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, served over the sample and one hostile article."""
    index = tmp_path_factory.mktemp("browser") / "index"
    build_index(index, [*sample_documents(), HOSTILE], load_embeddings())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(PAGE), "--server.port", str(port)]
    options = ["--server.address", "127.0.0.1", "--server.headless", "true", "--server.fileWatcherType", "none"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
    server = subprocess.Popen(
        [*command, *options, "--browser.gatherUsageStats", "false"],
        env={**environment, "RAG_INDEX": str(index)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def visit(browser: "Browser", address: str) -> "Iterator[Callable[..., Page]]":
    """Opens the page; at the end, no visit may have asked anything of another host, opened a dialog or failed."""
    contexts: list[BrowserContext] = []
    requests: list[str] = []
    surprises: list[str] = []

    def dismiss(dialog: "Dialog") -> None:
        surprises.append(dialog.message)
        dialog.dismiss()

    def open_page(width: int = 1280, *, dark: bool = False) -> "Page":
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", locale="ko-KR"
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("websocket", lambda websocket: requests.append(websocket.url))
        page.on("dialog", dismiss)
        page.on("pageerror", lambda error: surprises.append(str(error)))
        page.goto(address)
        page.get_by_test_id("stChatInputTextArea").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    hosts = {urlsplit(url).netloc for url in requests if urlsplit(url).scheme not in {"data", "blob"}}
    assert hosts == {urlsplit(address).netloc}
    assert surprises == []


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("Streamlit did not start")


def _ask(page: "Page", question: str) -> None:
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(question)
    box.press("Enter")


def _contrast(page: "Page", selector: str) -> float:
    """Return the contrast of an element's text with what is behind it, by WCAG's formula."""
    colours = page.locator(selector).first.evaluate(
        """element => {
            const colours = [getComputedStyle(element).color];
            for (let e = element; e; e = e.parentElement) colours.push(getComputedStyle(e).backgroundColor);
            return colours;
        }"""
    )
    text, *layers = ([float(number) for number in re.findall(r"[\d.]+", colour)] for colour in colours)
    behind = [255.0, 255.0, 255.0]
    for red, green, blue, *alpha in reversed(layers):
        share = alpha[0] if alpha else 1.0
        behind = [share * over + (1 - share) * under for over, under in zip((red, green, blue), behind, strict=True)]
    bright, dim = sorted((_luminance(text[:3]), _luminance(behind)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(rgb: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_the_marked_sentence_is_readable_and_the_page_fits(
    visit: "Callable[..., Page]", width: int, dark: bool
) -> None:
    page = visit(width, dark=dark)
    _ask(page, QUESTION)
    page.get_by_text("함께 찾은 기사").wait_for()
    assert page.locator(".excerpt mark").first.is_visible()
    assert _contrast(page, ".excerpt mark") >= READABLE
    page.locator(".source summary").first.click()
    assert page.locator(".source details .passage mark").first.is_visible()
    assert not page.locator(".source .excerpt").first.is_visible()
    assert page.locator(".scores").first.is_visible()
    edges = page.locator(".source, .source *").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert max(edges) <= width


def test_an_article_cannot_run_scripts_or_fetch_images(visit: "Callable[..., Page]") -> None:
    page = visit()
    _ask(page, "가람호수의 물은 몇 도로 따뜻해졌나요?")
    page.get_by_text("함께 찾은 기사").wait_for()
    messages = page.get_by_test_id("stChatMessage")
    assert "<img src=x onerror=alert(1)> ![그림]" in messages.nth(1).inner_text()
    assert messages.locator("img, script, a, .source svg").count() == 0


def test_the_first_words_are_there_before_the_last(visit: "Callable[..., Page]") -> None:
    pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
    page = visit()
    example = page.get_by_role("button", name="두루시민축구단 김도윤 감독")
    example.wait_for()
    with openai_server(lambda _: ["첫마디입니다. ", "끝마디입니다 [1]."]) as server:
        server.gate.clear()
        box = page.get_by_role("textbox", name="채팅 모델")
        box.fill(server.url)
        box.press("Enter")
        _ask(page, QUESTION)
        page.get_by_text("첫마디입니다.").wait_for()
        assert page.get_by_text("끝마디입니다").count() == 0
        assert example.count() == 0
        server.gate.set()
        page.get_by_text("끝마디입니다").wait_for()
        page.locator(".source").first.wait_for()
