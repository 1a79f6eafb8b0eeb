"""What an article says can neither run nor fetch anything."""

from collections.abc import Iterator

import pytest

from rag_app.documents import make_document
from tests.browser.conftest import Served, Visit, ask, serve_sample

HOSTILE = make_document(
    "가람호수의 물은 <img src=x onerror=alert(1)> ![그림](//192.0.2.1/a) 9도로 따뜻해졌다. "
    '<script>alert(2)</script><a href="javascript:alert(3)">관리소</a>는 물고기가 늘었다고 밝혔다.',
    title="<img src=http://192.0.2.1/b> 가람호수 ![그림](http://192.0.2.1/c)",
    source="<svg onload=alert(4)>",
)
FORBIDDEN = "img, script, a:not([href^='#source-']), .source svg"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, served over the sample and one hostile article."""
    with serve_sample(tmp_path_factory.mktemp("safety"), HOSTILE) as running:
        yield running


def test_an_article_cannot_run_scripts_or_fetch_images(visit: Visit) -> None:
    page = visit()
    ask(page, "가람호수의 물은 몇 도로 따뜻해졌나요?")
    page.get_by_role("button", name="다시 답하기").wait_for()
    messages = page.get_by_test_id("stChatMessage")
    assert "<img src=x onerror=alert(1)> ![그림]" in messages.nth(1).inner_text()
    assert "<img src=http://192.0.2.1/b> 가람호수 ![그림](http://192.0.2.1/c)" in messages.nth(1).inner_text()
    assert messages.locator(FORBIDDEN).evaluate_all("all => all.map(one => one.outerHTML)") == []
    page.get_by_role("button", name="기사 전체 보기").first.click()
    drawer = page.get_by_role("dialog")
    drawer.locator("mark").first.wait_for()
    assert "<script>alert(2)</script>" in drawer.locator(".article").inner_text()
    assert (
        "<img src=http://192.0.2.1/b> 가람호수 ![그림](http://192.0.2.1/c)"
        in drawer.get_by_role("heading").inner_text()
    )
    # Streamlit makes links of addresses in a title; they lead where one reads that they lead.
    links = drawer.locator("a").evaluate_all("all => all.filter(one => one.href !== one.textContent).length")
    assert links == 0
    assert drawer.locator("img, script, .article svg, .article a").count() == 0
