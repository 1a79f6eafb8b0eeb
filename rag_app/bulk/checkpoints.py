"""Where a bulk job notes which articles are done, so that the same job, begun again, does only what is missing."""

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_app.bulk.files import Source, open_place
from rag_app.bulk.rows import DOC_ID, ID, ID_TYPE, REPORT, no_ids
from rag_app.server_index import articles_in, count_stored
from rag_app.stores.server import ServerStore

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

FOLDER = ".rag-app-checkpoints"
"""Beside what is read, unless another place is named."""
_SAMPLED = 500  # articles
_AT_ONCE = 500  # articles, looked for under two ids each


class Checkpoints(NamedTuple):
    """A folder of parquet files with the ids of articles.

    Attributes:
        filesystem: Where it is.
        path: On the filesystem.
        address: As Ray takes it.
    """

    filesystem: "FileSystem"
    path: str
    address: str

    def remove(self) -> None:
        """Delete the folder, if it is there."""
        from pyarrow.fs import FileType

        if self.filesystem.get_file_info(self.path).type != FileType.NotFound:
            self.filesystem.delete_dir(self.path)

    def done(self) -> NDArray[np.bytes_]:
        """Return the ids of the articles that are done, each once, sorted."""
        from pyarrow import ArrowInvalid
        from pyarrow.fs import FileSelector
        from pyarrow.parquet import read_table

        ids = [no_ids()]
        for info in self.filesystem.get_file_info(FileSelector(self.path, allow_not_found=True, recursive=True)):
            if info.is_file:
                with suppress(ArrowInvalid):  # a kill left half of it
                    column = read_table(info.path, filesystem=self.filesystem, columns=[ID])[ID].to_pylist()
                    ids.append(np.array([id_ for id_ in column if not id_.startswith(REPORT)], ID_TYPE))
        return np.unique(np.concatenate(ids))


def checkpoints_of(job: Mapping[str, Any], source: Source, folder: str | Path | None) -> Checkpoints:
    """Return where a job has its checkpoints: no other job takes them for its own.

    Args:
        job: A JSON object that tells it from others: where it writes to, with which model, and so on.
        source: What it reads.
        folder: Where, for all machines to see; None for `FOLDER` beside what is read.
    """
    name = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:16]
    filesystem, path, before = open_place(_beside(source) if folder is None else folder)
    path = f"{path.rstrip('/')}/{name}"
    return Checkpoints(filesystem, path, f"{before}{path}")


def done_before(checkpoints: Checkpoints, store: ServerStore) -> NDArray[np.bytes_]:
    """Return the ids of the articles that are done, sorted; if the store lacks them, none, and delete the checkpoints.

    So that nothing is missing where an unfinished index was dropped and its checkpoints were not: as many articles as
    they name have to be there, and `_SAMPLED` of these.
    """
    done = checkpoints.done()
    doc_ids = np.unique(done.astype(f"S{DOC_ID}"))
    asked = [id_.decode() for id_ in random.Random(0).sample(list(doc_ids), min(len(doc_ids), _SAMPLED))]  # noqa: S311
    if are_there(store, asked) and count_stored(store)["documents"] >= len(doc_ids):
        return done
    checkpoints.remove()
    return done[:0]


def are_there(store: ServerStore, doc_ids: Iterable[str]) -> bool:
    """Whether a store has all of these articles."""
    left = iter(doc_ids)
    while some := list(islice(left, _AT_ONCE)):
        if not articles_in(store, some).issuperset(some):
            return False
    return True


def _beside(source: Source) -> str:
    from pyarrow.fs import FileType

    place = source if isinstance(source, str | Path) else source[0]
    filesystem, path, before = open_place(place)
    folder = path if filesystem.get_file_info(path).type == FileType.Directory else path.rpartition("/")[0]
    return f"{before}{folder.rstrip('/')}/{FOLDER}"
