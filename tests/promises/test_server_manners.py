"""The page as a server: to whom it listens, what it refuses, what it tells, and what guests cannot do.

In a browser, with the password and with a provider of OpenID Connect: tests/browser/test_manners.py.
"""

import random
import socket
import string
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

pytest.importorskip("streamlit", reason="the ui extra is not installed")

import streamlit as st

import streamlit_app
from rag_app.chat_models.destinations import check_destination
from rag_app.chat_models.errors import ChatModelNameError
from rag_app.data import sample_documents
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.page.server.headers import HEADERS
from tests.promises.page_server import XSRF, Server, serve_page
from tests.reliability import Promised

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

pytestmark = pytest.mark.promise(11)

PASSWORD = "열려라 참깨 8501"
PAGE = str(Path(streamlit_app.__file__))
PATHS = ("/", "/corpus", "/_stcore/metrics", "/_stcore/host-config", "/_stcore/agent/openapi.json", "/static/js/x.js")


@pytest.fixture(scope="module")
def news(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret-place") / "news"
    build_index(path, sample_documents()[:20], load_embeddings())
    return path


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory, news: Path) -> Iterator[Server]:
    limits = {"RAG_UPLOAD_FILES": "3", "RAG_UPLOAD_MB": "1"}
    with serve_page(tmp_path_factory.mktemp("open"), RAG_INDEX=str(news), **limits) as server:
        yield server


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory: pytest.TempPathFactory, news: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("closed")
    (folder / "password").write_text(f"{PASSWORD}\n", "utf-8")
    with serve_page(folder, RAG_INDEX=str(news), RAG_PASSWORD_FILE=str(folder / "password")) as server:
        yield server


def test_the_page_listens_to_this_machine_alone_from_wherever_it_was_started(open_server: Server) -> None:
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("only Linux lists who listens in /proc/net")
    ending = f":{open_server.port:04X}"
    rows = [line.split() for path in (table, Path("/proc/net/tcp6")) for line in path.read_text().splitlines()[1:]]
    listening = [row[1].removesuffix(ending) for row in rows if row[1].endswith(ending) and row[3] == "0A"]
    assert listening == ["0100007F"]


@pytest.mark.fault(
    11, "Another host's page got all data once its name was made to lead to this machine (DNS rebinding)."
)
@pytest.mark.fault(11, "A connection from another host's page made the server ask an internet host who it is.")
def test_pages_of_other_hosts_get_no_connection(open_server: Server, promised: Promised) -> None:
    rng, own = random.Random(11), f"127.0.0.1:{open_server.port}"
    names = [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1:1",
        "[::2]",
        "xn--vk1b",
        "0",
    ]
    names += ["".join(rng.choices(string.ascii_lowercase + "-.", k=12)) for _ in range(promised.times(20, 500))]
    tried = 0
    for name in names:
        for origin, host in (
            (f"http://{name}", own),
            (f"http://{name}:{open_server.port}", f"{name}:{open_server.port}"),
            (f"https://{name}", name),
            (None, f"{name}:{open_server.port}"),
            (f"http://{own}@{name}", own),
            ("null", own),
        ):
            if host == "127.0.0.1:1" and origin in (None, "http://127.0.0.1:1", "https://127.0.0.1:1"):
                continue  # the machine itself, by another of its ports
            assert open_server.handshake(origin, host) != 101, (origin, host)
            tried += 1
    assert open_server.handshake(open_server.url, own) == 101
    assert "external IP" not in open_server.said()
    promised.tried(tried, "connections from pages of other hosts")


def test_every_answer_forbids_frames_and_other_hosts(open_server: Server) -> None:
    with open_server.client() as client:
        for path in PATHS:
            answer = client.get(path)
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert client.get("/_stcore/host-config").json()["allowedOrigins"] == []
        assert client.post("/_stcore/agent/interact", json={}).status_code in (403, 404)


