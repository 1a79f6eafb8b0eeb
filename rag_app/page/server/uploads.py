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
        self._coming: list[tuple[str, int]] = []  # sessions and bytes of uploads on their way, not among the files yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        is_put = scope["type"] == "http" and scope["method"] == "PUT"
        found = _UPLOAD.fullmatch(scope["path"]) if is_put else None
        if found is None:
            await self.app(scope, receive, send)
            return
        session, length = found[1], Headers(scope=scope).get("content-length", "")
        refused = self._refusal(session, length)
        if refused is not None:
            await refused(scope, receive, send)
            return
        upload = (session, int(length))
        self._coming.append(upload)
        try:
            await self.app(scope, receive, send)
        finally:
            self._coming.remove(upload)

    def _refusal(self, session: str, length: str) -> PlainTextResponse | None:
        """Return why an upload is refused; None if it is not."""
        runtime, settings = get_instance(), started_settings()
        _admitted.intersection_update([known for known in _admitted if runtime.is_active_session(known)])
        if settings is None or session not in _admitted:
            return PlainTextResponse("Not let in", 403)
        if not length.isdecimal():
            return PlainTextResponse("Content-Length is missing", 411)
        manager = cast(MemoryUploadedFileManager, runtime.uploaded_file_mgr)
        held = [(name, len(file.data)) for name, files in list(manager.file_storage.items()) for file in files.values()]
        held += self._coming
        if sum(name == session for name, _ in held) >= settings.upload_files:
            return PlainTextResponse("Too many files", 413)
        if sum(size for _, size in held) + int(length) > settings.upload_mb * 1_000_000:
            return PlainTextResponse("Too much in all", 413)
        return None
