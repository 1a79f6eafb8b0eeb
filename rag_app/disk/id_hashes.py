"""Ids as 64-bit numbers, which can be kept and compared by the million."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class HashFilter(Protocol):
    """Ids that are too many to name, but of which it is known what hashes they have."""

    def __len__(self) -> int:
        """Return how many there are."""

    def keeps(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether the id of each hash is among them."""


def hash_id(id_: str) -> int:
    """Return 64 bits of an id's BLAKE2."""
    return int.from_bytes(blake2b(id_.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def hash_ids(ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return `hash_id` of each."""
    return np.fromiter(map(hash_id, ids), np.uint64)


class HashedIds:
    """Ids that are held as their hashes.

    Args:
        ids: Distinct.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._hashes = np.sort(hash_ids(ids))

    def __len__(self) -> int:
        return len(self._hashes)

    def keeps(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether the id of each hash is among them."""
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        return np.asarray(self._hashes[places] == hashes)
