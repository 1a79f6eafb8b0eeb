"""Servers that speak OpenAI's protocol: their addresses, what is sent to them, which models they have."""

import asyncio
import os
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from rag_app.chat_models.destinations import check_destination
from rag_app.chat_models.errors import ChatModelError, ChatModelNameError, explained

INSTALL = 'pip install "korean-rag[chat]"'
TIMEOUT = 60.0
"""Seconds a server may stay silent: until its first token, and between two."""
CONNECT_TIMEOUT = 5.0
"""Seconds until a connection must stand."""
LIST_TIMEOUT = 5.0
"""Seconds a server may take to say which models it has."""
OPENAI = "api.openai.com"
NO_KEY = "not-needed"
"""What a server gets as a key that was given none: OpenAI's client insists on one."""
OLLAMA = "http://127.0.0.1:11434"
"""Where Ollama listens unless it was told otherwise."""


class Address(NamedTuple):
    """Where a chat model is.

    Attributes:
        base: ``http://host:port/v1``, without a slash at its end.
        model: Empty if the address names none.
    """

    base: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.base}#{self.model}" if self.model else self.base

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own, to which alone belongs what the environment holds for OpenAI."""
        parts = urlsplit(self.base)
        return (parts.scheme, parts.hostname) == ("https", OPENAI)


class Installed(NamedTuple):
    """A model that Ollama has.

    Attributes:
        name: As it is called, such as ``exaone3.5:7.8b``.
        size: Bytes on the disk.
    """

    name: str
    size: int


def is_address(name: str) -> bool:
    """Return whether a chat model's name is an address."""
    return "://" in name


def parse_address(name: str) -> Address:
    """Return the parts of ``http(s)://host:port/v1#model``.

    Raises:
        ChatModelNameError: It is no such address, or holds what may be a secret: a user, a password, a query.
    """
    try:
        parts = urlsplit(name.strip())
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username or parts.password or parts.query:
        raise ChatModelNameError(
            "A chat model's address is http(s)://host:port/v1#model, with neither user nor password nor ?query in it. "
            "Pass a key as api_key=...",
            "bad_address",
        )
    return Address(urlunsplit(parts._replace(fragment="", path=parts.path.rstrip("/"))), parts.fragment)


def same_server(name: str, other: str | None) -> bool:
    """Return whether two chat models' names are addresses of one server, whichever of its models they name."""
    try:
        return parse_address(name).base == parse_address(other or "").base
    except ChatModelNameError:
        return False


def http_clients(address: Address, options: dict[str, Any]) -> dict[str, Any]:
    """Return what OpenAI's clients are to send their requests with; nothing special for OpenAI's own address.

    OpenAI's client adds to every request, wherever it goes, what the environment holds for OpenAI: organisation,
    project, and the headers of ``OPENAI_CUSTOM_HEADERS``, an ``Authorization`` among them if need be. Other servers get
    none of it. Nor are they followed when they point elsewhere.

    Nothing is sent to where a cloud tells its machines their secrets; see `check_destination`.

    Each request closes its connection: one kept for the next request would belong to the event loop that opened it,
    which may be over by then, and to a client that nobody closes.
    """
    if address.is_openai:
        return {}
    import openai

    key = options.get("api_key", NO_KEY)
    key = key.get_secret_value() if isinstance(key, SecretStr) else key
    wanted = {name.lower() for name in options.get("default_headers") or {}}

    def strip(request: Any) -> None:
        check_destination(str(request.url))
        clean(request)

    async def astrip(request: Any) -> None:
        await asyncio.to_thread(check_destination, str(request.url))
        clean(request)

    def clean(request: Any) -> None:
        custom = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
        for name in ("openai-organization", "openai-project", *(line.partition(":")[0].strip() for line in custom)):
            if name in request.headers and name.lower() not in wanted:
                del request.headers[name]
        if isinstance(key, str) and "authorization" not in wanted:
            request.headers["Authorization"] = f"Bearer {key}"
        request.headers["Connection"] = "close"

    shared: dict[str, Any] = {"timeout": options.get("timeout"), "follow_redirects": False}
    return {
        "http_client": openai.DefaultHttpxClient(event_hooks={"request": [strip]}, **shared),
        "http_async_client": openai.DefaultAsyncHttpxClient(event_hooks={"request": [astrip]}, **shared),
    }


def list_models(address: Address, **options: Any) -> list[str]:
    """Return the names of the models that a server has.

    Raises:
        ImportError: The package openai is missing.
        ChatModelError: The server cannot be reached, refuses, or is of another kind.
    """
    answer = _get(address, "/models", options)
    return [str(model["id"]) for model in _rows(answer, "data", "id", address)]


def list_ollama_models(root: str) -> list[Installed]:
    """Return the models of an Ollama server by name, given its address without ``/v1``.

    Raises:
        ImportError: The package openai is missing.
        ChatModelError: The server cannot be reached or is not Ollama.
    """
    address = parse_address(root)
    answer = _get(address, "/api/tags", {})
    models = _rows(answer, "models", "name", address)
    return sorted(Installed(str(model["name"]), int(model.get("size") or 0)) for model in models)


def _get(address: Address, path: str, options: dict[str, Any]) -> Any:
    try:
        import openai
    except ImportError as error:
        raise ImportError(f"An address needs the package openai. Install it with: {INSTALL}") from error
    check_destination(address.base)
    options = {"timeout": openai.Timeout(LIST_TIMEOUT, connect=CONNECT_TIMEOUT), "max_retries": 0, **options}
    if not address.is_openai:
        options.setdefault("api_key", NO_KEY)
    http_client = http_clients(address, options).get("http_client")
    with explained(address.base), openai.OpenAI(base_url=address.base, http_client=http_client, **options) as client:
        return client.get(path, cast_to=object)


def _rows(answer: Any, field: str, name: str, address: Address) -> list[dict[str, Any]]:
    """Return the rows of a list of models, each a mapping with a name."""
    rows = answer.get(field) if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and name in row for row in rows):
        raise ChatModelError(f"{address.base} does not say which models it has", "not_openai")
    return rows
