import numpy as np
import pytest

from eval.gate import gate, gate_text
from eval.saved import Saved, SavedProtocol
from rag_app.significance import compare

Columns = dict[str, dict[str, list[float]]]
N = 200
GOOD = [1.0] * 170 + [0.0] * 30


def _lose(scores: list[float], count: int) -> list[float]:
    return [0.0] * count + scores[count:]


def _win(scores: list[float], count: int) -> list[float]:
    return scores[: len(scores) - count] + [1.0] * count


def _scores(hits: list[float], ranks: list[float] | None = None) -> dict[str, list[float]]:
    return {"hit_rate@1": hits, "hit_rate@10": hits, "recall@10": hits, "mrr@10": ranks or hits}


def _protocol(scores: Columns) -> SavedProtocol:
    ids = [f"q{n}" for n in range(len(next(iter(next(iter(scores.values())).values()))))]
    return SavedProtocol(ids, ids, 100, f"{len(ids)} questions", "a corpus", scores)


def _run(**protocols: SavedProtocol) -> Saved:
    return Saved("run.json", protocols, {})


BASELINE = _run(clean=_protocol({"lexical": _scores(GOOD), "hybrid": _scores(GOOD)}))


def test_a_run_passes_a_gate_made_of_itself() -> None:
    verdict = gate(BASELINE, BASELINE)
    assert verdict.ok
    assert not verdict.falls
    assert not verdict.obstacles
    assert [test[1:3] for test in verdict.others] == [
        ("lexical", "hit_rate@10"),
        ("lexical", "mrr@10"),
        ("hybrid", "hit_rate@10"),
        ("hybrid", "mrr@10"),
    ]


def test_a_large_fall_of_one_system_fails_and_is_named() -> None:
    verdict = gate(
        BASELINE, _run(clean=_protocol({"lexical": _scores(GOOD), "hybrid": _scores(GOOD, _lose(GOOD, 20))}))
    )
    assert not verdict.ok
    (fall,) = verdict.falls
    assert fall[:3] == ("clean", "hybrid", "mrr@10")
    assert fall.comparison[:5] == (0.85, 0.75, 0, 20, 180)
    assert fall.comparison.p == compare(_lose(GOOD, 20), GOOD).p < 0.001
    assert fall.corrected_p == pytest.approx(4 * fall.comparison.p)
    assert fall.difference.high < 0


def test_a_rise_never_fails_and_a_small_fall_does_not() -> None:
    after = _run(clean=_protocol({"lexical": _scores(_win(GOOD, 30)), "hybrid": _scores(_lose(GOOD, 3))}))
    verdict = gate(BASELINE, after)
    assert verdict.ok
    assert verdict.others[0].comparison.p == 1
    assert "Fell, but not significantly:" in gate_text(verdict)


def test_the_fall_is_tested_one_sided() -> None:
    one = _run(clean=_protocol({"a": {"mrr@10": GOOD}}))
    fallen = _run(clean=_protocol({"a": {"mrr@10": _lose(GOOD, 5)}}))
    verdict = gate(one, fallen)
    assert verdict.falls[0].comparison.p == 1 / 32  # two-sided it would be 1 / 16, and pass
    assert gate(one, fallen, level=1 / 32).ok
    assert gate(one, _run(clean=_protocol({"a": {"mrr@10": _lose(GOOD, 4)}}))).ok


def test_chance_alone_closes_the_gate_no_more_often_than_the_level() -> None:
    random = np.random.default_rng(2)
    closed = 0
    for _ in range(200):
        hard = random.random(80) * 0.6 + 0.2
        # Four systems, each before and after: other answers, but no better or worse ones.
        before, after = (
            {f"s{n}": {"mrr@10": (random.random(80) < hard).astype(float).tolist()} for n in range(4)} for _ in "ab"
        )
        closed += not gate(_run(clean=_protocol(before)), _run(clean=_protocol(after))).ok
    assert closed <= 18  # 10 expected at most
    assert closed >= 2


