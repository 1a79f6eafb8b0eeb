"""Who is let in and how much is allowed, piece by piece; the whole of it in tests/promises/test_server_manners.py."""

from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the ui extra is not installed")

import streamlit as st
from pydantic import SecretStr
from starlette.datastructures import Headers

from rag_app.conversations import store as conversations
from rag_app.conversations.store import Conversations
from rag_app.corpus.indexing_job import IndexingJob
from rag_app.corpus.job_registry import Jobs
from rag_app.index import Changes
from rag_app.language import Say
from rag_app.page.benchmark.view import _runs
from rag_app.page.chat.history import answers
from rag_app.page.corpus.jobs import jobs
from rag_app.page.corpus.room import check_jobs, check_room
from rag_app.page.home import keep_private
from rag_app.page.limits import (
    BENCHMARKS,
    QUESTION_CHARS,
    LimitError,
    check_benchmarks,
    check_question,
    check_upload,
)
from rag_app.page.powers import are_guests, shown_model, shown_path, without_folders
from rag_app.page.problems import detail_of, explain
from rag_app.page.server.origins import is_own
from rag_app.page.server.password import FREE, LONGEST, Tries, _let_in, _signed, cookie_name
from rag_app.page.visitor import is_allowed
from rag_app.settings import Settings, load_settings


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_wrong_passwords_cost_more_and_more_time_in_which_none_is_tried() -> None:
    clock = Clock()
    tries = Tries(clock)
    assert tries.check("long enough", "long enough") == 0
    waits = []
    for _ in range(FREE + 7):
        wait = tries.check("wrong", "long enough")
        waits.append(wait)
        if wait >= 1:
            assert tries.check("long enough", "long enough") > 0
        clock.now += wait
    assert max(waits[:FREE]) < 1
    assert waits[FREE:] == [2, 4, 8, 16, LONGEST, LONGEST, LONGEST]
    assert tries.check("long enough", "long enough") == 0
    assert tries.check("wrong", "long enough") < 1


def test_a_password_is_the_same_however_a_keyboard_composes_it() -> None:
    assert Tries().check("열려라 참깨", "열려라 참깨") == 0
    assert Tries().check("열려라 참깨", "열려라  참깨") > 0
    assert Tries().check("\udcff", "열려라 참깨") > 0


@pytest.mark.fault(
    11, "A cookie that another program had left in the browser could keep those out who knew the password."
)
@pytest.mark.parametrize(
    "other", ['a={"x":1}', 'a="open', "a=b c", "a[b]=1", "=x", "flag", "path=/", "expires=x", "a=1,b"]
)
def test_the_cookie_of_those_let_in_counts_beside_any_other(other: str) -> None:
    password = "열려라 참깨 8501"
    good = f"{cookie_name()}={_signed(int(time()) + 60, password)}"
    for sent in (f"{other}; {good}", f"{good}; {other}"):
        assert _let_in({"headers": [(b"cookie", sent.encode("latin-1"))]}, password)
    assert _let_in({"headers": [(b"cookie", other.encode()), (b"cookie", good.encode())]}, password)
    assert not _let_in({"headers": [(b"cookie", good.encode())]}, "another password")
    assert not _let_in(
        {"headers": [(b"cookie", f"{cookie_name()}={_signed(int(time()) - 1, password)}".encode())]}, password
    )


@pytest.mark.fault(11, "An Origin header that is no address made the server fail instead of refuse.")
@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        (None, "a.kr", True),
        ("http://a.kr", "a.kr", True),
        ("https://a.kr:8443", "a.kr:8443", True),
        ("http://[::1]:8501", "[::1]:8501", True),
        ("http://a.kr", "a.kr:8501", False),
        ("http://a.kr@evil.example", "a.kr", False),
        ("http://a.kr.evil.example", "a.kr", False),
        ("http://[", "a.kr", False),
        ("null", "", False),
        ("null", None, False),
        ("", "", False),
        ("ftp://a.kr", "a.kr", False),
    ],
)
def test_which_pages_are_the_server_s_own(origin: str | None, host: str | None, expected: bool) -> None:
    sent = {"origin": origin, "host": host}
    assert is_own(Headers({name: value for name, value in sent.items() if value is not None})) == expected