@pytest.mark.fault(11, "Uploads that were sent at once were each counted as if there were no other.")
@pytest.mark.fault(11, "Uploads of any number and size in all were taken into memory from whoever had a connection.")
def test_uploads_are_refused_before_they_are_read(open_server: Server, promised: Promised) -> None:
    with open_server.client() as client, open_server.visit() as (_, session):
        client.get("/_stcore/health")
        token = str(client.cookies[XSRF])
        place = f"/_stcore/upload_file/{session}"
        good = {"X-Xsrftoken": token}
        tried = 0

        def put(headers: dict[str, str], content: bytes = b"x", where: str = place) -> int:
            nonlocal tried
            tried += 1
            return client.put(f"{where}/{uuid4()}", files={"file": ("a.txt", content)}, headers=headers).status_code

        assert put({}) == 403
        assert put({"X-Xsrftoken": token[:-1] + "x"}) == 403
        assert put(good, where=f"/_stcore/upload_file/{uuid4()}") == 403
        assert put(good, bytes(1_100_000)) == 413
        tried += 2
        told = f"PUT {place}/{uuid4()} HTTP/1.1\nHost: {open_server.url[7:]}\nX-Xsrftoken: {token}\n"
        told += f"Cookie: {XSRF}={token}\n"
        assert " 413" in open_server.raw(f"{told}Content-Length: 999999999999\n\n")
        assert " 411" in open_server.raw(f"{told}Transfer-Encoding: chunked\n\n5\nhello\n")
        with socket.create_connection(("127.0.0.1", open_server.port), 10) as slow:
            begun = (
                f"{told}Content-Type: multipart/form-data; boundary=x\nExpect: 100-continue\nContent-Length: 600000\n\n"
            )
            slow.sendall(begun.replace("\n", "\r\n").encode())
            assert b" 100 " in slow.recv(100)  # it waits for what is in the file
            assert put(good, bytes(600_000)) == 413
        tried += 1
        assert [put(good) for _ in range(4)] == [204, 204, 204, 413]
    promised.tried(tried, "uploads sent past the browser")


@pytest.mark.fault(11, "Every address that ended like that of the health check was handed past the password.")
def test_without_the_password_nothing_is_served(closed_server: Server, promised: Promised) -> None:
    rng, tried = random.Random(12), 0
    letters = string.ascii_letters + string.digits + "/._-%"
    paths = [*PATHS, "/x/_stcore/health", "/_stcore/upload_file/_stcore/health", "/media/_stcore/health"]
    paths += ["/leave/..", "//evil.example/", "/_stcore/stream", f"/_stcore/upload_file/{uuid4()}/{uuid4()}"]
    paths += [f"/{''.join(rng.choices(letters, k=rng.randrange(1, 40)))}" for _ in range(promised.times(40, 2000))]
    forged = [
        "1.0",
        "9999999999.",
        f"9999999999.{'0' * 64}",
        "٣.x",
        "x" * 3000,
        "9999999999." + "한" * 9,
        '"',
        "a=b; c",
    ]
    name = f"rag-page-{closed_server.port}"
    own = f"127.0.0.1:{closed_server.port}"
    for number, path in enumerate(paths):
        cookie = f"{name}={forged[number % len(forged)]}".encode().decode("latin-1")
        for method in ("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS"):
            line = closed_server.raw(f"{method} {path} HTTP/1.1\nHost: {own}\nCookie: {cookie}\nContent-Length: 0\n\n")
            assert " 401" in line or " 400" in line or (method in ("GET", "HEAD") and " 200" in line), (method, path)
            tried += 1
        assert closed_server.handshake(closed_server.url, own, cookie) != 101
    with closed_server.client() as client:
        for path in PATHS[:2]:
            shown = client.get(path)
            assert 'type="password"' in shown.text
            assert "<script" not in shown.text
            assert "static/" not in shown.text
        assert client.get("/_stcore/health").text == "ok"
    promised.tried(tried, "requests without the password")


def test_the_password_opens_the_page_and_is_written_nowhere(closed_server: Server) -> None:
    own = f"127.0.0.1:{closed_server.port}"
    with closed_server.client() as client:
        wrong = client.post("/corpus", data={"password": "wrong"})
        assert (wrong.status_code, "맞지 않습니다" in wrong.text) == (401, True)
        assert (
            client.post("/", data={"password": PASSWORD}, headers={"Origin": "http://evil.example"}).status_code == 403
        )
        astray = httpx.URL(closed_server.url, raw_path=b"//evil.example/?lang=en")
        right = client.post(astray, data={"password": PASSWORD})
        assert (right.status_code, right.headers["location"]) == (303, "/evil.example/?lang=en")
        flags = right.headers["set-cookie"].lower()
        assert "httponly" in flags
        assert "samesite=lax" in flags
        assert "secure" not in flags
        client.cookies.clear()
        behind_tls = client.post("/", data={"password": PASSWORD}, headers={"X-Forwarded-Proto": "https"})
        assert "secure" in behind_tls.headers["set-cookie"].lower()
        value = right.headers["set-cookie"].partition(";")[0]
        assert PASSWORD not in value
        assert closed_server.handshake(closed_server.url, own, value) == 101
        with closed_server.visit(value) as (_, session):
            assert session
        assert closed_server.handshake(closed_server.url, own, value[:-1] + ("0" if value[-1] != "0" else "1")) != 101
        assert client.get("/leave").headers["set-cookie"].startswith(f'{value.partition("=")[0]}=""')
    assert PASSWORD not in closed_server.said()


