from itertools import product
from math import comb
from statistics import NormalDist

import numpy as np
import pytest

from rag_app.significance import compare

CROSSED = [23.5, 12, 21, 22, 19.125, 21.5, 22.125, 20.375, 18.25, 21.625, 23.25, 21, 22.125, 23, 12]
SELF_FERTILISED = [
    *(17.375, 20.375, 20, 20, 18.375, 18.625, 18.625, 15.25),
    *(16.5, 18, 16.25, 18, 12.75, 15.5, 18),
]
"""Darwin's maize, heights in inches."""


def test_darwins_maize_has_the_p_that_fisher_counted() -> None:
    # The design of experiments (1935), section 21: 1,726 of the 32,768 ways are as far from zero, 863 on one side.
    assert compare(SELF_FERTILISED, CROSSED, two_sided=True, rounds=2**15).p == 1726 / 32768
    assert compare(SELF_FERTILISED, CROSSED, rounds=2**15).p == 863 / 32768
    assert compare(SELF_FERTILISED, CROSSED, two_sided=True, rounds=2**15 - 1).p == pytest.approx(0.0527, abs=0.005)


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


def test_two_equal_systems_are_told_apart_one_time_in_twenty() -> None:
    random = np.random.default_rng(4)
    # Reciprocal ranks of the same questions, hard for both or easy for both, with the same distribution.
    hard = random.integers(1, 6, size=(600, 1, 80))
    scores = 1 / (hard + random.integers(0, 6, size=(600, 2, 80)))
    ps = np.array([compare(before, after, two_sided=True, rounds=999).p for before, after in scores.tolist()])
    assert 0.03 < (ps < 0.05).mean() < 0.07
    assert 0.46 < (ps < 0.5).mean() < 0.54


def test_thousands_of_changed_questions_are_compared_in_little_memory() -> None:
    random = np.random.default_rng(5)
    hits = random.integers(0, 2, size=(2, 4000)).astype(float)
    for scores in (hits, random.random((2, 4000))):  # few distinct differences, and as many as questions
        before, after = scores
        difference = after - before
        z = difference.sum() / np.sqrt((difference**2).sum())
        expected = NormalDist().cdf(-abs(z)) * 2
        assert 0.1 < expected < 0.9
        result = compare(before.tolist(), after.tolist(), two_sided=True)
        assert result.wins + result.losses > 1500
        assert result.p == pytest.approx(expected, abs=0.03)


def test_random_signs_agree_with_the_sign_test_whichever_way_they_are_drawn() -> None:
    hits = ([0.0] * 130 + [1.0] * 105, [1.0] * 130 + [0.0] * 105)
    sign_test = sum(comb(235, wins) for wins in range(130, 236)) / 2**235
    assert compare(*hits).p == pytest.approx(sign_test, abs=0.01)
    # No two differences equal, those lost the largest: no way with as many wins gains less than this one.
    shaken = [score + (1 if score else -1) * place * 1e-9 for place, score in enumerate(hits[1])]
    assert compare(hits[0], shaken).p == pytest.approx(sign_test, abs=0.01)


def test_scores_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="before and after, got 0 and 0"):
        compare([], [])
    with pytest.raises(ValueError, match="before and after, got 2 and 1"):
        compare([1, 0], [1])


def test_the_comparison_reads_as_a_sentence() -> None:
    assert str(compare([0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1, 0])) == (
        "0.143 to 0.857: 5 questions better, 0 worse, 2 the same (p = 0.031)"
    )