@pytest.mark.fault(11, "Any visitor could make the page forget the work that was going on, and its limits with it.")
def test_what_goes_on_is_found_again_after_a_visitor_has_cleared_the_caches(tmp_path: Path) -> None:
    before = (jobs(), answers(), _runs(tmp_path))
    st.cache_resource.clear()  # what the server does for a message that any connection may send
    assert (jobs(), answers(), _runs(tmp_path)) == before
    assert _runs(tmp_path / "another") is not _runs(tmp_path)


@pytest.mark.fault(11, "An address with the sign of kelvin in it counted as one with a k.")
def test_an_address_is_another_s_if_only_unicode_calls_them_alike() -> None:
    for email in ("\u212aim@company.kr", "kim@ban\u212a.kr", "k\u0131m@company.kr", "k\u0130m@company.kr"):
        assert not is_allowed({"email": email}, "kim@company.kr, kim@bank.kr, @bank.kr"), email
    assert is_allowed({"email": "김@회사.KR"}, "@회사.kr")
    assert not is_allowed({"email": "kim\ud800@x"}, "@company.kr")


@pytest.mark.parametrize(
    ("claims", "allowed", "expected"),
    [
        ({"email": "kim@company.kr"}, "@company.kr", True),
        ({"email": "Kim@Company.KR", "email_verified": True}, "lee@x.kr, @company.kr", True),
        ({"email": "kim@company.kr"}, "kim@company.kr", True),
        ({"email": "kim@company.kr"}, "*", True),
        ({"sub": "1"}, "*", True),
        ({"email": "kim@company.kr"}, "", False),
        ({"email": "kim@company.kr"}, " , ", False),
        ({"email": "kim@sub.company.kr"}, "@company.kr", False),
        ({"email": "kim@company.kr.evil.example"}, "@company.kr", False),
        ({"email": "kim@evilcompany.kr"}, "@company.kr", False),
        ({"email": "kim@evil.example@company.kr"}, "@company.kr", False),
        ({"email": "@company.kr"}, "@company.kr", False),
        ({"email": "company.kr"}, "@company.kr", False),
        ({"email": "kim@company.kr", "email_verified": False}, "@company.kr", False),
        ({"email": "kim@company.kr", "email_verified": "false"}, "@company.kr", False),
        ({"email": None}, "@company.kr", False),
        ({}, "@", False),
    ],
)
def test_who_is_allowed(claims: dict[str, Any], allowed: str, expected: bool) -> None:
    assert is_allowed(claims, allowed) == expected


def test_a_password_is_read_from_a_file_and_never_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("열려라 참깨 8501\n", "utf-8")
    monkeypatch.setenv("RAG_PASSWORD_FILE", str(file))
    password = load_settings().password
    assert password is not None
    assert password.get_secret_value() == "열려라 참깨 8501"
    assert "참깨" not in repr(load_settings())
    for content in ("", "\n", "short"):
        file.write_text(content, "utf-8")
        with pytest.raises(ValueError, match=r"(?i)password"):
            load_settings()
    file.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        load_settings()
    monkeypatch.delenv("RAG_PASSWORD_FILE")
    monkeypatch.setenv("RAG_PASSWORD", "geheim")
    with pytest.raises(ValueError, match="at least 8") as raised:
        load_settings()
    assert "geheim" not in str(raised.value)


def test_visitors_are_guests_where_others_may_come(config: None) -> None:
    st.config.set_option("server.address", "127.0.0.1")
    assert not are_guests(Settings())
    assert are_guests(Settings(password=SecretStr("열려라 참깨 8501")))
    assert not are_guests(Settings(password=SecretStr("열려라 참깨 8501"), visitors="owner"))
    assert are_guests(Settings(visitors="guests"))
    for address in ("0.0.0.0", "192.168.0.2", "::", "my-machine", None):
        st.config.set_option("server.address", address)
        assert are_guests(Settings()), address
    for address in ("::1", "localhost", "127.0.0.2"):
        st.config.set_option("server.address", address)
        assert not are_guests(Settings()), address


