"""Replicas asked while they, their proxy and the server under them are killed, and while the index is built anew."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from threading import Event
from time import monotonic, sleep

import httpx
import psutil
import pytest
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from pydantic import SecretStr

from rag_app.compressors import load_reranker
from rag_app.data import load_retrieval_data
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index, open_index
from rag_app.replicas.client import ReplicaRetriever
from rag_app.retrieval import build_retriever
from tests.milvus_server import MilvusServer, milvus_server
from tests.postgres_server import PostgresServer, postgres_server

CHECKOUT = Path(__file__).parents[2]
PASSWORD = "여덟 글자 넘는 비밀번호"
CLIENTS, SECONDS, K = 12, 60.0, 5
DATA = load_retrieval_data("sample")
QUESTIONS = [question.text for question in DATA.questions[:60]]

PROGRAM = """
import sys
from rag_app.replicas.options import ReplicaOptions
from rag_app.replicas.running import running_replicas
from rag_app.settings import load_settings

with running_replicas(load_settings(), ReplicaOptions(replicas=2, cpus=0.5), port=int(sys.argv[1])):
    sys.stdin.read()
"""
CONFIG = """
http_options: {{host: 127.0.0.1, port: {port}}}
applications:
  - name: korean-rag
    import_path: rag_app.replicas.app:app
    args: {{replicas: 2, cpus: 0.5}}
"""


OPEN = """
from rag_app.replicas.running import running_replicas
from rag_app.settings import Settings

for host in ("0.0.0.0", "::", "news.example"):
    try:
        with running_replicas(Settings(password=None), host=host):
            pass
    except ValueError as error:
        print(error)
"""


class Replicas:
    """Two of them, of a program of their own, whose processes are remembered."""

    def __init__(self, place: str, folder: Path, *, serve_run: bool) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            "RAG_INDEX": place,
            "RAG_TOP_N": str(K),
            "RAG_PASSWORD": PASSWORD,
            "RAY_TMPDIR": str(folder),
            "RAY_AUTH_TOKEN": "0" * 64,  # else Ray writes one into the home folder
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # its ports are then those of loopback
            "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        Path(folder, "replicas.yaml").write_text(CONFIG.format(port=port))
        serve = str(Path(sys.executable).with_name("serve"))
        # A program that was started in the background ignores what Ctrl-C sends, and so do its children.
        by_command = ["env", "--default-signal=INT", serve, "run", "replicas.yaml"]
        command = by_command if serve_run else [sys.executable, "-c", PROGRAM, str(port)]
        self._folder = folder
        self._serve_run = serve_run
        self._seen: set[psutil.Process] = set()
        self._log = Path(folder, "program.log")
        with self._log.open("wb") as log:
            self._program = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        self.url = f"http://127.0.0.1:{port}"
        self.retriever = ReplicaRetriever(urls=[self.url], password=SecretStr(PASSWORD), deadline=SECONDS)

    def wait(self) -> None:
        """Wait until both answer."""
        wait_for(lambda: self._program.poll() is not None or self._are_ready())
        assert self._program.poll() is None, self._log.read_text("utf-8")
        assert len(self.pids()) == 2

    def _are_ready(self) -> bool:
        logs = self._folder.glob("ray/session_latest/logs/serve/controller_*.log")
        if sum(log.read_text("utf-8").count("started successfully") for log in logs) < 2:
            return False
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def pids(self, role: str = "ServeReplica") -> set[int]:
        """The processes that search, or that are something else, of those that live."""
        found = set()
        for process in psutil.Process(self._program.pid).children(recursive=True):
            self._seen.add(process)
            try:
                if role in "".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.add(process.pid)
            except psutil.NoSuchProcess:
                pass
        return found

    def end(self) -> list[psutil.Process]:
        """Let the program end; return those of its processes that did not."""
        self.pids()
        assert self._program.stdin is not None
        if self._serve_run:
            self._program.send_signal(signal.SIGINT)
        self._program.stdin.close()
        try:
            self._program.wait(SECONDS)
        finally:
            _, left = psutil.wait_procs(self._seen, 20)
            for process in left:
                process.kill()
        return list(left)


@contextmanager
def replicas_over(place: str, *, serve_run: bool) -> Iterator[Replicas]:
    """Run replicas, and see that nothing of them is left."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: the paths of its sockets have to fit into 107 bytes
    replicas = Replicas(place, folder, serve_run=serve_run)
    try:
        replicas.wait()
        yield replicas
    finally:
        assert replicas.end() == []
        rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    with milvus_server(tmp_path_factory.mktemp("milvus")) as server:
        yield server


def test_replicas_that_others_could_ask_want_a_password() -> None:
    told = subprocess.run(
        [sys.executable, "-c", OPEN],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    ).stdout.splitlines()
    assert len(told) == 3
    assert all("is open to other machines" in line and "Set RAG_PASSWORD" in line for line in told)