def test_a_missing_protocol_system_or_measure_fails() -> None:
    full = _run(clean=BASELINE.protocols["clean"], tutorial=BASELINE.protocols["clean"])
    assert gate(full, BASELINE).obstacles == ["tutorial: the baseline has this protocol, the new run lacks it."]
    one = _run(clean=_protocol({"lexical": _scores(GOOD)}))
    assert gate(BASELINE, one).obstacles == ["clean: the baseline has the system hybrid, the new run lacks it."]
    assert gate(one, BASELINE).ok  # more than the baseline has is welcome
    other_k = _run(clean=_protocol({"lexical": {"hit_rate@1": GOOD, "hit_rate@10": GOOD, "mrr@5": GOOD}}))
    assert gate(one, other_k).obstacles == ["clean: lexical was not measured by mrr@10. Run with the baseline's --k."]
    for verdict in (gate(full, BASELINE), gate(BASELINE, one), gate(one, other_k)):
        assert not verdict.ok
        assert not verdict.falls


@pytest.mark.parametrize(
    ("questions", "corpus", "message"),
    [
        ("others", "a corpus", "clean: the questions are not the baseline's (200 there, 200 here, 200 the same)."),
        ("200 questions", "larger", "clean: the passages are not the baseline's (100 there, 100 here)."),
    ],
)
def test_another_task_fails_however_good_the_scores(questions: str, corpus: str, message: str) -> None:
    better = _protocol({"lexical": _scores([1.0] * N), "hybrid": _scores([1.0] * N)})
    verdict = gate(BASELINE, _run(clean=better._replace(questions=questions, corpus=corpus)))
    assert not verdict.ok
    (obstacle,) = verdict.obstacles
    assert obstacle == f"{message} Run on the same data, or save a new baseline."
    assert verdict.falls == verdict.others == []


def test_a_gate_that_cannot_fail_is_no_gate() -> None:
    five = _run(clean=_protocol({"a": _scores([1.0] * 5)}))
    verdict = gate(five, five)
    assert not verdict.ok
    assert verdict.obstacles == ["clean: 5 questions cannot show a fall, whatever happens; at least 6 are needed."]
    six, none = _run(clean=_protocol({"a": _scores([1.0] * 6)})), _run(clean=_protocol({"a": _scores([0.0] * 6)}))
    assert gate(six, six).ok
    assert len(gate(six, none).falls) == 2  # so 6 are indeed enough
    assert gate(_run(), BASELINE).obstacles == ["The baseline run.json holds nothing to test."]


def test_the_text_says_what_fell_and_what_could_not_be_seen() -> None:
    after = _run(clean=_protocol({"lexical": _scores(GOOD), "hybrid": _scores(_lose(GOOD, 20))}))
    text = gate_text(gate(BASELINE, after))
    assert text.startswith("Gate FAILED (level 0.05, 4 tests)")
    assert "clean: 200 questions. At least 7 of them must get worse, and none better" in text
    assert "0.035 of the hit rate" in text
    fallen = [line.split() for line in text.splitlines() if line.startswith("hybrid")]
    assert [line[:5] for line in fallen] == [
        ["hybrid", "hit_rate@10", "0.850", "0.750", "-0.100"],
        ["hybrid", "mrr@10", "0.850", "0.750", "-0.100"],
    ]
    assert "lexical" not in text
    assert gate_text(gate(BASELINE, BASELINE)).startswith("Gate passed (level 0.05, 4 tests)")


@pytest.mark.parametrize(("lost", "ok"), [(6, True), (7, False)])
def test_the_least_fall_of_the_text_is_the_least_that_fails(lost: int, ok: bool) -> None:
    after = _run(clean=_protocol({"lexical": _scores(GOOD), "hybrid": _scores(GOOD, _lose(GOOD, lost))}))
    assert gate(BASELINE, after).ok is ok


def test_few_questions_are_pointed_out() -> None:
    forty = _run(clean=_protocol({"a": _scores([1.0] * 40)}))
    assert "Warning: 40 questions are few." in gate_text(gate(forty, forty))
    assert "Warning" not in gate_text(gate(BASELINE, BASELINE))


def test_the_text_of_a_task_that_is_not_comparable_says_why() -> None:
    other = _run(clean=BASELINE.protocols["clean"]._replace(corpus="larger"))
    text = gate_text(gate(BASELINE, other))
    assert text.startswith("Gate FAILED")
    assert "Not comparable: clean: the passages are not the baseline's" in text
