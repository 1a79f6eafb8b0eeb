"""The index on disk: documents, vectors and the lexical index, changed together or not at all."""

import os
import shutil
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

from rag_app.documents import PASSAGE_CHARS, make_document, searchable_text, split_documents
from rag_app.embeddings import load_embeddings
from rag_app.generations import MANIFEST, damaged_files, new_generation, open_generation, read_manifest, writing
from rag_app.korean import Analyzer, analyzer
from rag_app.lexical import LexicalIndex
from rag_app.stores.faiss import FaissStore

FORMAT = "korean-rag-1"
_LEXICAL = "lexical"
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

    def __len__(self) -> int:
        """The number of passages."""
        return len(self.snapshot.store)

    def document_ids(self) -> set[str]:
        """Return the ids of all documents; a document has one or more passages."""
        return _document_ids(self.snapshot.store)

    def article(self, doc_id: str) -> Document:
        """Return a whole document, put together from its passages.

        Raises:
            KeyError: It is not in the index.
        """
        passages = [p for p in self.snapshot.store.documents.values() if p.metadata["doc_id"] == doc_id]
        if not passages:
            raise KeyError(f"There is no document {doc_id} in {self.path}.")
        text = ""
        for passage in sorted(passages, key=lambda passage: passage.metadata["start"]):
            start: int = passage.metadata["start"]
            text = text[:start].ljust(start) + passage.page_content
        return make_document(text, **{**passages[0].metadata, "start": None, "end": None})

    def refresh(self) -> bool:
        """Read the newest committed version; return whether it is another than before.

        Raises:
            ValueError: It is damaged, or was built with another embedding model.
        """
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
            articles, repeated = _distinct(documents)
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
            articles, repeated = _distinct(documents)
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
        passages = before.store.documents.values()
        gone = [passage.id for passage in passages if passage.id and passage.metadata["doc_id"] in removed]
        manifest = {key: value for key, value in before.manifest.items() if key not in {"generation", "files"}}
        old = self.path / f"{before.manifest['generation']:06d}"
        with new_generation(self.path, manifest) as folder:
            shutil.copytree(old / _LEXICAL, folder / _LEXICAL, copy_function=_link)  # Tantivy's files never change
            if (old / _USER_DICTIONARY).exists():
                _link(old / _USER_DICTIONARY, folder / _USER_DICTIONARY)
            store, lexical = before.store.copy(), _open_lexical(folder)
            store.delete(gone)
            lexical.delete(gone)
            _fill(folder, manifest, store, lexical, new, progress=progress)
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
            once.
        embeddings: The embedding model; the index can only be opened with the same one.
        passage_chars: Longer documents are split on sentences into passages of at most this many characters.
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
        articles, _ = _distinct(documents)
        if not articles:
            raise ValueError("There is no document to index. Give at least one that holds text.")
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "model": _describe(embeddings),
            "analysis": {"kiwipiepy": version("kiwipiepy"), "fields": ["bigrams", "morphemes"]},
            "passage_chars": passage_chars,
        }
        with new_generation(folder, manifest) as generation:
            if user_dictionary is not None:
                shutil.copyfile(user_dictionary, generation / _USER_DICTIONARY)
            store, lexical = FaissStore(embeddings), _open_lexical(generation)
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
        embeddings = load_embeddings(read_manifest(folder, format=FORMAT)["model"]["name"])
    return Index(folder, embeddings, _read_snapshot(folder, embeddings))


def check_index(path: str | Path) -> list[str]:
    """Return everything that is wrong with an index, one sentence each; an empty list means it is sound.

    Checks the manifest, every file's checksum, that documents, vectors and lexical index hold the same passages, and
    that the counts are those of the manifest. Needs no embedding model.

    Raises:
        FileNotFoundError: There is no index.
    """
    folder = Path(path)
    try:
        manifest = read_manifest(folder, format=FORMAT)
    except ValueError as error:
        return [str(error)]
    if damaged := damaged_files(folder, manifest):
        return [f"{name} is missing, changed or does not belong there." for name in damaged]
    generation = folder / f"{manifest['generation']:06d}"
    store = FaissStore.read(generation, _NoEmbeddings())
    lexical_ids = sorted(_open_lexical(generation).ids())
    problems = []
    if lexical_ids != sorted(store.documents):
        problems.append("The lexical index and the documents hold different passages.")
    if _counts(store) != {key: manifest[key] for key in ("documents", "passages")}:
        problems.append(f"The manifest counts other documents or passages than there are: {_counts(store)}.")
    if store.dimension is not None and store.dimension != manifest["model"]["dimension"]:
        problems.append(f"Vectors have {store.dimension} dimensions, the manifest says {manifest['model']}.")
    lengths = np.linalg.norm(store.vectors(list(store.documents)), axis=1)
    if not np.all((np.abs(lengths - 1) < 0.01) | (lengths == 0)):
        problems.append("Some vectors are not normalised.")
    return problems


