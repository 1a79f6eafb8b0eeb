"""A conversation as a person has it: asked, followed up, left, found again, changed and kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import READABLE, Served, Shot, Visit, ask, contrast, serve_sample
from tests.openai_server import OpenAIServer, openai_server

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect

QUESTION = "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?"
REWRITTEN = "한빛 3호의 발사는 며칠로 미뤄졌나요?"
OTHER = "두루시민축구단 김도윤 감독 계약 기간은?"


def _reply(messages: list[dict[str, Any]]) -> list[str]:
    if "고쳐 쓰세요" in messages[0]["content"]:
        return [REWRITTEN]
    told = messages[-1]["content"]
    asked = REWRITTEN if REWRITTEN in told else told.rsplit("질문: ", 1)[-1]
    answers = {QUESTION: ["헬륨 배관 이", "음매입니다 ", "[1]."], REWRITTEN: ["19일로 미", "뤄졌습니다 ", "[1]."]}
    return answers.get(asked, ["2년 6개월", "입니다 ", "[1]."])


@pytest.fixture(scope="module")
def model() -> Iterator[OpenAIServer]:
    with openai_server(_reply) as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer) -> Iterator[Served]:
    """The page, served over the sample, with a chat model on the loopback."""
    with serve_sample(tmp_path_factory.mktemp("chat"), RAG_CHAT_MODEL=f"{model.url}#tiny") as running:
        yield running


@pytest.fixture(autouse=True)
def _well(model: OpenAIServer) -> None:
    """Let the model answer as it should, whatever the test before did to it."""
    model.open_gates()
    model.disconnected.clear()
    model.error_after = model.break_after = None
    model.requests.clear()


def _messages(page: "Page") -> "Locator":
    return page.get_by_test_id("stChatMessage")


def _button(page: "Page", name: str) -> "Locator":
    return page.get_by_role("button", name=name)


def _at_rest(page: "Page") -> None:
    """Wait until the last answer has all that belongs below it."""
    page.get_by_text("다시 답하기").or_(page.get_by_text("다시 묻기")).wait_for()


def _first_words(page: "Page") -> "Locator":
    return page.get_by_text("헬륨 배관", exact=True)


def _fits(page: "Page") -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_a_conversation_is_led_left_and_found_again(visit: Visit, shot: Shot, tmp_path: Path) -> None:
    page = visit()
    suggestion = _button(page, QUESTION)
    suggestion.wait_for()
    shot(page, "chat-first")
    suggestion.click()
    page.get_by_text("헬륨 배관 이음매입니다").wait_for()
    _at_rest(page)
    assert page.locator("article.source").first.is_visible()

    ask(page, "그건 며칠로 미뤄졌나요?")
    page.get_by_text(f"찾은 질문: {REWRITTEN}").wait_for()
    page.get_by_text("19일로 미뤄졌습니다").wait_for()
    _at_rest(page)
    said = _messages(page).all_inner_texts()
    shot(page, "chat-follow-up")

    page.reload()
    _at_rest(page)
    assert _messages(page).all_inner_texts() == said
    cited = page.get_by_role("link", name="출처 1").first
    assert page.locator(str(cited.get_attribute("href"))).is_visible()

    _button(page, "대화 관리").click()
    name = page.get_by_role("textbox", name="대화 이름")
    name.fill("발사 <b>연기</b>")
    name.press("Enter")
    _button(page, "발사 <b>연기</b>").wait_for()
    with page.expect_download() as download:
        _button(page, "Markdown으로 내려받기").click()
    shot(page, "chat-menu")
    saved = tmp_path / "saved.md"
    download.value.save_as(saved)
    written = saved.read_text("utf-8")
    assert download.value.suggested_filename == "발사 b 연기 b.md"
    assert f"## {QUESTION}" in written
    assert f"찾은 질문: {REWRITTEN}" in written
    assert "헬륨 배관 이음매입니다 [1]." in written
    assert "1. 한빛 3호 발사 14시간 앞두고 연기… 헬륨이 샜다 · 누리통신 · 2025-01-06 · 기술" in written
    page.keyboard.press("Escape")

    _button(page, "비교하기").last.click()
    page.get_by_role("heading", level=1, name="비교").wait_for()
    expect(page.get_by_role("textbox", name="질문")).to_have_value(REWRITTEN)


def test_questions_are_edited_answered_again_and_conversations_deleted(
    visit: Visit, shot: Shot, model: OpenAIServer
) -> None:
    page = visit()
    ask(page, QUESTION)
    _at_rest(page)
    ask(page, "그건 며칠로 미뤄졌나요?")
    page.get_by_text("19일로 미뤄졌습니다").wait_for()
    _at_rest(page)
    _button(page, "질문 고치기").first.click()
    page.get_by_text("그 뒤에 나눈 질문과 답 1개가 지워집니다").wait_for()
    edited = page.get_by_role("dialog").get_by_role("textbox", name="질문")
    expect(edited).to_be_focused()
    edited.fill("")
    _button(page, "고쳐서 묻기").click()
    page.get_by_text("질문을 적어 주세요.").wait_for()
    page.keyboard.press("Escape")
    expect(edited).to_have_count(0)
    _button(page, "질문 고치기").first.click()
    edited.fill(OTHER)
    shot(page, "chat-edit")
    _button(page, "고쳐서 묻기").click()
    page.get_by_text("2년 6개월입니다").wait_for()
    expect(_messages(page)).to_have_count(2)
    expect(page.get_by_text("헬륨 배관 이음매입니다")).to_have_count(0)
    _at_rest(page)

    model.gate.clear()
    _button(page, "다시 답하기").click()
    page.get_by_text("이어서 쓰는 중입니다").wait_for()
    expect(page.get_by_text("2년 6개월입니다")).to_have_count(0)
    model.gate.set()
    page.get_by_text("2년 6개월입니다").wait_for()
    _at_rest(page)

    _button(page, "새 대화").click()
    page.get_by_text("이렇게 물어볼 수 있습니다").wait_for()
    expect(_messages(page)).to_have_count(0)
    ask(page, QUESTION)
    page.get_by_text("헬륨 배관 이음매입니다").wait_for()
    _at_rest(page)
    listed = page.locator(".st-key-conversations")
    listed.get_by_role("button", name=OTHER).or_(listed.get_by_role("button", name=QUESTION)).nth(1).click()
    page.get_by_text("2년 6개월입니다").wait_for()

    _button(page, "대화 관리").click()
    _button(page, "대화 지우기").click()
    page.get_by_text("질문 1개와 답변을 모두 지울까요?").wait_for()
    shot(page, "chat-delete")
    page.get_by_role("button", name="지우기", exact=True).click()
    page.get_by_text("이렇게 물어볼 수 있습니다").wait_for()
    assert page.get_by_text("2년 6개월입니다").count() == 0


def test_an_answer_goes_on_through_a_reload_and_stops_at_a_key(visit: Visit, shot: Shot, model: OpenAIServer) -> None:
    page = visit()
    model.gate.clear()
    ask(page, QUESTION)
    _first_words(page).wait_for()
    page.get_by_text("찾은 기사 5건").wait_for()
    shot(page, "chat-streaming")

    page.reload()
    _first_words(page).wait_for()
    page.get_by_role("link", name="비교").click()
    page.get_by_role("heading", level=1, name="비교").wait_for()
    page.get_by_role("link", name="대화").click()
    _first_words(page).wait_for()
    page.get_by_text("이어서 쓰는 중입니다").wait_for()
    assert len(model.requests) == 1  # nothing was asked twice
    page.get_by_text("4초").wait_for()

    page.get_by_test_id("stChatInputTextArea").press("Escape")
    page.get_by_text("답변을 멈췄습니다.").wait_for()
    assert model.disconnected.wait(5)
    assert page.locator("p").filter(has_text="헬륨 배관").is_visible()
    shot(page, "chat-stopped")
    page.reload()
    page.get_by_text("답변을 멈췄습니다.").wait_for()

    model.open_gates()
    _button(page, "다시 묻기").click()
    page.get_by_text("헬륨 배관 이음매입니다").wait_for()


def test_another_question_stops_the_answer_and_is_answered(visit: Visit, model: OpenAIServer) -> None:
    page = visit()
    model.gate.clear()
    ask(page, QUESTION)
    _first_words(page).wait_for()
    model.first_gate.clear()
    ask(page, OTHER)
    page.get_by_text("답변을 멈췄습니다.").wait_for()
    page.get_by_text("질문을 다시 쓰는 중입니다").wait_for()
    model.open_gates()
    page.get_by_text("19일로 미뤄졌습니다").wait_for()
    expect(_messages(page)).to_have_count(4)


@pytest.mark.parametrize("trouble", ["error_after", "break_after"])
def test_a_model_that_fails_midway_is_explained_and_asked_again(
    visit: Visit, shot: Shot, model: OpenAIServer, trouble: str
) -> None:
    page = visit()
    setattr(model, trouble, 2)
    ask(page, QUESTION)
    page.get_by_role("alert").wait_for()
    _at_rest(page)
    assert page.locator("p").filter(has_text="헬륨 배관").is_visible()
    assert "다시" in page.get_by_role("alert").inner_text()
    shot(page, f"chat-{trouble.replace('_', '-')}")
    setattr(model, trouble, None)
    _button(page, "다시 묻기").click()
    page.get_by_text("헬륨 배관 이음매입니다").wait_for()
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True)])
def test_the_chat_fits_a_phone_and_can_be_read_in_the_dark(visit: Visit, shot: Shot, width: int, dark: bool) -> None:
    page = visit(width, dark=dark)
    ask(page, QUESTION)
    _at_rest(page)
    assert _fits(page)
    assert contrast(page, "[class*='st-key-actions-'] button p") >= READABLE
    shot(page, f"chat-{width}{'-dark' if dark else ''}")


def test_a_conversation_in_english(visit: Visit, shot: Shot) -> None:
    page = visit(path="?lang=en")
    ask(page, QUESTION)
    page.get_by_text("Answer again").wait_for()
    assert _button(page, "New conversation").is_visible()
    assert _button(page, "Edit question").is_visible()
    shot(page, "chat-english")


def test_dialogs_and_cards_are_served_while_an_answer_streams(visit: Visit, model: OpenAIServer) -> None:
    page = visit()
    ask(page, QUESTION)
    page.get_by_text("헬륨 배관 이음매입니다").wait_for()
    _at_rest(page)
    model.gate.clear()
    ask(page, OTHER)
    page.get_by_text("이어서 쓰는 중입니다").wait_for()
    _button(page, "기사 전체 보기").first.click()
    page.get_by_role("dialog").wait_for(timeout=5000)
    assert page.get_by_text("이어서 쓰는 중입니다").is_visible()
    model.gate.set()
    page.get_by_text("19일로 미뤄졌습니다").wait_for()
