"""Taking passages apart, and counting in how many of them their parts stand."""

from collections import Counter
from math import log
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_app.korean import bigrams
from rag_app.reranking.text_units import bigram_codes, bigram_rarity, count_documents, read_passages, token_rarity
from rag_app.token_vectors import TokenVectors, read_token_vectors


@pytest.fixture
def vectors(tiny_static: Path) -> TokenVectors:
    return read_token_vectors(tiny_static)


def _spelled(code: int) -> str:
    first, second = divmod(code, 0x110000)
    return chr(first) + chr(second) if first else chr(second)


def _tokens(characters: str, vectors: TokenVectors) -> NDArray[np.int64]:
    return np.array(vectors.tokenizer.encode(characters, add_special_tokens=False).ids)


@pytest.mark.parametrize(
    "text",
    [
        "국회의원이 내년 예산안을 의결했다.",
        "그 집은 A 동 3층, NASA_2호 é 값²이다!",
        "𠀀𠀁 한자와 😀 그림",
        "İstanbul ΣΑΣ",
        "가",
        "...",
        "",
    ],
)
def test_bigrams_as_numbers_are_the_bigrams(text: str) -> None:
    codes, places = bigram_codes(text)
    assert Counter(map(_spelled, codes.tolist())) == Counter(bigrams(text))
    lower = text.lower()
    assert all(lower.startswith(_spelled(code), place) for code, place in zip(codes.tolist(), places, strict=True))


def test_a_passage_falls_into_its_title_and_sentences(vectors: TokenVectors) -> None:
    [units] = read_passages(["국회 소식\n국회는 예산안을 의결했다.” 비가 온다?\\n끝 A"], vectors)
    assert units.sentences == ("국회 소식", "국회는 예산안을 의결했다.", "비가 온다?", "끝 a")
    assert units.characters == len("국회 소식\n국회는 예산안을 의결했다.” 비가 온다?\\n끝 A")
    found = [_spelled(code) for code in units.bigrams.tolist()]
    sentences = units.bigram_sentences.tolist()
    assert sorted(zip(sentences, found, strict=True)) == sorted(
        (number, unit) for number, sentence in enumerate(units.sentences) for unit in bigrams(sentence)
    )


def test_tokens_know_their_sentence_and_unknown_ones_are_left_out(vectors: TokenVectors) -> None:
    [units] = read_passages(["국회\n힣 비"], vectors)
    spelled = [vectors.tokenizer.id_to_token(token) for token in units.tokens.tolist()]
    assert list(zip(spelled, units.token_sentences.tolist(), strict=True)) == [("국", 0), ("회", 0), ("비", 1)]


@pytest.mark.parametrize("text", ["", " \n ", "?"])
def test_a_passage_without_words_still_has_a_sentence(text: str, vectors: TokenVectors) -> None:
    [units] = read_passages([text], vectors)
    assert len(units.sentences) == 1
    assert (len(units.bigrams), len(units.tokens)) == (0, 0)


def test_decomposed_hangul_is_taken_apart_like_composed(vectors: TokenVectors) -> None:
    import unicodedata

    first, second = read_passages([unicodedata.normalize("NFD", "국회는 비"), "국회는 비"], vectors)
    assert first.sentences == second.sentences
    np.testing.assert_array_equal(first.tokens, second.tokens)


def test_documents_are_counted_once_each(vectors: TokenVectors) -> None:
    counts = count_documents(iter(["국회 국회", "국회의 비", "수도"]), vectors)
    assert counts.documents == 3
    assert {
        _spelled(code): n for code, n in zip(counts.bigrams.tolist(), counts.bigram_counts.tolist(), strict=True)
    } == {
        "국회": 2,
        "회의": 1,
        "비": 1,
        "수도": 1,
    }
    assert (np.diff(counts.bigrams) > 0).all()
    tokens = _tokens("국비울", vectors)
    assert counts.token_counts[tokens].tolist() == [2, 1, 0]
    assert counts.token_counts.shape == vectors.rows.shape


def test_many_documents_are_counted_like_few(vectors: TokenVectors) -> None:
    many = count_documents(["국회", "비"] * 300, vectors)
    few = count_documents(["국회", "비"], vectors)
    assert many.documents == 600
    np.testing.assert_array_equal(many.bigram_counts, few.bigram_counts * 300)


def test_rarity_is_the_inverse_document_frequency_of_bm25(vectors: TokenVectors) -> None:
    counts = count_documents(["국회", "국회", "비"], vectors)
    codes = np.array([bigram_codes(text)[0][0] for text in ("국회", "비", "서울")])
    expected = [log(1 + (3 - n + 0.5) / (n + 0.5)) for n in (2, 1, 0)]
    np.testing.assert_allclose(bigram_rarity(codes, counts), expected)
    tokens = _tokens("국비울", vectors)
    np.testing.assert_allclose(token_rarity(tokens, counts), expected)


def test_without_documents_everything_is_equally_rare(vectors: TokenVectors) -> None:
    nothing = count_documents([], vectors)
    np.testing.assert_allclose(bigram_rarity(np.array([1, 2]), nothing), log(2))
    np.testing.assert_allclose(token_rarity(np.array([1, 2]), nothing), log(2))
