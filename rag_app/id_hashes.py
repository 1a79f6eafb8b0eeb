"""Ids as 64-bit numbers, which can be kept and compared by the million."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class HashFilter(Protocol):
    """Ids that are too many to name, but of which it is known what hashes they have."""

    def keeps(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether the id of each hash is among them."""


def hash_id(id_: str) -> int:
    """Return 64 bits of an id's BLAKE2."""
    return int.from_bytes(blake2b(id_.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def hash_ids(ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return `hash_id` of each."""
    return np.fromiter(map(hash_id, ids), np.uint64)
