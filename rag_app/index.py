"""The index on disk: documents, vectors and the lexical index, changed together or not at all."""

import os
import shutil
import threading
from collections.abc import Iterable
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from tqdm import tqdm

from rag_app.articles import distinct_articles
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.generations import (
    MANIFEST,
    generation_folder,
    new_generation,
    open_generation,
    read_manifest,
    writing,
)
from rag_app.identity import check_model, describe_model
from rag_app.korean import CONTENT_TAGS, Analyzer, analyzer
from rag_app.lexical import FIELDS, LexicalIndex
from rag_app.passages import PASSAGE_CHARS, split_documents
from rag_app.stores.faiss import FaissStore

FORMAT = "korean-rag-1"
LEXICAL = "lexical"
_USER_DICTIONARY = "user_dictionary.txt"
_BATCH = 1024


class Changes(NamedTuple):
    """What a write did, in documents (not passages)."""

    added: int = 0
    skipped: int = 0
    removed: int = 0


class Snapshot(NamedTuple):
    """One committed version of an index; later writes leave it as it is."""

    manifest: dict[str, Any]
    store: FaissStore
    lexical: LexicalIndex


class Index:
    """An open index. Make one with `build_index` or `open_index`.

    Reading is thread-safe and sees the version that was current when `snapshot` was taken. A write opens the newest
    version, changes it and commits it in one atomic step; a second writer gets BlockingIOError.

    Attributes:
        path: The index's folder.
        embeddings: What embeds questions and new documents.
        snapshot: The version this object reads.
    """

    def __init__(self, path: Path, embeddings: Embeddings, snapshot: Snapshot) -> None:
        self.path = path
        self.embeddings = embeddings
        self.snapshot = snapshot
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """The number of passages."""
        return len(self.snapshot.store)

    def document_ids(self) -> set[str]:
        """Return the ids of all documents; a document has one or more passages."""
        return _document_ids(self.snapshot.store)

    def refresh(self) -> bool:
        """Read the newest committed version; return whether it is another than before.

        Raises:
            ValueError: It is damaged, or was built with another embedding model.
        """
        with self._lock:
            if read_manifest(self.path, format=FORMAT) == self.snapshot.manifest:
                return False
            self.snapshot = _read_snapshot(self.path, self.embeddings)
            return True

    def add(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Add documents; those whose text is in the index already are skipped.

        Raises:
            BlockingIOError: Another process is writing.
            ValueError: A document is empty, or its metadata cannot be stored.
        """
        with writing(self.path):
            self.refresh()
            articles, repeated = distinct_articles(documents)
            known = self.document_ids()
            new = [article for doc_id, article in articles.items() if doc_id not in known]
            self._commit(new, removed=set(), progress=progress)
        return Changes(added=len(new), skipped=repeated + len(articles) - len(new))

    def update(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Bring the index in line with new versions of files: what they no longer hold goes, what is new comes.

        Every document from a ``path`` that one of the given documents names, and that is not among them, is removed;
        one whose text is the same but whose metadata changed is replaced.
        """
        with writing(self.path):
            self.refresh()
            articles, repeated = distinct_articles(documents)
            paths = {article.metadata["path"] for article in articles.values() if "path" in article.metadata}
            present = {p.metadata["doc_id"]: _article_metadata(p) for p in self.snapshot.store.documents.values()}
            same = {doc_id for doc_id, article in articles.items() if present.get(doc_id) == article.metadata}
            stale = {doc_id for doc_id, metadata in present.items() if metadata.get("path") in paths}
            removed = (stale | (articles.keys() & present.keys())) - same
            new = [article for doc_id, article in articles.items() if doc_id not in same]
            self._commit(new, removed=removed, progress=progress)
        return Changes(added=len(new), skipped=repeated + len(same), removed=len(removed))

    def delete(self, doc_ids: Iterable[str]) -> Changes:
        """Delete documents with all their passages; unknown ids change nothing."""
        with writing(self.path):
            self.refresh()
            removed = set(doc_ids) & self.document_ids()
            self._commit([], removed=removed, progress=False)
        return Changes(removed=len(removed))

    def _commit(self, new: list[Document], removed: set[str], *, progress: bool) -> None:
        if not new and not removed:
            return
        before = self.snapshot
        passages = before.store.documents
        gone = [id_ for id_, passage in passages.items() if passage.metadata["doc_id"] in removed]
        manifest = {key: value for key, value in before.manifest.items() if key not in {"generation", "files"}}
        old = generation_folder(self.path, before.manifest["generation"])
        with new_generation(self.path, manifest) as folder:
            if (old / _USER_DICTIONARY).exists():
                _link(old / _USER_DICTIONARY, folder / _USER_DICTIONARY)
            store = before.store.copy()
            store.delete(gone)
            if before.lexical.deleted + len(gone) > len(store):  # BM25 would go by passages that are long gone
                lexical = LexicalIndex.create(before.lexical.analyses, folder / LEXICAL)
                lexical.add(store.documents, map(searchable_text, store.documents.values()))
            else:
                # Tantivy's files never change, so both generations can share them; only its locks must be their own.
                ignored = shutil.ignore_patterns("*.lock")
                shutil.copytree(old / LEXICAL, folder / LEXICAL, copy_function=_link, ignore=ignored)
                lexical = LexicalIndex.open(before.lexical.analyses, folder / LEXICAL)
                lexical.delete(gone)
            _fill(folder, manifest, store, lexical, new, progress=progress)
        with self._lock:
            self.snapshot = Snapshot(read_manifest(self.path, format=FORMAT), store, lexical)


def build_index(
    path: str | Path,
    documents: Iterable[Document],
    embeddings: Embeddings,
    *,
    passage_chars: int = PASSAGE_CHARS,
    user_dictionary: Path | None = None,
    replace: bool = False,
    progress: bool = False,
) -> Index:
    """Build an index in a folder and return it open.

    Args:
        path: Created when missing.
        documents: Any LangChain documents, for example from `rag_app.documents.load_documents`. Repeated texts count
            once. A document goes by the hash of its text: an id of your own, and metadata under the names that
            searches write (``doc_id``, ``start``, ``end``, ``stages``, ``score``), are kept as ``source_...``.
        embeddings: The embedding model; the index can only be opened with the same one.
        passage_chars: Longer documents are split on sentences into passages of at most this many characters, and
            shorter where one of our own embedding models would not read a passage to its end.
        user_dictionary: Words for the morpheme analysis; copied into the index. See `rag_app.korean.Analyzer`.
        replace: Replace an index that is there already; it stays whole until the new one is complete.
        progress: Show a progress bar on stderr.

    Raises:
        FileExistsError: There is an index already and ``replace`` was not asked for.
        ValueError: There is no document, one is empty, or its metadata cannot be stored.
        BlockingIOError: Another process is writing there.
    """
    folder = Path(path)
    with writing(folder):
        if (folder / MANIFEST).exists() and not replace:
            raise FileExistsError(f"{folder} holds an index already. Add to it, replace it, or choose another folder.")
        articles, _ = distinct_articles(documents)
        if not articles:
            raise ValueError("There is no document to index. Give at least one that holds text.")
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "model": describe_model(embeddings),
            "analysis": _analysis(),
            "passage_chars": passage_chars,
        }
        with new_generation(folder, manifest) as generation:
            if user_dictionary is not None:
                shutil.copyfile(user_dictionary, generation / _USER_DICTIONARY)
            store = FaissStore(embeddings)
            lexical = LexicalIndex.create(_analyzer(generation), generation / LEXICAL)
            _fill(generation, manifest, store, lexical, list(articles.values()), progress=progress)
        return Index(folder, embeddings, Snapshot(read_manifest(folder, format=FORMAT), store, lexical))


