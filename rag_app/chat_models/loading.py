"""A name or a URL -> a chat model that says what to do when it cannot be reached."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from pydantic import ValidationError

from rag_app.chat_models.destinations import check_destination
from rag_app.chat_models.errors import REMEDIES, ChatModelError, ChatModelNameError, explained
from rag_app.chat_models.providers import check_name, key_variable
from rag_app.chat_models.servers import (
    CONNECT_TIMEOUT,
    INSTALL,
    NO_KEY,
    OLLAMA,
    TIMEOUT,
    Address,
    http_clients,
    list_models,
    parse_address,
)

__all__ = ["TIMEOUT", "ChatModelError", "ChatModelNameError", "load_chat_model"]


def load_chat_model(name: str, **options: Any) -> BaseChatModel:
    """Return the chat model of a name.

    Nothing is sent to it yet, except that a URL without a model's name asks the server which models it has. A URL
    never gets the key in the environment, unless it is OpenAI's own: it gets the one passed as ``api_key``, or a
    placeholder, which is all a local server wants.

    Args:
        name: ``https://host/v1`` or ``http://host:port/v1``, with ``#model`` if the server has several, for anything
            that speaks the OpenAI protocol; or what LangChain's `init_chat_model` knows, such as ``openai:gpt-5-mini``
            or ``ollama:exaone3.5``.
        options: Passed to the model: ``temperature``, ``timeout`` (seconds of silence), ``max_retries``, ``api_key``
            and so on.

    Raises:
        ImportError: The provider's package is missing.
        ChatModelNameError: The name is empty or unknown, the server has several models, or a key is missing.
        ChatModelError: The server had to be asked for its models and could not be reached. The model itself raises it
            later when it cannot be reached.
    """
    name = name.strip()
    if not name:
        raise ChatModelNameError(
            "The chat model's name is empty. Give one such as openai:gpt-5-mini or http://localhost:8000/v1", "empty"
        )
    check_name(name)  # before anybody repeats it
    return _LOADERS.get(_scheme(name), _load_named)(name, options)


def _scheme(name: str) -> str:
    return name.partition(":")[0].lower() if "://" in name else ""


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
    address = parse_address(name)
    check_destination(address.base)
    key = {} if address.is_openai else {"api_key": NO_KEY}
    seconds = options.get("timeout", TIMEOUT)
    if isinstance(seconds, int | float):
        silence = {"stream_chunk_timeout": seconds}  # a server may send comments all the while to keep the line open
        options = {**silence, **options, "timeout": openai.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT))}
    # Not tried again by itself: a server that was silent for a minute would be given, and billed for, another.
    options = {"max_retries": 0, **key, **options}
    with _constructing(address.base):
        model = address.model or _only_model(address, options)
        clients = http_clients(address, options)
        chat = ChatOpenAI(model=model, base_url=address.base, stream_usage=False, **clients, **options)
    return _explaining(chat, address.base, says_when_finished=True)


def _only_model(address: Address, options: dict[str, Any]) -> str:
    asking = {name: options[name] for name in ("api_key", "default_headers") if name in options}
    models = list_models(address, **asking)
    if len(models) != 1:
        example = address._replace(model=(models or ["model"])[0])
        raise ChatModelNameError(
            f"{address} has {len(models)} models ({', '.join(models[:10])}). Name one, such as {example}",
            "several_models" if models else "no_models",
        )
    return models[0]


_LOADERS = {"http": _load_url, "https": _load_url}


@contextmanager
def _constructing(name: str) -> Iterator[None]:
    """Turn what providers raise for a missing key or an unknown name, each its own exception, into one."""
    try:
        yield
    except (ChatModelError, ChatModelNameError):
        raise
    except ImportError as error:
        if not name.startswith("ollama:"):
            raise
        by_address = f"{OLLAMA}/v1#{name.partition(':')[2]}"
        raise ImportError(f"{error}. Or name it by its address, which needs no more packages: {by_address}") from error
    except Exception as error:
        said = _without_inputs(error)
        if "api_key" in said.lower():
            variable = key_variable(name)
            remedy = f"Set {variable} in the environment or pass api_key=..." if variable else REMEDIES["refused_key"]
            raise ChatModelNameError(f"The chat model {name!r} needs a key. {remedy}", "missing_key") from None
        if isinstance(error, ValueError):
            raise ChatModelNameError(said, "unknown_name") from None
        raise


def _without_inputs(error: Exception) -> str:
    """Return an exception's message; of a validation, without what was validated: a key may be part of it."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}" for wrong in error.errors())


class _Explaining(BaseChatModel):
    """Runs a model's four ways to be called under `explained`; mixed into the model's own class."""

    _address: ClassVar[str] = ""
    _says_when_finished: ClassVar[bool] = False

    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        with explained(self._address):
            return super().invoke(input, config, **kwargs)

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        with explained(self._address):
            return await super().ainvoke(input, config, **kwargs)

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        finished = False
        with explained(self._address):
            for chunk in super().stream(input, config, **kwargs):
                finished = finished or _is_last(chunk)
                yield chunk
        self._check(finished)

    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        finished = False
        with explained(self._address):
            async for chunk in super().astream(input, config, **kwargs):
                finished = finished or _is_last(chunk)
                yield chunk
        self._check(finished)

    def _check(self, finished: bool) -> None:
        """Complain of an answer that ended without saying so: it looks complete and is not."""
        if self._says_when_finished and not finished:
            raise ChatModelError(f"The chat model at {self._address} broke off", "broken_stream")


def _is_last(chunk: AIMessageChunk) -> bool:
    return bool(chunk.response_metadata.get("finish_reason"))


def _explaining(model: BaseChatModel, address: str, *, says_when_finished: bool = False) -> BaseChatModel:
    """Return the model, its class replaced by a subclass that explains network errors.

    A subclass, not a wrapper: the model stays an instance of its provider's class, with tools, structured output and
    all its settings.
    """
    kind = type(model)
    more = {"_address": address, "_says_when_finished": says_when_finished, "__module__": kind.__module__}
    object.__setattr__(model, "__class__", type(kind.__name__, (_Explaining, kind), more))
    return model
