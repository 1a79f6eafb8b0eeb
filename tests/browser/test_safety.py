"""What an article says can neither run nor fetch anything, and what is marked can be read."""

from collections.abc import Iterator

import pytest

from rag_app.data import sample_documents
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from tests.browser.conftest import Served, Visit, ask, contrast, serve
from tests.openai_server import openai_server

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
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, served over the sample and one hostile article."""
    folder = tmp_path_factory.mktemp("safety")
    build_index(folder / "news", [*sample_documents(), HOSTILE], load_embeddings())
    with serve(folder / "home", folder / "news") as running:
        yield running


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_the_marked_sentence_is_readable_and_the_page_fits(visit: Visit, width: int, dark: bool) -> None:
    page = visit(width, dark=dark)
    ask(page, QUESTION)
    page.get_by_text("함께 찾은 기사").wait_for()
    assert page.locator(".excerpt mark").first.is_visible()
    assert contrast(page, ".excerpt mark") >= READABLE
    page.locator(".source summary").first.click()
    assert page.locator(".source details .passage mark").first.is_visible()
    assert not page.locator(".source .excerpt").first.is_visible()
    assert page.locator(".scores").first.is_visible()
    edges = page.locator(".source, .source *").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert max(edges) <= width


def test_an_article_cannot_run_scripts_or_fetch_images(visit: Visit) -> None:
    page = visit()
    ask(page, "가람호수의 물은 몇 도로 따뜻해졌나요?")
    page.get_by_text("함께 찾은 기사").wait_for()
    messages = page.get_by_test_id("stChatMessage")
    assert "<img src=x onerror=alert(1)> ![그림]" in messages.nth(1).inner_text()
    assert messages.locator("img, script, a, .source svg").count() == 0


def test_the_first_words_are_there_before_the_last(visit: Visit) -> None:
    pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
    page = visit()
    example = page.get_by_role("button", name="두루시민축구단 김도윤 감독")
    example.wait_for()
    with openai_server(lambda _: ["첫마디입니다. ", "끝마디입니다 [1]."]) as server:
        server.gate.clear()
        box = page.get_by_role("textbox", name="채팅 모델")
        box.fill(server.url)
        box.press("Enter")
        ask(page, QUESTION)
        page.get_by_text("첫마디입니다.").wait_for()
        assert page.get_by_text("끝마디입니다").count() == 0
        assert example.count() == 0
        server.gate.set()
        page.get_by_text("끝마디입니다").wait_for()
        page.locator(".source").first.wait_for()