# What an address in a link may hold.
HOSTILE = (
    "../../etc/passwd",
    "..\\..\\x",
    "/etc/passwd",
    "%2e%2e%2f",
    "\x00",
    "\ud800".encode("utf-8", "replace").decode(),
    "‮자료",
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    "가" * 100_000,
    "-1",
    "NaN",
    "1e999",
    "__proto__",
    "{}",
    "",
    " ",
    "𝕏" * 50,
    "ko\r\nSet-Cookie: x=1",
)
NAMES = ("c", "index", "part", "lang", "q", "benchmark", "view", "page", "embed", "embed_options", "unknown")


@pytest.mark.parametrize("part", range(4))
def test_nothing_in_the_address_breaks_the_page_or_opens_a_file(
    part: int, news: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, promised: Promised
) -> None:
    rng = random.Random(part)
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    tried = promised.times(3, 100)
    for number in range(part * tried, (part + 1) * tried):
        address: dict[str, Any] = {NAMES[number % len(NAMES)]: HOSTILE[number % len(HOSTILE)]}
        for name in rng.sample(NAMES, 3):
            address[name] = rng.choices(HOSTILE, k=rng.choice((1, 1, 2)))
        app = _open(news, monkeypatch, address)
        assert not app.exception, address
        assert [title.value for title in app.title] in (["뉴스에 묻기"], ["Ask the news"])
        assert "root:" not in str(app.main)
    promised.tried(tried, "addresses with hostile parameters")


@pytest.mark.fault(11, "The ids of fields told the browser where on the server's disk the index lies.")
def test_guests_name_no_folder_no_model_no_server_and_see_no_path(
    news: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, promised: Promised
) -> None:
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAG_CHAT_MODEL", "http://127.0.0.1:1/v1#secret-model")
    monkeypatch.setattr("rag_app.page.benchmark.order.list_systems", lambda order: ["base", "hybrid"])
    counts = {}
    for visitors, views in (("owner", _VIEWS[:4]), ("guests", _VIEWS)):
        monkeypatch.setenv("RAG_VISITORS", visitors)
        shown, fields = "", []
        for function in views:
            app = _view(function, news, monkeypatch)
            assert not app.exception
            shown += _all_of(app)
            fields += [field.label for field in (*app.text_input, *app.text_area)]
            fields += [option for choice in (*app.radio, *app.button_group) for option in choice.options]
        counts[visitors] = shown.count(str(news.parent)) + shown.count(str(tmp_path))
        named = [
            word for word in fields if any(hint in word for hint in ("서버의 폴더", "이 컴퓨터의", "모델", "경로"))
        ]
        assert bool(named) == (visitors == "owner"), named
    assert counts["owner"] > 0
    assert counts["guests"] == 0
    promised.tried(len(_VIEWS), "views looked through as a guest")


def test_guests_take_the_chat_model_that_is_set_whatever_their_browser_kept(
    news: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAG_HOME", str(tmp_path))
    monkeypatch.setenv("RAG_VISITORS", "guests")
    app = _open(news, monkeypatch, {}, chat_model="http://192.0.2.1/v1#mine")
    assert "192.0.2.1" not in _all_of(app)
    assert [button for button in app.button if button.key == "chat_model_button"] == []


SECRET_PLACES = (
    "http://169.254.169.254/v1",
    "http://169.254.169.254:8080/latest/meta-data/#m",
    "http://2852039166/v1",
    "http://0xa9fea9fe/v1",
    "http://0251.0376.0251.0376/v1",
    "http://[::ffff:169.254.169.254]/v1",
    "http://[::ffff:a9fe:a9fe]/v1",
    "http://[fd00:ec2::254]/v1",
    "http://[fe80::1%25eth0]/v1",
    "http://100.100.100.200/v1",
    "http://168.63.129.16/v1",
    "http://169.254.170.2/v2/credentials",
)


@pytest.mark.fault(11, "A chat model's address could be one at which a cloud tells machines their secrets.")
def test_no_chat_model_is_asked_where_machines_are_told_their_secrets(
    monkeypatch: pytest.MonkeyPatch, promised: Promised
) -> None:
    pytest.importorskip("langchain_openai", reason="the chat extra is not installed")
    from rag_app.chat_models.loading import load_chat_model
    from rag_app.chat_models.servers import list_models, parse_address

    connected: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: connected.append(address))
    for place in SECRET_PLACES:
        with pytest.raises(ChatModelNameError):
            load_chat_model(place)
        with pytest.raises(ChatModelNameError):
            list_models(parse_address(place))
    for scheme in ("file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:1/", "unix:///run/x", "//127.0.0.1/"):
        with pytest.raises((ChatModelNameError, ValueError, ImportError)):
            load_chat_model(scheme)
    assert connected == []
    for fine in ("http://127.0.0.1:11434/v1", "http://192.168.0.2:8000/v1", "https://api.openai.com/v1"):
        check_destination(fine)
    promised.tried(len(SECRET_PLACES) + 5, "addresses of chat models that are refused")


