"""What is measured of a passage, on passages of two or three sentences where it can be reckoned by hand."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import log, sqrt

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from rag_app.reranking import matching
from rag_app.reranking.matching import FEATURES, Matcher, count_documents
from rag_app.reranking.text_units import PassageUnits, read_passages
from rag_app.token_vectors import TokenVectors

WORDS = ("[UNK]", "국회", "예산안", "의회", "비")


@pytest.fixture(scope="module")
def vectors() -> TokenVectors:
    """Whole words as tokens, at right angles to each other but for 의회, whose cosine with 국회 is 0.6."""
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    table = np.eye(len(WORDS), dtype=np.int8) * 5
    table[3] = (0, 3, 0, 4, 0)  # of length 5 too: lengths have no part in cosines
    table[4] *= 2
    count = len(WORDS)
    return TokenVectors(tokenizer, table, np.arange(count), np.ones(count, np.float32), 0)


@pytest.fixture(scope="module")
def matcher(vectors: TokenVectors) -> Matcher:
    """One that has counted no documents, so that everything is equally rare."""
    return Matcher(vectors, count_documents([], vectors))


def measure(matcher: Matcher, question: str, *passages: str) -> list[dict[str, float]]:
    return [dict(zip(FEATURES, row, strict=True)) for row in matcher.features(question, passages).tolist()]


def test_bigrams_count_where_they_stand_together(matcher: Matcher) -> None:
    apart, together, beside_title = measure(
        matcher,
        "국회 예산안?",  # 국회, 예산, 산안
        "소식\n국회가 열렸다. 그렇다. 예산안 통과.",
        "소식\n그렇다. 국회 예산안 통과.",
        "국회\n그렇다. 예산안 통과.",
    )
    assert apart["bigrams_sentence"] == pytest.approx(2 / 3)
    assert apart["bigrams_two_sentences"] == pytest.approx(2 / 3)
    assert together["bigrams_sentence"] == together["bigrams_two_sentences"] == 1
    assert beside_title["bigrams_sentence"] == 1


def test_two_sentences_are_neighbours_of_the_same_passage(matcher: Matcher) -> None:
    first, second, third = measure(
        matcher, "국회 예산안?", "소식\n국회가 열렸다. 예산안 통과.", "소식\n국회가 열렸다.", "예산안 통과."
    )
    assert first["bigrams_sentence"] == pytest.approx(2 / 3)
    assert first["bigrams_two_sentences"] == 1
    assert second["bigrams_two_sentences"] == pytest.approx(1 / 3)
    assert third["bigrams_two_sentences"] == pytest.approx(2 / 3)


def test_the_passage_s_bigrams_count_as_in_bm25(matcher: Matcher) -> None:
    once, twice, never = measure(matcher, "국회는?", "국회 소식", "국회 국회", "예산안")  # 국회, 회는

    def share(times: int) -> float:
        return times / (times + 1.2 * (0.25 + 0.75 * 2 / 450)) / 2

    assert once["bigrams_passage"] == pytest.approx(share(1))
    assert twice["bigrams_passage"] == pytest.approx(share(2))
    assert never["bigrams_passage"] == 0


def test_rare_bigrams_and_tokens_count_more(vectors: TokenVectors) -> None:
    matcher = Matcher(vectors, count_documents(["국회", "국회", "국회", "비"], vectors))
    common, rare = measure(matcher, "국회 비", "국회", "비")
    seen = [log(1 + (4 - n + 0.5) / (n + 0.5)) for n in (3, 1)]
    assert common["bigrams_sentence"] == pytest.approx(seen[0] / sum(seen))
    assert rare["bigrams_sentence"] == pytest.approx(seen[1] / sum(seen))
    assert rare["tokens_exact"] == pytest.approx(seen[1] / sum(seen))


def test_names_are_looked_for_as_they_are_spelt(matcher: Matcher) -> None:
    both, one, none = measure(
        matcher, "NASA 2024 예산은?", "nasa는 컸다. 그래서 2024년에 줄었다.", "소식\n그는 NASA에서 왔다. 끝.", "예산"
    )
    assert (both["names_passage"], both["names_sentence"]) == (1, 1)  # the first sentence stands in for a title
    assert one["names_passage"] == one["names_sentence"] == pytest.approx(0.5)
    assert (none["names_passage"], none["names_sentence"]) == (0, 0)


def test_names_far_apart_meet_in_the_passage_only(matcher: Matcher) -> None:
    [apart] = measure(matcher, "NASA 2024 예산은?", "소식\nNASA는 컸다. 2024년에 줄었다.")
    assert apart["names_passage"] == 1
    assert apart["names_sentence"] == pytest.approx(0.5)


def test_a_longer_name_counts_more(matcher: Matcher) -> None:
    [found] = measure(matcher, "NASA 21 예산은?", "소식\nNASA는 컸다.")
    assert found["names_passage"] == pytest.approx(sqrt(3) / (sqrt(3) + 1))


def test_a_question_without_names_finds_them_all(matcher: Matcher) -> None:
    [found] = measure(matcher, "왜 그렇게 됐나요?", "소식")
    assert (found["names_passage"], found["names_sentence"]) == (1, 1)


@pytest.mark.parametrize(
    ("passage", "expected"),
    [
        ("한강\n물이다.", 1),
        ("한강 (서울)\n물이다.", 1),
        ("금강\n물이다.", 0),
        ("강\n물이다.", 0),
        ("(한강)\n물이다.", 0),
    ],
)
def test_a_title_is_looked_for_in_the_question(passage: str, expected: float, matcher: Matcher) -> None:
    [found] = measure(matcher, "한강은 어디로 흐르나요?", passage)
    assert found["title_in_question"] == expected


def test_length_is_a_logarithm(matcher: Matcher) -> None:
    assert measure(matcher, "국회", "예산안 소식")[0]["log_characters"] == pytest.approx(log(1 + 6))


def test_tokens_are_compared_in_meaning(matcher: Matcher) -> None:
    [found] = measure(matcher, "국회 예산안", "소식\n의회 소식. 예산안 소식. 그리고. 끝. 국회 소식")
    # Of the title nothing is known; the best single sentences are those with 예산안 or 국회.
    assert found["tokens_sentence"] == pytest.approx((0 + 1) / 2)
    assert found["tokens_three_sentences"] == pytest.approx((0.6 + 1) / 2)
    assert found["tokens_passage"] == 1
    assert found["tokens_exact"] == 1


def test_a_synonym_is_not_an_exact_token(matcher: Matcher) -> None:
    [found] = measure(matcher, "국회 예산안", "의회 예산안")
    assert found["tokens_passage"] == pytest.approx((0.6 + 1) / 2)
    assert found["tokens_exact"] == pytest.approx(1 / 2)


def test_tokens_of_the_title_count_for_every_sentence(matcher: Matcher) -> None:
    with_title, without = measure(matcher, "국회 예산안", "국회\n비 소식. 예산안 소식.", "비 소식. 예산안 소식.")
    assert with_title["tokens_sentence"] == 1
    assert without["tokens_sentence"] == pytest.approx(1 / 2)


def test_a_passage_without_a_known_token_is_as_far_off_as_can_be(matcher: Matcher) -> None:
    found, *_ = measure(matcher, "국회", "소식", "국회")
    assert (found["tokens_sentence"], found["tokens_passage"], found["tokens_exact"]) == (-1, -1, 0)


def test_a_question_that_asks_when_wants_a_time_near_the_best_sentence(matcher: Matcher) -> None:
    near, far, none = measure(
        matcher,
        "국회는 언제 열렸나요?",
        "소식\n국회는 열렸다. 3월 2일이다.",
        "소식\n국회는 열렸다. 그렇다. 3월 2일이다.",
        "소식\n국회는 열렸다.",
    )
    assert [near["time"], far["time"], none["time"]] == [1, 0, 0]
    assert measure(matcher, "국회는 왜 열렸나요?", "국회는 3월 2일에 열렸다.")[0]["time"] == 0


@pytest.mark.parametrize("question", ["", "?!", "힣"])
def test_a_question_in_which_there_is_nothing_to_find_matches_nothing(question: str, matcher: Matcher) -> None:
    features = matcher.features(question, ["국회\n예산안이다.", ""])
    assert np.isfinite(features).all()
    shares = [FEATURES.index(name) for name in FEATURES if name.startswith(("bigrams", "tokens"))]
    assert not features[:, shares].any()


def test_every_passage_is_measured_by_itself(matcher: Matcher) -> None:
    passages = ["국회\n의회는 예산안을 봤다. 비가 온다.", "", "비", "소식\n국회 예산안. 3월이다.", "비"]
    together = matcher.features("국회 예산안은 언제?", passages)
    assert together.shape == (5, len(FEATURES))
    alone = [matcher.features("국회 예산안은 언제?", [passage])[0] for passage in passages]
    np.testing.assert_array_equal(together, alone)
    assert matcher.features("국회", []).shape == (0, len(FEATURES))


def test_decomposed_hangul_measures_the_same(matcher: Matcher) -> None:
    import unicodedata

    question, passage = "국회 예산안은 언제?", "국회\n예산안은 3월이다."
    decomposed = [unicodedata.normalize("NFD", text) for text in (question, passage)]
    np.testing.assert_array_equal(
        matcher.features(decomposed[0], [decomposed[1]]), matcher.features(question, [passage])
    )


def test_a_passage_is_taken_apart_once_while_it_is_remembered(
    vectors: TokenVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def watched(texts: Sequence[str], vectors: TokenVectors) -> list[PassageUnits]:
        asked.append(list(texts))
        return read_passages(texts, vectors)

    monkeypatch.setattr(matching, "read_passages", watched)
    monkeypatch.setattr(matching, "REMEMBERED", 2)
    matcher = Matcher(vectors, count_documents([], vectors))
    first = matcher.features("국회", ["국회", "비", "국회"])
    assert np.array_equal(matcher.features("국회", ["국회", "비", "국회"]), first)
    matcher.features("국회", ["예산안", "국회"])  # forgets 비, which was asked for longest ago
    matcher.features("국회", ["비", "국회", "예산안"])
    assert [sorted(texts) for texts in asked] == [["국회", "비"], [], ["예산안"], ["비"]]


def test_threads_share_a_matcher(vectors: TokenVectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "REMEMBERED", 3)
    passages = [f"국회\n{number}월 예산안. 의회다." for number in range(10)]
    expected = Matcher(vectors, count_documents([], vectors)).features("국회 예산안은 몇 월?", passages)
    matcher = Matcher(vectors, count_documents([], vectors))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: matcher.features("국회 예산안은 몇 월?", passages), range(40)))
    assert all(np.array_equal(result, expected) for result in results)
