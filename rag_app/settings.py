"""Settings of the programs, read from the environment (``RAG_*``). The library itself reads none."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from rag_app.chat_models.servers import TIMEOUT, is_address, same_server
from rag_app.models import OnnxBackend, TorchBackend
from rag_app.observability.logs import Level, Style
from rag_app.observability.secret_words import without_secrets
from rag_app.stores.address import Address, index_place, without_login

SHORTEST_PASSWORD = 8
"""Characters that a password has at least."""
NONE = "none"
"""What one says instead of a reranker's name to go without."""


def name_or_none(name: str | None) -> str | None:
    """Return a model's name, or None for ``none``, in any case, and for nothing at all."""
    name = (name or "").strip()
    return None if name.lower() in ("", NONE) else name


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


class Settings(BaseSettings):
    """What the command line and the page start from; each has a ``RAG_*`` variable, for example ``RAG_INDEX``."""

    model_config = SettingsConfigDict(env_prefix="RAG_", extra="ignore", hide_input_in_errors=True)

    index: Annotated[Path | Address, BeforeValidator(index_place)] = Path(".index")
    """The index's folder, or its address in a vector database, such as ``milvus://HOST:19530/COLLECTION``."""
    home: Path = Path(".rag")
    """The folder of what the page keeps: conversations and feedback, the indexes that it builds, benchmark reports."""
    model: str = "embedded"
    """The embedding model a new index is built with: ``embedded``, a folder, or a Hub id."""
    reranker: Annotated[str | None, BeforeValidator(name_or_none)] = "embedded"
    """``embedded``, a folder, a Hub id, or ``none``, which leaves the order of the search."""
    backend: Literal[TorchBackend, OnnxBackend] | None = None
    """What transformers run on: ``torch``, ``torch-bf16``, ``torch-fp16``, ``onnx`` or ``onnx-int8``."""
    rerank_budget_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Milliseconds after which the reranker scores no further passage; none for any time."""
    collapse: bool = False
    """Whether one article stands for others that nearly repeat it."""
    max_per_source: int | None = Field(default=None, ge=1)
    """How many results of one outlet, or of one file that names none, a search returns at most; none for any number."""
    k: int = Field(default=30, ge=1)
    """How many passages the search hands to the reranker."""
    top_n: int = Field(default=10, ge=1)
    """How many passages a search returns."""
    sources: int = Field(default=5, ge=1)
    """How many articles an answer is drawn from."""
    chat_model: str | None = None
    """For example ``openai:gpt-4o-mini`` or ``http://127.0.0.1:11434/v1#exaone``; none quotes the articles instead."""
    chat_api_key: SecretStr | None = None
    """The key for the address in ``chat_model``; providers named otherwise have variables of their own."""
    chat_timeout: float = Field(default=TIMEOUT, gt=0, allow_inf_nan=False)
    """Seconds a chat model may stay silent: until its first word, and between two."""
    chat_model_fixed: bool = False
    """Whether visitors of the page have to take the chat model as it is set."""
    lang: Literal["ko", "en"] | None = None
    """``ko`` or ``en``; the language of the locale by default, Korean where it is neither."""
    log: Style | None = None
    """``text`` or ``json``: what is done is logged to stderr, without texts; see `rag_app.observability.logs`."""
    log_level: Level = "INFO"
    """The least that is logged: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``."""
    trace_content: bool = False
    """Whether OpenTelemetry spans hold questions; see `rag_app.observability.tracing`."""
    password: Annotated[SecretStr | None, BeforeValidator(_none_if_empty)] = None
    """What visitors of the page have to know."""
    password_file: Path | None = None
    """A file that holds ``password``, such as a secret of Docker's."""
    allowed: str = ""
    """Who may come in of those that a provider of OpenID Connect knows: addresses and ``@domains``, with commas between
    them; ``*`` for everybody."""
    visitors: Literal["owner", "guests"] | None = None
    """Whether visitors may name folders of the server, models and servers, and see where things lie; by default they
    may where the page is served to this machine alone, and asks for neither password nor login."""
    upload_files: int = Field(default=1000, ge=1)
    """How many files a visitor may upload at once."""
    upload_mb: int = Field(default=1000, ge=1)
    """How many megabytes of uploads the page holds at once, of all visitors together."""
    home_mb: int = Field(default=50_000, ge=1)
    """How many megabytes the indexes that the page builds may take."""
    indexes: int = Field(default=100, ge=0)
    """How many indexes the page builds."""
    jobs: int = Field(default=2, ge=1)
    """How many indexing jobs run at once."""

    @model_validator(mode="after")
    def _read_password(self) -> Self:
        if self.password_file is not None:
            if self.password is not None:
                raise ValueError("RAG_PASSWORD and RAG_PASSWORD_FILE are both set. Set one of them.")
            try:
                read = self.password_file.read_text("utf-8").strip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"RAG_PASSWORD_FILE cannot be read: {type(error).__name__}.") from None
            if not read:
                raise ValueError("RAG_PASSWORD_FILE is empty. Write the password into it.")
            self.password = SecretStr(read)
        if self.password is not None and len(self.password.get_secret_value()) < SHORTEST_PASSWORD:
            raise ValueError(f"The password is short. Take at least {SHORTEST_PASSWORD} characters.")
        return self

    def chat_options(self, name: str, *, by_visitor: bool = False) -> dict[str, Any]:
        """Return what `load_chat_model` is to be passed for a name: the key, for an address.

        Args:
            name: The chat model's.
            by_visitor: Somebody chose it on the page: the key goes to the server of ``chat_model`` and to no other.
        """
        options: dict[str, Any] = {"timeout": self.chat_timeout}
        if self.chat_api_key is None or not is_address(name):
            return options
        if by_visitor and not same_server(name, self.chat_model):
            return options
        return {**options, "api_key": self.chat_api_key.get_secret_value()}


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ValueError: A variable has a value it cannot have; names each.
    """
    try:
        return Settings()
    except ValidationError as error:
        # One of all settings together has no place; what it says of them is no secret, as what was given may be.
        wrong = "; ".join(
            f"RAG_{str(e['loc'][0]).upper()}={without_secrets(without_login(str(e['input'])))}: {e['msg']}"
            if e["loc"]
            else e["msg"].partition(", ")[2].removesuffix(".")
            for e in error.errors()
        )
        raise ValueError(f"Wrong settings in the environment: {wrong}. Correct or unset them.") from None
