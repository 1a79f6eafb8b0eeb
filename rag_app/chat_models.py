"""A name or a URL -> a chat model that says what to do when it cannot be reached."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig

INSTALL = 'pip install "korean-rag[chat]"'
TIMEOUT = 60.0
"""Seconds a server may stay silent: until its first token, and between two."""
CONNECT_TIMEOUT = 5.0
"""Seconds until a connection must stand."""

REMEDIES: dict[int, str] = {
    400: "It refused the request: check the model's name and the options.",
    401: "Set the provider's key in the environment (OPENAI_API_KEY for openai:..., RAG_CHAT_API_KEY for an address) "
    "or pass api_key=...",
    403: "The key has no right to this model: choose another model or another key.",
    404: "Check the address (most servers want it to end in /v1) and the model's name (URL#model).",
    429: "The limit of requests or the credit is used up: wait, or choose another model.",
}
_UNREACHABLE = {"ConnectionError", "TimeoutError", "APIConnectionError", "TransportError"}
_KEYLESS = "not-needed"


class ChatModelError(ConnectionError):
    """The chat model could not be reached or refused the request; the message says which and what to do."""


def load_chat_model(name: str, **options: Any) -> BaseChatModel:
    """Return the chat model of a name.

    Nothing is sent to it yet, except that a URL without a model's name asks the server which models it has. A URL
    never gets the key in the environment, unless it is OpenAI's own: it gets the one passed as ``api_key``, or a
    placeholder, which is all a local server wants.

    Args:
        name: ``https://host/v1`` or ``http://host:port/v1``, with ``#model`` if the server has several, for anything
            that speaks the OpenAI protocol; or what LangChain's `init_chat_model` knows, such as ``openai:gpt-5-mini``
            or ``ollama:exaone3.5``.
        options: Passed to the model: ``temperature``, ``timeout``, ``max_retries``, ``api_key`` and so on.

    Raises:
        ImportError: The provider's package is missing.
        ValueError: The name is empty or unknown, the server has several models, or a key is missing.
        ChatModelError: The server had to be asked for its models and could not be reached. The model itself raises it
            later when it cannot be reached.
    """
    if not name.strip():
        raise ValueError(
            "The chat model's name is empty. Give one such as openai:gpt-5-mini or http://localhost:8000/v1"
        )
    scheme = urlsplit(name).scheme
    return _LOADERS.get(scheme, _load_named)(name.strip(), options)


def _load_named(name: str, options: dict[str, Any]) -> BaseChatModel:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise ImportError(f"The chat model {name!r} needs the package langchain. Install it with: {INSTALL}") from error
    with _constructing(name):
        model = init_chat_model(name, **{"timeout": TIMEOUT, **options})
    return _explaining(model, name)


def _load_url(name: str, options: dict[str, Any]) -> BaseChatModel:
    try:
        import openai
        from langchain_openai import ChatOpenAI
    except ImportError as error:
        raise ImportError(f"An address needs the package langchain-openai. Install it with: {INSTALL}") from error
    parts = urlsplit(name)
    if not parts.hostname or parts.username or parts.password:
        raise ValueError(
            "A chat model's address is http(s)://host:port/v1#model, with neither user nor password in it. "
            "Pass a key as api_key=..."
        )
    address = urlunsplit(parts._replace(fragment=""))
    options = {"timeout": openai.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT), "max_retries": 1, **options}
    if (parts.scheme, parts.hostname) != ("https", "api.openai.com"):
        options.setdefault("api_key", _KEYLESS)
    with _constructing(address):
        model = parts.fragment or _only_model(address, options)
        chat = ChatOpenAI(model=model, base_url=address, stream_usage=False, **options)
    return _explaining(chat, address)


def _only_model(address: str, options: dict[str, Any]) -> str:
    import openai

    client = openai.OpenAI(
        base_url=address,
        api_key=options.get("api_key"),
        timeout=options["timeout"],
        max_retries=options["max_retries"],
    )
    with client, _explained(address):
        models = [model.id for model in client.models.list()]
    if len(models) != 1:
        example = f"{address}#{(models or ['model'])[0]}"
        raise ValueError(f"{address} has {len(models)} models ({', '.join(models[:10])}). Name one, such as {example}")
    return models[0]


_LOADERS = {"http": _load_url, "https": _load_url}


@contextmanager
def _constructing(name: str) -> Iterator[None]:
    """Turn what providers raise for a missing key, each its own exception, into one ValueError."""
    try:
        yield
    except Exception as error:
        if "api_key" not in str(error).lower() or isinstance(error, ValueError | ConnectionError | ImportError):
            raise
        raise ValueError(f"The chat model {name!r} needs a key. {REMEDIES[401]}") from None


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turn a provider's network errors into a `ChatModelError`.

    Providers share no exception class, but do share names: ``openai`` and ``anthropic`` raise ``APIConnectionError``
    and ``APIStatusError`` (which has ``status_code``), the others what httpx or Python raise.
    """
    try:
        yield
    except ChatModelError:
        raise
    except Exception as error:
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            remedy = REMEDIES.get(status, "Try again, and look into the server's own log.")
            # Not the server's own words, nor as a cause: what it answers to a wrong key may repeat that key.
            raise ChatModelError(f"The chat model at {address} answered with status {status}. {remedy}") from None
        if _UNREACHABLE.isdisjoint(base.__name__ for base in type(error).__mro__):
            raise
        raise ChatModelError(
            f"The chat model at {address} does not answer ({type(error).__name__}). Start its server, check the "
            "address, or choose no chat model: answers are then quoted from the articles."
        ) from error


class _Explaining(BaseChatModel):
    """Runs a model's four ways to be called under `_explained`; mixed into the model's own class."""

    _address: ClassVar[str] = ""

    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        with _explained(self._address):
            return super().invoke(input, config, **kwargs)

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        with _explained(self._address):
            return await super().ainvoke(input, config, **kwargs)

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        with _explained(self._address):
            yield from super().stream(input, config, **kwargs)

    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        with _explained(self._address):
            async for chunk in super().astream(input, config, **kwargs):
                yield chunk


def _explaining(model: BaseChatModel, address: str) -> BaseChatModel:
    """Return the model, its class replaced by a subclass that explains network errors.

    A subclass, not a wrapper: the model stays an instance of its provider's class, with tools, structured output and
    all its settings.
    """
    kind = type(model)
    explaining = type(kind.__name__, (_Explaining, kind), {"_address": address, "__module__": kind.__module__})
    object.__setattr__(model, "__class__", explaining)
    return model
