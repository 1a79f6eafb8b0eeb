"""The command that indexes in bulk, on a Ray cluster that it starts on this machine, into PostgreSQL."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from time import monotonic, sleep

import psutil
import psycopg
import pytest

from rag_app.bulk.checkpoints import FOLDER
from rag_app.cli import INTERRUPTED, PARTLY
from rag_app.stores.address import Address
from rag_app.stores.servers import server_store
from tests.postgres_server import PostgresServer, postgres_server

_SECONDS = 150
_ARTICLES, _FILES = 4000, 8
_PYTHON = """
import sys
from rag_app.bulk.indexing import Workers, index_in_bulk
workers = Workers(actors=1, patience=1, stalled=float(sys.argv[3]))
try:
    print(index_in_bulk(sys.argv[1], sys.argv[2], workers=workers)[:4])
except Exception as error:
    print(type(error).__name__, error)
"""
Content = list[tuple[str, str, dict[str, object]]]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of articles, one of them long, with a row that is broken and one that repeats another."""
    texts = [f"{number}번째 소식이다. 국회는 제{number * 7}호 예산안을 의결했다." for number in range(_ARTICLES)]
    texts[1] = "\n\n".join(f"{number}번째 문장은 여기에서 끝난다." for number in range(200))
    folder = tmp_path / "in"
    folder.mkdir()
    for part in range(_FILES):
        rows = [json.dumps({"text": text, "title": "소식"}, ensure_ascii=False) for text in texts[part::_FILES]]
        Path(folder, f"{part}.jsonl").write_text("\n".join([*rows, rows[0]]), "utf-8")
    return folder


class Running:
    """A process, with a home of its own.

    Attributes:
        folder: Where Ray has its files.
    """

    def __init__(self, tmp_path: Path, *command: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short, as the names of sockets have to be
        self.home = tmp_path / "home"
        self.home.mkdir(exist_ok=True)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RAG_"))},
            "HOME": str(self.home),
            "RAY_TMPDIR": str(self.folder),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "LC_ALL": "en_US.UTF-8",
            "OMP_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, *command], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def result(self) -> tuple[int, str, str]:
        """Wait for its exit status and what it says."""
        out, err = self.process.communicate(timeout=_SECONDS)
        return self.process.returncode, out, err

    def below(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self.process.pid).children(recursive=True))
        return []

    def end(self) -> None:
        children = self.below()
        self.process.kill()
        self.process.communicate()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _running(tmp_path: Path, *command: str) -> Iterator[Running]:
    running = Running(tmp_path, *command)
    try:
        yield running
    finally:
        running.end()


def _index(source: Path, address: str, *options: str) -> list[str]:
    return ["-m", "rag_app.cli", "index", str(source), "--index", address, *options]


_RAY = ("--engine", "ray", "--workers", "1")


def _content(address: str) -> Content:
    store = server_store(Address.parse(address))
    return [(str(passage.id), passage.page_content, passage.metadata) for passage in store.scan()]


def _wait(for_what: Callable[[], object], running: Running) -> None:
    deadline = monotonic() + _SECONDS
    while not for_what():
        assert running.process.poll() is None, running.result()
        assert monotonic() < deadline
        sleep(0.02)


def _notes(source: Path) -> int:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    done = 0
    for path in Path(source, FOLDER).rglob("*.parquet"):
        with suppress(OSError, ArrowException):  # being written
            done += read_metadata(path).num_rows
    return done


