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
from rag_app.cli import INTERRUPTED, OK, PARTLY, main
from rag_app.documents import document_id
from rag_app.stores.address import Address
from rag_app.stores.servers import server_store
from tests.postgres_server import PostgresServer, postgres_server

_SECONDS = 150
_ARTICLES, _FILES = 2000, 20
_PYTHON = """
import sys
from rag_app.bulk.indexing import Workers, index_in_bulk
workers = Workers(actors=1, patience=1, stalled=float(sys.argv[3]))
try:
    print(index_in_bulk(sys.argv[1], sys.argv[2], workers=workers)[:3])
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
            [sys.executable, *command],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_heeds_interrupts,
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


def _heeds_interrupts() -> None:
    """Undo what a shell does that starts the tests in the background: what they start ignores Ctrl-C, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
    with suppress(FileNotFoundError):  # removed meanwhile
        for path in Path(source, FOLDER).rglob("*.parquet"):
            with suppress(OSError, ArrowException):  # being written
                done += read_metadata(path).num_rows
    return done


def _rows(server: PostgresServer, name: str) -> dict[str, str]:
    """Return the passages of an index, or of what was begun of it, with the transaction that wrote each."""
    with psycopg.connect(server.address(name).rpartition("/")[0]) as connection:
        table = connection.execute(
            "SELECT format('%%I.passages', schemaname) FROM pg_tables WHERE tablename = 'passages' "
            "AND (schemaname = %s OR starts_with(schemaname, %s))",
            [name, f"{name}~"],
        ).fetchone()
        assert table is not None
        return dict(connection.execute(f"SELECT id, xmin::text FROM {table[0]}").fetchall())


def _alone(source: Path, address: str) -> Content:
    """Return what the command without Ray makes of the same articles."""
    assert main(["index", str(source), "--index", address, "--quiet"]) == OK
    return _content(address)


def _where_it_listens(running: Running) -> set[str]:
    """Return where a process, and those below it, take connections from, at whatever time until it ends."""
    found: set[str] = set()
    deadline = monotonic() + _SECONDS
    while running.process.poll() is None:
        assert monotonic() < deadline
        for process in running.below():
            with suppress(psutil.NoSuchProcess):
                connections = process.net_connections("tcp")
                found.update(str(each.laddr.ip) for each in connections if each.status == psutil.CONN_LISTEN)
        sleep(0.2)
    return found


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_command_that_was_stopped_goes_on_and_makes_the_index_of_one_without_ray(
    stop: signal.Signals, server: PostgresServer, source: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if stop == signal.SIGKILL:
        _only_with_torture(request)
    name = stop.name.lower()
    address, alone = server.address(name), _alone(source, server.address(f"{name}_alone"))
    with Path(source, "3.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"text": 3}')
    with _running(tmp_path, *_index(source, address, *_RAY, "--quiet")) as running:
        _wait(lambda: _notes(source), running)
        children = running.below()
        running.process.send_signal(stop)
        status, out, err = running.result()
        if stop == signal.SIGINT:
            assert (status, out) == (INTERRUPTED, "")
            assert "Stopped. What was written by then is kept: the same command goes on." in err
            assert "Traceback" not in err
            assert not list(running.folder.iterdir())
        psutil.wait_procs(children, _SECONDS)
    assert _notes(source)
    before = _rows(server, name)
    with _running(tmp_path, *_index(source, address, *_RAY)) as running:
        listens = _where_it_listens(running)
        status, out, err = running.result()
        assert not list(running.folder.iterdir())
        assert not list(running.home.rglob("*token*"))
    assert status == PARTLY
    assert f"{Address.parse(address)}: {_ARTICLES:,} documents in {len(alone):,} passages" in out
    assert f"({_FILES} repeated, 1 files with errors)" in out
    assert len(out.splitlines()) == 1
    assert f"3.jsonl: line {_ARTICLES // _FILES + 2}: column 'text' holds a int" in err
    assert f"{_ARTICLES + _FILES} rows" in err  # of the progress bar
    assert "INFO" not in err
    assert listens
    assert all(ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in listens), listens
    assert _content(address) == alone
    assert before.items() <= _rows(server, name).items()  # nothing was written again
    assert not any(Path(source, FOLDER).iterdir())


def test_a_server_that_goes_away_is_told_as_it_is_and_the_next_job_makes_the_index_of_what_the_source_holds_then(
    server: PostgresServer, source: Path, tmp_path: Path
) -> None:
    address = server.address("away")
    with _running(tmp_path, "-c", _PYTHON, str(source), address, "90") as running:
        _wait(lambda: _notes(source), running)
        server.kill()
        _, out, err = running.result()
    server.start()
    assert out.startswith("ConnectionError"), err
    assert len(out.splitlines()) == 1
    assert Address.parse(address).host in out
    # The same files, of which one that was written is gone, and the others have other titles.
    written = _rows(server, "away")
    gone, *others = sorted(source.glob("*.jsonl"), key=lambda path: not _doc_ids(path) & written.keys())
    assert _doc_ids(gone) & written.keys()
    gone.unlink()
    for path in others:
        path.write_text(path.read_text("utf-8").replace('소식"', '새 소식"'), "utf-8")
    with _running(tmp_path, *_index(source, address, *_RAY, "--quiet")) as running:
        status, _, err = running.result()
    assert status == OK, err
    found = _content(address)
    assert {metadata["title"] for *_, metadata in found} == {"새 소식"}
    assert found == _alone(source, server.address("away_alone"))


def _doc_ids(path: Path) -> set[str]:
    return {document_id(json.loads(line)["text"]) for line in path.read_text("utf-8").splitlines()}


def test_a_job_that_hangs_is_begun_again_from_its_notes(
    server: PostgresServer, source: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _only_with_torture(request)
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


def _only_with_torture(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--torture"):
        pytest.skip("takes up to a minute; give --torture")


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return list(process.cmdline())
    return []
