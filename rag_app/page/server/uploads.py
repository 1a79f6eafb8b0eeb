"""How much may be uploaded, refused before it is read: Streamlit keeps uploads in memory, and limits only each file."""

import re
from typing import cast

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.runtime import get_instance
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from rag_app.page.server.started import started_settings

_UPLOAD = re.compile(r".*/_stcore/upload_file/([^/]+)/[^/]+")
_admitted: set[str] = set()


def admit() -> None:
    """Note that the visitor of the session that runs was let in, and may upload."""
    if (context := get_script_run_ctx()) is not None:
        _admitted.add(context.session_id)


class UploadLimits:
    """Refuses uploads of those who were not let in, and what goes beyond the limits that are set."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        refused = None
        if scope["type"] == "http" and scope["method"] == "PUT" and (found := _UPLOAD.fullmatch(scope["path"])):
            refused = _refusal(found[1], Headers(scope=scope))
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _refusal(session: str, headers: Headers) -> PlainTextResponse | None:
    """Return why an upload is refused; None if it is not."""
    runtime, settings = get_instance(), started_settings()
    _admitted.intersection_update([known for known in _admitted if runtime.is_active_session(known)])
    if settings is None or session not in _admitted:
        return PlainTextResponse("Not let in", 403)
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return PlainTextResponse("Content-Length is missing", 411)
    manager = cast(MemoryUploadedFileManager, runtime.uploaded_file_mgr)
    held = {name: list(files.values()) for name, files in list(manager.file_storage.items())}
    if len(held.get(session, ())) >= settings.upload_files:
        return PlainTextResponse("Too many files", 413)
    total = sum(len(file.data) for files in held.values() for file in files)
    if total + int(length) > settings.upload_mb * 1_000_000:
        return PlainTextResponse("Too much in all", 413)
    return None
