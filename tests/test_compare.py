import numpy as np
import pytest

from eval.compare import compare_runs, compare_text
from eval.saved import Saved, SavedProtocol
from eval.statistics import difference_interval, holm
from rag_app.significance import compare

Columns = dict[str, dict[str, list[float]]]
RANDOM = np.random.default_rng(1)
BEFORE = [float(score) for score in RANDOM.integers(0, 2, 60)]
AFTER = [1.0] * 25 + BEFORE[25:]
HITS: Columns = {"lexical": {"hit_rate@1": BEFORE}, "hybrid": {"hit_rate@1": BEFORE}}


def _protocol(scores: Columns, *, corpus: str = "a corpus", hashes: list[str] | None = None) -> SavedProtocol:
    count = len(next(iter(next(iter(scores.values())).values())))
    ids = [f"q{n}" for n in range(count)]
    own = hashes or [f"hash of {id_}" for id_ in ids]
    return SavedProtocol(ids, own, 100, f"questions {own}", corpus, scores)


def _run(name: str = "before.json", **protocols: SavedProtocol) -> Saved:
    return Saved(name, protocols, {})


def test_each_system_and_measure_that_both_have_is_compared() -> None:
    old = {name: {"hit_rate@1": BEFORE, "mrr@10": BEFORE} for name in ("lexical", "hybrid", "gone")}
    new = {name: {"mrr@10": AFTER, "hit_rate@1": BEFORE} for name in ("hybrid", "lexical", "new")}
    result = compare_runs(_run(clean=_protocol(old)), _run(clean=_protocol(new)))
    assert [change[:3] for change in result.changes] == [
        ("clean", "lexical", "hit_rate@1"),
        ("clean", "lexical", "mrr@10"),
        ("clean", "hybrid", "hit_rate@1"),
        ("clean", "hybrid", "mrr@10"),
    ]
    change = result.changes[1]
    assert change.comparison == compare(BEFORE, AFTER, two_sided=True)
    assert change.difference == difference_interval(BEFORE, AFTER)
    assert change.difference.mean == pytest.approx(np.mean(AFTER) - np.mean(BEFORE))
    assert result.changes[0].comparison.p == 1
    assert result.questions == {"clean": 60}
    assert result.notes == [
        "clean: only the run before has the system gone.",
        "clean: only the run after has the system new.",
    ]


def test_p_is_corrected_over_the_comparisons_by_the_same_measure() -> None:
    less = AFTER[:8] + BEFORE[8:]
    old: Columns = {name: {"hit_rate@1": BEFORE, "mrr@10": BEFORE} for name in ("a", "b")}
    new: Columns = {
        "a": {"hit_rate@1": AFTER, "mrr@10": BEFORE},
        "b": {"hit_rate@1": less, "mrr@10": AFTER},
    }
    other: Columns = {"a": {"hit_rate@1": AFTER}}
    before = _run(clean=_protocol(old), tutorial=_protocol({"a": {"hit_rate@1": BEFORE}}))
    result = compare_runs(before, _run(clean=_protocol(new), tutorial=_protocol(other)))
    for measure, count in (("hit_rate@1", 3), ("mrr@10", 2)):
        changes = [change for change in result.changes if change.measure == measure]
        assert len(changes) == count
        expected = holm([change.comparison.p for change in changes])
        assert [change.corrected_p for change in changes] == expected
    assert result.changes[0].corrected_p == pytest.approx(3 * result.changes[0].comparison.p)


def test_questions_in_another_order_are_matched_by_id() -> None:
    old, new = _protocol(HITS), _protocol({name: {"hit_rate@1": BEFORE[::-1]} for name in HITS})
    turned = new._replace(ids=new.ids[::-1], hashes=new.hashes[::-1], questions=old.questions)
    result = compare_runs(_run(clean=old), _run(clean=turned))
    assert [change.comparison.ties for change in result.changes] == [60, 60]
    assert result.notes == []


def test_only_questions_that_are_the_same_are_compared() -> None:
    old = _protocol(HITS)
    hashes = ["another text"] * 4 + old.hashes[4:]
    new = _protocol(
        {name: {"hit_rate@1": [1 - BEFORE[n] for n in range(4)] + BEFORE[4:]} for name in HITS}, hashes=hashes
    )
    result = compare_runs(_run(clean=old), _run(clean=new))
    assert result.questions == {"clean": 56}
    assert all(change.comparison[2:5] == (0, 0, 56) for change in result.changes)
    assert result.notes == ["clean: 56 of 60 questions before and 60 after are the same, and only these are compared."]