@pytest.mark.fault(11, "A bug showed visitors its traceback, with the folders of the server.")
def test_a_bug_is_told_by_a_number_under_which_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    from streamlit.testing.v1 import AppTest

    def fail() -> None:
        from rag_app.page.failures import script_failed

        try:
            raise RuntimeError("/home/somebody/secret: sk-key-of-somebody")
        except RuntimeError as error:
            script_failed(error)

    app = AppTest.from_function(fail, default_timeout=60).run()
    (told,) = app.error
    assert "secret" not in told.value
    assert "RuntimeError" not in told.value
    number = told.value.rpartition(" ")[2]
    assert f"reference {number}" in caplog.text
    assert "sk-key-of-somebody" in caplog.text
    assert streamlit_app.app._on_script_error is not None
    assert st.get_option("client.showErrorDetails") == "none"


@pytest.mark.fault(11, "With a home that it may not read the page showed nothing but that it had a bug.")
@pytest.mark.parametrize(
    "home", ["/dev/null/home", f"/tmp/{'x' * 300}"]
)  # of a name that no file has: not even root may
def test_with_a_home_that_cannot_be_used_the_page_answers_and_says_so(
    home: str, news: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_HOME", home)
    app = _open(news, monkeypatch, {})
    app = app.chat_input[0].set_value("한빛 3호 발사체에서 누출이 확인된 곳은 어디인가요?").run()
    assert not app.exception
    assert any("저장되지 않고 있습니다" in warning.value for warning in app.warning)
    for function in _VIEWS:
        assert not _view(function, news, monkeypatch).exception


def _all_of(app: "AppTest") -> str:
    """Return what the page sends to the browser: labels, keys, texts, these without the marks of their Markdown."""
    kinds = (app.markdown, app.caption, app.code, app.info, app.warning, app.error, app.success, app.table)
    texts = [str(element.value) for elements in kinds for element in elements]
    return "\n".join([str(app.main), str(app.sidebar), *texts]).replace("\\", "")


def _open(news: Path, monkeypatch: pytest.MonkeyPatch, address: dict[str, Any], **state: str) -> "AppTest":
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("RAG_INDEX", str(news))
    app = AppTest.from_file(PAGE, default_timeout=30)
    for name, value in address.items():
        app.query_params[name] = value
    for name, given in state.items():
        app.session_state[name] = given
    return app.run()


_VIEWS = (
    "rag_app.page.chat.view:show_chat",
    "rag_app.page.compare.view:show_compare",
    "rag_app.page.corpus.view:show_corpus overview",
    "rag_app.page.corpus.view:show_corpus upload",
    "rag_app.page.corpus.view:show_corpus indexes",
    "rag_app.page.benchmark.view:show_benchmark",
    "rag_app.page.feedback.view:show_review",
)


def _view(function: str, news: Path, monkeypatch: pytest.MonkeyPatch) -> "AppTest":
    from streamlit.testing.v1 import AppTest

    def show(function: str, news: str) -> None:
        from importlib import import_module
        from pathlib import Path

        import streamlit as st

        from rag_app.page.resources import current_index
        from rag_app.settings import load_settings

        place, _, part = function.partition(" ")
        st.session_state["pages"] = {}
        if part and "part" not in st.session_state:
            st.query_params["part"] = part
        module, name = place.split(":")
        getattr(import_module(module), name)(current_index(Path(news), None), load_settings())

    monkeypatch.setenv("RAG_INDEX", str(news))
    return AppTest.from_function(show, default_timeout=60, args=(function, str(news))).run()
