"""A real HTTP server on the loopback that speaks the OpenAI chat-completions protocol, streaming included."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Reply = Callable[[list[dict[str, Any]]], list[str]]
"""From the request's messages to the pieces of the answer."""


class Request(NamedTuple):
    """What a client sent; the headers' names in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class OpenAIServer(ThreadingHTTPServer):
    """Answers ``/v1/models`` and ``/v1/chat/completions``.

    Attributes:
        requests: All requests so far, in order.
        status: Answer chat requests with this status instead of 200.
        break_after: Close the connection after this many streamed pieces.
        gate: Each streamed piece but the first waits for it; set at the start.
    """

    daemon_threads = True

    def __init__(self, reply: Reply, models: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.models = models
        self.requests: list[Request] = []
        self.status = 200
        self.break_after: int | None = None
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        """The base URL that clients are given."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OpenAIServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._record({})
        if self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": m, "object": "model"} for m in self.server.models]})
        else:
            self._json(404, {"error": {"message": f"no {self.path}"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._record(body)
        if self.path != "/v1/chat/completions":
            self._json(404, {"error": {"message": f"no {self.path}"}})
        elif self.server.status != 200:
            # Some servers repeat the key they refuse; ours does, so that a test can look for it.
            message = f"refused {self.headers.get('Authorization')}"
            self._json(self.server.status, {"error": {"message": message, "type": "x", "code": "x"}})
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
            if number:
                self.server.gate.wait(10)
            delta = {"role": "assistant", "content": piece} if number == 0 else {"content": piece}
            self._event(json.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
        self._event(json.dumps({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        line = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def _json(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
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
        server.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
