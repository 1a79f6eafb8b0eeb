"""What an answer rests on: citations that lead to their sources, whole articles, and weak evidence."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from rag_app.documents import make_document
from rag_app.index import open_index
from tests.browser.conftest import PATIENCE, READABLE, Served, Shot, Visit, ask, contrast, serve, serve_sample
from tests.openai_server import openai_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect

QUESTION = "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?"
ABOUT_THE_LAKE = "가람호수에서 발견된 얼음두더지는 몇 마리인가요?"
UNANSWERED = "quantum chromodynamics 격자 계산은 누가 했나요?"
FOUND = "가람호수에서 발견된 얼음두더지는 모두 열일곱 마리다."
LAKE = make_document(
    "\n\n".join(
        [f"{number}번째 조사에서는 별다른 것이 없었다. 물은 맑았고 바람은 잔잔했다 😀." for number in range(200)]
        + [f"조사단은 두더지를 세었다. {FOUND} 가장 큰 것은 30cm였다 <b>."]
        + [f"{number}번째 조사도 조용히 끝났다. 모두 숙소로 돌아갔다." for number in range(200, 400)]
    ),
    title="가람호수 조사 <보고서>",
    source="가람연구소",
    date="2025-03-02",
    url="https://lake.example/1",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, served over the sample and one long article."""
    with serve_sample(tmp_path_factory.mktemp("evidence"), LAKE) as running:
        yield running


def answered(page: "Page", question: str) -> "Locator":
    """Ask, and return the answer when it is complete."""
    ask(page, question)
    page.get_by_role("button", name="다시 답하기").wait_for()
    return page.get_by_test_id("stChatMessage").last


def is_marked(page: "Page", card: "Locator") -> None:
    """The card is in sight, marked and focused."""
    expect(card).to_be_in_viewport()
    expect(card).to_be_focused()
    assert card.evaluate("one => one.matches(':target')")
    frame = page.locator("[class*='st-key-card-source-']").filter(has=page.locator("#" + str(card.get_attribute("id"))))
    expect(frame).to_have_css("border-top-color", "rgb(217, 154, 0)")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_citation_leads_to_its_card_by_mouse_and_keyboard_also_after_a_reload(
    visit: Visit, shot: Shot, width: int, dark: bool
) -> None:
    page = visit(width, dark=dark)
    answer = answered(page, QUESTION)
    expect(answer.get_by_test_id("stMarkdown").first).to_be_in_viewport()
    citation = answer.get_by_role("link", name="출처 1", exact=True).first
    assert contrast(page, "a[href^='#source-']") >= READABLE
    card = answer.get_by_role("article", name="출처 1: 한빛 3호 발사 14시간 앞두고 연기", exact=False)
    citation.click()
    is_marked(page, card)
    shot(page, f"evidence-citation-{width}{'-dark' if dark else ''}")
    assert contrast(page, ".source .excerpt mark") >= READABLE
    assert contrast(page, ".source .number") >= READABLE

    page.reload()
    page.get_by_role("button", name="다시 답하기").wait_for()
    citation.focus()
    page.keyboard.press("Enter")
    is_marked(page, card)
    card.locator(".found summary").press("Enter")
    expect(card.get_by_role("row", name="낱말 (BM25)")).to_contain_text("1위")
    expect(card.locator(".found .passage mark").first).to_be_visible()
    edges = page.locator(".source, .source *").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert max(edges) <= width
    shot(page, f"evidence-scores-{width}{'-dark' if dark else ''}")


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_an_article_opens_at_the_sentence_that_was_quoted(visit: Visit, shot: Shot, width: int, dark: bool) -> None:
    page = visit(width, dark=dark)
    answer = answered(page, ABOUT_THE_LAKE)
    button = answer.get_by_role("button", name="기사 전체 보기").first
    button.press("Enter")
    drawer = page.get_by_role("dialog")
    sentence = drawer.locator("mark", has_text=FOUND)
    expect(sentence).to_be_in_viewport()
    expect(sentence).to_be_focused()
    expect(drawer.get_by_role("heading", name="가람호수 조사 <보고서>")).to_be_attached()
    expect(drawer.get_by_role("link", name="원문 보기")).to_have_attribute("href", "https://lake.example/1")
    assert f"전체 {len(LAKE.page_content):,}자" in drawer.inner_text()
    assert contrast(page, ".article mark") >= READABLE
    assert contrast(page, ".article .passage") >= READABLE
    shown = drawer.locator(".article p").all_text_contents()
    assert "".join("".join(shown).split()) == "".join(LAKE.page_content.split())
    assert drawer.evaluate("one => one.scrollWidth <= one.clientWidth")
    shot(page, f"evidence-article-{width}{'-dark' if dark else ''}")
    drawer.get_by_role("button", name="다음 문장으로").click()
    expect(drawer.locator("mark.current")).to_be_in_viewport()
    expect(drawer.locator("mark.current")).not_to_have_text(FOUND)
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    expect(button).to_be_focused()