def _written(server: PostgresServer, name: str) -> int:
    """Return how many passages were written to an index since it was begun, with those written again."""
    with psycopg.connect(server.address(name).rpartition("/")[0]) as connection:
        row = connection.execute(
            "SELECT last_value FROM pg_sequences WHERE schemaname = %s AND sequencename LIKE 'passages%%'", [name]
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_command_with_ray_makes_the_index_of_one_without(
    server: PostgresServer, source: Path, tmp_path: Path
) -> None:
    with Path(source, "3.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"text": 3}')
    in_bulk, alone = server.address("in_bulk"), server.address("alone")
    open_to: set[str] = set()
    with _running(tmp_path, *_index(source, in_bulk, *_RAY)) as running:

        def look() -> bool:
            for process in running.below():
                with suppress(psutil.NoSuchProcess):
                    for connection in process.net_connections("tcp"):
                        if connection.status == psutil.CONN_LISTEN:
                            open_to.add(str(connection.laddr.ip))
            return running.process.poll() is not None

        _wait_end = monotonic() + _SECONDS
        while not look():
            assert monotonic() < _wait_end
            sleep(0.1)
        status, out, err = running.result()
        assert not list(running.folder.iterdir())
        assert not list(running.home.rglob("*token*"))
    assert status == PARTLY
    assert f"{Address.parse(in_bulk)}: {_ARTICLES:,} documents in" in out
    assert "(8 repeated, 1 files with errors)" in out
    assert len(out.splitlines()) == 1
    assert "3.jsonl: line 502: column 'text' holds a int" in err
    assert f"{_ARTICLES + _FILES} rows" in err  # of the progress bar
    assert "INFO" not in err
    assert len(open_to) > 0
    assert all(ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in open_to), open_to

    rest = source / "3.jsonl"
    rest.write_text(rest.read_text("utf-8").rpartition("\n")[0], "utf-8")
    with _running(tmp_path, *_index(source, alone, "--quiet")) as running:
        status, out, err = running.result()
    assert (status, err) == (0, "")
    assert _content(in_bulk) == _content(alone)


def test_a_command_that_was_interrupted_does_only_what_is_missing(
    server: PostgresServer, source: Path, tmp_path: Path
) -> None:
    address = server.address("interrupted")
    command = _index(source, address, *_RAY, "--quiet")
    with _running(tmp_path, *command) as running:
        _wait(lambda: _notes(source), running)
        running.process.send_signal(signal.SIGINT)
        status, out, err = running.result()
        assert not list(running.folder.iterdir())
    assert (status, out) == (INTERRUPTED, "")
    assert "Stopped. What was written by then is kept: the same command goes on." in err
    assert "Traceback" not in err
    assert 0 < _notes(source) < _ARTICLES
    with _running(tmp_path, *command) as running:
        status, out, err = running.result()
    assert status == 0, err
    assert f"{_ARTICLES:,} documents in" in out
    content = _content(address)
    assert len({id_ for id_, *_ in content}) == len(content)
    assert _written(server, "interrupted") == len(content)  # each passage once, in both runs together
    assert not any(Path(source, FOLDER).iterdir())


def test_what_was_written_of_other_articles_is_not_published(
    server: PostgresServer, source: Path, tmp_path: Path
) -> None:
    address = server.address("other")
    with _running(tmp_path, *_index(source, address, *_RAY, "--quiet")) as running:
        _wait(lambda: _notes(source), running)
        running.process.kill()
        children = running.below()
        running.process.wait(_SECONDS)
        psutil.wait_procs(children, _SECONDS)
    # The same files, of which one is gone and one has other titles.
    Path(source, "2.jsonl").unlink()
    for number in range(_FILES):
        path = Path(source, f"{number}.jsonl")
        if number != 2:
            path.write_text(path.read_text("utf-8").replace('소식"', '새 소식"'), "utf-8")
    with _running(tmp_path, *_index(source, address, *_RAY, "--quiet")) as running:
        assert running.result()[0] == 0
    with _running(tmp_path, *_index(source, server.address("other_alone"), "--quiet")) as running:
        assert running.result()[0] == 0
    found = _content(address)
    assert {metadata["title"] for *_, metadata in found} == {"새 소식"}
    assert found == _content(server.address("other_alone"))


def test_a_server_that_goes_away_is_told_as_it_is(source: Path, tmp_path: Path) -> None:
    with postgres_server() as server:
        address = server.address("away")
        with _running(tmp_path, "-c", _PYTHON, str(source), address, "90") as running:
            _wait(lambda: _notes(source), running)
            server.kill()
            _, out, err = running.result()
        server.start()
    assert out.startswith("ConnectionError"), err
    assert len(out.splitlines()) == 1
    assert Address.parse(address).host in out


def test_a_job_that_hangs_is_begun_again_from_its_notes(server: PostgresServer, source: Path, tmp_path: Path) -> None:
    with _running(tmp_path, "-c", _PYTHON, str(source), server.address("hangs"), "30") as running:
        actors: list[psutil.Process] = []

        def look() -> bool:
            actors[:] = [process for process in running.below() if "ArticleWriter" in " ".join(_words(process))]
            return bool(actors)

        _wait(look, running)
        [actor] = actors
        actor.suspend()
        _, out, err = running.result()
    passages = len(_content(server.address("hangs")))
    assert out == f"({_ARTICLES}, {passages}, {_ARTICLES}, {_FILES})\n", err
    assert not psutil.pid_exists(actor.pid) or actor.status() == psutil.STATUS_ZOMBIE


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return list(process.cmdline())
    return []
