"""Which texts are tokenized word by word, and that nothing but ties between equally likely tokens comes of it."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from rag_app.data import sample_documents
from rag_app.korean import normalise
from rag_app.models import resolve_model
from rag_app.token_vectors import TokenVectors, read_token_vectors
from rag_app.word_tokens import WordTokens, splits_at_words

ODD = (
    "",
    "?!",
    "…",
    "(가온시)",
    "A/B",
    "가\n나",
    "▁",
    "가▁나",
    "ß ŉ İ Σ",
    "½ 3,000원",
    "ㄱㄴ ㄷ",
    "漢字 漢字어",
    "a\u0301 \u0301b",
)


@pytest.fixture(scope="module")
def embedded() -> TokenVectors:
    return read_token_vectors(resolve_model("embedded").folder)


@pytest.fixture(scope="module")
def tokenizer_json(embedded: TokenVectors) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(embedded.tokenizer.to_str())
    return parsed


def whole(model: TokenVectors, text: str) -> list[int]:
    ids = model.tokenizer.encode(text, add_special_tokens=False).ids
    return [token for token in ids if token != model.unknown]


def test_the_tokens_of_words_are_as_likely_as_those_of_the_text(
    embedded: TokenVectors, tokenizer_json: dict[str, Any]
) -> None:
    likelihoods = [score for _, score in tokenizer_json["model"]["vocab"]]
    texts = [normalise(text) for text in (*ODD, *(document.page_content for document in sample_documents()))]
    others = 0
    for text, found in zip(
        texts, WordTokens(embedded.tokenizer, embedded.unknown, at_words=True).batch(texts), strict=True
    ):
        ours, theirs = Counter(found.tolist()), Counter(whole(embedded, text))
        others += ours != theirs
        more, less = (
            sum(likelihoods[token] * n for token, n in tokens.items()) for tokens in (ours - theirs, theirs - ours)
        )
        assert more == pytest.approx(less, abs=1e-9), text
    assert others < 0.05 * len(texts)


def test_the_embedded_model_splits_at_words_and_others_need_not(embedded: TokenVectors, tiny_static: Path) -> None:
    assert embedded.at_words
    assert not read_token_vectors(tiny_static).at_words


def _without_lowercase(parsed: dict[str, Any]) -> None:
    del parsed["normalizer"]["normalizers"][1]


def _with_a_known_mark(parsed: dict[str, Any]) -> None:
    parsed["model"]["vocab"].append(["▁", -1.0])


def _with_a_token_over_two_words(parsed: dict[str, Any]) -> None:
    parsed["model"]["vocab"].append(["▁서울▁시", -1.0])


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another normaliser": _without_lowercase,
    "none": lambda parsed: parsed.update(normalizer=None),
    "a pre-tokenizer": lambda parsed: parsed.update(pre_tokenizer={"type": "WhitespaceSplit"}),
    "an added token": lambda parsed: parsed.update(added_tokens=[{"id": 1, "content": "가 나"}]),
    "another kind": lambda parsed: parsed["model"].update(type="BPE"),
    "a mark that is known": _with_a_known_mark,
    "a token over two words": _with_a_token_over_two_words,
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_other_tokenizer_takes_texts_whole(change: str, tokenizer_json: dict[str, Any]) -> None:
    model = {**tokenizer_json["model"], "vocab": tokenizer_json["model"]["vocab"][:100]}
    parsed: dict[str, Any] = json.loads(json.dumps({**tokenizer_json, "model": model}))
    assert splits_at_words(parsed)
    CHANGES[change](parsed)
    assert not splits_at_words(parsed)


def test_whole_texts_lose_only_the_unknown_token(tiny_static: Path, sentences: tuple[str, ...]) -> None:
    model = read_token_vectors(tiny_static)
    texts = [*sentences, f"{sentences[0]} Z", ""]
    tokens = WordTokens(model.tokenizer, model.unknown, at_words=False)
    assert [ids.tolist() for ids in tokens.batch(texts)] == [whole(model, text) for text in texts]


class Noting:
    """Notes the texts it tokenizes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.texts: list[str] = []
        self._tokenizer = tokenizer

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self.texts += texts
        return self._tokenizer.encode_batch_fast(texts, **options)


def test_a_word_is_tokenized_once_until_the_older_half_is_forgotten(embedded: TokenVectors) -> None:
    noting: Any = Noting(embedded.tokenizer)
    tokens = WordTokens(noting, embedded.unknown, at_words=True, words=4)
    for text in ("국회 국회 의원", "의원 국회", "가 나", "다", "국회 다"):
        assert [ids.tolist() for ids in tokens.batch([text])] == [whole(embedded, text)]
    assert noting.texts == ["국회", "의원", "가", "나", "다", "국회"]


def test_threads_share_what_is_remembered(embedded: TokenVectors) -> None:
    texts = [normalise(document.page_content) for document in sample_documents()]
    tokens = WordTokens(embedded.tokenizer, embedded.unknown, at_words=True, words=300)
    fresh = WordTokens(embedded.tokenizer, embedded.unknown, at_words=True)
    expected = [ids.tolist() for ids in fresh.batch(texts)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: next(tokens.batch([text])).tolist(), texts))
    assert found == expected
