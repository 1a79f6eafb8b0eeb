import pytest

from rag_app.chat_models.errors import ChatModelNameError
from rag_app.chat_models.providers import check_name, key_variable, kind_of, short_name
from rag_app.settings import Settings


@pytest.mark.parametrize(
    ("name", "kind", "short", "variable"),
    [
        ("http://127.0.0.1:11434/v1#exaone3.5:7.8b", "ollama", "exaone3.5:7.8b", "RAG_CHAT_API_KEY"),
        ("http://127.0.0.1:8000/v1", "address", "127.0.0.1:8000", "RAG_CHAT_API_KEY"),
        ("https://api.openai.com/v1#gpt-5-mini", "address", "gpt-5-mini", "OPENAI_API_KEY"),
        ("openai:gpt-5-mini", "name", "openai:gpt-5-mini", "OPENAI_API_KEY"),
        ("ollama:exaone3.5", "name", "ollama:exaone3.5", ""),
        ("gpt-5-mini", "name", "gpt-5-mini", ""),
    ],
)
def test_a_name_says_what_it_names(name: str, kind: str, short: str, variable: str) -> None:
    check_name(name)
    assert (kind_of(name), short_name(name), key_variable(name)) == (kind, short, variable)


def test_no_name_is_no_model() -> None:
    assert kind_of(None) == kind_of("") == "none"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sk-proj-1234", "looks_like_a_key"),
        (" gsk_1234", "looks_like_a_key"),
        ("", "empty"),
        ("ftp://x", "bad_address"),
    ],
)
def test_a_key_is_no_name(name: str, reason: str) -> None:
    with pytest.raises(ChatModelNameError) as caught:
        check_name(name)
    assert caught.value.reason == reason
    assert "1234" not in str(caught.value)


def test_the_key_goes_to_the_server_it_was_set_for_and_to_whatever_its_owner_types(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAG_CHAT_MODEL", "https://host/v1#a")
    monkeypatch.setenv("RAG_CHAT_API_KEY", "secret")
    monkeypatch.setenv("RAG_CHAT_TIMEOUT", "90")
    settings = Settings()
    with_key, without = {"timeout": 90.0, "api_key": "secret"}, {"timeout": 90.0}
    assert settings.chat_options("https://host/v1#b", by_visitor=True) == with_key
    assert settings.chat_options("https://elsewhere/v1#a", by_visitor=True) == without
    assert settings.chat_options("https://elsewhere/v1#a") == with_key
    assert settings.chat_options("openai:gpt-5-mini") == without
    assert "secret" not in repr(settings)
