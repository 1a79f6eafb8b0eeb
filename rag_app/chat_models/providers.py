"""What a chat model's name says of it: who has it, which package and which key it takes."""

from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from rag_app.chat_models.errors import ChatModelNameError
from rag_app.chat_models.servers import OLLAMA, is_address, parse_address

Kind = Literal["none", "ollama", "address", "name"]
"""Nobody writes the answer; Ollama; a server that speaks OpenAI's protocol; a provider that LangChain knows."""


class Provider(NamedTuple):
    """A provider that LangChain's `init_chat_model` knows.

    Attributes:
        package: What to install.
        key: The environment variable of its key; empty if it takes none.
    """

    package: str
    key: str = ""


PROVIDERS = {
    "anthropic": Provider("langchain-anthropic", "ANTHROPIC_API_KEY"),
    "cohere": Provider("langchain-cohere", "COHERE_API_KEY"),
    "deepseek": Provider("langchain-deepseek", "DEEPSEEK_API_KEY"),
    "google_genai": Provider("langchain-google-genai", "GOOGLE_API_KEY"),
    "groq": Provider("langchain-groq", "GROQ_API_KEY"),
    "mistralai": Provider("langchain-mistralai", "MISTRAL_API_KEY"),
    "ollama": Provider("langchain-ollama"),
    "openai": Provider("langchain-openai", "OPENAI_API_KEY"),
    "openrouter": Provider("langchain-openrouter", "OPENROUTER_API_KEY"),
    "perplexity": Provider("langchain-perplexity", "PPLX_API_KEY"),
    "together": Provider("langchain-together", "TOGETHER_API_KEY"),
    "upstage": Provider("langchain-upstage", "UPSTAGE_API_KEY"),
    "xai": Provider("langchain-xai", "XAI_API_KEY"),
}
_KEYS = ("sk-", "gsk_", "hf_", "xai-", "AIza", "up_")


def kind_of(name: str | None) -> Kind:
    """Return what a chat model's name names; an address with Ollama's port counts as Ollama."""
    if not name:
        return "none"
    if not is_address(name):
        return "name"
    try:
        port = urlsplit(name).port
    except ValueError:
        port = None
    return "ollama" if port == urlsplit(OLLAMA).port else "address"


def provider_of(name: str) -> Provider | None:
    """Return the provider that a name such as ``openai:gpt-5-mini`` begins with; None if it is not in the table."""
    return PROVIDERS.get(name.partition(":")[0].strip().lower()) if ":" in name else None


def key_variable(name: str) -> str:
    """Return the environment variable whose key a chat model is sent; empty if none is known."""
    if is_address(name):
        return "OPENAI_API_KEY" if parse_address(name).is_openai else "RAG_CHAT_API_KEY"
    provider = provider_of(name)
    return provider.key if provider else ""


def check_name(name: str) -> None:
    """Refuse what cannot be a chat model's name, and what looks like a key: a name is shown and kept.

    Raises:
        ChatModelNameError: It is empty, an address with a secret in it, or a key.
    """
    if not name.strip():
        raise ChatModelNameError("The chat model's name is empty.", "empty")
    if is_address(name):
        parse_address(name)
    elif name.strip().startswith(_KEYS):
        raise ChatModelNameError("This looks like a key, not like a chat model's name.", "looks_like_a_key")


def short_name(name: str) -> str:
    """Return what to call a chat model where there is little room: the model, else the server."""
    if not is_address(name):
        return name
    address = parse_address(name)
    return address.model or urlsplit(address.base).netloc
