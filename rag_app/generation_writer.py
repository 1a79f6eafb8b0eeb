"""Filling a generation: passages are cut, analysed, encoded and written as they come, and the vectors' form is chosen.

Of all passages only ids and half-precision vectors are held in memory; the rest goes to disk batch by batch. While one
batch is encoded, the batch before is analysed and added to the lexical index by another thread; the order in which
passages are written is always that in which they came.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from tqdm import tqdm

from rag_app.disk.array_files import save_array
from rag_app.disk.clusters import FORMS, QUESTIONS, Clusters, Tuning, list_count
from rag_app.disk.segmented import (
    CLUSTERS_FILE,
    GONE_FILE,
    SEGMENTS,
    SegmentedDocuments,
    SegmentedVectors,
    copy_segment,
    open_segments,
)
from rag_app.disk.segments import Segment, SegmentWriter
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings
from rag_app.lexical import LexicalIndex
from rag_app.stores.faiss import FaissStore
from rag_app.vector_spool import VectorSpool, spool_fingerprint
from rag_app.vectors import unit_rows

EXACT_MOST = 100_000
"""The most passages that are kept in memory and compared one by one, unless asked otherwise."""
IVF_MOST = 3_000_000
"""The most whose lists hold whole vectors; beyond, a bit for each dimension."""
VECTOR_FORMS = ("auto", "exact", *FORMS)
_BATCH = 4096
_REMEASURE = 0.1  # the share of passages that changes before recall is measured again
_RETRAIN = 2  # how many times more lists there should be before they are made anew
_QUESTION_CHARS = 40
_MERGE = 2

Encode = Callable[[list[str]], NDArray[np.float32]]


class Filling(NamedTuple):
    """What a generation is filled with.

    Attributes:
        folder: The generation.
        lexical: Its lexical index, open for writing.
        embeddings: The embedding model.
        encode: Embeds passages.
        progress: Whether to show a progress bar.
    """

    folder: Path
    lexical: LexicalIndex
    embeddings: Embeddings
    encode: Encode
    progress: bool


class Before(NamedTuple):
    """What a generation is made from.

    Attributes:
        store: The documents and vectors of the generation before; an empty one for none.
        folder: That generation; None for none.
        details: What its manifest says of the vectors: the form that was asked for, the form it has, and more.
    """

    store: FaissStore
    folder: Path | None
    details: dict[str, Any]


@contextmanager
def passage_encoder(folder: Path, embeddings: Embeddings, dimension: int) -> Iterator[Encode]:
    """Give what embeds passages; vectors of a slow model are put by until the block is left without an exception."""
    encode = partial(_encode, embeddings)
    fingerprint = spool_fingerprint(embeddings)
    spooled = folder / "spool"
    if fingerprint is None:
        shutil.rmtree(spooled, ignore_errors=True)  # of an interrupted build with another model
        yield encode
        return
    with VectorSpool.open(spooled, fingerprint, dimension) as spool:
        yield lambda texts: spool.encode(texts, encode)
        spool.discard()


def change_store(
    filling: Filling, before: Before, passages: Iterable[Document], gone: Collection[str]
) -> tuple[dict[str, Any], FaissStore | None]:
    """Write the documents and vectors of a generation, and add the passages to its lexical index without a commit.

    Args:
        filling: The generation.
        before: What to change.
        passages: To be added.
        gone: The ids of the passages to be deleted.

    Returns:
        What the manifest says of the vectors, and the store if it is kept in memory.
    """
    folder, asked = filling.folder, before.details["asked"]
    documents = before.store.documents
    if isinstance(documents, SegmentedDocuments):
        parts = len(documents.segments.parts)
        _link_segments(documents, folder)
    else:
        parts = min(1, len(before.store))
    new = folder / SEGMENTS / f"{parts + 1:06d}"
    added = _write_passages(filling, passages, new)
    total = len(before.store) - len(gone) + added
    form = choose_form(asked, total)
    if isinstance(documents, SegmentedDocuments):
        _write_gone(folder, documents, gone, added)
        if not _compact(folder):
            _merge(folder)
            form = before.details["form"] if asked == "auto" and form == "exact" else form
            return {"asked": asked, **_write_clusters(filling, form, before, added + len(gone))}, None
        store = FaissStore(filling.embeddings)
    else:
        store = before.store.copy()
        store.delete(list(gone))
    if form == "exact" and total <= EXACT_MOST:
        _to_memory(folder, store)
        return {"asked": asked, "form": form, "recall": 1.0}, store
    if not added:
        shutil.rmtree(new, ignore_errors=True)  # compacting has removed it already
    if len(store):
        _copy_store(store, folder / SEGMENTS / f"{1:06d}")
    return {"asked": asked, **_write_clusters(filling, form, before._replace(folder=None), 0)}, None


def _write_passages(filling: Filling, passages: Iterable[Document], folder: Path) -> int:
    """Write passages to a new segment and to the lexical index, which is left uncommitted; return how many."""
    stream = iter(passages)
    analysed: Future[None] | None = None
    with (
        SegmentWriter(folder) as writer,
        ThreadPoolExecutor(1) as pool,
        tqdm(unit="passage", disable=None if filling.progress else True) as bar,
    ):
        while batch := list(islice(stream, _BATCH)):
            texts = [searchable_text(passage) for passage in batch]
            if analysed is not None:
                analysed.result()
            ids, metadatas = [str(passage.id) for passage in batch], [passage.metadata for passage in batch]
            analysed = pool.submit(filling.lexical.add, ids, texts, metadatas)
            writer.add(batch, filling.encode(texts))
            bar.update(len(batch))
        if analysed is not None:
            analysed.result()
    return len(writer)


def _segment_folders(folder: Path) -> list[Path]:
    return sorted((folder / SEGMENTS).iterdir()) if (folder / SEGMENTS).is_dir() else []


def _link_segments(documents: SegmentedDocuments, folder: Path) -> None:
    for number, part in enumerate(documents.segments.parts, start=1):
        link_files(part.folder, folder / SEGMENTS / f"{number:06d}")


def _copy_store(store: FaissStore, folder: Path) -> None:
    """Write the documents of a store in memory to a new segment."""
    with SegmentWriter(folder) as writer:
        documents = iter(store.documents.values())
        while batch := list(islice(documents, _BATCH)):
            writer.add(batch, store.vectors([str(document.id) for document in batch]))


def _to_memory(folder: Path, store: FaissStore) -> None:
    """Move what stands in a generation's segments into a store in memory, and write that in their place."""
    for part in open_segments(folder).parts:
        if len(part):
            rows = np.arange(len(part))
            store.add_vectors([part.document(row) for row in rows.tolist()], part.matrix(rows))
    shutil.rmtree(folder / SEGMENTS)
    store.write(folder)