def test_guests_are_told_names_without_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_VISITORS", "guests")
    settings = load_settings()
    assert shown_path(Path("/srv/rag/news"), settings) == "news"
    assert shown_model("/srv/models/mrc", settings) == "mrc"
    assert shown_model("BM-K/KoSimCSE", settings) == "BM-K/KoSimCSE"
    told = without_folders(
        "[Errno 13] '/srv/내 자료/a b/chat.sqlite', ~/x/y.txt and C:\\Users\\kim\\z.txt; https://a.kr/b/c or/and 1/2/3"
    )
    assert told == "[Errno 13] 'chat.sqlite', y.txt and z.txt; https://a.kr/b/c or/and 1/2/3"
    monkeypatch.setenv("RAG_VISITORS", "owner")
    assert without_folders("/srv/rag/chat.sqlite") == "/srv/rag/chat.sqlite"
    assert shown_model("/srv/models/mrc", load_settings()) == "/srv/models/mrc"


def test_limits_are_told_in_both_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path, upload_files=2, upload_mb=1, home_mb=1, indexes=1)
    check_question("가" * QUESTION_CHARS)
    check_upload([500_000, 500_000], settings)
    check_benchmarks(BENCHMARKS - 1, 50_000_000)
    new = tmp_path / "indexes" / "new"
    check_room(new, 0, settings)
    first = tmp_path / "indexes" / "first"
    first.mkdir(parents=True)
    check_room(first, 0, settings)
    wrong = [
        lambda: check_question("가" * (QUESTION_CHARS + 1)),
        lambda: check_upload([1, 1, 1], settings),
        lambda: check_upload([500_000, 500_001], settings),
        lambda: check_benchmarks(BENCHMARKS, 0),
        lambda: check_benchmarks(0, 50_000_001),
        lambda: check_room(new, 0, settings),
        lambda: check_room(first, 1_000_001, settings),
        lambda: check_jobs(_running(tmp_path), Settings(jobs=1)),
    ]
    for check in wrong:
        _tells(check)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1000))
    _tells(lambda: check_room(tmp_path / "elsewhere", 0, settings))


def _tells(check: Any) -> None:
    with pytest.raises(LimitError) as raised:
        check()
    korean, english = (explain(raised.value, Say(lang)) for lang in ("ko", "en"))
    assert korean != english
    assert english.isascii()
    assert detail_of(raised.value) == ""


def _running(tmp_path: Path) -> Jobs:
    jobs = Jobs()
    job = IndexingJob(tmp_path / "x", [], lambda documents, watch: Changes())
    jobs._jobs[tmp_path / "x"] = job  # never started, it reads for ever
    return jobs


def test_what_the_page_keeps_is_for_its_account_alone(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    keep_private(Settings(home=home))
    assert [path.stat().st_mode & 0o777 for path in (home, home / "indexes", home / "reports")] == [0o700] * 3
    home.chmod(0o755)  # somebody's choice
    (home / "indexes").chmod(0o755)
    keep_private(Settings(home=home))
    assert [path.stat().st_mode & 0o777 for path in (home, home / "indexes")] == [0o755, 0o700]
    keep_private(Settings(home=Path("/dev/null/home")))


def test_no_more_conversations_are_kept_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MOST", 2)
    kept = Conversations(tmp_path / "chat.sqlite")
    ids = [kept.create(title) for title in ("하나", "둘")]
    with pytest.raises(ValueError, match="Delete old ones"):
        kept.create("셋")
    assert kept.create("하나", ids[0]) == ids[0]
    assert Conversations(kept.path, "another").create("셋")


@pytest.fixture
def config() -> Iterator[None]:
    """Puts the address back."""
    before = st.get_option("server.address")
    yield
    st.config.set_option("server.address", before)
