"""Which pages may talk to the server: its own, and those that ``server.corsAllowedOrigins`` names."""

import streamlit as st
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose


def is_own(headers: Headers) -> bool:
    """Return whether a request comes from a page of this server, or from no page at all."""
    origin = headers.get("origin")
    if origin is None:
        return True
    own = [f"{scheme}://{headers.get('host')}" for scheme in ("http", "https")]
    return origin in [*own, *st.get_option("server.corsAllowedOrigins")]


class Origins:
    """Refuses connections that another host's page opens.

    Streamlit would refuse them too, but ask a server on the internet before, whether that is its own address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "websocket" and not is_own(Headers(scope=scope)):
            await WebSocketClose(code=1008)(scope, receive, send)
            return
        await self.app(scope, receive, send)