def _write_gone(folder: Path, documents: SegmentedDocuments, gone: Collection[str], added: int) -> None:
    """Write which rows of a generation are deleted."""
    deleted = np.concatenate([documents.segments.gone, np.zeros(added, np.bool_)])
    deleted[documents.rows(list(gone))] = True
    if deleted.any():
        save_array(folder / GONE_FILE, deleted)


def _compact(folder: Path) -> bool:
    """Write the segments of a generation anew if most of their documents are deleted; return whether they were."""
    segments = open_segments(folder)
    if np.count_nonzero(segments.gone) <= len(segments.live()):
        return False
    aside = folder / f"{SEGMENTS}-compact"
    with SegmentWriter(aside / f"{1:06d}") as writer:
        for part, first in zip(segments.parts, segments.starts, strict=False):
            copy_segment(part, np.flatnonzero(~segments.gone[first : first + len(part)]).tolist(), writer)
    shutil.rmtree(folder / SEGMENTS)
    aside.rename(folder / SEGMENTS)
    (folder / GONE_FILE).unlink()
    return True


def _merge(folder: Path) -> None:
    """Merge the last segments of a generation as long as those before are not much larger.

    So there are never more than the logarithm of the number of passages, and rows stay what they are.
    """
    parts = [Segment(path) for path in _segment_folders(folder)]
    first = len(parts) - 1
    while first and len(parts[first - 1]) <= _MERGE * sum(map(len, parts[first:])):
        first -= 1
    merged = parts[first:]
    if len(merged) == 1 and len(merged[0]):
        return
    aside = folder / f"{SEGMENTS}-merged"
    with SegmentWriter(aside) as writer:
        for part in merged:
            copy_segment(part, range(len(part)), writer)
    for part in merged:
        shutil.rmtree(part.folder)
    if len(writer):
        aside.rename(merged[0].folder)
    else:
        shutil.rmtree(aside)


