"""The page in a real browser: a server over a fresh home, visits that may surprise nobody, and screenshots."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
from langchain_core.documents import Document

from rag_app.data import sample_documents
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index

pytest.importorskip("streamlit", reason="the ui extra is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page

PAGE = Path(__file__).parent.parent.parent / "streamlit_app.py"
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", PAGE.parent / "screenshots"))
"""Where the pictures of a run are kept."""
READABLE = 4.5
"""The contrast that WCAG 2.2 asks of text, https://www.w3.org/TR/WCAG22/#contrast-minimum."""

PATIENCE = 60_000
"""Milliseconds that a browser waits for something to be seen; what is there earlier is seen earlier."""

Visit = Callable[..., "Page"]
Shot = Callable[..., Path]


class Served(NamedTuple):
    """A running page.

    Attributes:
        address: Of the page, without a path.
        home: Its ``RAG_HOME``.
        news: Its ``RAG_INDEX``.
    """

    address: str
    home: Path
    news: Path


@contextmanager
def serve(home: Path, index: Path, **environment: str) -> Iterator[Served]:
    """Run the page on a free port of the loopback; stop it at the end.

    Args:
        home: Its ``RAG_HOME``.
        index: Its ``RAG_INDEX``.
        environment: More of its environment; it gets no other ``RAG_*`` variable.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
    given = {"RAG_INDEX": str(index), "RAG_HOME": str(home), "OMP_NUM_THREADS": "2", **environment}
    log = home.with_name(f"{home.name}.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(PAGE), "--server.port", str(port), "--server.headless", "true"],
        cwd=PAGE.parent,
        env={**kept, **given},
        stdout=log,
        stderr=log,
    )
    try:
        _wait_for(port, server)
        yield Served(f"http://127.0.0.1:{port}", home, index)
    finally:
        server.terminate()
        server.wait(20)
        log.close()


@contextmanager
def serve_sample(folder: Path, *more: Document, **environment: str) -> Iterator[Served]:
    """Run the page over an index of the sample and more articles; see `serve`."""
    build_index(folder / "news", [*sample_documents(), *more], load_embeddings())
    with serve(folder / "home", folder / "news", **environment) as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, served over the sample; a module that needs other articles has a fixture of this name of its own."""
    with serve_sample(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture
def visit(browser: "Browser", served: Served) -> Iterator[Visit]:
    """Opens the page; at the end, no visit may have asked anything of another host, opened a dialog or failed.

    ``visit(width=1280, dark=False, path="", context=None)``: the same ``context``, as of
    ``page.context``, is the same browser.
    """
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect.set_options(PATIENCE)
    contexts: list[BrowserContext] = []
    requests: list[str] = []
    surprises: list[str] = []

    def listen(message: "ConsoleMessage") -> None:
        if "Content Security Policy" in message.text:  # something of the page's own was refused, or worse, of another's
            surprises.append(message.text)

    def dismiss(dialog: "Dialog") -> None:
        surprises.append(dialog.message)
        dialog.dismiss()

    def open_page(
        width: int = 1280, *, dark: bool = False, path: str = "", context: "BrowserContext | None" = None
    ) -> "Page":
        if context is None:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", locale="ko-KR"
            )
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: requests.append(request.url))
        page.on("websocket", lambda websocket: requests.append(websocket.url))
        page.on("dialog", dismiss)
        page.on("console", listen)
        page.on("pageerror", lambda error: surprises.append(str(error)))
        page.goto(f"{served.address}/{path}")
        page.get_by_role("heading", level=1).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    hosts = {urlsplit(url).netloc for url in requests if urlsplit(url).scheme not in {"data", "blob"}}
    assert hosts <= {urlsplit(served.address).netloc}
    assert surprises == []


@pytest.fixture
def shot(request: pytest.FixtureRequest) -> Shot:
    """Keeps a picture in `SCREENSHOTS`, of what is in sight or of all: ``shot(page, "compare", whole=True)``."""

    def take(page: "Page", name: str, *, whole: bool = False) -> Path:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        size = page.viewport_size
        assert size is not None
        if whole:  # Streamlit scrolls inside the page, so that there is no more page than window
            height = page.get_by_test_id("stMain").evaluate("main => main.scrollHeight")
            page.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
        page.screenshot(path=path)
        page.set_viewport_size({"width": size["width"], "height": size["height"]})
        return path

    return take


def ask(page: "Page", question: str) -> None:
    """Type a question and send it."""
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(question)
    box.press("Enter")


def settle(page: "Page") -> None:
    """Wait until the page is drawn to its end: until then it shows what is about to be replaced, and moves."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


def contrast(page: "Page", selector: str) -> float:
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
