"""Settings of the programs, read from the environment (``RAG_*``). The library itself reads none."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What the command line and the page start from; each has a ``RAG_*`` variable, for example ``RAG_INDEX``."""

    model_config = SettingsConfigDict(env_prefix="RAG_", extra="ignore")

    index: Path = Path(".index")
    """The index's folder."""
    model: str = "embedded"
    """The embedding model a new index is built with: ``embedded``, a folder, or a Hub id."""
    reranker: str | None = None
    """A cross-encoder, as a folder or Hub id; none by default."""
    k: int = 30
    """How many passages the search hands to the reranker."""
    top_n: int = 10
    """How many passages a search returns."""
    sources: int = 5
    """How many passages an answer is drawn from."""
    chat_model: str | None = None
    """For example ``openai:gpt-4o-mini`` or ``http://127.0.0.1:11434/v1#exaone``; none quotes the articles instead."""
    lang: str | None = None
    """``ko`` or ``en``; the language of the locale by default, Korean where it is neither."""
