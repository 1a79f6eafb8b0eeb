"""Who is let in: by the password, or by a provider of OpenID Connect; each sees their own."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import PATIENCE, READABLE, Served, Shot, Visit, ask, contrast, serve_sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.oidc_provider import Provider

pytestmark = pytest.mark.promise(11)

PASSWORD = "열려라 참깨 8501"
QUESTION = "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, served over the sample to those who know the password."""
    with serve_sample(tmp_path_factory.mktemp("manners"), RAG_PASSWORD=PASSWORD) as running:
        yield running


def test_the_password_is_asked_before_anything_is_shown_and_then_no_more(visit: Visit, shot: Shot) -> None:
    for width, dark, lang in ((390, True, "en"), (390, False, "ko"), (1280, True, "ko"), (1280, False, "en")):
        page = visit(width, dark=dark, path=f"?lang={lang}")
        assert page.get_by_test_id("stApp").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for selector in ("h1", "label", "button"):
            assert contrast(page, selector) >= READABLE
        shot(page, f"password-{width}-{'dark' if dark else 'light'}-{lang}")
    page = visit(path="compare?q=누출")
    page.keyboard.type("틀린 비밀번호")  # the field has the focus
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("비밀번호가 맞지 않습니다.").wait_for()
    assert contrast(page, "[role=alert]") >= READABLE
    shot(page, "password-wrong")
    page.get_by_label("비밀번호").fill(PASSWORD)
    page.get_by_role("button", name="들어가기").click()
    page.get_by_role("heading", name="비교").wait_for()
    assert "q=" in page.url
    page.reload()
    page.get_by_role("heading", name="비교").wait_for()
    page.get_by_role("link", name="자료").click()
    page.get_by_role("heading", name="자료").wait_for()
    upload = page.get_by_text("올리기", exact=True)
    upload.click()
    page.get_by_text("한 번에 1,000개, 모두 1,000MB까지").wait_for()
    assert page.get_by_text("서버의 폴더").count() == 0
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(
        {"name": "호수.txt", "mimeType": "text/plain", "buffer": "가람호수의 물이 9도로 따뜻해졌다.".encode()}
    )
    page.get_by_role("button", name="색인 시작").click()
    page.get_by_text("기사 1건을 색인했습니다").wait_for()
    shot(page, "password-inside")
    page.get_by_role("link", name="나가기").click()
    page.get_by_role("button", name="들어가기").wait_for()


@pytest.fixture(scope="module")
def provider() -> "Iterator[Provider]":
    pytest.importorskip("authlib", reason="the extra oidc is not installed")
    from tests.browser.oidc_provider import oidc_provider

    with oidc_provider() as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, provider: "Provider") -> Iterator[Served]:
    """The page, served over the sample to people of one domain."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "secrets.toml").write_text(f'RAG_ALLOWED = "@company.kr, one@else.kr"\n{provider.secrets()}', "utf-8")
    with serve_sample(folder, STREAMLIT_SECRETS_FILES=str(folder / "secrets.toml")) as running:
        yield running


def test_people_of_the_provider_come_in_if_they_may_and_see_their_own_conversations(
    browser: "Browser", shared: Served, provider: "Provider", shot: Shot
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="ko-KR")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(shared.address)
    page.get_by_role("button", name="로그인").wait_for()
    assert page.get_by_test_id("stChatInput").count() == 0
    assert page.get_by_role("link", name="자료").count() == 0
    shot(page, "login-1280-light")

    provider.person = {"sub": "1", "email": "kim@company.kr.example", "email_verified": True}
    _log_in(page)
    page.get_by_text("계정으로는 이 페이지를 볼 수 없습니다").wait_for()
    assert page.get_by_test_id("stChatInput").count() == 0
    shot(page, "login-refused")
    page.get_by_role("button", name="다른 계정으로 로그인").click()
    page.get_by_role("button", name="로그인", exact=True).wait_for()

    provider.person = {"sub": "2", "email": "Kim@Company.kr", "email_verified": True}
    _log_in(page)
    page.get_by_role("heading", name="뉴스에 묻기").wait_for()
    ask(page, QUESTION)
    page.get_by_role("button", name="다시 답하기").wait_for()
    page.locator(".st-key-conversations").get_by_role("button").wait_for()
    kims = page.url
    assert "c=" in kims
    page.reload()  # the cookie is Streamlit's, signed
    page.get_by_role("button", name="다시 답하기").wait_for()
    shot(page, "login-inside")
    page.get_by_role("button", name="로그아웃").click()
    page.get_by_role("button", name="로그인", exact=True).wait_for()

    provider.person = {"sub": "3", "email": "lee@company.kr"}
    _log_in(page)
    page.get_by_test_id("stChatInput").wait_for()
    assert page.locator(".st-key-conversations").count() == 0
    page.get_by_role("link", name="피드백").click()
    page.get_by_text("피드백은 관리자가 검토합니다").wait_for()
    page.goto(kims)
    page.get_by_text("보던 대화를 찾지 못해").wait_for()
    assert page.get_by_text("이음매").count() == 0
    context.close()


def test_what_the_provider_did_not_say_lets_nobody_in(
    browser: "Browser", shared: Served, provider: "Provider", shot: Shot
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", locale="ko-KR")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{shared.address}/oauth2callback?code=made-up&state=made-up")
    page.get_by_role("button", name="로그인", exact=True).wait_for()
    provider.person = {"sub": "2", "email": "kim@company.kr", "email_verified": True}
    provider.nonce = "of another login"
    _log_in(page)
    page.goto(shared.address)
    page.get_by_role("button", name="로그인", exact=True).wait_for()
    provider.nonce = None
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, "login-390-dark")
    provider.person = {"sub": "4", "email": "kim@company.kr", "email_verified": False}
    _log_in(page)
    page.get_by_text("계정으로는 이 페이지를 볼 수 없습니다").wait_for()
    context.add_cookies([{"name": "_streamlit_user", "value": "forged", "url": shared.address}])
    page.goto(shared.address)
    page.get_by_role("button", name="로그인", exact=True).wait_for()
    context.close()


def _log_in(page: "Page") -> None:
    page.get_by_role("button", name="로그인", exact=True).click()
    page.get_by_role("button", name="로그인", exact=True).wait_for(state="hidden")
