"""Replicas without a cluster: their API, their searches, and the client that asks again."""

import asyncio
import json
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import psutil
import pytest
from langchain_core.documents import Document
from pydantic import SecretStr
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.korean import QUESTION_CHARS
from rag_app.replicas import searcher
from rag_app.replicas.api import LONGEST, Api
from rag_app.replicas.client import ReplicaRetriever
from rag_app.replicas.messages import MOST, SearchAnswer, SearchRequest
from rag_app.replicas.searcher import Searcher
from rag_app.replicas.tries import Tries
from rag_app.retrieval import build_retriever
from rag_app.server_index import ServerIndex
from rag_app.settings import Settings
from rag_app.stores.address import Address
from tests.in_memory_server import Server, memory_server  # noqa: F401

NEWS = [
    Document(page_content="국회는 내년 예산안을 의결했다.", metadata={"section": "정치"}),
    Document(page_content="기상청은 주말에 비가 온다고 예보했다.", metadata={"section": "사회"}),
    Document(page_content="프로야구 개막전이 잠실에서 열렸다.", metadata={"section": "스포츠"}),
]
FOUND = [Document(id="a0", page_content="국회는 예산안을", metadata={"doc_id": "a", "score": 0.5, "stages": {}})]
PASSWORD = SecretStr("비밀번호 열두자리")


def served(
    search: Callable[[SearchRequest], Any] = lambda asked: FOUND,
    *,
    ready: Callable[[], None] = lambda: None,
    password: SecretStr | None = None,
) -> ASGIApp:
    """The API over a search of the test's."""

    async def answer(asked: SearchRequest) -> SearchAnswer:
        return SearchAnswer.of(search(asked), 1)

    async def look() -> None:
        ready()

    api = Api(answer, look, password)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (await api.respond(Request(scope, receive)))(scope, receive, send)

    return app


