"""Two replicas over one server; both are killed, one after the other, while many clients ask, and nobody notices."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import rmtree
from threading import Event
from time import monotonic, sleep

import httpx
import psutil
import pytest
from pydantic import SecretStr

from rag_app.compressors import load_reranker
from rag_app.data import load_retrieval_data
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.replicas.client import ReplicaRetriever
from rag_app.retrieval import build_retriever
from tests.postgres_server import postgres_server

CHECKOUT = Path(__file__).parents[2]
PASSWORD = "여덟 글자 넘는 비밀번호"
CLIENTS, SECONDS, K = 12, 60.0, 5

PROGRAM = """
import sys
from rag_app.replicas.options import ReplicaOptions
from rag_app.replicas.running import running_replicas
from rag_app.settings import load_settings

with running_replicas(load_settings(), ReplicaOptions(replicas=2, cpus=0.5), port=int(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


class Replicas:
    """Two of them, of a program of their own, whose processes are remembered."""

    def __init__(self, place: str, folder: Path) -> None:
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
            "RAY_AUTH_TOKEN": "0" * 40,  # else Ray writes one into the home folder
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # its ports are then those of loopback
        }
        self._seen: set[psutil.Process] = set()
        self._log = Path(folder, "program.log")
        with self._log.open("wb") as log:
            command = [sys.executable, "-c", PROGRAM, str(port)]
            self._program = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self.url = f"http://127.0.0.1:{port}"

    def wait(self) -> None:
        """Wait until they answer."""
        assert self._program.stdout is not None
        told = self._program.stdout.readline().decode().strip()
        assert told == self.url, self._log.read_text("utf-8")
        assert len(self.pids()) == 2

    def pids(self) -> set[int]:
        """The processes that search, of those that live."""
        found = set()
        for process in psutil.Process(self._program.pid).children(recursive=True):
            self._seen.add(process)
            try:
                if "ServeReplica" in "".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.add(process.pid)
            except psutil.NoSuchProcess:
                pass
        return found

    def end(self) -> list[psutil.Process]:
        """Let the program end; return those of its processes that did not."""
        self.pids()
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.close()
        try:
            self._program.wait(SECONDS)
        finally:
            self._program.stdout.close()
            _, left = psutil.wait_procs(self._seen, 20)
            for process in left:
                process.kill()
        return list(left)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ray-"))  # short: the paths of its sockets have to fit into 107 bytes
    yield path
    rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """Where the index is that all of them read."""
    with postgres_server() as server:
        yield server.address("replicas")


def test_a_killed_replica_loses_no_question(place: str, folder: Path) -> None:
    data = load_retrieval_data("sample")
    index = build_index(place, data.passages.values(), load_embeddings("embedded"))
    local = build_retriever(index, compressor=load_reranker(top_n=K), top_n=K)
    questions = [question.text for question in data.questions[:60]]
    right = {question: [document.id for document in local.invoke(question)] for question in questions}
    replicas = Replicas(place, folder)
    try:
        replicas.wait()
        retriever = ReplicaRetriever(urls=[replicas.url], password=SecretStr(PASSWORD), deadline=SECONDS)
        stop, answers = Event(), []

        def ask(client: int) -> int:
            """Ask one question after the other; return how many were answered as they should be."""
            count = 0
            while not stop.is_set() or count < len(questions):
                question = questions[(client * 7 + count) % len(questions)]
                found = [document.id for document in retriever.invoke(question)]
                assert found == right[question], question
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
                wait_for(lambda: len(answers) > at_the_kill + 5 * CLIENTS)
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
            batches = list(pool.map(together, questions * 2))
        print(f"{len(batches)} questions searched for in {sum(1 / size for size in batches):.0f} batches")  # noqa: T201
        assert max(batches) > 1
        assert httpx.post(f"{replicas.url}/search", json={"question": questions[0]}).status_code == 401
        assert httpx.get(f"{replicas.url}/health").json() == {"ready": True}
    finally:
        assert replicas.end() == []


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + SECONDS
    while not condition():
        assert monotonic() < deadline
        sleep(0.05)
