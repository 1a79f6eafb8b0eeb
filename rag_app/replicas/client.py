"""A LangChain retriever that asks replicas, and asks again where one of them is gone. It needs no Ray."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, SecretStr, ValidationError, field_validator

from rag_app.replicas.bearer import bearer
from rag_app.replicas.messages import SearchRequest, why_invalid
from rag_app.replicas.tries import Tries


class ReplicaRetriever(BaseRetriever):
    """Finds passages by asking replicas.

    One that refuses the connection, breaks it off, is too slow or says that it is not ready is passed over for the
    next address, then for the same again, with growing pauses, until the deadline: searching twice does no harm.

    No proxy and no ``.netrc`` of the environment is used, and no redirection followed, lest the password go elsewhere.

    Raises when asked:
        ValueError: The question is empty or too long, or a filter is wrong.
        PermissionError: The password is wanted, or another.
        TimeoutError: The deadline has passed, and each try took too long.
        ConnectionError: It has passed, and a try failed otherwise.
        RuntimeError: The search failed, or there is something else at an address.
    """

    urls: list[str] = Field(min_length=1)
    """Of the proxies, for example ``["http://10.0.0.5:8000", "http://10.0.0.6:8000"]``."""
    k: int | None = Field(default=None, ge=1)
    """How many passages to return; None for as many as the replicas think right."""
    filter: dict[str, Any] | None = None
    """Only passages whose metadata matches; see `rag_app.filters`. Conditions alone, no function."""
    password: SecretStr | None = None
    """The ``RAG_PASSWORD`` of the replicas."""
    deadline: float = Field(default=30, gt=0, allow_inf_nan=False)
    """Seconds for all tries of a question together."""
    timeout: float = Field(default=10, gt=0, allow_inf_nan=False)
    """Seconds for one try."""

    @field_validator("urls")
    @classmethod
    def _check_urls(cls, urls: list[str]) -> list[str]:
        for url in urls:
            parts = httpx.URL(url)
            if parts.scheme not in ("http", "https") or not parts.host or parts.userinfo:
                raise ValueError("An address of replicas is like http://HOST:8000; the password is given as password.")
        return [url.rstrip("/") for url in urls]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        message, tries = self._message(query, k), Tries(self.urls, self.deadline, self.timeout)
        while True:
            try:
                status, body = self._ask(tries, message)
            except httpx.TransportError as error:
                time.sleep(tries.again(_said(error), late=isinstance(error, httpx.TimeoutException)))
                continue
            answer = tries.answer(status, body)
            if not isinstance(answer, str):
                return answer.to_documents()
            time.sleep(tries.again(answer))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        message, tries = self._message(query, k), Tries(self.urls, self.deadline, self.timeout)
        while True:
            try:
                async with asyncio.timeout(tries.seconds):
                    status, body = await self._aask(tries, message)
            except (httpx.TransportError, TimeoutError) as error:
                late = isinstance(error, httpx.TimeoutException | TimeoutError)
                await asyncio.sleep(tries.again(_said(error), late=late))
                continue
            answer = tries.answer(status, body)
            if not isinstance(answer, str):
                return answer.to_documents()
            await asyncio.sleep(tries.again(answer))

    def _message(self, question: str, k: int | None) -> bytes:
        try:
            asked = SearchRequest(question=question, k=self.k if k is None else k, filter=self.filter)
        except ValidationError as error:
            raise ValueError(f"This cannot be asked: {why_invalid(error)}") from None
        return asked.model_dump_json(exclude_none=True).encode()

    def _headers(self) -> Mapping[bytes, bytes]:
        headers = {b"Content-Type": b"application/json"}
        return headers if self.password is None else {**headers, b"Authorization": bearer(self.password)}

    def _ask(self, tries: Tries, message: bytes) -> tuple[int, bytes]:
        until = time.monotonic() + tries.seconds
        with (
            httpx.Client(verify=_certificates(), trust_env=False, timeout=tries.timeout) as client,
            client.stream("POST", f"{tries.url}/search", content=message, headers=self._headers()) as response,
        ):
            body = b""
            for piece in response.iter_bytes():
                body += piece
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("it took too long to send its answer")
            return response.status_code, body

    async def _aask(self, tries: Tries, message: bytes) -> tuple[int, bytes]:
        async with httpx.AsyncClient(verify=_certificates(), trust_env=False, timeout=tries.timeout) as client:
            response = await client.post(f"{tries.url}/search", content=message, headers=self._headers())
            return response.status_code, response.content


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # which takes tens of milliseconds


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
