"""Data sets in the layout of BEIR: corpus.jsonl, queries.jsonl and qrels (https://github.com/beir-cellar/beir)."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from rag_app.data.records import Question, RetrievalData
from rag_app.documents import make_document
from rag_app.files.encodings import text_encoding
from rag_app.files.tables import jsonl_rows
from rag_app.korean import normalise

_QRELS: dict[str, tuple[str, ...]] = {
    "train": ("qrels/train.tsv",),
    "validation": ("qrels/validation.tsv", "qrels/dev.tsv", "qrels/test.tsv"),
    "test": ("qrels/test.tsv",),
}


def is_beir(path: Path) -> bool:
    """Whether a path is a folder with a BEIR corpus."""
    return (path / "corpus.jsonl").is_file()


def load_beir(folder: Path, split: str) -> RetrievalData:
    """Return the whole corpus of a BEIR folder and the queries for which a split's qrels name a relevant passage.

    A passage that the qrels name and the corpus lacks stays relevant, as one that no system can find.

    Raises:
        FileNotFoundError: A file is missing; ``test`` stands in for ``validation``, and for nothing else.
        ValueError: A file is broken; names it and the line.
    """
    passages, doc_ids = read_corpus(folder)
    queries = dict(_entries(folder / "queries.jsonl"))
    qrels = _read_qrels(_find_qrels(folder, split))
    if missing := qrels.keys() - queries.keys():
        raise ValueError(
            f"{folder / 'queries.jsonl'}: {len(missing)} queries of the qrels are missing: {min(missing)!r}"
        )
    texts = {query_id: normalise(str(queries[query_id].get("text") or "")) for query_id in qrels}
    if empty := [query_id for query_id, text in texts.items() if not text]:
        raise ValueError(f"{folder / 'queries.jsonl'}: the query {empty[0]!r} asks nothing. Give it a text")
    questions = [
        Question(
            id=query_id,
            text=texts[query_id],
            relevant=frozenset(doc_ids.get(corpus_id, corpus_id) for corpus_id in corpus_ids),
            answers=(),
            impossible=False,
            metadata=queries[query_id].get("metadata") or {},
            context_id="",
        )
        for query_id, corpus_ids in qrels.items()
    ]
    return RetrievalData(passages, questions)


def read_corpus(folder: Path) -> tuple[dict[str, Document], dict[str, str]]:
    """Return the passages of a BEIR folder by doc_id, each text once, and the doc_id of every corpus id.

    Raises:
        ValueError: corpus.jsonl is broken or holds an empty passage; names the line.
    """
    path = folder / "corpus.jsonl"
    passages: dict[str, Document] = {}
    doc_ids: dict[str, str] = {}
    for corpus_id, entry in _entries(path):
        text = str(entry.get("text") or entry.get("title") or "")  # some corpora are all titles
        columns = {name: value for name, value in entry.items() if name not in ("_id", "text", "metadata")}
        try:
            passage = make_document(text, **{**(entry.get("metadata") or {}), **columns})
        except ValueError as error:
            raise ValueError(f"{path}: passage {corpus_id!r} {error}") from error
        doc_ids[corpus_id] = passage.metadata["doc_id"]
        passages.setdefault(passage.metadata["doc_id"], passage)
    return passages, doc_ids


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        for row in jsonl_rows(path):
            if "_id" not in row.values:
                raise ValueError(f"{row.place}: no '_id'")
            yield str(row.values["_id"]), row.values
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _find_qrels(folder: Path, split: str) -> Path:
    names = ("qrels.tsv", *_QRELS.get(split, (f"qrels/{split}.tsv",)))
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder} has no qrels for {split}: looked for {', '.join(names)}")


def _read_qrels(path: Path) -> dict[str, list[str]]:
    """Return the relevant passages (score above 0) of each query, from lines of query, passage and score."""
    relevant: defaultdict[str, list[str]] = defaultdict(list)
    lines = path.read_text(encoding=text_encoding(path)).splitlines()
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t")
        try:
            query_id, corpus_id, score = cells
            if float(score) > 0:
                relevant[query_id].append(corpus_id)
        except ValueError as error:
            if line.strip() and number > 1:  # the first line is the header, or need not be
                raise ValueError(f"{path}: line {number}: want query-id, corpus-id and score, got {cells}") from error
    if not relevant:
        raise ValueError(f"{path}: names no relevant passage")
    return relevant
