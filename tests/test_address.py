from pathlib import Path

import pytest

from rag_app.settings import Settings, load_settings
from rag_app.stores.address import EXAMPLES, Address, index_place, without_login


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("milvus://127.0.0.1:19530/news", Address("milvus", "127.0.0.1", 19530, "", "news"), None),
        ("milvus://host/default/news_2", Address("milvus", "host", None, "default", "news_2"), None),
        (
            "postgresql://me:p%40ss%2Fword@host:5432/db/news",
            Address("postgresql", "host", 5432, "db", "news", "me", "p@ss/word"),
            "postgresql://me@host:5432/db/news",
        ),
        (
            "milvus://me@[::1]:19530/news?timeout=5&token=x",
            Address("milvus", "::1", 19530, "", "news", "me", options=(("timeout", "5"), ("token", "x"))),
            "milvus://me@[::1]:19530/news",
        ),
    ],
)
def test_an_address_is_read_and_shown_without_its_secrets(text: str, address: Address, shown: str | None) -> None:
    assert Address.parse(text) == address
    assert str(address) == (shown or text)
    assert "word" not in repr(address)
    assert "token" not in repr(address)


@pytest.mark.parametrize(
    "wrong",
    [
        "milvus://",
        "milvus:///news",
        "milvus://host",
        "milvus://host/",
        "milvus://host/a/b/c",
        "milvus://host:port/news",
        "milvus://host:99999/news",
        "milvus://host/뉴스",
        "milvus://host/1news",
        "milvus://host/news; drop table news",
        "milvus://host/" + "n" * 64,
        "milvus://[host/news",
        "redis://host/news",
        "://host/news",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"milvus://HOST:19530/COLLECTION"):
        index_place(wrong.replace("://", "://me:secret@", 1))
    with pytest.raises(ValueError) as error:
        index_place(wrong.replace("://", "://me:secret@", 1))
    assert "secret" not in str(error.value)


def test_the_examples_are_addresses() -> None:
    for scheme, example in EXAMPLES.items():
        address = Address.parse(example)
        assert (address.scheme, str(address)) == (scheme, example.replace("HOST", "host"))


def test_everything_else_is_a_folder() -> None:
    assert index_place("folder") == index_place(Path("folder")) == Path("folder")
    assert index_place("C:/folder") == Path("C:/folder")


def test_the_setting_is_either(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().index == Path(".index")
    monkeypatch.setenv("RAG_INDEX", "milvus://host/news")
    assert load_settings().index == Address("milvus", "host", None, "", "news")
    monkeypatch.setenv("RAG_INDEX", "news")
    assert load_settings().index == Path("news")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("milvus://me:pa@ss/word@host/news?token=x", "milvus://host/news"),
        ("--store=postgresql://me@host/db/news -k 3?", "--store=postgresql://host/db/news -k 3?"),
        ("쌀 수확량은? 그리고 me@host", "쌀 수확량은? 그리고 me@host"),
        ("postgresql://me:pass word@host/db/news", "postgresql://host/db/news"),
        ("postgresql:/me:password@host/db/news", "postgresql:/host/db/news"),
        ("mine=postgresql:me:password@host/db/news?x=y", "mine=postgresql:host/db/news"),
    ],
)
def test_login_and_options_are_taken_out_of_texts(text: str, shown: str) -> None:
    assert without_login(text) == shown
