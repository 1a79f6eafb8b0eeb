"""The HTTP API of a replica: ``POST /search`` and ``GET /health``."""

import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from secrets import token_hex

from pydantic import BaseModel, SecretStr, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from rag_app.loopback import is_loopback
from rag_app.replicas.bearer import bearer
from rag_app.replicas.messages import Problem, SearchAnswer, SearchRequest, why_invalid

LONGEST = 64 * 1024
"""Bytes that a request may have."""
AGAIN = 1
"""Seconds after which one that could not be answered may be sent again."""
_log = logging.getLogger(__name__)

Search = Callable[[SearchRequest], Awaitable[SearchAnswer]]


class Api:
    """Answers requests; who does not know the password is served only where both are on one machine and none is set.

    An answer holds neither the path nor the address of the index, and no text of an exception: what went wrong stands
    in the log, under the number that the answer names.

    Args:
        search: Finds documents. An OSError of it says that the index is not to be had just now.
        ready: Returns when the index can be searched; else raises.
        password: None for none.
    """

    def __init__(self, search: Search, ready: Callable[[], Awaitable[None]], password: SecretStr | None) -> None:
        self._search = search
        self._ready = ready
        self._password = password
        self._routes = {"/search": ("POST", self._searched), "/health": ("GET", self._health)}

    async def respond(self, request: Request) -> Response:
        """Return the answer to a request."""
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))  # Serve's route prefix
        if path not in self._routes:
            return _problem(404, "not_found", f"There is nothing here. Ask {' or '.join(self._routes)}.")
        method, answer = self._routes[path]
        if request.method != method:
            return _problem(405, "wrong_method", f"{path} takes {method}.", {"Allow": method})
        try:
            return await answer(request)
        except OSError as error:
            _log.error("The index is not to be had, reference %s", reference := token_hex(4), exc_info=error)
            told = f"The index is not to be had just now. Try again; the log has more under {reference}."
            return _problem(503, "not_ready", told, {"Retry-After": str(AGAIN)})
        except Exception as error:
            _log.error("Failed, reference %s", reference := token_hex(4), exc_info=error)
            return _problem(500, "failed", f"Something unexpected went wrong; the log has it under {reference}.")

    async def _health(self, request: Request) -> Response:
        await self._ready()
        return Response('{"ready":true}', media_type="application/json")

    async def _searched(self, request: Request) -> Response:
        if (refused := self._refusal(request)) is not None:
            return refused
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST:
                return _problem(413, "too_long", f"The request has more than {LONGEST:,} bytes. Shorten it.")
        try:
            asked = SearchRequest.model_validate_json(body)
        except ValidationError as error:
            return _problem(400, "invalid", why_invalid(error))
        return _json(200, await self._search(asked))

    def _refusal(self, request: Request) -> Response | None:
        """Return why somebody is not served; None if he is."""
        if self._password is None:
            if _on_this_machine(request):
                return None
            told = "There is no password, so only this machine is served. Set RAG_PASSWORD where the replicas start."
            return _problem(403, "not_local", told)
        given = dict(request.scope["headers"]).get(b"authorization", b"")
        if hmac.compare_digest(_digest(given), _digest(bearer(self._password))):
            return None
        told = "The password is wanted: Authorization: Bearer PASSWORD, the one of RAG_PASSWORD."
        return _problem(401, "password_wanted", told, {"WWW-Authenticate": "Bearer"})


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _on_this_machine(request: Request) -> bool:
    """Return whether a program of this machine asks, and not a page in its browser that goes by another name."""
    return is_loopback(request.client.host if request.client else "") and is_loopback(request.url.hostname or "")


def _json(status: int, message: BaseModel, headers: dict[str, str] | None = None) -> Response:
    return Response(
        message.model_dump_json(), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json"
    )


def _problem(status: int, error: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return _json(status, Problem(error=error, message=message), headers)