class _NoEmbeddings(Embeddings):
    """Stands in where only stored vectors are looked at."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise NotImplementedError

    def embed_query(self, text: str) -> list[float]:
        raise NotImplementedError


def _read_snapshot(path: Path, embeddings: Embeddings) -> Snapshot:
    def load(folder: Path, manifest: dict[str, Any]) -> Snapshot:
        _check_model(path, manifest["model"], _describe(embeddings))
        return Snapshot(manifest, FaissStore.read(folder, embeddings), _open_lexical(folder))

    return open_generation(path, load, format=FORMAT)


def _open_lexical(folder: Path) -> LexicalIndex:
    dictionary = folder / _USER_DICTIONARY
    words: Analyzer = Analyzer(dictionary) if dictionary.exists() else analyzer()
    return LexicalIndex(words, folder / _LEXICAL)


def _fill(
    folder: Path,
    manifest: dict[str, Any],
    store: FaissStore,
    lexical: LexicalIndex,
    articles: list[Document],
    *,
    progress: bool,
) -> None:
    passages = split_documents(articles, max_chars=manifest["passage_chars"])
    added: list[Document] = []
    vectors: list[NDArray[np.float32]] = []
    with tqdm(total=len(articles), unit="document", disable=not progress) as bar:
        while batch := list(islice(passages, _BATCH)):
            texts = [searchable_text(passage) for passage in batch]
            lexical.add([str(passage.id) for passage in batch], texts)
            vectors.append(_encode(store.embeddings, texts))
            added += batch
            bar.update(sum(passage.metadata["start"] == 0 for passage in batch))
    if added:
        store.add_vectors(added, np.concatenate(vectors))
    lexical.commit()
    store.write(folder)
    manifest.update(_counts(store))


def _encode(embeddings: Embeddings, texts: list[str]) -> NDArray[np.float32]:
    encode = getattr(embeddings, "encode", embeddings.embed_documents)
    return np.asarray(encode(texts), dtype=np.float32)


def _distinct(documents: Iterable[Document]) -> tuple[dict[str, Document], int]:
    """Return the documents by doc_id, normalised, and how many repeated an earlier text."""
    articles: dict[str, Document] = {}
    repeated = 0
    for document in documents:
        article = make_document(document.page_content, **document.metadata)
        repeated += article.metadata["doc_id"] in articles
        articles.setdefault(article.metadata["doc_id"], article)
    return articles, repeated


def _article_metadata(passage: Document) -> dict[str, Any]:
    return {key: value for key, value in passage.metadata.items() if key not in {"start", "end"}}


def _document_ids(store: FaissStore) -> set[str]:
    return {passage.metadata["doc_id"] for passage in store.documents.values()}


def _counts(store: FaissStore) -> dict[str, int]:
    return {"documents": len(_document_ids(store)), "passages": len(store)}


def _describe(embeddings: Embeddings) -> dict[str, Any]:
    """Return what identifies a model; for classes other than ours only its class and dimension are known."""
    return {
        "name": getattr(embeddings, "name", type(embeddings).__name__),
        "fingerprint": getattr(embeddings, "fingerprint", None),
        "dimension": getattr(embeddings, "dimension", None) or len(embeddings.embed_query("차원")),
    }


def _check_model(path: Path, built: dict[str, Any], given: dict[str, Any]) -> None:
    if built["fingerprint"] != given["fingerprint"] or built["dimension"] != given["dimension"]:
        same_name = " of the same name but with other weights" if built["name"] == given["name"] else ""
        raise ValueError(
            f"{path} was built with {built['name']!r} ({built['dimension']} dimensions) but the model given is "
            f"{given['name']!r} ({given['dimension']} dimensions){same_name}. Open it with the model it was built "
            f"with, or build it anew: rag-app index PATH... --index {path} --model {given['name']} --replace"
        )


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
