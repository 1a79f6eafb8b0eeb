"""Over two hundred payloads, wherever a text can come from: none runs, none fetches, all can be read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from langchain_core.documents import Document

from rag_app.conversations.store import Conversations
from rag_app.conversations.turn import Turn
from rag_app.documents import make_document
from rag_app.feedback.entries import rate
from rag_app.feedback.store import FILE_NAME, Feedback
from tests.browser.conftest import Served, Visit, ask, serve_sample
from tests.openai_server import OpenAIServer, openai_server
from tests.promises.payloads import HOST, PAYLOADS
from tests.reliability import Promised

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Page

pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
pytestmark = pytest.mark.promise(9)

ALL = "\n\n".join(PAYLOADS)
IMAGE = PAYLOADS[0]
STORED = "c" * 32
SURPRISES = """() => {
    const found = [];
    // Where a link may lead: to the article's own address, which the card calls so, or to what it says itself.
    const leads = (a, to) => a.localName === "a" && /^https?:/.test(to)
        && (a.closest(".meta, .also") !== null || a.textContent.includes(to.replace("http://", "")));
    if (window.__pwned) found.push("a script ran");
    for (const element of document.querySelectorAll("body *")) {
        const name = element.localName, of = element.outerHTML.slice(0, 200);
        for (const { name: key, value } of element.attributes) {
            if (key.startsWith("on") || /^(srcdoc|formaction|ping)$/.test(key)) found.push(of);
            if (/^(href|src|action|data|poster|srcset|background|style|xlink:href)$/.test(key)
                && /HOST|(java|vb)script:|data:text|__pwned/i.test(value)
                && !leads(element, value)) found.push(of);
        }
        if (element.matches("iframe, object, embed, applet, form[action], base, meta, frame, marquee")) found.push(of);
        if (element.matches("area, dialog, math, audio, video, details[ontoggle]")) found.push(of);
        if (name === "script" && /__pwned|HOST/.test(of)) found.push(of);
        if (name === "style" && /HOST|display:none!important/.test(element.textContent)) found.push(of);
        if (name === "img" && !element.src.startsWith("data:image/svg+xml,%3csvg%20width")) found.push(of);
    }
    return found;
}""".replace("HOST", re.escape(HOST).replace("\\", "\\\\"))


@pytest.fixture(scope="module")
def model() -> Iterator[OpenAIServer]:
    """A chat model that writes payloads whatever it is asked, under a name that is one."""
    with openai_server(lambda _: [ALL[at : at + 97] for at in range(0, len(ALL), 97)], models=(IMAGE,)) as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer) -> Iterator[Served]:
    """The page over an article, a conversation and feedback for each of the payloads."""
    folder = tmp_path_factory.mktemp("payloads")
    articles = [_article(number, payload) for number, payload in enumerate(PAYLOADS)]
    store, feedback = Conversations(folder / "home" / "chat.sqlite"), Feedback(folder / "home" / FILE_NAME)
    for payload in PAYLOADS[::5]:
        store.save(store.create(payload), Turn(payload, answer=payload, finished=True))
    store.create(ALL, STORED)
    sources = [_cited(article, number) for number, article in enumerate(articles[:4], start=1)]
    turns = [
        Turn(
            ALL, answer=ALL, documents=sources, written=True, chat_model=IMAGE, searched=f"물은? {IMAGE}", finished=True
        ),
        Turn(IMAGE, answer=f"“{ALL}” [1]", documents=sources, index=IMAGE, filtered=ALL, finished=True),
        Turn(IMAGE, documents=sources, refused=True, evidence=0.1, filtered=ALL, finished=True),
        Turn(IMAGE, problem=IMAGE, detail=ALL, lang="en"),
    ]
    for turn in turns:
        store.save(STORED, turn)
    for turn in turns[:3]:
        entry = rate(turn, "down", models={"chat": IMAGE})
        feedback.save(entry, articles[:4])
        feedback.change(
            entry.turn, lambda one: one.__class__(**{**vars(one), "note": ALL, "right": one.shown[0].doc_id})
        )
    name = f"{model.url}#{IMAGE}"
    with serve_sample(folder, *articles, RAG_CHAT_MODEL=name) as running:
        yield running


def _article(number: int, payload: str) -> Document:
    text = f"가람호수 소식 {number}호. {payload} 물은 {number}도로 따뜻해졌다."
    link = payload if ":" in payload else f"http://{HOST}/{payload}"
    return make_document(text, title=payload, source=payload, section=payload, url=link, path=f"/x/{payload}")


def _cited(article: Document, number: int) -> Document:
    stages = {"lexical": {"rank": number, "score": 9.0, "coverage": 0.8}}
    span = {"start": 0, "end": len(article.page_content)}
    more = {"citation": number, "cited": True, "quote": span, "quotes": [span], "stages": stages}
    others = {"duplicates": [{"title": IMAGE, "source": IMAGE, "url": f"javascript:{IMAGE}"}], **span}
    return Document(article.page_content, id=f"{article.id}:0", metadata={**article.metadata, **more, **others})


def _assert_harmless(page: "Page") -> None:
    assert page.evaluate(SURPRISES) == []


def _seen(text: str) -> str:
    """Return a text without what Markdown may do to it in an answer: white space, lists, emphasis, markers."""
    return re.sub(r"^1\. |출처\s\d|\[\d\]|[\s\u2060*\-.]", "", text)


def _unseen(page: "Page", selector: str) -> list[str]:
    """Return the payloads that cannot be read inside an element."""
    text = _seen(page.locator(selector).evaluate("element => element.textContent"))
    return [payload for payload in PAYLOADS if _seen(payload) not in text]


def test_nothing_in_a_conversation_runs_or_fetches(visit: Visit, promised: Promised) -> None:
    page = visit(path=f"?c={STORED}")
    page.locator("[data-testid=stChatMessage]").nth(7).wait_for()
    page.locator("article.source").nth(7).wait_for()
    _assert_harmless(page)
    for message in (0, 1, 3):  # a question, an answer written by a model, one that quotes
        assert _unseen(page, f"[data-testid=stChatMessage] >> nth={message}") == []
    assert _unseen(page, "[data-testid=stAlert] >> nth=-1") == []  # the message of an error
    page.get_by_role("button", name="기사 전체 보기").first.click()
    page.get_by_role("dialog").locator("mark").first.wait_for()
    shown = page.get_by_role("dialog").inner_text()
    assert any(payload in shown for payload in PAYLOADS[:4])
    _assert_harmless(page)
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.get_by_role("button", name="왜 이 기사?").first.click()
    page.get_by_role("dialog").locator("table.parts").first.wait_for()
    _assert_harmless(page)
    promised.tried(5 * len(PAYLOADS), "payloads shown in a browser")


def test_nothing_that_a_hostile_model_writes_runs_or_fetches(
    visit: Visit, model: OpenAIServer, promised: Promised
) -> None:
    page = visit(path=f"?index={IMAGE}&c={IMAGE}&x={IMAGE}")
    ask(page, f"가람호수의 물은 몇 도인가요? {IMAGE}")
    page.get_by_role("button", name="다시 답하기").wait_for()
    _assert_harmless(page)
    answer = page.get_by_test_id("stChatMessage").nth(1).evaluate("element => element.textContent")
    assert HOST not in answer.partition("출처")[0]
    model.status, model.refusal = 500, {"message": ALL, "type": IMAGE, "code": IMAGE}
    ask(page, "가람호수는?")
    page.get_by_test_id("stAlert").last.wait_for()
    _assert_harmless(page)
    model.status = 200
    promised.tried(len(PAYLOADS), "payloads shown in a browser")


def test_nothing_in_an_index_or_a_file_s_name_runs_or_fetches(visit: Visit, promised: Promised, tmp_path: Path) -> None:
    page = visit(path="corpus")
    page.get_by_test_id("stVegaLiteChart").first.locator("canvas, svg").first.wait_for()
    for fold in page.locator("summary").filter(has_text=": 표").all():
        fold.click()
    page.get_by_role("cell").filter(has_text="onerror").first.wait_for()
    _assert_harmless(page)
    page.get_by_test_id("stButtonGroup").get_by_text("기사", exact=True).click()
    page.get_by_test_id("stDataFrame").wait_for()
    _assert_harmless(page)
    page.get_by_test_id("stButtonGroup").get_by_text("올리기", exact=True).click()
    named = [payload for payload in PAYLOADS if "/" not in payload and len(payload) < 120][:60]
    files: list[FilePayload] = [
        {"name": f"{payload}.{'csv' if number == 3 else 'txt'}", "mimeType": "text/plain", "buffer": IMAGE.encode()}
        for number, payload in enumerate(named)
    ]
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(files)
    page.get_by_role("button", name="색인 시작").and_(page.locator(":enabled")).click()
    page.locator(".files tr").nth(len(files) - 1).wait_for(state="attached")
    page.get_by_role("button", name="결과 내려받기 (CSV)").wait_for()
    _assert_harmless(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="결과 내려받기 (CSV)").click()
    cells = download.value.path().read_text("utf-8-sig").splitlines()
    assert [line for line in cells if line.strip('"')[:1] in tuple("=+-@")] == []
    promised.tried(len(PAYLOADS) + len(files), "payloads shown in a browser")


def test_nothing_in_a_comparison_or_a_review_runs_or_fetches(visit: Visit, promised: Promised) -> None:
    page = visit(path="feedback")
    page.get_by_role("heading", name="답이 아닌 기사").wait_for()
    page.locator(".passage").first.wait_for(state="attached")
    _assert_harmless(page)
    assert _unseen(page, "[data-testid=stMain]") == []  # the note
    page.get_by_role("link", name="비교").click()
    page.get_by_label("질문", exact=True).fill(f"가람호수의 물은 몇 도인가요? {IMAGE}")
    page.get_by_role("button", name="비교하기").click()
    page.locator(".ranked").first.wait_for()
    page.locator("table.ranks").first.wait_for(state="attached")
    _assert_harmless(page)
    promised.tried(2 * len(PAYLOADS), "payloads shown in a browser")
