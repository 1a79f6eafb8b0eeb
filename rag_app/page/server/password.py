"""The password of the whole page: without it nothing is served but where to type it."""

import hashlib
import hmac
import time
import unicodedata
from collections.abc import Callable
from threading import Lock
from urllib.parse import parse_qs

import streamlit as st
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from rag_app.language import choose_language
from rag_app.page.server.login_page import login_page
from rag_app.page.server.origins import is_own
from rag_app.page.server.started import started_settings

STAY = 7 * 24 * 3600
"""Seconds for which a browser need not be asked again."""
FREE, LONGEST = 3, 30.0
"""How many wrong passwords cost no time, and the most seconds that one costs."""
LEAVE = "leave"
"""The path that forgets who was let in."""
_MOST = 4096  # bytes of a form


class Tries:
    """Wrong passwords, of all visitors together: after a few, each makes everybody wait longer.

    Args:
        clock: Tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong = 0
        self._until = 0.0
        self._lock = Lock()

    def check(self, given: str, password: str) -> float:
        """Return 0 if a password is right, else the seconds until the next may be tried; while one waits, none is."""
        with self._lock:
            left = self._until - self._clock()
            if left > 0:
                return left
            if _same(given, password):
                self._wrong = 0
                return 0.0
            self._wrong += 1
            pause = min(LONGEST, 2.0 ** (self._wrong - FREE)) if self._wrong > FREE else 0.0
            self._until = self._clock() + pause
            return pause or 1e-3


class Password:
    """Serves an ASGI application to those who know the password; to anybody where none is set.

    Attributes:
        stands: It is in place in this process: else nobody would be asked.
    """

    stands = False

    def __init__(self, app: ASGIApp) -> None:
        Password.stands = True
        self.app = app
        self.tries = Tries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        settings = started_settings() if scope["type"] in ("http", "websocket") else None
        password = settings.password if settings else None
        if password is None or scope["path"] == _health():
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            served = self.app if _let_in(scope, password.get_secret_value()) else WebSocketClose(code=1008)
            await served(scope, receive, send)
        else:
            answer = await self._answer(Request(scope, receive), password.get_secret_value())
            await (answer or self.app)(scope, receive, send)

    async def _answer(self, request: Request, password: str) -> Response | None:
        """Return what is served instead of the page; None for the page."""
        here = request.scope["path"]
        if here.rpartition("/")[2] == LEAVE and request.method == "GET":
            gone = RedirectResponse(_on_this_host(here.removesuffix(LEAVE)), 303)
            gone.delete_cookie(cookie_name())
            return gone
        if _let_in(request.scope, password):
            return None
        if request.method == "POST" and "password" in (form := await _form(request)):
            return self._try(form["password"], password, request)
        if request.method not in ("GET", "HEAD") or "/_stcore/" in here or "/media/" in here:
            return PlainTextResponse("The password is wanted", 401)
        return _page(request, 200)

    def _try(self, given: str, password: str, request: Request) -> Response:
        if not is_own(request.headers):
            return PlainTextResponse("Sent from another page", 403)
        wait = self.tries.check(given, password)
        if wait:
            refused = _page(request, 401 if wait < 1 else 429, wait)
            refused.headers["Retry-After"] = str(int(wait) + 1)
            return refused
        query = f"?{request.url.query}" if request.url.query else ""
        answer = RedirectResponse(_on_this_host(request.scope["path"]) + query, 303)
        secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        value = _signed(int(time.time()) + STAY, password)
        answer.set_cookie(cookie_name(), value, max_age=STAY, httponly=True, samesite="lax", secure=secure)
        return answer


def cookie_name() -> str:
    """Return the name of the cookie of those who were let in; the cookies of a host are those of all its ports."""
    return f"rag-page-{st.get_option('server.port')}"


def _health() -> str:
    """Return where the server says "ok" to whoever watches over it."""
    return f"/{st.get_option('server.baseUrlPath').strip('/')}/_stcore/health".replace("//", "/")


def _page(request: Request, status: int, wait: float | None = None) -> HTMLResponse:
    settings = started_settings()
    say = choose_language(request.query_params.get("lang"), settings.lang if settings else None)
    return HTMLResponse(login_page(say, wait), status, {"Cache-Control": "no-store"})


def _on_this_host(path: str) -> str:
    return "/" + path.lstrip("/\\")  # two slashes would begin with another host


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


def _let_in(scope: Scope, password: str) -> bool:
    """Return whether a request carries the cookie of somebody who knew the password, and lately."""
    sent = b"; ".join(value for name, value in scope["headers"] if name == b"cookie").decode("latin-1")
    value = cookie_parser(sent).get(cookie_name(), "")  # as browsers do: what another program left there is passed over
    until = value.partition(".")[0]
    if not (until.isascii() and until.isdecimal() and len(until) < 12) or int(until) < time.time():
        return False
    return hmac.compare_digest(value.encode(), _signed(int(until), password).encode())


def _signed(until: int, password: str) -> str:
    key = f"{st.get_option('server.cookieSecret')}\0{password}".encode()  # another password lets nobody in of before
    return f"{until}.{hmac.new(key, f'{cookie_name()} {until}'.encode(), hashlib.sha256).hexdigest()}"


def _same(given: str, password: str) -> bool:
    """Compare in a time that tells nothing, whichever way a keyboard composes its letters."""
    composed = (unicodedata.normalize("NFC", text).encode("utf-8", "replace") for text in (given, password))
    return hmac.compare_digest(*(hashlib.sha256(text).digest() for text in composed))
