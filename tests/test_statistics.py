from math import comb

import numpy as np
import pytest

from eval.statistics import compare_all, difference_interval, enough_rounds, holm, interval, wilson
from rag_app.significance import compare

RECIPROCAL_RANKS = np.array([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 0])
CHANCES = np.array([0.5, 0.2, 0.1, 0.05, 0.05, 0.1])


def _plain_bootstrap(values: np.ndarray[tuple[int], np.dtype[np.float64]], rounds: int = 20_000) -> tuple[float, float]:
    random = np.random.default_rng(99)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(rounds)]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


@pytest.mark.parametrize("n", [60, 1000])  # drawn one by one, and counted by kind
def test_the_interval_is_that_of_a_plain_bootstrap(n: int) -> None:
    values = np.random.default_rng(1).choice(RECIPROCAL_RANKS, size=n, p=CHANCES)
    result = interval(values.tolist())
    assert result.mean == pytest.approx(values.mean())
    assert result[1:] == pytest.approx(_plain_bootstrap(values), abs=0.03 / np.sqrt(n))
    assert interval(values.tolist()) == result


def test_many_distinct_values_are_drawn_in_parts_and_agree_too() -> None:
    values = np.random.default_rng(2).random(5000)
    low, high = _plain_bootstrap(values, rounds=2000)
    assert interval(values.tolist(), rounds=2000)[1:] == pytest.approx((low, high), abs=0.001)
    normal = 1.96 * values.std() / np.sqrt(5000)
    assert interval(values.tolist())[1:] == pytest.approx((values.mean() - normal, values.mean() + normal), abs=0.001)


@pytest.mark.parametrize("n", [100, 400])
def test_the_interval_holds_the_true_mean_about_95_times_in_100(n: int) -> None:
    random = np.random.default_rng(3)
    truth = float(RECIPROCAL_RANKS @ CHANCES)
    drawn = [interval(random.choice(RECIPROCAL_RANKS, size=n, p=CHANCES).tolist(), rounds=1000) for _ in range(600)]
    assert 0.92 < np.mean([low <= truth <= high for _, low, high in drawn]) < 0.98
    assert 0.005 < np.mean([high < truth for _, _, high in drawn]) < 0.05  # on both sides
    assert 0.005 < np.mean([low > truth for _, low, _ in drawn]) < 0.05


def test_scores_that_are_all_right_or_all_wrong_are_not_certain() -> None:
    assert interval([1.0] * 20) == pytest.approx(wilson(20, 20))
    assert interval([0.0] * 20) == pytest.approx(wilson(0, 20))
    assert interval([1.0] * 20).low == pytest.approx(0.8389, abs=1e-4)
    mean, low, high = interval([0.5] * 20)
    assert low < mean == 0.5 < high
    assert interval([0.5])[1:] == pytest.approx((0.5 * 1 / (1 + 3.8415), 1 - 0.5 * 1 / (1 + 3.8415)), abs=1e-4)


def test_the_interval_of_a_difference_pairs_the_questions() -> None:
    random = np.random.default_rng(4)
    before = random.choice([0.0, 1.0], size=300)
    after = before.copy()
    after[:30] = 1.0
    result = difference_interval(before.tolist(), after.tolist())
    assert result.mean == pytest.approx((after - before).mean())
    assert result[1:] == pytest.approx(_plain_bootstrap(after - before), abs=0.002)
    assert result.high - result.low < 0.06  # the scores alone are uncertain by 0.11