def open_index(path: str | Path, embeddings: Embeddings | None = None) -> Index:
    """Open an index for searching and changing, having checked every byte of it.

    Args:
        path: The folder it was built in.
        embeddings: The model it was built with; None loads that model by the name in the manifest.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: It is damaged, or was built with another model.
    """
    folder = Path(path)
    if embeddings is None:
        model = read_manifest(folder, format=FORMAT)["model"]
        if model["fingerprint"] is None:
            raise ValueError(f"{folder} was built with {model['name']}. Pass it: open_index(path, embeddings)")
        embeddings = load_embeddings(model["name"])
    return Index(folder, embeddings, _read_snapshot(folder, embeddings))


def _read_snapshot(path: Path, embeddings: Embeddings) -> Snapshot:
    def load(folder: Path, manifest: dict[str, Any]) -> Snapshot:
        check_model(path, manifest["model"], describe_model(embeddings))
        if manifest["analysis"] != _analysis():
            raise ValueError(
                f"{path} was built with another analysis ({manifest['analysis']}, now {_analysis()}). "
                f"Build it anew: rag-app index PATH... --index {path} --replace"
            )
        lexical = LexicalIndex.open(_analyzer(folder), folder / LEXICAL)
        return Snapshot(manifest, FaissStore.read(folder, embeddings), lexical)

    return open_generation(path, load, format=FORMAT)


def _analyzer(folder: Path) -> Analyzer:
    dictionary = folder / _USER_DICTIONARY
    return Analyzer(dictionary) if dictionary.exists() else analyzer()


def _analysis() -> dict[str, Any]:
    """Return what the units of the lexical index depend on; a patch release of Kiwi keeps them."""
    kiwi = ".".join(version("kiwipiepy").split(".")[:2])
    return {"kiwipiepy": kiwi, "fields": dict(FIELDS), "tags": sorted(CONTENT_TAGS)}


def _fill(
    folder: Path,
    manifest: dict[str, Any],
    store: FaissStore,
    lexical: LexicalIndex,
    articles: list[Document],
    *,
    progress: bool,
) -> None:
    fits = store.embeddings.fits if isinstance(store.embeddings, ModelEmbeddings) else None
    passages = split_documents(articles, max_chars=manifest["passage_chars"], fits=fits)
    added: list[Document] = []
    vectors: list[NDArray[np.float32]] = []
    try:
        with tqdm(total=len(articles), unit="document", disable=None if progress else True) as bar:
            while batch := list(islice(passages, _BATCH)):
                texts = [searchable_text(passage) for passage in batch]
                lexical.add([str(passage.id) for passage in batch], texts)
                vectors.append(_encode(store.embeddings, texts))
                added += batch
                bar.update(sum(passage.metadata["start"] == 0 for passage in batch))
        if added:
            store.add_vectors(added, np.concatenate(vectors))
        lexical.commit()
    except BaseException:
        lexical.discard()
        raise
    store.write(folder)
    manifest.update(count_passages(store))


def _encode(embeddings: Embeddings, texts: list[str]) -> NDArray[np.float32]:
    if isinstance(embeddings, ModelEmbeddings):
        return embeddings.encode(texts)
    return np.asarray(embeddings.embed_documents(texts), dtype=np.float32)


def _article_metadata(passage: Document) -> dict[str, Any]:
    return {key: value for key, value in passage.metadata.items() if key not in {"start", "end"}}


def _document_ids(store: FaissStore) -> set[str]:
    return {passage.metadata["doc_id"] for passage in store.documents.values()}


def count_passages(store: FaissStore) -> dict[str, int]:
    """Return how many documents and passages a store holds, as the manifest keeps them."""
    return {"documents": len(_document_ids(store)), "passages": len(store)}


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
