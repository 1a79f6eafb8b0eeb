"""Answers made in the background: whoever asked may click elsewhere, reload, look again, or stop them."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from contextvars import ContextVar
from time import monotonic, sleep
from typing import Any, NamedTuple, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from rag_app.conversations.turn import Turn
from rag_app.observability.logs import log_event, milliseconds
from rag_app.timing import stage_times

AT_ONCE = 8
"""How many answers are made at once; others wait for their turn."""
SAVE_SECONDS = 2.0
"""How often a growing answer is saved: no more is lost when the process dies."""
_TICK, _FRAME = 0.2, 0.05  # seconds between two looks at an answer that does not grow, and at one that does

_tasks: ContextVar["set[asyncio.Task[Any]] | None"] = ContextVar("answer_tasks", default=None)
_log = logging.getLogger(__name__)


class Request(NamedTuple):
    """What it takes to answer a question.

    Attributes:
        turn: The question; filled as the answer comes.
        conversation: Its conversation's id.
        history: What was said before.
        build: Returns the chain that answers, as `rag_app.chain.build_chain`; may take its time.
        explain: Returns what to tell of an error; empty if it is a bug, which is then logged and raised.
        save: Keeps the turn. An OSError or ValueError is noted and the answer goes on; a KeyError says that the
            conversation is gone, and ends it.
    """

    turn: Turn
    conversation: str
    history: list[BaseMessage]
    build: Callable[[], Runnable[dict[str, Any], dict[str, Any]]]
    explain: Callable[[Exception], str]
    save: Callable[[Turn], None]


class Answer:
    """An answer on its way, for any number of threads to look at.

    Attributes:
        turn: As far as it has come.
        conversation: Its id.
        waiting: It has not begun, since many others are on their way.
        unsaved: Why it could not be saved; empty while it can.
    """

    def __init__(self, request: Request) -> None:
        self.turn = request.turn
        self.conversation = request.conversation
        self.waiting = True
        self.unsaved = ""
        self._request = request
        self._started = monotonic()
        self._changes = 0
        self._changed = threading.Condition()
        self._made: Future[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = False

    @property
    def seconds(self) -> float:
        """How long ago it was asked."""
        return monotonic() - self._started

    @property
    def ended(self) -> bool:
        """Nothing more will come, and what came is saved."""
        return self._ended

    def stop(self) -> None:
        """Stop it, wherever it is: what has come stays. Does nothing once it has ended."""
        with self._changed:
            made = self._made
        if made is not None:
            made.cancel()

    def wait(self) -> None:
        """Return when it has ended."""
        with self._changed:
            while not self._ended:
                self._changed.wait(_TICK)

    def changes(self) -> Iterator[None]:
        """Yield now, whenever more has come and a few times a second anyway; return when it has ended.

        Raises:
            Exception: A bug; an error that was explained stands in the turn instead.
        """
        seen = -1
        while True:
            with self._changed:
                if self._changes == seen:
                    self._changed.wait(_TICK)
                seen, ended = self._changes, self._ended
            yield
            if ended:
                break
            sleep(_FRAME)
        self.raise_bug()

    def raise_bug(self) -> None:
        """Raise what a bug made of an answer that has ended; an error that was explained stands in the turn instead."""
        if self._made is not None and not self._made.cancelled():
            self._made.result()

    def _tell(self, *, ended: bool = False) -> None:
        with self._changed:
            self._changes += 1
            self._ended = ended
            self._changed.notify_all()


class Answers:
    """The answers of a process that are on their way, made by one event loop in a thread of its own.

    One loop for all: the connections that chat models keep open belong to the loop that opened them. When the process
    ends, what was saved stays, and a turn that is neither finished nor stopped nor failed was interrupted.

    Args:
        at_once: How many are made at once.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(_remembered)
        self._places = asyncio.Semaphore(at_once)
        self._running: dict[str, Answer] = {}
        self._saving = ThreadPoolExecutor(1, "save-turn")  # one thread, so that the last state is the last saved
        self._thread = threading.Thread(target=self._loop.run_forever, name="answers", daemon=True)
        self._thread.start()

    def start(self, request: Request) -> Answer:
        """Begin to answer and return at once."""
        answer = Answer(request)
        with answer._changed:  # whoever stops it, even its own first save, has to find what there is to stop
            self._running[request.turn.id] = answer
            answer._made = asyncio.run_coroutine_threadsafe(self._make(answer), self._loop)
        return answer

    def get(self, turn_id: str) -> Answer | None:
        """Return the answer to a turn while it is on its way."""
        return self._running.get(turn_id)

    def stop_all(self, conversation: str) -> None:
        """Stop every answer of a conversation and return when they have ended."""
        for answer in list(self._running.values()):
            if answer.conversation == conversation:
                answer.stop()
                answer.wait()

    def close(self) -> None:
        """Stop all answers and wait until they are saved."""
        for answer in list(self._running.values()):
            answer.stop()
            answer.wait()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._saving.shutdown()

    async def _make(self, answer: Answer) -> None:
        turn, explain = answer.turn, answer._request.explain
        try:
            async with self._places:
                answer.waiting = False
                _tasks.set(answer._tasks)
                self._loop.create_task(self._keep_saving(answer))
                # Shielded, so that a stop need not wait until everything below has noticed.
                await asyncio.shield(asyncio.create_task(self._stream(answer)))
            turn.finished = True
        except asyncio.CancelledError:
            turn.stopped = True
        except Exception as error:
            turn.problem, turn.detail = explain(error), str(error)
            if not turn.problem:
                turn.problem, turn.detail = type(error).__name__, ""  # what it says concerns no visitor
                _log.exception("An answer failed")
                raise
        finally:
            for task in list(answer._tasks):
                task.cancel()
            turn.seconds["total"] = answer.seconds
            _log_answer(answer)
            await asyncio.shield(self._end(answer))  # a stop that comes too late changes nothing

    async def _end(self, answer: Answer) -> None:
        try:
            await self._save(answer)
        finally:  # else whoever waits for it would wait for ever
            self._running.pop(answer.turn.id, None)
            answer._tell(ended=True)

    async def _stream(self, answer: Answer) -> None:
        turn, request = answer.turn, answer._request
        chain = await asyncio.to_thread(request.build)
        with stage_times() as seconds:
            stream = chain.astream({"question": turn.question, "history": request.history})
            async with aclosing(cast(AsyncGenerator[dict[str, Any], None], stream)) as chunks:
                async for chunk in chunks:
                    _take(turn, chunk, answer.seconds)
                    answer._tell()
        turn.seconds |= seconds

    async def _keep_saving(self, answer: Answer) -> None:
        """Save an answer when it has grown, also while its model stalls; ends when it is cancelled."""
        saved = 0
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            if answer._changes > saved:
                saved = answer._changes
                await self._save(answer)

    async def _save(self, answer: Answer) -> None:
        try:
            await self._loop.run_in_executor(self._saving, answer._request.save, answer.turn)
            answer.unsaved = ""
        except KeyError:  # the conversation was deleted meanwhile
            answer.stop()
        except (OSError, ValueError) as error:
            answer.unsaved = str(error)


def _log_answer(answer: Answer) -> None:
    turn = answer.turn
    log_event(
        _log,
        "answered" if turn.finished else "answer stopped" if turn.stopped else "answer failed",
        request=turn.id,
        documents=len(turn.documents),
        refused=turn.refused,
        characters=len(turn.answer),
        **milliseconds(turn.seconds),
    )


def _remembered(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    """Return a new task, having noted which answer it is for.

    LangChain makes tasks for the parts of a chain and leaves them running when the chain is cancelled: the connection
    to the chat model would stay open, and its server would go on writing.
    """
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    if (tasks := _tasks.get()) is not None:
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    return task


def _take(turn: Turn, chunk: dict[str, Any], seconds: float) -> None:
    """Note what the chain says in the turn."""
    turn.searched = chunk.get("standalone_question", turn.searched)
    turn.evidence = chunk.get("evidence", turn.evidence)
    turn.refused = chunk.get("refused", turn.refused)
    if "documents" in chunk:
        turn.documents = list(chunk["documents"])
        turn.seconds.setdefault("found", seconds)
    if piece := chunk.get("answer"):
        turn.answer += piece
        turn.seconds.setdefault("first", seconds)