def test_replicas_over_postgresql_by_serve_run(postgres: PostgresServer) -> None:
    place = postgres.address("killed")
    build_index(place, DATA.passages.values(), load_embeddings("embedded"))
    right = answers_of(place)
    with replicas_over(place, serve_run=True) as replicas:
        stop, answers = Event(), []

        def ask(client: int) -> int:
            """Ask one question after the other; return how many were answered as they should be."""
            count = 0
            while not stop.is_set() or count < len(QUESTIONS):
                question = QUESTIONS[(client * 7 + count) % len(QUESTIONS)]
                assert ids(replicas.retriever.invoke(question)) == right[question], question
                answers.append(question)
                count += 1
            return count

        with ThreadPoolExecutor(CLIENTS) as pool:
            asking = [pool.submit(ask, client) for client in range(CLIENTS)]
            try:
                wait_for(lambda: len(answers) > 5 * CLIENTS)
                before = replicas.pids()
                os.kill(killed := min(before), signal.SIGKILL)
                at_the_kill = len(answers)
                wait_for(lambda: len(replicas.pids() - before) == 1 and killed not in replicas.pids())
                os.kill(max(before), signal.SIGKILL)  # then it is the new one that answers
                wait_for(lambda: len(replicas.pids() - before) == 2)
                [proxy] = replicas.pids("ProxyActor")
                os.kill(proxy, signal.SIGKILL)
                lost = monotonic()
                at_the_proxys = len(answers)
                wait_for(lambda: len(answers) > at_the_proxys + 5 * CLIENTS)
                print(f"a proxy was replaced after {monotonic() - lost:.1f} s")  # noqa: T201
            finally:
                stop.set()
            counts = [future.result() for future in asking]
        assert sum(counts) == len(answers)
        told = f"{len(answers)} questions of {CLIENTS} clients answered rightly, {at_the_kill} before the first kill"
        print(told)  # noqa: T201

        def together(question: str) -> int:
            asked = httpx.post(
                f"{replicas.url}/search",
                content=json.dumps({"question": question}),
                headers={b"Authorization": f"Bearer {PASSWORD}".encode()},
            ).raise_for_status()
            answer = asked.json()
            assert [document["id"] for document in answer["documents"]] == right[question]
            return int(answer["together"])

        with ThreadPoolExecutor(CLIENTS) as pool:
            batches = list(pool.map(together, QUESTIONS * 2))
        print(f"{len(batches)} questions searched for in {sum(1 / size for size in batches):.0f} batches")  # noqa: T201
        assert max(batches) > 1
        for wrong in (b"", b"Bearer wrong"):
            refused = httpx.post(
                f"{replicas.url}/search", json={"question": QUESTIONS[0]}, headers={b"Authorization": wrong}
            )
            assert refused.status_code == 401
        follow(postgres, place, replicas)


def test_replicas_over_milvus_of_a_python_program(milvus: MilvusServer) -> None:
    place = milvus.address("followed")
    build_index(place, DATA.passages.values(), load_embeddings("embedded"))
    with replicas_over(place, serve_run=False) as replicas:
        follow(milvus, place, replicas)


def follow(server: PostgresServer | MilvusServer, place: str, replicas: Replicas) -> None:
    """See that replicas tell of a lost server, go on when it is there again, and follow an index that is replaced."""
    right, question, before = answers_of(place), QUESTIONS[0], replicas.pids()
    assert asked_in_a_chain(replicas.retriever, question) == [DATA.passages[right[question][0]].page_content] * 2

    server.kill()
    hurried = replicas.retriever.model_copy(update={"deadline": 8.0})
    with pytest.raises(ConnectionError, match="status 503, The index is not to be had just now"):
        hurried.invoke(question)
    assert httpx.get(f"{replicas.url}/health", timeout=SECONDS).status_code == 503
    server.start()
    assert_found(replicas, right)

    build_index(place, list(DATA.passages.values())[::2], load_embeddings("embedded"), replace=True)
    newer = answers_of(place)
    assert newer != right
    wait_for(lambda: ids(replicas.retriever.invoke(question)) == newer[question], seconds=10)
    assert_found(replicas, newer)

    open_index(place).add([Document(page_content="해오름 7호는 2031년 5월 2일 고흥에서 발사됐다.")])
    launched = "해오름 7호는 언제 발사됐나?"
    wait_for(lambda: "해오름" in replicas.retriever.invoke(launched)[0].page_content, seconds=10)
    assert replicas.pids() == before


def assert_found(replicas: Replicas, right: dict[str, list[str]]) -> None:
    """See that many clients at once find what they should."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = pool.map(replicas.retriever.invoke, right)
        assert {question: ids(documents) for question, documents in zip(right, found, strict=True)} == right


def asked_in_a_chain(retriever: ReplicaRetriever, question: str) -> list[str]:
    """What a LangChain chain puts first before its model, asked by `invoke` and by `ainvoke`."""
    seen: list[str] = []

    def note(documents: list[Document]) -> str:
        seen.append(documents[0].page_content)
        return documents[0].page_content

    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    model = FakeListChatModel(responses=["답입니다."])
    chain = {"context": retriever | note, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()
    assert chain.invoke(question) == asyncio.run(chain.ainvoke(question)) == "답입니다."
    return seen


def answers_of(place: str) -> dict[str, list[str]]:
    """What a retriever of this process finds."""
    local = build_retriever(open_index(place), compressor=load_reranker(top_n=K), top_n=K)
    return {question: ids(local.invoke(question)) for question in QUESTIONS}


def ids(documents: list[Document]) -> list[str]:
    return [str(document.id) for document in documents]


def wait_for(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline
        sleep(0.05)
