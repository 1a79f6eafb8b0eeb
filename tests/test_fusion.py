import pytest

from rag_app.fusion import PIVOT, SLOPE, adaptive_sum, reciprocal_rank, standardised_sum

EQUAL = {"lexical": 1.0, "dense": 1.0}


def test_reciprocal_rank_by_hand() -> None:
    fused = reciprocal_rank({"lexical": {"a": 9.0, "b": 3.0}, "dense": {"b": 0.9, "c": 0.1}}, EQUAL)
    assert fused == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62})


def test_reciprocal_rank_breaks_ties_by_id() -> None:
    fused = reciprocal_rank({"lexical": {"b": 1.0, "a": 1.0}}, EQUAL)
    assert fused["a"] > fused["b"]


def test_standardised_sum_by_hand() -> None:
    scores = {"lexical": {"a": 10.0, "b": 0.0}, "dense": {"a": 0.1, "b": 0.3}}
    fused = standardised_sum(scores, {"lexical": 3.0, "dense": 1.0})
    assert fused == pytest.approx({"a": 0.75 - 0.25, "b": -0.75 + 0.25})


def test_standardised_sum_does_not_depend_on_a_stage_s_scale() -> None:
    scores = {"lexical": {"a": 1.0, "b": 2.0, "c": 4.0}, "dense": {"a": 0.9, "b": 0.2, "c": 0.1}}
    scaled = {**scores, "lexical": {id_: 1000 * score + 5 for id_, score in scores["lexical"].items()}}
    assert standardised_sum(scaled, EQUAL) == pytest.approx(standardised_sum(scores, EQUAL))


def test_a_candidate_that_a_stage_lacks_gets_its_lowest_score() -> None:
    scores = {"lexical": {"a": 1.0, "b": 3.0}, "dense": {"a": 0.5, "b": 0.1, "c": 0.1}}
    fused = standardised_sum(scores, {"lexical": 1.0, "dense": 0.0})
    assert fused["c"] == fused["a"] < fused["b"]


def test_equal_scores_divide_by_nothing() -> None:
    assert standardised_sum({"lexical": {"a": 2.0, "b": 2.0}, "dense": {}}, EQUAL) == {"a": 0.0, "b": 0.0}


def test_adaptive_sum_by_hand() -> None:
    scores = {"lexical": {"a": 0.5, "b": 0.1}, "dense": {"a": 0.2, "b": 0.6}}
    fused = adaptive_sum(scores, {"lexical": 3.0, "dense": 1.0})
    assert fused == pytest.approx({"a": 0.75 * 0.5 + 0.25 * 0.2, "b": 0.75 * 0.1 + 0.25 * 0.6})


def test_the_less_the_words_match_the_more_meaning_counts() -> None:
    weights = {"lexical": 0.9, "dense": 0.1}
    dense = {"a": 0.2, "b": 0.6}
    matching = adaptive_sum({"lexical": {"a": PIVOT, "b": 0.1}, "dense": dense}, weights)
    assert matching == pytest.approx({"a": 0.9 * PIVOT + 0.1 * 0.2, "b": 0.9 * 0.1 + 0.1 * 0.6})
    assert matching["a"] > matching["b"]
    missing = adaptive_sum({"lexical": {"a": 0.06, "b": 0.0}, "dense": dense}, weights)
    share = 0.1 + SLOPE * (PIVOT - 0.06)
    assert missing == pytest.approx({"a": (1 - share) * 0.06 + share * 0.2, "b": share * 0.6})
    assert missing["b"] > missing["a"]


def test_where_no_word_matches_only_meaning_may_count_but_never_more_than_all() -> None:
    missing = adaptive_sum({"lexical": {"a": 0.01}, "dense": {"a": 0.2, "b": 0.6}}, {"lexical": 0.7, "dense": 0.3})
    assert missing == pytest.approx({"a": 0.2, "b": 0.6})


def test_adaptive_sum_of_one_search_is_its_score() -> None:
    assert adaptive_sum({"dense": {"a": 0.3}}, EQUAL) == {"a": 0.3}
    assert adaptive_sum({"lexical": {}, "dense": {"a": 0.3}}, EQUAL) == {"a": 0.3}
    assert adaptive_sum({"lexical": {}, "dense": {}}, EQUAL) == {}
