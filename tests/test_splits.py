from collections.abc import Sequence

import pytest

from finetune.splits import draw, hold_out
from rag_app.data import Question, RetrievalData
from rag_app.documents import make_document


def ask(number: int, relevant: Sequence[str], *answers: str, context_id: str = "") -> Question:
    return Question(f"q{number}", f"{number}?", frozenset(relevant), answers, not relevant, {}, context_id)


def data_of(texts: str, *questions: Question) -> RetrievalData:
    return RetrievalData({text: make_document(text) for text in texts}, list(questions))


def test_no_group_is_on_both_sides_and_passages_go_with_theirs() -> None:
    data = data_of("abcdefg", *(ask(number, [text]) for number, text in enumerate("abcdef")))
    groups = {"a": 1, "b": 1, "c": 2, "d": 3, "e": 4, "f": 4, "g": 1}
    seen = set()
    for seed in range(20):
        train, held = hold_out(data, 1 / 3, groups=groups, seed=seed)
        assert len(held.questions) == 2
        assert sorted(train.questions + held.questions) == sorted(data.questions)
        assert train.passages.keys() | held.passages.keys() == set("abcdefg")
        assert not {groups[doc_id] for doc_id in train.passages} & {groups[doc_id] for doc_id in held.passages}
        for side in (train, held):
            assert all(question.relevant <= side.passages.keys() for question in side.questions)
        seen.add("".join(sorted(held.passages)))
    assert seen == {"abg", "cd", "ef"}
    assert hold_out(data, 1 / 3, groups=groups, seed=3) == hold_out(data, 1 / 3, groups=groups, seed=3)


def test_passages_that_nothing_is_asked_about_stay() -> None:
    data = data_of("abc", ask(1, ["a"]), ask(2, ["b"]))
    train, held = hold_out(data, 0.5, groups={"a": 1, "b": 2, "c": 3})
    assert "c" in train.passages
    assert len(held.questions) == len(held.passages) == 1


def test_a_question_about_two_groups_keeps_them_together() -> None:
    questions = [ask(1, ["a", "b"]), ask(2, ["b", "c"]), ask(3, ["d"]), ask(4, [], context_id="e"), ask(5, ["e"])]
    groups = {text: number for number, text in enumerate("abcde")}
    sides = {
        frozenset(q.id for q in hold_out(data_of("abcde", *questions), 0.4, groups=groups, seed=seed)[1].questions)
        for seed in range(20)
    }
    assert sides == {frozenset({"q1", "q2"}), frozenset({"q3"}), frozenset({"q4", "q5"})}


def test_a_split_that_cannot_be_is_refused() -> None:
    data = data_of("ab", ask(1, ["a"]), ask(2, ["b"]))
    with pytest.raises(ValueError, match="between 0 and 1 to hold out, got 1"):
        hold_out(data, 1, groups={"a": 1, "b": 2})
    with pytest.raises(ValueError, match="1 passages have no group, such as b"):
        hold_out(data, 0.5, groups={"a": 1})
    with pytest.raises(ValueError, match="Cannot hold out 50% of 2 questions about 1 groups"):
        hold_out(data, 0.5, groups={"a": 1, "b": 1})


def test_as_many_are_drawn_as_there_are_at_most_and_all_stay_in_order_where_none_is_asked() -> None:
    items = list("abcde")
    assert draw(items, None, seed=1) == items
    assert len(set(draw(items, 3, seed=1))) == 3
    assert draw(items, 3, seed=1) == draw(items, 3, seed=1)
    assert sorted(draw(items, 9, seed=1)) == items
