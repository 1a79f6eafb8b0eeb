"""Asks a chat model for one word, in the background, to see whether it answers and how fast."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import aclosing, suppress
from time import monotonic
from typing import Literal

from langchain_core.language_models import BaseChatModel

from rag_app.chat_models.errors import ChatModelError

State = Literal["running", "answered", "failed", "stopped"]
PROMPT = "연결을 확인하고 있습니다. ‘안녕하세요’라고만 답하세요. (This is a connection test. Reply with: hello)"
ENOUGH = 200
"""Characters after which it is known that the model answers."""


class ConnectionCheck:
    """One question to a chat model; any thread may look at it or stop it.

    Attributes:
        model: What the server calls the model, else empty.
        text: What it wrote so far.
        first_seconds: From the start until its first letter; None before.
        error: Why it failed.
    """

    def __init__(self, load: Callable[[], BaseChatModel], *, limit: float) -> None:
        """Start asking.

        Args:
            load: Returns the model; what it raises is the check's ``error``.
            limit: Seconds after which it counts as too slow.
        """
        self.model = ""
        self.text = ""
        self.first_seconds: float | None = None
        self.error: Exception | None = None
        self._load = load
        self._limit = limit
        self._state: State = "running"
        self._started = monotonic()
        self._seconds: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = threading.Event()
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="connection-check", daemon=True).start()

    @property
    def state(self) -> State:
        """Whether it goes on, and how it ended."""
        return "stopped" if self._state == "running" and self._stopped.is_set() else self._state

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return monotonic() - self._started if self._seconds is None else self._seconds

    def stop(self) -> None:
        """Close the connection and end; nothing if it has ended."""
        self._stopped.set()
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            with suppress(RuntimeError):  # it ended this very moment, and its loop with it
                loop.call_soon_threadsafe(task.cancel)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; return whether it has."""
        return self._ended.wait(timeout)

    def _run(self) -> None:
        try:
            asyncio.run(self._check())
        except asyncio.CancelledError:
            self._state = "stopped"
        except Exception as error:  # for whoever looks: only there can it be told
            self.error = error
            self._state = "failed"
        else:
            self._state = "answered"
        finally:
            self._seconds = monotonic() - self._started
            self._ended.set()

    async def _check(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            async with asyncio.timeout(self._limit):
                model = await asyncio.to_thread(self._load)
                if self._stopped.is_set():
                    raise asyncio.CancelledError
                await self._ask(model)
        except TimeoutError as error:
            raise ChatModelError(f"No answer within {self._limit:g} seconds", "timeout") from error

    async def _ask(self, model: BaseChatModel) -> None:
        async with aclosing(model.astream(PROMPT)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                self.model = str(chunk.response_metadata.get("model_name") or self.model)
                self.text += chunk.text
                if self.first_seconds is None and self.text.strip():
                    self.first_seconds = monotonic() - self._started
                if len(self.text) > ENOUGH:
                    return
