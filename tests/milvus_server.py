"""Milvus Lite for tests: its gRPC server as a process of its own on loopback, in a folder of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import psutil
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

_SECONDS = 60  # to start or to end


class MilvusServer:
    """A server that can be killed and started again.

    Attributes:
        port: On 127.0.0.1, the same for its whole life.
        pid: Of its process; None while there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def address(self, name: str, options: str = "") -> str:
        """Return the address of an index on it."""
        return f"milvus://127.0.0.1:{self.port}/{name}{options}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        where = ["--data-dir", str(self._folder / "data"), "--host", "127.0.0.1", "--port", str(self.port)]
        with Path(self._folder, "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("milvus-lite")), "server", *where],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        deadline = monotonic() + _SECONDS
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    MilvusClient(f"http://127.0.0.1:{self.port}", dedicated=True, timeout=5).close()
                return
            except (OSError, MilvusException):
                if monotonic() > deadline or self._process.poll() is not None:
                    raise
                sleep(0.05)

    def stop(self) -> None:
        """End it as an operator does who waits for nobody."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it and its children, as a machine does that fails."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(number)
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_SECONDS)
        for child in children:
            if child.is_running():
                child.kill()
        self._process = None


@contextmanager
def milvus_server(folder: Path) -> Iterator[MilvusServer]:
    """Run a server for as long as the block lasts."""
    server = MilvusServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
