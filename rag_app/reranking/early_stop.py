"""When reranking may stop: a bound, learned from a model's own scores, on what the candidates still to come can score.

In the order of the first stage scores fall, on average with the logarithm of the rank. How far a question's scored
candidates lie above or below that tells where the next ones can be expected, and a margin on top of it is what no
candidate behind them exceeds but for few questions: when even that does not reach the n-th best score so far, the first
n places are settled. `finetune.early_stop` learns the numbers.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_app.model_folders import read_json

FILE = "early_stop.json"
"""The file in a reranker's folder that holds its bound."""
FIRST = 4
"""How many candidates are scored at least before the bound is asked, and between two times it is."""
_LARGEST = 36.0  # logits beyond this are probabilities of 0 and 1 in float64


class EarlyStop(NamedTuple):
    """A reranker's bound, in logits.

    Attributes:
        drop: By how much scores fall, on average, when the rank of the first stage grows e-fold; more than 0.
        margin: How far the best of the candidates still to come may lie above what their rank suggests.
        places: The most first places for which it pays to ask: more of them are settled only at the very end.
    """

    drop: float
    margin: float
    places: int

    def next_check(self, logits: NDArray[np.float64], places: int) -> int:
        """Return how many candidates have to be scored until the first places may be settled.

        Args:
            logits: Of the candidates scored so far, in the order of the first stage; at least one.
            places: How many of the first places are to be settled.

        Returns:
            ``len(logits)`` if they are: no candidate behind these can enter them. Else a larger number.
        """
        count = len(logits)
        if count < places:
            return places
        nth_best = float(np.sort(logits)[-places])
        # The bound at a rank is level - drop * log(rank): at which rank does it come down to the n-th best?
        level = float(np.mean(logits + self.drop * np.log(np.arange(1, count + 1)))) + self.margin
        rank = math.exp(min((level - nth_best) / self.drop, 20.0))
        return count if rank <= count + 1 else max(count + FIRST, math.ceil(rank) - 1)


def to_logits(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logits of scores between 0 and 1, those beyond float64's reach cut to 36."""
    with np.errstate(divide="ignore"):
        logits: NDArray[np.float64] = np.clip(np.log(scores) - np.log1p(-scores), -_LARGEST, _LARGEST)
    return logits


def read_early_stop(folder: Path) -> EarlyStop | None:
    """Return the bound in a reranker's folder; None if it has none, and then reranking does not stop early.

    Raises:
        ValueError: The file holds something else.
    """
    path = folder / FILE
    if not path.exists():
        return None
    content = read_json(path)
    try:
        bound = EarlyStop(float(content["drop"]), float(content["margin"]), int(content["places"]))
    except (KeyError, TypeError, ValueError):
        bound = EarlyStop(0.0, 0.0, 0)
    if not (0 < bound.drop < math.inf > abs(bound.margin) and bound.places > 0):
        raise ValueError(
            f"{path} holds {content}, wanted: a drop above 0, a margin, and places, at least 1. Delete it, or train "
            "the reranker again."
        )
    return bound


def write_early_stop(folder: Path, bound: EarlyStop, **provenance: Any) -> None:
    """Write a bound into a reranker's folder.

    Args:
        folder: Exists.
        bound: In the logits of this reranker.
        provenance: What it was learned from; must fit into JSON.
    """
    content = {**bound._asdict(), "provenance": provenance}
    (folder / FILE).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")
