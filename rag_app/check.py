"""Whether an index is sound: every byte as it was written, and all its parts agreeing."""

from pathlib import Path
from typing import Any

import numpy as np

from rag_app.folder_index import FORMATS, LEXICAL, check_parts, count_passages
from rag_app.generations import damaged_files, read_generation, read_manifest
from rag_app.index_manifest import check_manifest
from rag_app.korean import analyzer
from rag_app.lexical import LexicalIndex, analysis
from rag_app.server_check import check_server_index
from rag_app.stores.address import Address, index_place
from rag_app.stores.cosines import NoEmbeddings
from rag_app.stores.faiss import FaissStore


def check_index(path: str | Path | Address) -> list[str]:
    """Return everything that is wrong with an index, one sentence each; an empty list means it is sound.

    Checks the manifest, every file's checksum, that documents, vectors and lexical index hold the same passages, and
    that the counts are those of the manifest, and that this version can search it. Needs no embedding model. In a
    vector database see `rag_app.server_check.check_server_index`.

    Raises:
        FileNotFoundError: There is no index.
        ConnectionError: The vector database does not answer.
        ImportError: What its address needs is not installed; says how to install it.
    """
    place = index_place(path)
    if isinstance(place, Address):
        return check_server_index(place)
    try:
        read_manifest(place, format=FORMATS)
    except ValueError as error:
        return [str(error)]
    try:
        read_generation(place, _examine, format=FORMATS)
    except _UnsoundError as error:
        return error.problems
    except (ValueError, OSError) as error:
        return [str(error)]
    return []


class _UnsoundError(Exception):
    """What is wrong with a generation."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(*problems)
        self.problems = problems


def _examine(generation: Path, manifest: dict[str, Any]) -> None:
    if damaged := damaged_files(generation, manifest):
        raise _UnsoundError([f"{name} is missing, changed or does not belong there." for name in damaged])
    check_manifest(generation.parent, manifest)
    store = FaissStore.read(generation, NoEmbeddings(), manifest.get("vectors"))
    problems = []
    if manifest["analysis"] != analysis():
        problems.append("It was built with another analysis of words than this version's. Build it anew.")
    lexical = LexicalIndex.open(analyzer(), generation / LEXICAL)
    check_parts(generation.parent, manifest, store, lexical)
    if sorted(lexical.ids()) != sorted(store.documents):
        problems.append("The lexical index and the documents hold different passages.")
    if count_passages(store) != {key: manifest[key] for key in ("documents", "passages")}:
        problems.append(f"The manifest counts other documents or passages than there are: {count_passages(store)}.")
    if store.dimension is not None and store.dimension != manifest["model"]["dimension"]:
        problems.append(f"Vectors have {store.dimension} dimensions, the manifest says {manifest['model']}.")
    if not store.is_whole:
        problems.append("The clusters hold other passages than there are.")
    try:
        lengths = np.linalg.norm(store.vectors(list(store.documents)), axis=1)
    except KeyError as error:
        raise _UnsoundError([*problems, f"The table of ids lacks the passage {error}."]) from error
    if not np.all((np.abs(lengths - 1) < 0.01) | (lengths == 0)):
        problems.append("Some vectors are not normalised.")
    if problems:
        raise _UnsoundError(problems)
