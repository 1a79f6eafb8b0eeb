"""Splitting questions so that what is held out shares no group of passages with what is trained on, and drawing."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from rag_app.data.questions import Question, RetrievalData

T = TypeVar("T")


def draw(items: list[T], most: int | None, *, seed: int) -> list[T]:
    """Return at most that many of the items, at random and in random order; all as they stand if None."""
    return items if most is None else random.Random(seed).sample(items, min(most, len(items)))  # noqa: S311


def hold_out(
    data: RetrievalData, share: float, *, groups: Mapping[str, int], seed: int = 0
) -> tuple[RetrievalData, RetrievalData]:
    """Return the data without some of the questions, and the questions left out; no group of passages is on both sides.

    Passages go with their group, those of groups that nothing is asked about to the first side. A question about
    several groups keeps them together.

    Args:
        data: With questions.
        share: How much of the questions to leave out, between 0 and 1. As groups stay whole it may come out smaller.
        groups: The group of every passage by doc_id; see `finetune.groups`.
        seed: Which groups.

    Raises:
        ValueError: The share is not between 0 and 1, a passage has no group, or there are too few groups.
    """
    if not 0 < share < 1:
        raise ValueError(f"Want a share between 0 and 1 to hold out, got {share}")
    if missing := data.passages.keys() - groups.keys():
        raise ValueError(f"{len(missing)} passages have no group, such as {min(missing)}. Group all passages.")
    linked = _linked(data.questions, groups)
    # A question none of whose passages is there belongs nowhere and stays on the first side.
    parts = [next((linked[group] for group in _groups(question, groups)), None) for question in data.questions]
    sizes = Counter(part for part in parts if part is not None)
    order = list(sizes)
    random.Random(seed).shuffle(order)  # noqa: S311
    room = max(1, round(share * len(parts)))
    chosen: set[int | None] = set()
    for part in order:
        if sizes[part] <= room:
            room -= sizes[part]
            chosen.add(part)
    if not chosen or len(chosen) == len(sizes):
        raise ValueError(
            f"Cannot hold out {share:.0%} of {len(parts)} questions about {len(sizes)} groups of passages: one side "
            "would be empty. Give more data or another share"
        )

    def side(held: bool) -> RetrievalData:
        passages = {id_: p for id_, p in data.passages.items() if (linked.get(groups[id_]) in chosen) is held}
        asked = zip(data.questions, parts, strict=True)
        return RetrievalData(passages, [question for question, part in asked if (part in chosen) is held])

    return side(False), side(True)


def _linked(questions: Iterable[Question], groups: Mapping[str, int]) -> dict[int, int]:
    """Return for every group that is asked about the first of the groups that questions link it to, itself included."""
    first: dict[int, int] = {}

    def find(group: int) -> int:
        while first.setdefault(group, group) != group:
            group = first[group]
        return group

    for question in questions:
        together = sorted(find(group) for group in _groups(question, groups))
        for group in together[1:]:
            first[find(group)] = find(together[0])
    return {group: find(group) for group in first}


def _groups(question: Question, groups: Mapping[str, int]) -> set[int]:
    return {groups[doc_id] for doc_id in question.relevant | {question.context_id} if doc_id in groups}