def test_another_corpus_is_compared_with_a_warning() -> None:
    new = _protocol(HITS, corpus="more")._replace(passages=2000)
    result = compare_runs(_run(clean=_protocol(HITS)), _run(clean=new))
    assert len(result.changes) == 2
    (note,) = result.notes
    assert note.startswith("clean: the corpora differ (100 and 2,000 passages): these scores are not of the same task")


def test_few_questions_are_pointed_out() -> None:
    few: Columns = {"a": {"mrr@10": BEFORE[:20]}}
    assert compare_runs(_run(clean=_protocol(few)), _run(clean=_protocol(few))).notes == [
        "clean: 20 questions are few: only large differences are significant."
    ]


def test_other_protocols_and_measures_are_named() -> None:
    before = _run(clean=_protocol({"a": {"hit_rate@1": BEFORE, "mrr@10": BEFORE}}), tutorial=_protocol(HITS))
    after = _run(clean=_protocol({"a": {"hit_rate@1": BEFORE, "mrr@5": BEFORE}}))
    assert compare_runs(before, after).notes == [
        "only the run before has the protocol tutorial.",
        "clean: a: only the run before has the measure mrr@10.",
        "clean: a: only the run after has the measure mrr@5.",
    ]


@pytest.mark.parametrize(
    "after",
    [
        _run("b", clean=_protocol(HITS, hashes=[f"other {n}" for n in range(60)])),
        _run("b", clean=_protocol({"dense": {"hit_rate@1": BEFORE}})),
        _run("b", clean=_protocol({"lexical": {"hit_rate@3": BEFORE}})),
        _run("b", tutorial=_protocol(HITS)),
        _run("b"),
    ],
)
def test_runs_with_nothing_in_common_are_refused(after: Saved) -> None:
    with pytest.raises(ValueError, match="a and b have nothing in common to compare"):
        compare_runs(_run("a", clean=_protocol(HITS)), after)


def test_the_text_shows_what_changed_and_whether_it_is_significant() -> None:
    new: Columns = {"lexical": {"hit_rate@1": BEFORE}, "hybrid": {"hit_rate@1": AFTER}}
    text = compare_text(_run("a.json", clean=_protocol(HITS)), _run("b.json", clean=_protocol(new, corpus="x")))
    lines = text.splitlines()
    assert lines[:2] == ["Before: a.json", "After:  b.json"]
    assert lines[2].startswith("Note: clean: the corpora differ")
    assert lines[4] == "clean, 60 questions"
    assert lines[5].split()[:5] == ["system", "measure", "before", "after", "difference"]
    assert lines[6].split() == [
        *("lexical", "hit_rate@1", f"{np.mean(BEFORE):.3f}", f"{np.mean(BEFORE):.3f}"),
        *("+0.000", "-0.060", "to", "+0.060", "0", "0", "60", "1.000"),
    ]
    wins = int(sum(AFTER) - sum(BEFORE))
    assert lines[7].split()[-4:] == [f"{wins}", "0", f"{60 - wins}", "0.002*"]  # 2 of 2**11 ways, times 2
    assert lines[7].split()[4] == f"{wins / 60:+.3f}"
    assert len({line.index("hit_rate@1") for line in lines[6:8]}) == 1
    assert lines[-1].startswith("* p below 0.05. p: two-sided")


def test_korean_names_of_systems_take_two_columns() -> None:
    scores = {name: {"mrr@10": [1.0, 0.5, 0.0]} for name in ("우리모델", "base")}
    text = compare_text(_run(clean=_protocol(scores)), _run("after.json", clean=_protocol(scores)))
    [korean] = [line for line in text.splitlines() if line.startswith("우리모델")]
    [base] = [line for line in text.splitlines() if line.startswith("base")]
    assert korean.index("mrr@10") == base.index("mrr@10") - 4


def test_a_fall_has_a_minus() -> None:
    text = compare_text(
        _run(clean=_protocol({"a": {"mrr@10": AFTER}})), _run(clean=_protocol({"a": {"mrr@10": BEFORE}}))
    )
    assert f"{np.mean(BEFORE) - np.mean(AFTER):+.3f}" in text
    assert np.mean(BEFORE) < np.mean(AFTER)
