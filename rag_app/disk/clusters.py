"""Approximate search by inverted lists (FAISS IVF), as wide as it must be to find what an exact scan finds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from rag_app.disk.faiss_files import CLUSTERS, read_faiss, save_faiss
from rag_app.disk.segments import mask_parameters, one_thread

RECALL = 0.99
"""The share of the ten nearest that sampled questions must find, so that others, of which some find less, find 0.98."""
QUESTIONS = 200
"""How many are sampled."""
FORMS = {"ivf": "SQfp16", "rabitq": "RaBitQ"}
"""What each form keeps of a vector in its lists: all of it, or a bit for each dimension, by which to choose."""
_PER_LIST = 30  # vectors to train on for each list
_NEAREST = 10
_FAR = 100  # what the ten nearest under a filter are among
_SURE = 0.985  # of those; documents that a filter keeps lie less evenly than a tenth of all would
_FIRST_PROBES = 8
_DEPTHS = {"ivf": (1,), "rabitq": (40, 160, 640)}  # how many of RaBitQ's best are compared exactly, for each wanted


class Tuning(NamedTuple):
    """How wide a search must be, as the manifest keeps it.

    Attributes:
        lists: How many lists there are.
        probes: How many of them are read for a question.
        filtered: How many under a filter: the ten nearest of a tenth of all are as far away as the 100 nearest of all.
        depth: How many candidates are compared exactly, for each hit of the ten wanted.
        recall: The share of the ten nearest, as an exact scan has them, that the sampled questions find.
        passages: How many passages there were when it was measured.
        changed: How many have been added or deleted since.
    """

    lists: int
    probes: int
    filtered: int
    depth: int
    recall: float
    passages: int
    changed: int = 0


Exact = Callable[[NDArray[np.float32], int], NDArray[np.int64]]
"""Returns the rows of the k nearest of each question, ``(questions, k)``, by an exact scan."""
Refine = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
"""Returns a question's cosines with some rows."""


def list_count(count: int) -> int:
    """Return how many lists there should be for a number of vectors."""
    return max(1, min(int(4 * count**0.5), count // _PER_LIST))


class Clusters:
    """An open IVF index over numbered rows.

    Attributes:
        form: One of `FORMS`.
        index: The FAISS index.
    """

    def __init__(self, form: str, index: Any) -> None:
        self.form = form
        self.index = index

    @classmethod
    def train(cls, form: str, count: int, sample: Callable[[NDArray[np.int64]], NDArray[np.float32]]) -> "Clusters":
        """Return an empty index for ``count`` vectors, trained on a sample of them.

        Args:
            form: One of `FORMS`.
            count: How many vectors there will be.
            sample: Returns the vectors in the given places of all, ascending.
        """
        lists = list_count(count)
        places = np.random.default_rng(0).choice(count, min(count, lists * _PER_LIST), replace=False)
        vectors = sample(np.sort(places))
        index = faiss.index_factory(vectors.shape[1], f"IVF{lists},{FORMS[form]}", faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1  # of few vectors it would warn
        if form == "ivf":
            index.by_residual = False  # so that cosines are those of an exact scan to the last bit
        index.train(vectors)
        return cls(form, index)

    @classmethod
    def read(cls, form: str, path: Path, *, to_change: bool = False) -> "Clusters":
        """Open a written index; to change it, all of it is read into memory.

        Raises:
            ValueError: It is damaged, or of another form.
        """
        return cls(form, read_faiss(path, CLUSTERS[form], mapped=not to_change))

    def write(self, path: Path) -> None:
        """Write the index to a file."""
        save_faiss(path, self.index)

    def rows(self) -> NDArray[np.int64]:
        """Return all rows, list by list."""
        lists = self.index.invlists
        sizes = [lists.list_size(number) for number in range(self.index.nlist)]
        full = ((number, size) for number, size in enumerate(sizes) if size)
        found = (faiss.rev_swig_ptr(lists.get_ids(number), size).astype(np.int64) for number, size in full)
        return np.concatenate([np.zeros(0, np.int64), *found])

    def add(self, rows: NDArray[np.int64], matrix: NDArray[np.float32]) -> None:
        """Add vectors under new rows."""
        self.index.add_with_ids(matrix, rows)

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Remove rows; unknown ones change nothing."""
        if len(rows):
            self.index.remove_ids(rows)

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        tuning: Tuning,
        refine: Refine,
        mask: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and cosines of about the k nearest, best first; fewer if the lists read hold fewer.

        Args:
            query: ``(1, dimension)``, of length 1.
            k: At most this many.
            tuning: How wide to search.
            refine: Compares exactly.
            mask: Which rows may be found; all if None.
        """
        wanted = k if tuning.depth == 1 else max(2 * k, _NEAREST * tuning.depth)
        wanted = min(wanted, max(1, self.index.ntotal))
        probes = tuning.probes if mask is None else tuning.filtered
        parameters = mask_parameters(mask, faiss.SearchParametersIVF, nprobe=probes)
        with one_thread():
            scores, rows = self.index.search(query, wanted, params=parameters)
        found = rows[0] >= 0
        rows, cosines = rows[0][found], scores[0][found]
        if tuning.depth > 1 and len(rows):
            cosines = refine(query, rows)
            best = np.argsort(-cosines, kind="stable")[:k]
            rows, cosines = rows[best], cosines[best]
        return rows, cosines

    def tune(
        self, questions: NDArray[np.float32], passages: int, exact: Exact, refine: Refine, *, recall: float = RECALL
    ) -> Tuning:
        """Return how wide a search must be for the questions to reach a recall; of all that do, the narrowest."""
        far = exact(questions, _FAR)
        lists = int(self.index.nlist)
        best = Tuning(lists, lists, lists, _DEPTHS[self.form][-1], 0.0, passages)
        for depth in _DEPTHS[self.form]:
            for probes in _widths(lists):
                tuning = Tuning(lists, probes, lists, depth, 0.0, passages)
                tuning = tuning._replace(recall=self._recall(questions, far[:, :_NEAREST], tuning, refine))
                best = max(best, tuning, key=lambda one: one.recall)
                if tuning.recall >= recall:
                    return self._tune_filtered(questions, far, tuning, refine)
        return best

    def _tune_filtered(
        self, questions: NDArray[np.float32], far: NDArray[np.int64], tuning: Tuning, refine: Refine
    ) -> Tuning:
        """Return how wide a search must be under a filter, besides."""
        for probes in _widths(tuning.lists):
            if (
                probes >= tuning.probes
                and self._recall(questions, far, tuning._replace(probes=probes), refine) >= _SURE
            ):
                return tuning._replace(filtered=probes)
        return tuning

    def _recall(
        self, questions: NDArray[np.float32], wanted: NDArray[np.int64], tuning: Tuning, refine: Refine
    ) -> float:
        k = wanted.shape[1]
        found = (self.search(question[np.newaxis], k, tuning, refine)[0] for question in questions)
        pairs = zip(found, wanted, strict=True)
        shares = [np.isin(rows, one).sum() / max(1, (one >= 0).sum()) for rows, one in pairs]
        return round(float(np.mean(shares)), 4)


def _widths(lists: int) -> Iterator[int]:
    """Yield the numbers of lists that are tried: each half as many again as the one before, last of all every list."""
    probes = _FIRST_PROBES
    while probes < lists:
        yield probes
        probes = probes * 3 // 2
    yield lists
