import subprocess
import sys
import time
from itertools import combinations

import numpy as np
import pytest

from rag_app import duplicates
from rag_app.duplicates import SKETCH, near_duplicates, near_duplicates_of, sketch_texts


def words(first: int, last: int) -> str:
    """The text of the numbered words; each word stands only once, so n words have n - 3 shingles."""
    return " ".join(f"낱말{number}" for number in range(first, last))


def pairs(*texts: str) -> list[tuple[int, int]]:
    return sorted(near_duplicates(texts))


def edited(seed: int, share: float = 0.1, length: int = 60) -> str:
    """A text of 60 words of which some are others, which seed and share choose."""
    rng = np.random.default_rng(seed)
    return " ".join(word if rng.random() > share else f"고침{rng.integers(9)}" for word in words(0, length).split())


def test_half_of_the_longer_ones_shingles_is_enough() -> None:
    # 13 words have ten shingles; 23 of which the first 13 are the same have 20, and 24 have 21.
    assert pairs(words(0, 13), words(0, 23)) == [(1, 0)]
    assert pairs(words(0, 13), words(0, 24)) == []
    assert pairs(words(0, 24), words(0, 13)) == []


def test_spelling_case_and_punctuation_make_no_difference_and_the_order_of_words_does() -> None:
    assert pairs("LG전자는 오늘, “신제품”을 공개했다!", "lg전자는 오늘 신제품 을 공개했다.") == [(1, 0)]
    assert pairs("비가 오고 눈이 온다", "눈이 오고 비가 온다") == []


def test_texts_of_few_words_are_near_only_if_they_are_the_same_and_those_without_words_never() -> None:
    assert pairs("속보", "속보!", "속보 정정", "정정", "!!!", "!!!", "") == [(1, 0)]


def test_every_pair_of_several_copies_comes_once_the_later_first() -> None:
    assert pairs("비가 온다", "눈이 온다", "비가 온다.", "비가 온다!") == [(2, 0), (3, 0), (3, 2)]


def test_pairs_between_two_lists_are_numbered_within_each_and_none_is_within_one() -> None:
    texts, others = ["비가 온다", "비가 온다.", "바람이 분다"], ["눈이 온다", "비가 온다!", "눈이 온다."]
    assert sorted(near_duplicates_of(texts, others)) == [(0, 1), (1, 1)]
    assert sorted(near_duplicates_of(others, texts)) == [(1, 0), (1, 1)]


def test_nothing_has_no_near_duplicates() -> None:
    assert pairs() == []
    assert pairs("비가 온다") == []
    assert list(near_duplicates_of([], ["비가 온다"])) == []
    assert list(near_duplicates_of(["비가 온다"], [])) == []
    assert list(near_duplicates_of(["!"], ["?"])) == []


@pytest.mark.parametrize("at_once", [1, 50, 1_000_000])
def test_what_is_found_is_what_comparing_every_two_sketches_finds(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_AT_ONCE", at_once)
    monkeypatch.setattr(duplicates, "_COMPARED", min(at_once, 7))
    texts = [edited(seed, share=0.03 * (seed % 8), length=30 + 2 * seed) for seed in range(60)] + ["", "비", "비!"]
    sketches = sketch_texts(texts)

    def same(first: int, second: int) -> bool:
        shared = len(np.intersect1d(sketches[first], sketches[second]))
        longer = max(len(sketches[first]), len(sketches[second]))
        return longer > 0 and 2 * shared >= longer

    expected = [(second, first) for first, second in combinations(range(len(texts)), 2) if same(first, second)]
    assert 20 < len(expected) < 1500
    assert pairs(*texts) == sorted(expected)
    between = [(first, second) for first in range(40) for second in range(40, 63) if same(first, second)]
    assert between
    assert sorted((first, second + 40) for first, second in near_duplicates_of(texts[:40], texts[40:])) == between


def test_a_sketch_is_the_smallest_hashes_in_order_each_once() -> None:
    whole, repeated, empty = sketch_texts([words(0, 500), " ".join(["비"] * 50), "!"])
    assert len(whole) == SKETCH
    assert (np.diff(whole.astype(object)) > 0).all()
    assert (len(repeated), len(empty)) == (1, 0)
    parts = np.unique(np.concatenate(sketch_texts([words(n, n + 4) for n in range(497)])))
    assert (whole == parts[:SKETCH]).all()


def test_a_sketch_that_is_remembered_cannot_be_changed() -> None:
    [sketch] = sketch_texts([words(0, 20)])
    with pytest.raises(ValueError, match="read-only"):
        sketch[0] = 0


def test_sketches_are_the_same_in_another_process_with_another_hash_seed() -> None:
    code = "from rag_app.duplicates import sketch_texts; print(sketch_texts(['오늘 비가 많이 온다'])[0].tolist())"
    run = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    ]
    assert run[0].stdout == run[1].stdout
    assert run[0].stdout.decode().strip() == str(sketch_texts(["오늘 비가 많이 온다"])[0].tolist())


def test_a_line_under_every_text_makes_no_pairs_and_takes_no_quadratic_time() -> None:
    footer = words(0, 40)
    texts = [f"{words(200 * n, 200 * n + 199)} {footer}" for n in range(1, 3001)]
    start = time.perf_counter()
    assert pairs(*texts) == []
    assert time.perf_counter() - start < 20  # takes a second