def asked(
    app: ASGIApp,
    content: bytes | str | None = '{"question": "예산안은?"}',
    *,
    path: str = "/search",
    method: str = "POST",
    client: str = "127.0.0.1",
    host: str = "127.0.0.1:8000",
    headers: dict[str, str | bytes] | None = None,
) -> httpx.Response:
    """What an API answers to a request."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as asking:
            return await asking.request(method, path, content=content, headers=headers)  # type: ignore[arg-type]

    return asyncio.run(ask())


def test_found_documents_come_back_as_they_were() -> None:
    answer = asked(served())
    assert answer.status_code == 200
    assert SearchAnswer.model_validate_json(answer.content).to_documents() == FOUND
    assert answer.json()["together"] == 1


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        ("", 400, "Invalid JSON"),
        ('{"question": ', 400, "Invalid JSON"),
        ("[]", 400, "object"),
        ("{}", 400, "question: Field required"),
        ('{"question": 3}', 400, "question"),
        (b'{"question": "\xff"}', 400, ""),
        ('{"question": "\\ud800"}', 400, ""),
        ('{"question": " \\u200b\\n"}', 400, "it is empty. Ask something"),
        (json.dumps({"question": "가" * (QUESTION_CHARS + 1)}), 400, f"at most {QUESTION_CHARS} characters"),
        ('{"question": "예산", "k": 0}', 400, "k: "),
        (json.dumps({"question": "예산", "k": MOST + 1}), 400, f"less than or equal to {MOST}"),
        ('{"question": "예산", "top": 3}', 400, "top: Extra"),
        ('{"question": "예산", "filter": {"section": {"$like": "정"}}}', 400, "Unknown operator"),
        ('{"question": "예산", "filter": {"$or": "정"}}', 400, "$or cannot stand"),
        ('{"question": "예산", "filter": {"section": {"$in": "정치"}}}', 400, "'section' needs a list"),
        ('{"question": "예산", "filter": {"section": {"$gte": ["정치"]}}}', 400, "'section' needs one value"),
        ('{"question": "예산", "filter": {"section": NaN}}', 400, "filter"),
        ('{"question": "예산", "filter": {"sec\\u0000tion": "정치"}}', 400, "pattern"),
        (json.dumps({"question": "예산", "filter": {"가" * 101: "정치"}}), 400, "at most 100 characters"),
        ("[" * 10_000, 400, ""),
        (" " * (LONGEST + 1), 413, "Shorten it"),
    ],
)
def test_a_wrong_request_is_told_what_to_do(content: bytes | str, status: int, told: str) -> None:
    answer = asked(served(), content)
    assert answer.status_code == status
    assert told in answer.json()["message"]
    assert "Traceback" not in answer.text


def test_other_paths_and_methods_are_told_of() -> None:
    assert asked(served(), path="/docs", method="GET").status_code == 404
    assert asked(served(), path="//search").status_code == 404
    answer = asked(served(), method="GET")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_failure_is_told_by_a_number_under_which_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    def fail(asked: SearchRequest) -> Sequence[Document]:
        raise KeyError("/srv/secret/place")

    answer = asked(served(fail))
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert caplog.messages[0].split()[-1] in answer.json()["message"]


def test_an_index_that_is_away_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    def away(*_: object) -> Any:
        raise ConnectionError("postgresql://u@10.0.0.9/db does not answer")

    for answer in asked(served(away)), asked(served(ready=away), path="/health", method="GET"):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "10.0.0.9" not in answer.text
    assert asked(served(), path="/health", method="GET").json() == {"ready": True}


def test_without_a_password_only_this_machine_is_served() -> None:
    assert asked(served(), client="::1", host="localhost").status_code == 200
    for client, host in (("10.0.0.7", "127.0.0.1"), ("127.0.0.1", "rebound.example")):  # the second: a page's script
        answer = asked(served(), client=client, host=host)
        assert answer.status_code == 403
        assert "RAG_PASSWORD" in answer.json()["message"]


def test_with_a_password_who_knows_it_is_served() -> None:
    app = served(password=PASSWORD)
    right = f"Bearer {PASSWORD.get_secret_value()}".encode()
    assert asked(app, client="10.0.0.7", host="rag.example", headers={"Authorization": right}).status_code == 200
    for wrong in (right + b"x", right[7:], b"Bearer ", b""):
        answer = asked(app, headers={"Authorization": wrong})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert asked(app).status_code == 401
    assert asked(app, path="/health", method="GET", client="10.0.0.7").status_code == 200  # for balancers


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("replicas") / "index"
    build_index(folder, NEWS, load_embeddings("embedded"))
    return Settings(index=folder, k=3, top_n=2)


async def test_questions_are_searched_together_each_in_its_own_way(settings: Settings) -> None:
    one = Searcher(settings)
    budget, rain = SearchRequest(question="예산안을 의결한 곳은?"), SearchRequest(question="주말 날씨는?", k=1)
    sport = SearchRequest(question="예산안을 의결한 곳은?", filter={"section": {"$in": ["스포츠"]}})
    found = await one.search([budget, rain, sport, budget])
    texts = [[document.page_content for document in documents] for documents in found if isinstance(documents, list)]
    assert [len(some) for some in texts] == [2, 1, 1, 2]
    assert [some[0] for some in texts] == [NEWS[number].page_content for number in (0, 1, 2, 0)]
    local = build_retriever(one._index, compressor=one._reranker, top_n=2)
    assert texts[0] == [document.page_content for document in local.invoke(budget.question)][:2]


async def test_a_search_follows_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "LOOK", 0.0)
    folder, question = tmp_path / "index", SearchRequest(question="개막전은 어디서 열렸나?")
    index = build_index(folder, NEWS[:2], load_embeddings("embedded"))
    one = Searcher(Settings(index=folder, reranker=None, top_n=1))
    index.add(NEWS[2:])
    [[first]] = await one.search([question])  # type: ignore[misc]
    assert first.page_content == NEWS[2].page_content
    build_index(folder, NEWS[:1], load_embeddings("embedded"), replace=True)
    [[first]] = await one.search([question])  # type: ignore[misc]
    assert first.page_content == NEWS[0].page_content


async def test_an_index_that_is_replaced_while_it_is_searched_is_searched_again(
    memory_server: Server,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(searcher, "LOOK", 60.0)
    build_index("memory://here/news", NEWS[:1], load_embeddings("embedded"))
    one = Searcher(Settings(index=Address.parse("memory://here/news"), reranker=None, top_n=1))
    before = one.look()
    assert isinstance(before, ServerIndex)
    assert before is one.look()
    assert before.snapshot.store.patience == searcher.PATIENCE
    build_index("memory://here/news", NEWS[1:], load_embeddings("embedded"), passage_chars=300, replace=True)

    def gone(call: str) -> None:  # what a server says that has another collection under the name
        if one._index is before and call.startswith("search"):
            raise RuntimeError("the vectors have another dimension")

    memory_server.fail = gone
    [[first]] = await one.search([SearchRequest(question="개막전은 어디서 열렸나?")])  # type: ignore[misc]
    assert first.page_content == NEWS[2].page_content


Script = list[tuple[int, bytes]]


@contextmanager
def scripted(script: Script) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives these answers in turn, the last one for ever; status 0 breaks the connection off."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append({"headers": self.headers, "path": self.path, **json.loads(body)})
            status, answer = script.pop(0) if len(script) > 1 else script[0]
            if not status:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()


RIGHT = (200, SearchAnswer.of(FOUND, 1).model_dump_json().encode())
BUSY = (503, b'{"error": "not_ready", "message": "Try again."}')
PROXY = (500, b"Internal Server Error")


def nobody() -> str:
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def ask(retriever: ReplicaRetriever, how: str, **options: Any) -> list[Document]:
    if how == "sync":
        return retriever.invoke("예산안은?", **options)
    return asyncio.run(retriever.ainvoke("예산안은?", **options))


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_client_asks_again_until_one_answers(how: str) -> None:
    with scripted([(0, b""), BUSY, PROXY, (408, b"late"), RIGHT]) as (url, got):
        retriever = ReplicaRetriever(urls=[nobody(), url + "/"], k=7, filter={"section": "정치"}, password=PASSWORD)
        assert ask(retriever, how) == FOUND
        assert ask(retriever, how, k=3) == FOUND
    assert len(got) == 6
    assert [one["k"] for one in got] == [7, 7, 7, 7, 7, 3]
    assert got[0]["filter"] == {"section": "정치"}
    assert got[0]["path"] == "/search"
    sent = got[0]["headers"]["Authorization"].encode("latin-1").decode()
    assert sent == f"Bearer {PASSWORD.get_secret_value()}"


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        ((400, b'{"error": "invalid", "message": "Unknown operator"}'), ValueError, "Unknown operator"),
        ((401, b'{"error": "password_wanted", "message": "RAG_PASSWORD"}'), PermissionError, "RAG_PASSWORD"),
        ((403, b'{"error": "not_local", "message": "RAG_PASSWORD"}'), PermissionError, "RAG_PASSWORD"),
        ((500, b'{"error": "failed", "message": "the log has it"}'), RuntimeError, "the log has it"),
        ((200, b"<html>Welcome</html>"), RuntimeError, "Check the address"),
        ((404, b"Not found"), RuntimeError, "Check the address"),
        ((307, b""), RuntimeError, "Check the address"),
    ],
)
def test_what_no_second_try_mends_is_raised_at_once(how: str, answer: Any, kind: type[Exception], told: str) -> None:
    with scripted([answer]) as (url, got):
        with pytest.raises(kind, match=told):
            ask(ReplicaRetriever(urls=[url]), how)
        assert len(got) == 1


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_client_gives_up_at_its_deadline_and_says_what_the_replicas_said(how: str) -> None:
    told = r"within 0\.4 s .* status 503, Try again\. .*/health"
    with scripted([BUSY]) as (url, got), pytest.raises(ConnectionError, match=told):
        ask(ReplicaRetriever(urls=[url], deadline=0.4), how)
    assert 2 <= len(got) <= 10


def test_a_try_that_the_deadline_cuts_short_hides_no_earlier_reason() -> None:
    now = [0.0]
    tries = Tries(["http://a"], 5, 10, clock=lambda: now[0])
    tries.again("status 503, The index is away")
    now[0] = 5.0
    with pytest.raises(ConnectionError, match="The index is away"):
        tries.again("ReadTimeout", late=True)


def test_a_client_can_be_sent_elsewhere_shared_and_leaves_no_connection_open() -> None:
    with scripted([RIGHT]) as (url, got):
        retriever = pickle.loads(pickle.dumps(ReplicaRetriever(urls=[url], password=PASSWORD, k=3)))
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(retriever.invoke, ["예산안은?"] * 40)) == [FOUND] * 40
        assert retriever.batch(["예산안은?"] * 8) == [FOUND] * 8
        assert asyncio.run(retriever.abatch(["예산안은?"] * 8)) == [FOUND] * 8
        port = int(url.rpartition(":")[2])
        sockets = psutil.Process().net_connections("tcp")
        ours = [one for one in sockets if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED"]
    assert len(got) == 56
    assert {one["k"] for one in got} == {3}
    assert ours == []


@pytest.mark.parametrize("how", ["sync", "async"])
def test_one_that_says_nothing_is_late(how: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimeoutError, match=r"within 0\.5 s"):
            ask(ReplicaRetriever(urls=[url], deadline=0.5, timeout=0.1), how)
        with scripted([RIGHT]) as (other, _):
            assert ask(ReplicaRetriever(urls=[url, other], timeout=0.1), how) == FOUND


def test_tries_go_round_and_wait_longer_after_each_round() -> None:
    now = [0.0]
    tries = Tries(["http://a", "http://b"], 30, 10, clock=lambda: now[0])
    asked_for, pauses = [], []
    for _ in range(8):
        asked_for.append(tries.url)
        pauses.append(tries.again("refused"))
    assert asked_for[:2] == asked_for[2:4]
    assert set(asked_for[:2]) == {"http://a", "http://b"}
    assert pauses[0] == 0
    assert 0 < pauses[1] < pauses[7] <= 1
    now[0] = 25.0
    assert tries.seconds == 5
    assert tries.timeout.connect == 2
    now[0] = 31.0
    with pytest.raises(ConnectionError, match="9 tries"):
        tries.again("refused")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://user:secret@127.0.0.1", ""])
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        ReplicaRetriever(urls=[url])


def test_a_question_that_cannot_be_asked_is_sent_to_nobody() -> None:
    with pytest.raises(ValueError, match=str(QUESTION_CHARS)):
        ReplicaRetriever(urls=[nobody()]).invoke("가" * (QUESTION_CHARS + 1))
    with pytest.raises(ValueError, match="empty"):
        ReplicaRetriever(urls=[nobody()]).invoke(" ")


def test_without_the_extra_it_says_how_to_install_it_and_the_client_works() -> None:
    program = """
import sys
for name in ("ray", "starlette", "fastapi", "uvicorn", "torch"):
    sys.modules[name] = None
from rag_app.replicas.client import ReplicaRetriever
print(ReplicaRetriever(urls=sys.argv[1:]).invoke("예산안은?")[0].id)
try:
    import rag_app.replicas.app
except ImportError as error:
    print(error)
"""
    with scripted([RIGHT]) as (url, _):
        done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == FOUND[0].id
    assert done.stdout.strip().endswith("pip install 'korean-rag[ray]'")
