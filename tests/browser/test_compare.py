"""One question, several systems: a person compares them, sees what moved, names the right article and asks why."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rag_app.data import sample_documents
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from tests.browser.conftest import READABLE, Served, Shot, Visit, contrast, serve

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

QUESTION = "로켓이 왜 안 떴어?"
RIGHT = "한빛 3호 발사 14시간 앞두고 연기… 헬륨이 샜다"
HOSTILE = make_document(
    "가람호수의 물은 <img src=x onerror=alert(1)> ![그림](//192.0.2.1/a) 9도로 따뜻해졌다. <script>alert(2)</script>",
    title="<img src=http://192.0.2.1/b> 가람호수 ![그림](http://192.0.2.1/c)",
    source="<svg onload=alert(4)>",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_static: Path) -> Iterator[Served]:
    """The page, served over the sample and one hostile article, with a second index by another model."""
    folder = tmp_path_factory.mktemp("compare")
    documents = [*sample_documents(), HOSTILE]
    build_index(folder / "news", documents, load_embeddings())
    build_index(folder / "home" / "indexes" / "tuned", documents, load_embeddings(tiny_static))
    with serve(folder / "home", folder / "news") as running:
        yield running


def compare(page: "Page", question: str, systems: int = 3) -> None:
    """Type a question and compare the systems that are chosen, so many."""
    page.get_by_label("질문", exact=True).fill(question)
    page.get_by_role("button", name="비교하기").click()
    columns(page).nth(systems - 1).get_by_role("button", name="왜 10위인가요?").wait_for()
    page.get_by_role("img", name="순위를 이은 그림").wait_for()


def columns(page: "Page") -> "Locator":
    """Return the columns of the systems."""
    return page.get_by_test_id("stColumn")


def test_three_systems_are_compared_and_explained(visit: Visit, shot: Shot) -> None:
    page = visit(path="compare")
    page.get_by_role("button", name="비교하기").wait_for()
    page.get_by_text("이런 질문으로 시작해 보세요.").wait_for()
    shot(page, "compare-empty")
    compare(page, QUESTION)
    assert columns(page).get_by_role("heading", level=3).all_inner_texts() == ["뜻만", "낱말+뜻", "낱말+뜻+재순위"]
    assert [one.locator(".ranked").count() for one in columns(page).all()] == [10, 10, 10]
    assert columns(page).nth(0).locator(".move").count() == 0
    told = columns(page).nth(2).locator(".move .unseen").all_inner_texts()
    assert any(re.fullmatch(r"앞 방식보다 \d+계단 위", words) for words in told)
    assert page.get_by_text("앞 방식에서 빠진 기사").count() == 2
    assert "번 잰 중앙값" in page.get_by_test_id("stMain").inner_text()
    assert [one.locator(".times tr", has_text="재순위").count() for one in columns(page).all()] == [0, 0, 1]

    page.get_by_role("combobox", name="찾던 기사").click()
    page.get_by_role("option", name=RIGHT).click()
    page.get_by_text(re.compile(r"찾던 기사: 뜻만 1위 → 낱말\+뜻 1위")).wait_for()
    assert page.locator(".ranked.right .heading").all_inner_texts() == [RIGHT] * 3
    page.get_by_text("순위표", exact=True).click()
    page.get_by_role("row", name=RIGHT).get_by_text("찾던 기사").wait_for()
    shot(page, "compare")

    columns(page).nth(2).get_by_role("button", name="왜 1위인가요?").click()
    dialog = page.get_by_role("dialog", name="왜 이 기사인가")
    dialog.get_by_role("heading", name="재순위: 질문과 단락을 함께 읽기").wait_for()
    for table in dialog.locator("table.parts").all()[1:]:
        *parts, total = (float(cell) for cell in table.locator("td").all_inner_texts())
        assert sum(parts) == pytest.approx(total, abs=0.01 * len(parts))
    assert "로켓" in dialog.locator(".why mark").all_inner_texts()
    shot(page, "compare-why")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")

    again = visit(path=page.url.partition("/compare")[2].join(["compare", ""]), context=page.context)
    columns(again).nth(2).get_by_role("button", name="왜 10위인가요?").wait_for()
    assert again.get_by_label("질문", exact=True).input_value() == QUESTION
    assert columns(again).first.locator("caption").inner_text() == columns(page).first.locator("caption").inner_text()


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_it_fits_a_phone_and_is_readable_in_the_dark(visit: Visit, shot: Shot, width: int, dark: bool) -> None:
    page = visit(width, dark=dark, path="compare")
    page.get_by_role("button", name="비교하기").wait_for()
    compare(page, QUESTION)
    tops = [one.bounding_box() for one in columns(page).all()]
    beside = len({round(box["x"]) for box in tops if box}) > 1
    assert beside == (width > 640)
    edges = page.locator(".slope *, .ranked, .times *").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert max(edges) <= width
    for part in (".move.up", ".move.down", ".ranked .meta", ".times th"):
        assert contrast(page, part) >= READABLE
    name = "compare-dark" if dark else "compare-phone"
    shot(page, name)
    columns(page).nth(2).get_by_role("button", name="왜 2위인가요?").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("table.parts").nth(2).wait_for()
    edges = dialog.locator("table *").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert max(edges) <= width
    shot(page, f"{name}-why")


def test_another_index_stays_beside_and_what_articles_hold_is_text(visit: Visit, shot: Shot) -> None:
    page = visit(path="compare")
    box = page.get_by_role("combobox", name="비교할 방식")
    box.wait_for()
    for _ in range(2):
        box.press("Backspace")
    box.press_sequentially("tuned")
    page.get_by_role("option", name="뜻만 (base) · tuned").click()
    page.keyboard.press("Escape")
    compare(page, "가람호수의 물은 몇 도로 따뜻해졌나요?", systems=2)
    assert columns(page).get_by_role("heading", level=3).all_inner_texts() == ["뜻만", "뜻만 · tuned"]
    assert "<img src=http://192.0.2.1/b> 가람호수" in columns(page).nth(0).locator(".heading").first.inner_text()
    assert page.get_by_test_id("stMain").locator("img, script, a, .ranked svg").count() == 0
    columns(page).nth(0).get_by_role("button", name="왜 1위인가요?").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("이 검색에는 뜻 점수만 쓰였습니다.").wait_for()
    assert "onerror=alert(1)" in dialog.locator(".why").inner_text()
    assert dialog.locator("img, script, .why a, .heading a").count() == 0
    shot(page, "compare-indexes")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.get_by_role("link", name="대화").click()
    page.get_by_test_id("stChatInputTextArea").wait_for()
    page.get_by_role("link", name="비교").click()
    page.get_by_role("img", name="뜻만 · 뜻만 · tuned의 순위를 이은 그림").wait_for()


def test_a_reranker_that_is_missing_is_explained_and_another_works(visit: Visit, tiny_linear_reranker: Path) -> None:
    page = visit(path="compare")
    page.get_by_role("button", name="비교하기").wait_for()
    page.get_by_text("재순위 모델", exact=True).click()
    name = page.get_by_role("textbox", name="재순위 모델")
    name.fill("/nowhere/model")
    page.get_by_label("질문", exact=True).fill(QUESTION)
    page.get_by_role("button", name="비교하기").click()
    page.get_by_text("파일이나 폴더를 찾지 못했습니다").wait_for()
    page.get_by_role("button", name="다시 해 보기").wait_for()
    name.fill(str(tiny_linear_reranker))
    compare(page, QUESTION)
    columns(page).nth(2).get_by_role("button", name="왜 1위인가요?").click()
    first = page.get_by_role("dialog").locator("table.parts").nth(2).locator("tbody th").first
    assert first.inner_text().startswith("앞 단계의 합산 점수")  # it counts twice as much as the only feature
