"""The page, started as anybody starts it, and what is sent to it by hand that no browser would send."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

PAGE = Path(__file__).parent.parent.parent / "streamlit_app.py"
XSRF = "_streamlit_xsrf"


class Server(NamedTuple):
    """A running page.

    Attributes:
        port: On the loopback.
        log: The file of what it says.
    """

    port: int
    log: Path

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        """Return what it said so far."""
        return self.log.read_text("utf-8", "replace")

    def client(self, cookies: dict[str, str] | None = None) -> httpx.Client:
        """Return what sends requests to it."""
        return httpx.Client(base_url=self.url, timeout=20, trust_env=False, cookies=cookies)

    def raw(self, request: str) -> str:
        """Send a request as it is, and return the first line of the answer; empty where there is none."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as sent:
            sent.sendall(request.replace("\n", "\r\n").encode())
            with suppress(ConnectionError):
                return sent.recv(4096).decode("latin-1").partition("\r\n")[0]
        return ""

    def handshake(self, origin: str | None, host: str, cookie: str = "") -> int:
        """Ask for the connection over which the page is served; return the status of the answer, 101 if it stands."""
        lines = [f"GET /_stcore/stream HTTP/1.1\nHost: {host}\nUpgrade: websocket\nConnection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        lines += [f"Origin: {origin}"] * (origin is not None) + [f"Cookie: {cookie}"] * bool(cookie)
        return int((self.raw("\n".join(lines) + "\n\n").split() or ["", "0"])[1])

    @contextmanager
    def visit(self, cookie: str = "") -> "Iterator[tuple[ClientConnection, str]]":
        """Open the page without a browser; yield the connection and the session's id once it is served."""
        headers = {"Cookie": cookie} if cookie else {}
        protocols = [Subprotocol("streamlit")]
        address = f"ws://127.0.0.1:{self.port}/_stcore/stream"
        with connect(
            address,
            origin=Origin(self.url),
            additional_headers=headers,
            subprotocols=protocols,
            max_size=None,
            proxy=None,
        ) as connection:
            run = BackMsg()
            run.rerun_script.query_string = ""
            connection.send(run.SerializeToString())
            session = ""
            while True:
                message = ForwardMsg()
                message.ParseFromString(bytes(connection.recv(60, decode=False)))
                if message.WhichOneof("type") == "new_session":
                    session = message.new_session.initialize.session_id
                if message.WhichOneof("type") == "navigation":
                    yield connection, session
                    return


@contextmanager
def serve_page(folder: Path, **environment: str) -> Iterator[Server]:
    """Run the page from a folder that is not its own, by the command of the README; stop it at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAG_", "STREAMLIT_"))}
    given = {"RAG_INDEX": str(folder / "news"), "RAG_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(PAGE), "--server.port", str(port)],
            cwd=folder,
            env={**kept, **given, **environment},
            stdout=output,
            stderr=output,
        )
        try:
            _wait_for(port, process)
            yield Server(port, log)
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError("Streamlit did not start")
