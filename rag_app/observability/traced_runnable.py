"""A LangChain runnable whose every run is a span; see `rag_app.observability.tracing`."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableBindingBase

from rag_app.observability.tracing import Value, atraced, here, span, traced

Input = TypeVar("Input")
Output = TypeVar("Output")


class TracedRunnable(RunnableBindingBase[Input, Output]):
    """Does what another runnable does, below a span of its own.

    Attributes:
        stage: The span's name.
        attributes: Of the span.
    """

    stage: str
    attributes: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)

    def invoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Run it on one input."""
        with span(self.stage, **self._noted):
            return super().invoke(input, config, **kwargs)

    async def ainvoke(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any) -> Output:
        """Run it on one input."""
        with span(self.stage, **self._noted):
            return await super().ainvoke(input, config, **kwargs)

    def batch(
        self,
        inputs: list[Input],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Output]:
        """Run it on each input; where there are traces each in a span of its own, else step by step for all."""
        run = super().batch if here() is None else super(RunnableBindingBase, self).batch
        return run(inputs, config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[Input],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Output]:
        """Run it on each input; see `batch`."""
        run = super().abatch if here() is None else super(RunnableBindingBase, self).abatch
        return await run(inputs, config, return_exceptions=return_exceptions, **kwargs)

    def stream(self, input: Input, config: RunnableConfig | None = None, **kwargs: Any | None) -> Iterator[Output]:
        """Stream its output."""
        chunks = super().stream(input, config, **kwargs)
        return chunks if here() is None else traced(self.stage, chunks, **self._noted)

    def astream(
        self, input: Input, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[Output]:
        """Stream its output."""
        chunks = super().astream(input, config, **kwargs)
        return chunks if here() is None else atraced(self.stage, chunks, **self._noted)

    def transform(
        self, input: Iterator[Input], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Output]:
        """Turn a stream into another."""
        chunks = super().transform(input, config, **kwargs)
        return chunks if here() is None else traced(self.stage, chunks, **self._noted)

    def atransform(
        self, input: AsyncIterator[Input], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Output]:
        """Turn a stream into another."""
        chunks = super().atransform(input, config, **kwargs)
        return chunks if here() is None else atraced(self.stage, chunks, **self._noted)

    @property
    def _noted(self) -> dict[str, Value]:
        return cast(dict[str, Value], self.attributes)


def with_span(runnable: Runnable[Input, Output], stage: str, **attributes: Value) -> Runnable[Input, Output]:
    """Return a runnable that does the same below a span; see `rag_app.observability.tracing.span`."""
    return TracedRunnable(bound=runnable, stage=stage, attributes=attributes)
