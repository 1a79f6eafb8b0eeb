"""Arrays and FAISS indexes written through Python's files, which say when the disk is full.

NumPy and FAISS write through C's, and do not ask whether closing one went well: what is still in its buffer then, which
may be all of a small file, is lost without a word.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as `numpy.save` does.

    Raises:
        OSError: The disk is full.
    """
    with path.open("wb") as file:
        np.save(SimpleNamespace(write=file.write), array, allow_pickle=False)


def save_faiss(path: Path, index: Any) -> None:
    """Write a FAISS index as `faiss.write_index` does.

    Raises:
        OSError: The disk is full.
    """
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
