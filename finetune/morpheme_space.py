"""Kiwi's morphemes and the vectors behind their similarities.

Kiwi keeps 256-dimensional morpheme embeddings behind its similarity calls. The cosines of every morpheme to a few
hundred landmarks determine all of them up to a rotation: where the landmarks' own cosines are G = U S U', the vectors
are C U S^-1/2. They crowd in a narrow cone (mean cosine 0.72), so they are centred and whitened.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from kiwipiepy import Kiwi

Floats = npt.NDArray[np.float64]

DIMENSIONS = 256
FIRST_MORPHEME = 97  # Kiwi's ids below are bare tags, codas and quotes; from here they go from frequent to rare


class Morpheme(NamedTuple):
    """A row of Kiwi's morpheme table."""

    id: int
    form: str
    tag: str


def load_kiwi() -> Kiwi:
    """Return Kiwi without the dictionaries that have no part in its morpheme table."""
    return Kiwi(load_multi_dict=False, load_typo_dict=False)


def read_morphemes(kiwi: Kiwi) -> list[Morpheme]:
    """Return Kiwi's whole morpheme table in order of id."""
    found = kiwi.most_similar_morphemes(FIRST_MORPHEME, top_n=1_000_000)
    return [Morpheme(m.id, m.form, m.tag) for m in sorted(found, key=lambda m: m.id)]


class Space(NamedTuple):
    """How a morpheme's similarities to the landmarks become its vector: ``unit((similarities - mean) @ axes)``."""

    landmarks: list[int]
    mean: Floats
    axes: Floats


def similarities(kiwi: Kiwi, ids: Iterable[int], landmarks: Sequence[int]) -> Floats:
    """Return Kiwi's similarity of each morpheme to each landmark, ``(len(ids), len(landmarks))``."""
    return np.array([[kiwi.morpheme_similarity(row, column) for column in landmarks] for row in ids])


def find_space(kiwi: Kiwi, total: int, landmarks: int = 320, sample: int = 16_384) -> Space:
    """Return the space in which a sample of the morphemes has mean 0 and covariance 1.

    The landmarks' similarities recover Kiwi's vectors up to a rotation. A morpheme's similarity to itself is not quite
    1 (Kiwi's vectors are quantised); with Kiwi's own value the recovered cosines are off by less than 1e-6. The mean
    and covariance come from a sample so that a test can recompute rows in seconds. Axes go by falling variance, their
    signs are fixed.
    """
    chosen = np.random.default_rng(0).choice(np.arange(FIRST_MORPHEME, total), sample, replace=False).tolist()
    marks = chosen[:landmarks]
    values, vectors = np.linalg.eigh(similarities(kiwi, marks, marks))
    recovery = vectors[:, -DIMENSIONS:] / np.sqrt(values[-DIMENSIONS:])
    table = similarities(kiwi, chosen, marks)
    values, vectors = np.linalg.eigh(np.cov((table @ recovery).T))
    axes = (recovery @ (vectors / np.sqrt(values)))[:, ::-1]
    mean = table.mean(axis=0)
    return Space(marks, mean, axes * np.sign((((table - mean) @ axes) ** 3).sum(axis=0)))


def embed(kiwi: Kiwi, ids: Iterable[int], space: Space) -> Floats:
    """Return the unit vectors of the morphemes in the space, ``(len(ids), 256)``."""
    vectors = (similarities(kiwi, ids, space.landmarks) - space.mean) @ space.axes
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
