"""The real Milvus 2.3.5 for tests: one process, which hears nobody but this machine.

Its program is in the package ``milvus`` on PyPI, and binds every interface. So it runs in a network namespace that has
loopback alone, and this file, run as a program, hands connections in: the socket that it is given listens outside.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from select import select

import psutil
import pytest

PACKAGE = "milvus==2.3.5"
_SECONDS = 120  # to start
_PORT = 19530  # in the namespace
_ALONE = ("unshare", "--map-root-user", "--net")


class RealMilvus:
    """A server that can be killed and started again.

    Attributes:
        port: On 127.0.0.1, the same for its whole life.
    """

    def __init__(self, package: Path, folder: Path) -> None:
        self.folder = folder
        self._package = package
        self._process: subprocess.Popen[bytes] | None = None
        with _listening(0) as free:
            self.port: int = free.getsockname()[1]

    def address(self, name: str) -> str:
        """Return the address of an index on it."""
        return f"milvus://127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _listening(self.port) as heard, Path(self.folder, "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_ALONE, sys.executable, __file__, str(heard.fileno()), str(self.folder)],
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[heard.fileno()],
                env={**os.environ, "PYTHONPATH": str(self._package)},
            )
        assert self._process.stdout is not None
        if not (select([self._process.stdout], [], [], _SECONDS)[0] and self._process.stdout.readline()):
            self.kill()
            raise RuntimeError(f"Milvus did not start: {Path(self.folder, 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """Kill it and its children, as a machine does that fails."""
        if self._process is None:
            return
        for process in (*psutil.Process(self._process.pid).children(recursive=True), self._process):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.communicate()
        self._process = None


@contextmanager
def real_milvus(folder: Path) -> Iterator[RealMilvus]:
    """Run a server for as long as the block lasts; the test is skipped where it cannot be had."""
    server = RealMilvus(_package(folder / "package"), folder / "server")
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _package(folder: Path) -> Path:
    """Return a folder with the package, from the registry that pip knows."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("network namespaces are Linux's")
    if subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody make a network namespace (unshare --net)")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), PACKAGE]
    told = subprocess.run(pip, capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip(f"{PACKAGE} cannot be had: {told.stderr.strip().splitlines()[-1]}")
    return folder


def _listening(port: int) -> socket.socket:
    listening = socket.create_server(("127.0.0.1", port))
    listening.set_inheritable(True)
    return listening


async def _hand_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect a client outside with the server."""
    try:
        inside = await asyncio.open_connection("127.0.0.1", _PORT)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, inside[1]), _copy(inside[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while some := await reader.read(1 << 16):
            writer.write(some)
            await writer.drain()
    writer.close()


async def _serve(listening: socket.socket) -> None:
    server = await asyncio.start_server(_hand_in, sock=listening)
    print("ready", flush=True)  # noqa: T201
    await server.serve_forever()


def _run(listening: socket.socket, folder: str) -> None:
    """Run the server, with loopback up, and hand connections in."""
    milvus = import_module("milvus")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = milvus.MilvusServer(milvus.MilvusServerConfig(data_dir=folder))
    server.start()
    asyncio.run(_serve(listening))


if __name__ == "__main__":
    _run(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
