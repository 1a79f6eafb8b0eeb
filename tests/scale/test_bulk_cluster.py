"""20,000 passages through a Ray cluster of three nodes, whose nodes, actors and vector server are killed on the way."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol

import psutil
import pytest

from rag_app.bulk.checkpoints import FOLDER
from rag_app.documents import document_id
from rag_app.stores.address import Address
from rag_app.stores.servers import server_store
from tests.milvus_server import milvus_server
from tests.postgres_server import postgres_server

_ARTICLES = 20_000
_FILES = 8
_SECONDS = 240  # for a job, which begins again by itself where nothing is done for 60
_JOB = """
import json, sys
from rag_app.bulk.indexing import Workers, index_in_bulk
result = index_in_bulk(sys.argv[1], sys.argv[2], workers=Workers(ray_address=sys.argv[3], patience=60, stalled=60))
print(json.dumps([result.documents, result.passages, result.skipped, len(result.failed)]))
"""


class VectorServer(Protocol):
    """A server that can be killed and started again."""

    def address(self, name: str) -> str: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...


def _postgres(folder: Path) -> AbstractContextManager[VectorServer]:
    return postgres_server()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of articles, of which 50 come again in another file, with a broken line and a broken file."""
    folder = tmp_path_factory.mktemp("articles")
    texts = [_text(number) for number in range(_ARTICLES)]
    for part in range(_FILES):
        rows = texts[part::_FILES] + (texts[:50] if part == 1 else [])
        lines = [json.dumps({"text": text, "title": "소식"}, ensure_ascii=False) for text in rows]
        if part == 2:
            lines.insert(100, '{"text": "닫히지')
        Path(folder, f"part-{part}.jsonl").write_text("\n".join(lines), "utf-8")
    Path(folder, "broken.parquet").write_bytes(b"no parquet")
    return folder


def _text(number: int) -> str:
    return f"{number}번째 소식이다. 국회는 제{number * 7}호 예산안을 의결했고 더위는 {number % 50}도까지 오른다."


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three nodes on this machine, which notice within seconds when one is gone; the first has the head."""
    # Else Ray writes one into the home folder. A process that has read one keeps to it, so it stays for other tests.
    os.environ.setdefault("RAY_AUTH_TOKEN", "0" * 40)
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray takes 127.0.0.1 for the machine's other address
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "5",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short: its sockets' names have at most 107 bytes
    monkeypatch.setenv("RAY_TMPDIR", folder)
    Path(folder, "ray").mkdir()
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 150 * 1024**2, "node_ip_address": "127.0.0.1"}
    # Without a port Ray looks for one that is free; the usual one may be taken by another test's Ray.
    head = {**node, "include_dashboard": False, "dashboard_port": None}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(**node)
        yield cluster
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]
        shutil.rmtree(folder, ignore_errors=True)


class Job:
    """A bulk job in a process of its own, as a user begins it."""

    def __init__(self, errors: Path, *arguments: str) -> None:
        self._errors = errors
        with errors.open("wb") as file:
            command = [sys.executable, "-c", _JOB, *arguments]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, cwd="/")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def result(self) -> list[int]:
        """Wait for what it says at the end: one line, whatever Ray has to say."""
        out, _ = self._process.communicate(timeout=_SECONDS)
        assert self._process.returncode == 0, self._errors.read_text("utf-8")[-3000:]
        return list(json.loads(out))

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.mark.parametrize("server_of", [_postgres, milvus_server], ids=["postgres", "milvus"])
def test_every_passage_is_there_once_whatever_is_killed(
    server_of: Callable[[Path], AbstractContextManager[VectorServer]],
    cluster: Any,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(server_of(tmp_path / "server"))
        address = server.address("news")
        job = Job(tmp_path / "errors", str(source), address, cluster.address)
        stack.callback(job.end)
        began = monotonic()
        killed = []
        for share, kill in ((0.1, _kill_an_actor), (0.25, _kill_a_node), (0.4, _restart)):
            reached = _wait_for(source, int(share * _ARTICLES), job)
            if job.running:
                kill(cluster, server)
                killed.append(f"{kill.__name__[1:]} at {reached:,}")
        documents, passages, skipped, failed = job.result()
        seconds = monotonic() - began
        store = server_store(Address.parse(address))
        found = Counter(str(passage.id) for passage in store.scan())
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{documents:,} documents, {passages:,} passages, {len(found):,} different, {skipped} repeated, {failed} "
            f"files with errors; {', '.join(killed)}; {seconds:.0f} s"
        )
    assert len(killed) == 3
    assert found == Counter(document_id(_text(number)) for number in range(_ARTICLES))
    assert (documents, passages) == (_ARTICLES, _ARTICLES)
    assert (skipped, failed) == (50, 2)
    assert not any(Path(source, FOLDER).iterdir())


def _kill_an_actor(cluster: Any, server: VectorServer) -> None:
    actors = [process for process in _below(cluster.head_node) if "ArticleWriter" in _title(process)]
    for node in cluster.worker_nodes:
        actors += [process for process in _below(node) if "ArticleWriter" in _title(process)]
    actors[0].kill()


def _kill_a_node(cluster: Any, server: VectorServer) -> None:
    """Kill a raylet and what it started; the two other nodes go on."""
    node = sorted(cluster.worker_nodes, key=lambda node: node.unique_id)[0]
    processes = _below(node)
    raylet = psutil.Process(_raylet(node))
    raylet.kill()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _restart(cluster: Any, server: VectorServer) -> None:
    server.kill()
    sleep(2)  # as long as it is away
    server.start()


def _raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def _below(node: Any) -> list[psutil.Process]:
    return list(psutil.Process(_raylet(node)).children(recursive=True))


def _title(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _wait_for(source: Path, count: int, job: Job) -> int:
    """Wait until so many articles are noted as done, or the job has ended."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    deadline = monotonic() + _SECONDS
    while monotonic() < deadline:
        done = 0
        for path in Path(source, FOLDER).rglob("*.parquet"):
            with suppress(OSError, ArrowException):  # being written
                done += read_metadata(path).num_rows
        if done >= count or not job.running:
            return done
        sleep(0.05)
    raise AssertionError(f"{done:,} of {count:,} articles were done in {_SECONDS} s")
