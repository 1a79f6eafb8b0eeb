"""Hard negatives: passages that a retriever takes for the answer and that are none."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from tqdm import tqdm

from finetune.pairs import Pair
from rag_app.documents import searchable_text


class Mined(NamedTuple):
    """Pairs with their negatives, and how the mining went.

    Attributes:
        pairs: In the order they were given; some may have fewer negatives than asked for, or none.
        full: Share of the pairs that got as many negatives as were asked for.
        lost: Share of the pairs whose own document the retriever did not return; they get none of its negatives.
        same_group: Share of the candidates (documents other than the pair's own) left out for their group.
        too_close: Share of the candidates left out for their score.
    """

    pairs: list[Pair]
    full: float
    lost: float
    same_group: float
    too_close: float

    def shares(self) -> dict[str, float]:
        """Return how the mining went, as ``run.json`` keeps it."""
        return {name: value for name, value in self._asdict().items() if name != "pairs"}


def describe_mining(shares: Mapping[str, float], count: int) -> str:
    """Return `Mined.shares` in a sentence; ``count`` negatives were asked for."""
    return (
        f"Hard negatives: {shares['full']:.0%} of the questions have all {count}, {shares['lost']:.0%} none, as their "
        f"passage was not found; of the candidates {shares['same_group']:.0%} are of the right one's group and "
        f"{shares['too_close']:.0%} score too close to it"
    )


def mine_negatives(
    pairs: Sequence[Pair],
    retriever: BaseRetriever,
    *,
    groups: Mapping[str, int],
    count: int,
    margin: float = 0.05,
    progress: bool = True,
) -> Mined:
    """Return the pairs with their own negatives, and with as many of the retriever's as there is room for besides.

    The retriever's are the passages that it ranks highest among those that cannot answer.

    Each document that was found is a candidate by its best passage. Left out are those of the group of a document that
    answers the question, and those that score above ``1 - margin`` of the pair's own document, which more often than
    not answer it as well: the positive-aware mining ("TopK-PercPos") of Moreira et al., "NV-Retriever: Improving text
    embedding models with effective hard-negative mining", 2024, where 0.05 did best. Below zero, where a percentage
    would loosen the bound, it is as far beneath the score. A pair whose own document was not found gets none but
    its own: all that were found score above it.

    Args:
        pairs: A pair's own negatives, if it has any, come first: somebody has looked at them.
        retriever: `rag_app.retrieval.HybridRetriever`, `build_retriever` or another whose documents tell their
            ``doc_id`` and ``score``, best first; how many it returns is how many candidates there are.
        groups: The group of every document that can be found, by doc_id; see `finetune.groups`.
        count: How many negatives each pair gets, if there are that many.
        margin: 0 leaves out only what scores above the pair's own document.
        progress: Show a progress bar.

    Raises:
        ValueError: A document has no group, or a setting makes no sense.
    """
    if count < 1 or not 0 <= margin < 1:
        raise ValueError(f"Want a count of at least 1 and a margin from 0 up to 1, got {count} and {margin}")
    answering: dict[str, set[int]] = {}  # a question may have several answers, each a pair
    for pair in pairs:
        answering.setdefault(pair.query, set()).add(_group(pair.doc_id, groups))
    mined: list[Pair] = []
    candidates = same_group = too_close = lost = 0
    for pair in tqdm(pairs, desc="mine", unit="question", disable=not progress):
        found = _best_passages(retriever.invoke(pair.query))
        bound = _bound(found, pair.doc_id, margin)
        others = [passage for doc_id, passage in found.items() if doc_id != pair.doc_id]
        foreign = [p for p in others if _group(p.metadata["doc_id"], groups) not in answering[pair.query]]
        negatives = [passage for passage in foreign if passage.metadata["score"] <= bound]
        texts = dict.fromkeys([*pair.negatives, *map(searchable_text, negatives)])
        mined.append(pair._replace(negatives=tuple(texts)[:count]))
        candidates += len(others)
        same_group += len(others) - len(foreign)
        too_close += len(foreign) - len(negatives)
        lost += pair.doc_id not in found
    return Mined(
        pairs=mined,
        full=sum(len(pair.negatives) == count for pair in mined) / max(1, len(mined)),
        lost=lost / max(1, len(mined)),
        same_group=same_group / max(1, candidates),
        too_close=too_close / max(1, candidates),
    )


def _best_passages(found: Sequence[Document]) -> dict[str, Document]:
    """Return the first, that is the best, passage of each document."""
    best: dict[str, Document] = {}
    for passage in found:
        best.setdefault(passage.metadata["doc_id"], passage)
    return best


def _bound(found: Mapping[str, Document], doc_id: str, margin: float) -> float:
    """Return the score above which a candidate may well answer the question too."""
    if doc_id not in found:
        return float("-inf")
    score = float(found[doc_id].metadata["score"])
    return score - margin * abs(score)


def _group(doc_id: str, groups: Mapping[str, int]) -> int:
    if doc_id not in groups:
        raise ValueError(f"The document {doc_id} has no group. Group all passages that the retriever searches.")
    return groups[doc_id]