def test_no_difference_on_any_question_does_not_rule_out_one_on_others() -> None:
    assert difference_interval([0, 1] * 50, [0, 1] * 50) == pytest.approx((0, -0.037, 0.037), abs=1e-4)
    assert difference_interval([0] * 9, [1] * 9).high == 1


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [0.5, 1.01], [-0.1]])
def test_what_is_no_score_has_no_interval(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1, got"):
        interval(scores)
    with pytest.raises(ValueError, match="between 0 and 1, got"):
        difference_interval([0.0] * len(scores), scores)


def test_a_difference_needs_the_same_questions() -> None:
    with pytest.raises(ValueError, match="before and after, got 2 and 1"):
        difference_interval([0.0, 1.0], [1.0])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_the_published_one(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((successes / n, low, high), abs=5e-5)
    assert wilson(n - successes, n)[1:] == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_wilsons_interval_stays_within_0_and_1() -> None:
    for n in range(1, 200):
        assert wilson(0, n).low == 0
        assert wilson(n, n).high == 1
        assert 0 < wilson(0, n).high < 1
    assert wilson(0, 50).high == pytest.approx(0.0713, abs=1e-4)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_a_share_that_cannot_be_is_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        wilson(successes, n)


def test_holm_corrects_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1, 1]
    assert holm([0.02, 0.02]) == [0.04, 0.04]
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


def test_holm_keeps_the_order_and_never_falls_below_bonferronis_first_step() -> None:
    ps = np.random.default_rng(5).random(50) ** 3
    corrected = np.array(holm(ps.tolist()))
    assert (np.diff(corrected[np.argsort(ps)]) >= 0).all()
    assert corrected.min() == pytest.approx(50 * ps.min())
    assert ((ps <= corrected) & (corrected <= np.minimum(1, 50 * ps))).all()


def test_systems_without_a_difference_are_seldom_told_apart_however_many_there_are() -> None:
    random = np.random.default_rng(6)
    corrected = uncorrected = 0
    for seed in range(200):
        ranks = random.integers(1, 6, size=(4, 40)) + random.integers(0, 4, size=40)
        scores = {
            name: dict(zip(map(str, range(40)), 1 / row, strict=True)) for name, row in zip("abcd", ranks, strict=True)
        }
        pairs = compare_all(scores, seed=seed)
        corrected += any(pair.corrected_p < 0.05 for pair in pairs)
        uncorrected += any(pair.comparison.p < 0.05 for pair in pairs)
    assert corrected <= 18  # 10 expected at most
    assert uncorrected >= 25


def test_every_two_systems_are_compared_with_the_first_as_before() -> None:
    scores = {
        "a": {"q1": 0.0, "q2": 0.0, "q3": 1.0},
        "b": {"q3": 1.0, "q2": 1.0, "q1": 0.0},
        "c": {"q1": 1.0, "q2": 1.0, "q3": 1.0},
    }
    pairs = compare_all(scores)
    assert [(pair.before, pair.after) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert pairs[0].comparison == compare([0, 0, 1], [0, 1, 1], two_sided=True)
    assert [pair.comparison.wins for pair in pairs] == [1, 2, 1]
    assert [pair.comparison.p for pair in pairs] == [1, 0.5, 1]
    assert [pair.corrected_p for pair in pairs] == holm([1, 0.5, 1])


def test_a_single_system_has_nothing_to_be_compared_with() -> None:
    assert compare_all({"a": {"q": 1.0}}) == []
    assert compare_all({}) == []


def test_systems_that_were_asked_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="'a' and 'c' were not asked the same questions: q2"):
        compare_all({"a": {"q1": 1.0}, "b": {"q1": 0.0}, "c": {"q1": 1.0, "q2": 1.0}})


def test_the_least_p_possible_survives_the_correction() -> None:
    for systems in (2, 10, 23, 24, 60):
        pairs = comb(systems, 2)
        assert pairs / (enough_rounds(pairs) + 1) < 0.05


def test_one_system_is_compared_with_each_other_one() -> None:
    scores = {name: {"q1": score, "q2": 1.0} for name, score in (("a", 0.0), ("b", 1.0), ("c", 0.5))}
    pairs = compare_all(scores, against="b")
    assert [(pair.before, pair.after) for pair in pairs] == [("b", "a"), ("b", "c")]
    assert [pair.corrected_p for pair in pairs] == holm([pair.comparison.p for pair in pairs])
