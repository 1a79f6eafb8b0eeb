from collections.abc import Mapping

import pytest

from eval.protocols import Benchmark
from eval.results import Scores
from eval.slices.properties import FEWEST
from eval.slices.scores import (
    ASKED_OTHERWISE,
    changed_slices,
    property_slices,
)
from eval.statistics import interval
from rag_app.data.questions import Question
from rag_app.documents import make_document
from rag_app.significance import compare

IDS = [f"q{number:02}" for number in range(2 * FEWEST)]
ALL = dict.fromkeys(IDS, 1.0)


def one_system(scores: Mapping[str, float], system: str = "hybrid") -> dict[str, dict[str, Scores]]:
    return {system: {"mrr@10": scores}}


def benchmark() -> Benchmark:
    passage = make_document("같은 글입니다.")
    relevant = frozenset({passage.metadata["doc_id"]})
    questions = [
        Question(id_, "무엇인가요?", relevant, (), False, {"section": "정치" if number < FEWEST else "경제"})
        for number, id_ in enumerate(IDS)
    ]
    return Benchmark([passage], questions, [])


def test_a_slice_of_a_property_has_the_scores_of_its_questions_alone() -> None:
    scores = {id_: number / 100 for number, id_ in enumerate(IDS)}
    found = property_slices(benchmark(), one_system(scores))
    assert [(one.kind, one.name, one.questions, one.changes) for one in found] == [
        ("section", "경제", FEWEST, {}),
        ("section", "정치", FEWEST, {}),
    ]
    assert found[0].intervals == {"hybrid": {"mrr@10": interval([scores[id_] for id_ in IDS[FEWEST:]])}}
    assert found[1].intervals == {"hybrid": {"mrr@10": interval([scores[id_] for id_ in IDS[:FEWEST]])}}


def test_questions_asked_otherwise_are_compared_with_themselves() -> None:
    worse = {**ALL, **dict.fromkeys(IDS[:8], 0.5)}
    before = {**one_system(ALL), **one_system(dict.fromkeys(IDS, 0.5), "lexical")}
    after = {**one_system(worse), **one_system(dict.fromkeys(IDS, 0.5), "lexical")}
    (found,) = changed_slices(before, {"typos": after})
    assert (found.kind, found.name, found.questions) == (ASKED_OTHERWISE, "typos", len(IDS))
    assert found.intervals["hybrid"] == {"mrr@10": interval(list(worse.values()))}
    change = found.changes["hybrid"]["mrr@10"]
    assert (change.before, change.after, change.wins, change.losses, change.ties) == (1.0, 0.8, 0, 8, 12)
    assert change.p == 2 / 2**8  # two-sided: all eight lose, or all eight win
    assert found.changes["lexical"]["mrr@10"].p == 1.0


def test_some_of_the_questions_are_compared_with_the_same_ones_in_any_order() -> None:
    before = {id_: number / 100 for number, id_ in enumerate(IDS)}
    some = {"q07": 0.9, "q02": 0.1}
    (found,) = changed_slices(one_system(before), {"paraphrase": one_system(some)})
    assert found.questions == 2
    assert found.changes["hybrid"]["mrr@10"] == compare([0.07, 0.02], [0.9, 0.1], two_sided=True)


def test_questions_that_were_not_asked_before_are_refused() -> None:
    with pytest.raises(ValueError, match="typos: 1 questions have no mrr@10 of hybrid as they are, such as 'new'"):
        changed_slices(one_system(ALL), {"typos": one_system({**ALL, "new": 1.0})})
    with pytest.raises(ValueError, match="typos: 20 questions have no mrr@10 of lexical"):
        changed_slices(one_system(ALL), {"typos": one_system(ALL, "lexical")})


def test_systems_have_to_be_asked_the_same_questions() -> None:
    before = {**one_system(ALL), **one_system(ALL, "lexical")}
    after = {**one_system(ALL), **one_system({"q00": 1.0}, "lexical")}
    with pytest.raises(ValueError, match="lexical was not asked the same 20 questions as hybrid"):
        changed_slices(before, {"typos": after})
