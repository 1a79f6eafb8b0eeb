"""The replicas as an application of Ray Serve: ``serve run rag_app.replicas.app:app replicas=2``."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.documents import Document

from rag_app.observability.logs import set_up_logging
from rag_app.observability.tracing import capture_content
from rag_app.replicas import installed_ray  # before what else the extra brings
from rag_app.replicas.api import Api
from rag_app.replicas.messages import SearchAnswer, SearchRequest
from rag_app.replicas.options import ReplicaOptions
from rag_app.replicas.searcher import Searcher
from rag_app.settings import Settings, load_settings

if TYPE_CHECKING:
    from ray.serve import Application
    from starlette.requests import Request
    from starlette.responses import Response

serve = installed_ray.serve
CHECKED = 1.0
"""Seconds between two looks whether a replica lives; one that does not is replaced."""
WAITING = 16
"""How many requests a replica holds besides a batch that is searched for and one that waits: where it holds too few,
it has nothing to do while Serve finds it more."""


class Replica:
    """One process that searches; those of a deployment know nothing of each other.

    Args:
        settings: What is searched and how.
        options: How questions are batched.
    """

    def __init__(self, settings: Settings, options: ReplicaOptions) -> None:
        set_up_logging(settings.log, settings.log_level)
        capture_content(settings.trace_content)
        self._searcher = Searcher(settings)
        self._api = Api(self._search, self._ready, settings.password)
        self._together.set_max_batch_size(options.batch_size)  # type: ignore[attr-defined]
        self._together.set_batch_wait_timeout_s(options.batch_wait_ms / 1000)  # type: ignore[attr-defined]

    async def __call__(self, request: "Request") -> "Response":
        """Answer a request."""
        return await self._api.respond(request)

    async def _search(self, asked: SearchRequest) -> SearchAnswer:
        found, together = await self._together(asked)
        if isinstance(found, BaseException):
            raise found
        return SearchAnswer.of(found, together)

    @serve.batch
    async def _together(self, asked: list[SearchRequest]) -> list[tuple[list[Document] | BaseException, int]]:
        return [(found, len(asked)) for found in await self._searcher.search(asked)]

    async def _ready(self) -> None:
        await asyncio.to_thread(self._searcher.look)


def app(options: ReplicaOptions) -> "Application":
    """Return the application; the settings are those of the environment it is made in.

    Raises:
        ValueError: A setting is wrong.
    """
    return replicas_of(load_settings(), options)


def replicas_of(settings: Settings, options: ReplicaOptions) -> "Application":
    """Return the application with these settings, which go to every replica, the password among them."""
    index = settings.index.resolve() if isinstance(settings.index, Path) else settings.index
    deploy = serve.deployment(
        name="retriever",
        health_check_period_s=CHECKED,
        num_replicas=options.replicas,
        ray_actor_options={"num_cpus": options.cpus},
        max_ongoing_requests=2 * options.batch_size + WAITING,
        max_queued_requests=options.queue,
    )
    return deploy(Replica).bind(settings.model_copy(update={"index": index}), options)