def _write_clusters(filling: Filling, form: str, before: Before, changed: int) -> dict[str, Any]:
    """Write what approximate search reads of a generation's segments; return what the manifest says of it."""
    if form == "exact":
        return {"form": form, "recall": 1.0}
    folder, known = filling.folder, before.details
    documents = SegmentedDocuments(segments := open_segments(folder))
    live = segments.live()
    if before.folder is None or known["form"] != form or list_count(len(live)) > _RETRAIN * known["lists"]:
        clusters = Clusters.train(form, len(live), lambda places: segments.matrix(live[places]))
        tuning = None
        new = live
    else:
        clusters = Clusters.read(form, before.folder / CLUSTERS_FILE, to_change=True)
        clusters.remove(np.flatnonzero(segments.gone[: known["rows"]]))
        tuning = Tuning(**{name: known[name] for name in Tuning._fields})
        tuning = tuning._replace(changed=tuning.changed + changed)
        new = live[live >= known["rows"]]
    for start in range(0, len(new), _BATCH):
        rows = new[start : start + _BATCH]
        clusters.add(rows, segments.matrix(rows))
    if tuning is None or tuning.changed > _REMEASURE * tuning.passages:
        vectors = SegmentedVectors(documents, None, None)
        questions = _sample_questions(documents, live, filling.embeddings)
        tuning = clusters.tune(questions, len(live), vectors.exact, vectors.refine)
    clusters.write(folder / CLUSTERS_FILE)
    return {"form": form, **tuning._asdict(), "rows": len(segments.gone)}


def _sample_questions(
    documents: SegmentedDocuments, live: NDArray[np.int64], embeddings: Embeddings
) -> NDArray[np.float32]:
    """Return the vectors of pieces of sampled passages, as long as questions are and embedded as such."""
    chance = np.random.default_rng(0)
    texts = []
    for row in np.sort(chance.choice(live, min(len(live), QUESTIONS), replace=False)).tolist():
        text = documents.document_at(row).page_content
        start = int(chance.integers(0, max(1, len(text) - _QUESTION_CHARS)))
        texts.append(text[start : start + _QUESTION_CHARS])
    return _encode(embeddings, texts, query=True)


def choose_form(asked: str, count: int) -> str:
    """Return the form of the vectors for a number of passages; see `VECTOR_FORMS`.

    Raises:
        ValueError: There is no such form.
    """
    if asked not in VECTOR_FORMS:
        raise ValueError(f"There is no form of vectors {asked!r}. Give one of {', '.join(VECTOR_FORMS)}.")
    if asked != "auto" or not count:
        return asked if count else "exact"
    return "exact" if count <= EXACT_MOST else "ivf" if count <= IVF_MOST else "rabitq"


def _encode(embeddings: Embeddings, texts: list[str], *, query: bool = False) -> NDArray[np.float32]:
    """Return one vector of length 1 for each text."""
    if isinstance(embeddings, ModelEmbeddings):
        return embeddings.encode(texts, query=query)
    found = [embeddings.embed_query(text) for text in texts] if query else embeddings.embed_documents(texts)
    return unit_rows(found)


def link_files(source: Path, target: Path) -> None:
    """Give a folder's files, which never change, to a new folder as hard links, or copies where there are none.

    Locks stay behind: a folder's are its own.
    """
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix != ".lock":
            link(path, target / path.name)


def link(source: str | Path, target: str | Path) -> None:
    """Give a file that never changes a second name."""
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
