from itertools import product
from math import comb

import numpy as np
import pytest

from rag_app.significance import compare


def test_five_wins_happen_by_chance_once_in_thirty_two_times() -> None:
    result = compare([0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1, 0])
    assert result[2:] == (5, 0, 2, 1 / 32)
    assert result[:2] == pytest.approx((1 / 7, 6 / 7))


def test_p_is_one_sided_and_counts_what_gains_as_much() -> None:
    assert compare([0, 1], [1, 0]).p == 3 / 4  # only -- gains less than +- and -+
    assert compare([1, 1, 1], [0, 0, 0]).p == 1
    assert compare([0.5, 1], [0.5, 1]) == (0.75, 0.75, 0, 0, 2, 1)


def test_p_is_exact_where_few_questions_differ() -> None:
    differences = np.random.default_rng(1).choice([1 / 2 - 1 / 3, 1 - 1 / 7, -1 / 9, -1 / 2], size=12)
    ways = [np.dot(signs, np.abs(differences)) for signs in product((1, -1), repeat=12)]
    expected = np.mean([way >= differences.sum() - 1e-9 for way in ways])
    assert compare([0] * 12, differences.tolist()).p == pytest.approx(expected)
    assert compare([0] * 12, differences.tolist(), rounds=4000).p == pytest.approx(expected, abs=0.03)
    assert compare([0] * 12, differences.tolist(), rounds=4000).p != expected


def test_p_is_estimated_where_many_differ_and_never_nothing() -> None:
    after = [1.0] * 40 + [0.0] * 25
    result = compare([0.0] * 40 + [1.0] * 25, after)
    sign_test = sum(comb(65, wins) for wins in range(40, 66)) / 2**65
    assert result.p == pytest.approx(sign_test, abs=0.006)
    assert compare([0.0] * 40 + [1.0] * 25, after) == result
    assert compare([0.0] * 200, [1.0] * 200).p == pytest.approx(1 / 10_001)


def test_chance_alone_gets_through_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    ranks = 1 / random.integers(1, 11, size=(300, 2, 60))
    passed = sum(compare(before, after, rounds=1000).p < 0.05 for before, after in ranks.tolist())
    assert 5 <= passed <= 27  # 15 expected


def test_scores_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="before and after, got 0 and 0"):
        compare([], [])
    with pytest.raises(ValueError, match="before and after, got 2 and 1"):
        compare([1, 0], [1])


def test_the_comparison_reads_as_a_sentence() -> None:
    assert str(compare([0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1, 0])) == (
        "0.143 to 0.857: 5 questions better, 0 worse, 2 the same (p = 0.031)"
    )
