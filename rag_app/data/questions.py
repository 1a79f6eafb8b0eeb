"""Questions with the passages that answer them, from any source under one form."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from rag_app.data.beir import is_beir, load_beir, read_corpus
from rag_app.data.records import Question as Question
from rag_app.data.records import RetrievalData as RetrievalData
from rag_app.data.sources import NAMED, all_split_files, file_rows, folder_rows
from rag_app.documents import load_documents, make_document
from rag_app.files.tables import QUESTION_NAMES, USUAL_COLUMNS, USUAL_NAMES, Columns, Row, table_records
from rag_app.korean import normalise

_ID_NAMES = ("guid", "question_id", "id", "_id")
_ANSWER_NAMES = ("answers", "answer", "is_impossible", "plausible_answers")
_NEGATIVES = "negatives"
_TRUE = {"true", "1", "1.0", "yes"}


def load_retrieval_data(
    source: str | Path, *, split: str = "validation", columns: Columns = USUAL_COLUMNS
) -> RetrievalData:
    """Return the passages and questions of a data set.

    Args:
        source: ``"sample"``, the bundled news; ``"klue"``, KLUE-MRC from the Hub; a file: KLUE-MRC or KorQuAD json,
            or jsonl, csv or tsv with a question and its context in each row; a BEIR folder (``corpus.jsonl``,
            ``queries.jsonl``, ``qrels.tsv`` or ``qrels/test.tsv``); or a folder of such files with their split in
            the name. A row may bring ``negatives``: passages that do not answer its question, as a list of texts or of
            objects with ``text`` and ``title``.
        split: Which part of a data set that has parts: ``train``, ``validation`` or ``test``. Of a BEIR folder
            without qrels for validation, ``test`` is taken for it, but never for ``train``.
        columns: Which columns hold what, where they have no usual name; ``text`` is the context.

    Raises:
        FileNotFoundError: There is nothing at the path, or not the split in the folder.
        ValueError: The data are broken; names the file and place.
        ImportError: ``"klue"`` without the datasets library.
        ConnectionError: ``"klue"`` without a connection.
    """
    path = Path(source)
    if str(source) in NAMED:
        return _from_rows(NAMED[str(source)](split), columns, str(source))
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}. By name there are {', '.join(NAMED)}")
    if is_beir(path):
        return load_beir(path, split)
    return _from_rows((folder_rows if path.is_dir() else file_rows)(path, split), columns, str(path))


def load_passages(source: str | Path) -> list[Document]:
    """Return the corpus of a data set, both splits of it, or the articles of a file or folder; each text once.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: A file is broken.
        ImportError: ``"klue"`` without the datasets library.
        ConnectionError: ``"klue"`` without a connection.
    """
    if str(source) in NAMED or is_beir(Path(source)):
        return all_passages(source)
    return list(load_documents(source))


def all_passages(source: str | Path, *, columns: Columns = USUAL_COLUMNS) -> list[Document]:
    """Return the passages of all splits of a data set, each text once: as many as a question can be searched in.

    Of ``"sample"`` these are all articles, of ``"klue"`` the contexts of both splits, of a BEIR folder its corpus, and
    of a folder the contexts of every table that has train, validation (valid, val, dev) or test in its name. A single
    file has only its own.

    Args:
        source: What `load_retrieval_data` takes.
        columns: Likewise.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: A file is broken; names it and the place.
        ImportError: ``"klue"`` without the datasets library.
        ConnectionError: ``"klue"`` without a connection.
    """
    path = Path(source)
    if str(source) == "sample":
        return sample_documents()
    if str(source) in NAMED:
        parts = {split: NAMED[str(source)](split) for split in ("train", "validation")}
    elif not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}. By name there are {', '.join(NAMED)}")
    elif is_beir(path):
        return list(read_corpus(path)[0].values())
    else:
        files = all_split_files(path) if path.is_dir() else [path]
        parts = {str(file): file_rows(file, "") for file in files}
    passages: dict[str, Document] = {}
    others: dict[str, Document] = {}
    for name, rows in parts.items():
        for row in rows:
            if passage := _passage(row, columns, name):
                passages.setdefault(passage.metadata["doc_id"], passage)
            others |= _negatives(row, name)
    return list(_together(passages, others).values())


def sample_documents() -> list[Document]:
    """Return the articles of the bundled news sample."""
    records = table_records(NAMED["sample"]("articles"))
    return [make_document(record.pop("text"), **record) for record in records]


def _from_rows(rows: Iterable[Row], columns: Columns, source: str) -> RetrievalData:
    passages: dict[str, Document] = {}
    others: dict[str, Document] = {}
    questions: list[Question] = []
    taken: set[str] = set()
    uses: defaultdict[str, int] = defaultdict(lambda: 1)
    for number, row in enumerate(rows, start=1):
        passage = _passage(row, columns, source)
        if passage is None:
            raise ValueError(f"{source}: {row.place}: the context is empty")
        passages.setdefault(passage.metadata["doc_id"], passage)
        negatives = _negatives(row, source)
        others |= negatives
        try:
            question = _question(row, passage.metadata["doc_id"], columns)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        if question is not None:
            # In some tables ``id`` is that of the passage: number it from its second use on.
            name = unique = question.id or f"{number}"
            while unique in taken:
                uses[name] += 1
                unique = f"{name}#{uses[name]}"
            taken.add(unique)
            given = tuple(doc_id for doc_id in negatives if doc_id not in question.relevant)
            questions.append(question._replace(id=unique, negatives=given))
    if not questions:
        raise ValueError(f"{source} holds no question. Its rows need a column {' or '.join(QUESTION_NAMES)}")
    return RetrievalData(_together(passages, others), questions)


def _together(passages: dict[str, Document], others: dict[str, Document]) -> dict[str, Document]:
    """Return the passages with the others behind them; one that is among both is as the first have it."""
    return passages | {doc_id: other for doc_id, other in others.items() if doc_id not in passages}


def _passage(row: Row, columns: Columns, source: str) -> Document | None:
    """Return the passage of a row; None if it has no text."""
    try:
        record = next(table_records([row], columns), None)
        return None if record is None else make_document(record.pop("text"), **record)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _question(row: Row, doc_id: str, columns: Columns) -> Question | None:
    """Return the question of a row, with an empty id if it has none; None if it asks nothing."""
    column = next((name for name in QUESTION_NAMES if name in row.values), "")
    text = normalise(str(row.values.get(column) or ""))
    if not text:
        return None
    impossible = str(row.values.get("is_impossible")).lower() in _TRUE
    taken = {column, columns.text, *USUAL_NAMES["text"], *_ANSWER_NAMES, _NEGATIVES}
    return Question(
        id=next((str(row.values[name]) for name in _ID_NAMES if row.values.get(name)), ""),
        text=text,
        relevant=frozenset() if impossible else frozenset({doc_id}),
        # KLUE-MRC on the Hub gives an impossible question the plausible wrong answers.
        answers=() if impossible else _answers(row),
        impossible=impossible,
        metadata={name: value for name, value in row.values.items() if name not in taken},
        context_id=doc_id,
    )


def _negatives(row: Row, source: str) -> dict[str, Document]:
    """Return by doc_id the passages that a row says do not answer its question; none of a row that asks nothing."""
    if not any(row.values.get(name) for name in QUESTION_NAMES):
        return {}
    try:
        value = _literal(row, _NEGATIVES)
        items = value if isinstance(value, list | tuple) else [value] if value else []
        records: list[dict[str, Any]] = []
        for number, item in enumerate(items, start=1):
            if not isinstance(item, str | dict):
                raise ValueError(f"{row.place}: column 'negatives' holds a {type(item).__name__}, not a passage")
            place = f"{row.place}, negative {number}"
            records += table_records([Row(place, {"text": item} if isinstance(item, str) else item)])
        found = [make_document(record.pop("text"), **record) for record in records]
        return {str(passage.id): passage for passage in found}
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _answers(row: Row) -> tuple[str, ...]:
    """Return the distinct answers of a row: SQuAD's list, the Hub's dict of lists, either as Python source, or text."""
    value = _literal(row, "answers" if "answers" in row.values else "answer")
    if isinstance(value, dict):
        value = value.get("text")
    items = value if isinstance(value, list | tuple) else [value]
    texts = (item.get("text") if isinstance(item, dict) else item for item in items)
    return tuple(dict.fromkeys(text for item in texts if item is not None and (text := normalise(str(item)))))


def _literal(row: Row, column: str) -> Any:
    """Return what a column holds; a list or dict as Python source, as data frames write them into csv, is read."""
    value = row.values.get(column)
    if isinstance(value, str) and value.strip().startswith(("{", "[")):
        try:
            return ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(f"{row.place}: column {column!r} is no literal: {value[:80]!r}") from error
    return value