def test_a_question_without_an_answer_shows_the_nearest_articles_and_what_to_do(visit: Visit, shot: Shot) -> None:
    page = visit(390)
    answer = answered(page, UNANSWERED)
    why = answer.get_by_role("region", name="답이 없는 까닭")
    expect(why).to_be_in_viewport()
    expect(why).to_contain_text("40%부터 답합니다")
    expect(why).to_contain_text("찾은 기사 어디에도 없는 말: quantum, chromodynamics")
    near = answer.get_by_role("article")
    expect(near).to_have_count(3)
    expect(near.first.locator(".excerpt mark")).to_be_visible()
    expect(answer.get_by_role("link", name="출처")).to_have_count(0)
    shot(page, "evidence-refusal-phone")
    page.get_by_text("가까운 기사 2건 더").click()
    expect(near).to_have_count(5)
    near.last.scroll_into_view_if_needed()
    answer.get_by_role("button", name="기사 전체 보기").last.click()
    expect(page.get_by_role("dialog").locator("mark").first).to_be_in_viewport()


def test_an_article_that_has_left_the_index_is_shown_as_far_as_it_is_kept(visit: Visit, served: Served) -> None:
    page = visit()
    answer = answered(page, ABOUT_THE_LAKE)
    index = open_index(served.news)
    index.delete([str(LAKE.id)])
    try:
        answer.get_by_role("button", name="기사 전체 보기").first.click()
        # The page reads the index anew when it is drawn anew, not when an article is opened.
        page.get_by_role("dialog").locator("mark").first.wait_for()
        page.reload()
        page.get_by_role("button", name="기사 전체 보기").first.click()
        drawer = page.get_by_role("dialog")
        expect(drawer).to_contain_text("이 기사는 이제 색인에 없습니다")
        expect(drawer.locator("mark", has_text=FOUND)).to_be_in_viewport()
        assert len(drawer.locator(".article").inner_text()) < 3000
    finally:
        index.add([LAKE])


def test_citations_lead_to_sources_while_the_answer_is_being_written(browser: "Browser", served: Served) -> None:
    pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
    with (
        openai_server(lambda _: ["이음매입니다 [1]. 끝", "마디입니다."]) as model,
        serve(served.home, served.news, RAG_CHAT_MODEL=f"{model.url}#tiny") as writing,
    ):
        model.gate.clear()
        page = browser.new_page(locale="ko-KR")
        page.set_default_timeout(PATIENCE)
        page.goto(writing.address)
        ask(page, QUESTION)
        page.get_by_role("link", name="출처 1").click()
        card = page.get_by_role("article", name="출처 1:", exact=False)
        expect(card).to_be_in_viewport()
        expect(card).to_be_focused()
        assert page.get_by_text("끝마디입니다").count() == 0
        model.open_gates()
        page.get_by_text("끝마디입니다").wait_for()
        expect(page.get_by_role("button", name="기사 전체 보기").first).to_be_visible()
        page.close()
