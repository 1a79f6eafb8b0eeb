"""A real HTTP server on the loopback that speaks the OpenAI chat-completions protocol, streaming included.

It also fails in the ways that servers do: it is slow, falls silent, refuses, reports an error in the middle of a
stream, breaks off, or is no such server at all.
"""

import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Reply = Callable[[list[dict[str, Any]]], list[str]]
"""From the request's messages to the pieces of the answer."""

PATIENCE = 20.0
"""Seconds after which a gate opens by itself, so that a failing test ends."""


class Request(NamedTuple):
    """What a client sent; the headers' names in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class OpenAIServer(ThreadingHTTPServer):
    """Answers ``/v1/models`` and ``/v1/chat/completions``, and Ollama's ``/api/tags``.

    Attributes:
        requests: All requests so far, in order.
        status: Answer chat requests with this status instead of 200.
        refusal: The error that goes with the status; by default one that repeats the key that was sent.
        page: Answer every request with this HTML, as a server of another kind does.
        moved: Answer chat requests with a redirection to this address.
        break_after: Close the connection after this many streamed pieces.
        error_after: Report an error in the stream after this many pieces.
        cut_after: End the stream after this many pieces as if that were all, without a reason to finish.
        first_gate: The first streamed piece waits for it; set at the start.
        gate: Each streamed piece but the first waits for it; set at the start.
        models_gate: The list of models waits for it; set at the start.
        installed: Sizes in bytes of the models that Ollama has; None if the server is not Ollama.
        asked: Set when a chat request has come.
        disconnected: Set when a client has gone away before its answer was complete.
    """

    daemon_threads = True

    def __init__(self, reply: Reply, models: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.models = models
        self.requests: list[Request] = []
        self.status = 200
        self.refusal: dict[str, Any] | None = None
        self.page = ""
        self.moved = ""
        self.break_after: int | None = None
        self.error_after: int | None = None
        self.cut_after: int | None = None
        self.installed: dict[str, int] | None = None
        self.first_gate, self.gate, self.models_gate = (threading.Event() for _ in range(3))
        self.asked, self.disconnected = threading.Event(), threading.Event()
        self.open_gates()

    @property
    def root(self) -> str:
        """The address without the path of the protocol, as Ollama's is given."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        """The base URL that clients are given."""
        return f"{self.root}/v1"

    def open_gates(self) -> None:
        """Let everything pass that waits."""
        for gate in (self.first_gate, self.gate, self.models_gate):
            gate.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is what a test looks at, not a failure of this server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OpenAIServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._record({})
        if self.server.page:
            self._html()
        elif self.path == "/v1/models":
            self._wait(self.server.models_gate)
            self._json(200, {"object": "list", "data": [{"id": m, "object": "model"} for m in self.server.models]})
        elif self.path == "/api/tags" and self.server.installed is not None:
            self._wait(self.server.models_gate)
            models = [{"name": name, "model": name, "size": size} for name, size in self.server.installed.items()]
            self._json(200, {"models": models})
        else:
            self._json(404, {"error": {"message": f"no {self.path}"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._record(body)
        self.server.asked.set()
        if self.server.page:
            self._html()
        elif self.path != "/v1/chat/completions":
            self._json(404, {"error": {"message": f"no {self.path}"}})
        elif self.server.moved:
            self._send(307, "text/plain", b"", Location=self.server.moved)
        elif self.server.status != 200:
            # Some servers repeat the key they refuse; ours does, so that a test can look for it.
            repeated = {"message": f"refused {self.headers.get('Authorization')}", "type": "x", "code": "x"}
            self._json(self.server.status, {"error": self.server.refusal or repeated})
        elif body.get("stream"):
            self._stream(body)
        else:
            answer = {"role": "assistant", "content": "".join(self.server.reply(body["messages"]))}
            choice = {"index": 0, "message": answer, "finish_reason": "stop"}
            self._json(200, {**_head(body, "chat.completion"), "choices": [choice]})

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        head = _head(body, "chat.completion.chunk")
        for number, piece in enumerate(self.server.reply(body["messages"])):
            if number == self.server.break_after:
                self.close_connection = True
                return
            if number == self.server.error_after:
                self._event(json.dumps({"error": {"message": f"refused {self.headers.get('Authorization')}"}}))
                self.wfile.write(b"0\r\n\r\n")
                return
            if number == self.server.cut_after:
                self.wfile.write(b"0\r\n\r\n")
                return
            self._wait(self.server.gate if number else self.server.first_gate)
            delta = {"role": "assistant", "content": piece} if number == 0 else {"content": piece}
            self._event(json.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
        self._event(json.dumps({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _wait(self, gate: threading.Event) -> None:
        """Wait for a gate, unless the client goes away first."""
        for _ in range(int(PATIENCE / 0.02)):
            if gate.wait(0.02):
                return
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                self.server.disconnected.set()
                raise ConnectionAbortedError("the client went away")

    def _event(self, data: str) -> None:
        line = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def _json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _html(self) -> None:
        self._send(200, "text/html; charset=utf-8", self.server.page.encode())

    def _send(self, status: int, kind: str, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _record(self, body: dict[str, Any]) -> None:
        self.server.requests.append(
            Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        )


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body["model"]}


@contextmanager
def openai_server(reply: Reply, *, models: tuple[str, ...] = ("tiny",)) -> Iterator[OpenAIServer]:
    """Run a server in a thread and stop it at the end."""
    server = OpenAIServer(reply, list(models))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.open_gates()
        server.shutdown()
        thread.join()
        server.server_close()
