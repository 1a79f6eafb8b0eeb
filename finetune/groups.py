"""Which passages say the same: those of one group are never negatives of each other.

In-batch negatives take every other passage of a batch for wrong. That is false where several questions are asked of
one article, and of wire stories that repeat each other: such false negatives push a question away from what answers it.
"""

from collections.abc import Mapping

from langchain_core.documents import Document

from rag_app.duplicates import near_duplicates
from rag_app.korean import normalise


def group_passages(passages: Mapping[str, Document], *, titles: bool = True) -> dict[str, int]:
    """Return the number of each passage's group, by doc_id; groups are numbered from 0 in order of first appearance.

    Passages are in one group if they have the same title (``metadata["title"]``, normalised, not empty; unless
    ``titles`` is false) or nearly the same text, as `rag_app.duplicates` has it, or are linked by a chain of such
    passages. The groups are the same in every process and on every machine.
    """
    names = [_title(document) if titles else "" for document in passages.values()]
    parents = list(range(len(passages)))
    first: dict[str, int] = {}
    for index, title in enumerate(names):
        if title:
            _join(parents, first.setdefault(title, index), index)
    for index, other in near_duplicates(document.page_content for document in passages.values()):
        _join(parents, index, other)
    numbers: dict[int, int] = {}
    return {doc_id: numbers.setdefault(_root(parents, index), len(numbers)) for index, doc_id in enumerate(passages)}


def _title(document: Document) -> str:
    return " ".join(normalise(str(document.metadata.get("title") or "")).split())


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]  # halves the way for the next one who asks
        index = parents[index]
    return index


def _join(parents: list[int], first: int, second: int) -> None:
    parents[_root(parents, second)] = _root(parents, first)
