"""What goes wrong between here and a chat model, sorted into a few reasons that each have a remedy."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

Reason = Literal[
    "unreachable",
    "timeout",
    "tls",
    "refused_key",
    "no_right",
    "wrong_address",
    "unknown_model",
    "rate_limit",
    "too_long",
    "bad_request",
    "server_error",
    "broken_stream",
    "not_openai",
]
"""Why a chat model did not answer, or not to the end."""

NameReason = Literal[
    "empty", "bad_address", "unknown_name", "looks_like_a_key", "no_models", "several_models", "missing_key"
]
"""Why a chat model cannot even be called by its name."""

REMEDIES: dict[Reason, str] = {
    "unreachable": "Start its server, check the address, or choose no chat model: answers are then quoted from the "
    "articles.",
    "timeout": "It may still be loading the model or be busy: try again, choose a smaller model, or allow it more "
    "seconds of silence with RAG_CHAT_TIMEOUT or timeout=...",
    "tls": "Check whether the address begins with http or https and whether its certificate is valid for this name; "
    "SSL_CERT_FILE names a file of further certificates to trust.",
    "refused_key": "Set the provider's key in the environment (OPENAI_API_KEY for openai:..., RAG_CHAT_API_KEY for an "
    "address) or pass api_key=...",
    "no_right": "The key has no right to this model: choose another model or another key.",
    "wrong_address": "Check the address (most servers want it to end in /v1).",
    "unknown_model": "Check the model's name (URL#model).",
    "rate_limit": "The limit of requests or the credit is used up: wait, or choose another model.",
    "too_long": "Question and articles are longer than it reads: let an answer rest on fewer articles, or start its "
    "server with a longer context.",
    "bad_request": "It refused the request: check the model's name and the options.",
    "server_error": "Try again, and look into the server's own log.",
    "broken_stream": "Its server may have stopped or run out of memory: look into its log and try again.",
    "not_openai": "Its answer is not of OpenAI's protocol. Check the address (most servers want it to end in /v1).",
}


class ChatModelError(ConnectionError):
    """The chat model could not be reached, refused the request or broke off; says which, and what to do.

    Attributes:
        what: What happened, without the remedy.
        reason: Of a small closed set, to choose a remedy by.
    """

    def __init__(self, what: str, reason: Reason = "unreachable") -> None:
        super().__init__(what)
        self.what = what
        self.reason: Reason = reason

    def __str__(self) -> str:
        return f"{self.what}. {REMEDIES[self.reason]}"


class ChatModelNameError(ValueError):
    """A chat model's name says too little, or nothing that can be called.

    Attributes:
        reason: Of a small closed set, to choose a remedy by.
    """

    def __init__(self, message: str, reason: NameReason = "unknown_name") -> None:
        super().__init__(message)
        self.reason: NameReason = reason


class _Words(NamedTuple):
    """What the body of a refusal says when it means more than its status; the first that fits counts."""

    statuses: range
    pattern: str
    reason: Reason


_BY_WORDS = (
    _Words(range(400, 401), r"api.?key", "refused_key"),
    _Words(range(400, 600), r"context.?(length|window|size)|too many tokens|maximum.{0,20} tokens", "too_long"),
    _Words(
        range(400, 423), r"model.{0,80}(not.?found|not exist|unknown)|(no such|unknown|valid) model", "unknown_model"
    ),
    _Words(range(400, 600), r"rate.?limit|quota|overloaded", "rate_limit"),
)
_BY_STATUS: dict[int, Reason] = {
    401: "refused_key",
    402: "rate_limit",
    403: "no_right",
    404: "wrong_address",
    405: "wrong_address",
    408: "timeout",
    413: "too_long",
    429: "rate_limit",
    504: "timeout",
}
# Providers share no exception class, but do share names: `openai` and `anthropic` raise APIConnectionError and
# APIStatusError (which has `status_code`), the others what httpx, requests or Python raise. The first row that fits
# anything in the chain of causes counts: a timeout while connecting is a server that is not there.
_BY_NAME: tuple[tuple[frozenset[str], Reason], ...] = (
    (frozenset({"SSLError", "SSLZeroReturnError"}), "tls"),
    (frozenset({"ConnectError", "ConnectTimeout", "ConnectionRefusedError", "gaierror", "ProxyError"}), "unreachable"),
    (frozenset({"TimeoutError", "TimeoutException", "Timeout", "APITimeoutError"}), "timeout"),
    (
        frozenset({"RemoteProtocolError", "ReadError", "WriteError", "ConnectionResetError", "ChunkedEncodingError"}),
        "broken_stream",
    ),
)
_NETWORK = frozenset({"ConnectionError", "TimeoutError", "APIConnectionError", "TransportError", "RequestException"})
_NOT_OPENAI = ("No generation chunks were returned", "Unexpected response type from OpenAI-compatible endpoint")


def reason_of(error: Exception) -> Reason | None:
    """Return why a provider's exception was raised; None if it has nothing to do with reaching a model."""
    status = _status(error)
    if status is not None:
        return _refusal(status, str(getattr(error, "body", "") or error))
    names = _names(error)
    if not _NETWORK.isdisjoint(names):
        every = set().union(*map(_names, _causes(error)))
        return next((reason for kinds, reason in _BY_NAME if not kinds.isdisjoint(every)), "unreachable")
    if isinstance(error, json.JSONDecodeError) or "APIResponseValidationError" in names:
        return "not_openai"
    if "APIError" in names:  # reported in the middle of a stream
        return _refusal(500, str(getattr(error, "body", "") or error))
    return "not_openai" if isinstance(error, ValueError) and str(error).startswith(_NOT_OPENAI) else None


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn a provider's exceptions that have a reason into a `ChatModelError`; let all others pass."""
    try:
        yield
    except (ChatModelError, ChatModelNameError):
        raise
    except Exception as error:
        reason = reason_of(error)
        if reason is None:
            raise
        what = f"The chat model at {address} {_what(error, reason)}"
        # Not the server's own words, nor as a cause: what it answers to a wrong key may repeat that key, as does what
        # httpx says of a key that can be in no header, such as one with a line break.
        own_words = any("LocalProtocolError" in _names(cause) for cause in _causes(error))
        wordless = reason in _WITHOUT_WORDS and _status(error) is None and not own_words
        raise ChatModelError(what, reason) from (error if wordless else None)


_WITHOUT_WORDS: frozenset[Reason] = frozenset({"unreachable", "timeout", "tls", "broken_stream"})
"""The server itself said nothing that is part of the exception."""


def _what(error: Exception, reason: Reason) -> str:
    if (status := _status(error)) is not None:
        return f"answered with status {status}"
    said: dict[Reason, str] = {"broken_stream": "broke off", "not_openai": "answered with something else"}
    return said.get(
        reason, f"does not answer ({type(error).__name__})" if reason in _WITHOUT_WORDS else "reported an error"
    )


def _refusal(status: int, body: str) -> Reason:
    for words in _BY_WORDS:
        if status in words.statuses and re.search(words.pattern, body, re.IGNORECASE | re.DOTALL):
            return words.reason
    if status < 400:
        return "wrong_address"
    return _BY_STATUS.get(status, "bad_request" if status < 500 else "server_error")


def _status(error: Exception) -> int | None:
    """Return the status of a refusal; an error reported in the middle of a stream, which began with 200, has none."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int) and status >= 300:
            return status
    return None


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
