"""Runnables that read no more of a stream than their reader wants, and start no threads.

LangChain's own (``RunnableGenerator``, ``RunnablePassthrough.assign``, ``StrOutputParser``) read what they are given to
its end when their reader leaves half-way, to tell callbacks all that came in: a chat model writes on for nobody, and
whoever left waits for it, even where that is the garbage collector.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import aclosing, closing
from typing import Any, Protocol, TypeVar, cast

from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.utils import AddableDict

State = dict[str, Any]
In = TypeVar("In")
Out = TypeVar("Out")
Fed = TypeVar("Fed", contravariant=True)
Made = TypeVar("Made", covariant=True)


class Step(Protocol[Fed, Made]):
    """What happens to a stream, told once for sync and async: some output per chunk, and some at the end."""

    def feed(self, chunk: Fed) -> Iterable[Made]:
        """Return what a chunk becomes."""

    def close(self) -> Iterable[Made]:
        """Return what is left at the end."""


class _Streaming(Runnable[In, Out]):
    """Turns a stream into another; whoever leaves it half-way ends both."""

    @property
    def InputType(self) -> Any:  # noqa: N802 (LangChain's name)
        return Any

    @property
    def OutputType(self) -> Any:  # noqa: N802
        return Any

    def stream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Out]:
        """Yield what becomes of one input."""
        return self.transform(iter([input]), config)

    def astream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Out]:
        """Yield what becomes of one input."""

        async def one() -> AsyncIterator[In]:
            yield input

        return self.atransform(one(), config)


class Stepwise(_Streaming[In, Out]):
    """Puts the chunks of each run through a step of its own."""

    def __init__(self, make: Callable[[], Step[In, Out]]) -> None:
        self._make = make

    def invoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Out:
        """Return what becomes of one input, added up."""
        final: Any = None
        for out in self.stream(input):
            final = out if final is None else final + out
        return cast(Out, final)

    async def ainvoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Out:
        """Return what becomes of one input, added up."""
        return self.invoke(input)

    def transform(self, input: Iterator[In], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Out]:
        """Turn a stream into another."""
        step = self._make()
        with closing(_closable(input)) as chunks:
            for chunk in chunks:
                yield from step.feed(chunk)
        yield from step.close()

    async def atransform(
        self, input: AsyncIterator[In], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Out]:
        """Turn a stream into another."""
        step = self._make()
        async with aclosing(_aclosable(input)) as chunks:
            async for chunk in chunks:
                for out in step.feed(chunk):
                    yield out
        for out in step.close():
            yield out


class Assign(_Streaming[State, State]):
    """Adds to a state what a runnable makes of it, as ``RunnablePassthrough.assign`` does."""

    def __init__(self, key: str, runnable: Runnable[Any, Any]) -> None:
        self._key = key
        self._runnable = runnable

    def invoke(self, input: State, config: RunnableConfig | None = None, **kwargs: Any) -> State:
        """Return the state with one value more."""
        return {**input, self._key: self._runnable.invoke(input, config)}

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **kwargs: Any) -> State:
        """Return the state with one value more."""
        return {**input, self._key: await self._runnable.ainvoke(input, config)}

    def transform(self, input: Iterator[State], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[State]:
        """Yield the state, then the value as it comes."""
        state = AddableDict()
        with closing(_closable(input)) as chunks:
            for chunk in chunks:
                state += AddableDict(chunk)
                yield chunk
        with closing(_closable(self._runnable.stream(state, config))) as values:
            for value in values:
                yield AddableDict({self._key: value})

    async def atransform(
        self, input: AsyncIterator[State], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[State]:
        """Yield the state, then the value as it comes."""
        state = AddableDict()
        async with aclosing(_aclosable(input)) as chunks:
            async for chunk in chunks:
                state += AddableDict(chunk)
                yield chunk
        async with aclosing(_aclosable(self._runnable.astream(state, config))) as values:
            async for value in values:
                yield AddableDict({self._key: value})


class MessageText:
    """Takes of a message only its text: calls of tools end here."""

    _parser = StrOutputParser()

    def feed(self, chunk: BaseMessage) -> Iterable[str]:
        """Return the text of a part of a message."""
        return [self._parser.parse_result([ChatGeneration(message=chunk)])]

    def close(self) -> Iterable[str]:
        """Return what is left at the end: nothing."""
        return ()


def _closable(chunks: Iterator[In]) -> Generator[In, None, None]:
    return chunks if isinstance(chunks, Generator) else (chunk for chunk in chunks)


def _aclosable(chunks: AsyncIterator[In]) -> AsyncGenerator[In, None]:
    return chunks if isinstance(chunks, AsyncGenerator) else (chunk async for chunk in chunks)
