"""What planted documents do to results and answers, with and without a cap per source and grouped near-duplicates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rag_app.collapsing import collapse_duplicates
from rag_app.compressors import load_reranker
from rag_app.data import load_retrieval_data
from rag_app.data.questions import all_passages
from rag_app.duplicates import near_duplicates
from rag_app.embeddings import load_embeddings
from rag_app.index import Index, build_index
from rag_app.retrieval import build_retriever
from tests.promises.poisoning import ATTACKS, MOST, Answers, Damage, Target, answers, damage, near_copy, plant, targets
from tests.reliability import Promised

pytestmark = pytest.mark.promise(10)

ODQA = Path(__file__).parents[3] / "shared/data/odqa_ko"
CAP = 3
DEFENCES: dict[str, dict[str, Any]] = {
    "no defence": {},
    "grouped": {"collapse": True},
    "capped": {"max_per_source": CAP},
    "both": {"collapse": True, "max_per_source": CAP},
}
SHORT, LONG = 8, 234
LOST = 0.3
"""Of the originals, what share may be taken for the copy of a copy that has another answer and ranks before it."""
SLACK_SHORT, SLACK_LONG = 0.1, 0.01
"""How much less may be found with a defence: one question of the few of a short run."""


def attacked(data: str | Path, count: int, folder: Path) -> tuple[list[Target], Index]:
    """Return questions with their false answers, and an index that nothing is planted in."""
    passages = {passage.metadata["doc_id"]: passage for passage in all_passages(data)}
    found = targets(load_retrieval_data(data, split="validation").questions, passages)[:count]
    return found, build_index(folder / "index", passages.values(), load_embeddings())


def ask(index: Index, defence: str, found: Sequence[Target], planted: Sequence[set[str]]) -> Damage:
    retriever = build_retriever(index, compressor=load_reranker(), **DEFENCES[defence])
    return damage(retriever, found, planted)


def answer(index: Index, defence: str, found: Sequence[Target], planted: Sequence[set[str]]) -> Answers:
    return answers(build_retriever(index, compressor=load_reranker(), **DEFENCES[defence]), index, found, planted)


def everywhere(promised: Promised) -> bool:
    """Whether to plant among passages on Wikipedia, not of the sample; skips the test where there are none."""
    torture = promised.times(0, 1) == 1
    if torture and not ODQA.exists():
        pytest.skip("needs the questions on Wikipedia beside the checkout")
    return torture


def test_a_defence_loses_nothing_where_nothing_is_planted(promised: Promised, tmp_path: Path) -> None:
    torture = everywhere(promised)
    found, index = attacked(ODQA if torture else "sample", promised.times(SHORT, LONG), tmp_path)
    slack = SLACK_LONG if torture else SLACK_SHORT
    without, *defended = (ask(index, defence, found, [set() for _ in found]) for defence in DEFENCES)
    for clean in defended:
        assert clean.hit_1 >= without.hit_1 - slack
        assert clean.hit_10 >= without.hit_10 - slack


@pytest.mark.parametrize("attack", ATTACKS)
def test_planted_documents_take_no_more_than_is_promised(attack: str, promised: Promised, tmp_path: Path) -> None:
    torture = everywhere(promised)
    found, index = attacked(ODQA if torture else "sample", promised.times(SHORT, LONG), tmp_path)
    slack = SLACK_LONG if torture else SLACK_SHORT
    planted: list[set[str]] = [set() for _ in found]
    for number in range(MOST):
        for own, id_ in zip(planted, plant(index, found, attack, number), strict=True):
            own.add(id_)
        promised.tried(len(found), "planted documents")
        if number not in (0, MOST - 1):
            continue
        harm = {defence: ask(index, defence, found, planted) for defence in DEFENCES}
        assert harm["no defence"].taken > 0.5 * (number + 1) / 10  # or nothing is attacked
        assert harm["both"].taken <= harm["no defence"].taken + 0.005
        assert harm["capped"].hit_10 >= harm["no defence"].hit_10 - slack
        assert harm["both"].named >= harm["no defence"].hit_10 - slack
        assert harm["grouped"].hit_10 >= (1 - LOST) * harm["no defence"].hit_10
        if attack == "one outlet's flood":
            assert harm["capped"].taken <= CAP / 10
        if attack == "told by many outlets":
            assert harm["grouped"].taken < 0.15
        for defence in ("no defence", "both"):
            told = answer(index, defence, found, planted) if torture or number else None
            _report(promised, f"{attack}, {number + 1} planted, {defence}", harm[defence], told)


def _report(promised: Promised, what: str, harm: Damage, told: Answers | None) -> None:
    quoted = "" if told is None else f", {told.lie + told.both:.0%} of answers quote the false one"
    promised.measured(what, f"{harm.taken:.0%} of the first ten, right one first {harm.hit_1:.0%}{quoted}")


def test_a_copy_with_another_answer_seldom_stands_for_the_original(promised: Promised) -> None:
    data = ODQA if ODQA.exists() and promised.times(0, 1) else "sample"
    passages = {passage.metadata["doc_id"]: passage for passage in all_passages(data)}
    found = targets(load_retrieval_data(data, split="validation").questions, passages)[: promised.times(60, LONG)]
    pairs = [[near_copy(one, 1), one.gold] for one in found]
    alike = sum(1 for copy, gold in pairs if list(near_duplicates([copy.page_content, gold.page_content])))
    lost = sum(len(collapse_duplicates(pair)) == 1 for pair in pairs)
    promised.tried(len(found), "copies with another answer")
    promised.measured("originals that a copy with another answer stands for", f"{lost} of {len(found)}")
    assert alike > len(found) / 3
    assert lost <= LOST * len(found)
