"""Pairs of sentences with the similarity that people gave them: KLUE-STS, KorSTS, and tables of one's own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rag_app.data.sources import klue_rows, split_files
from rag_app.files.encodings import text_encoding
from rag_app.files.tables import ROWS, Row
from rag_app.korean import normalise

MAX_SCORE = 5.0
"""People rate a pair from 0, nothing in common, to 5, the same meaning."""

_SCORES = ("score", "label", "similarity", "labels")
_WANTED = f"sentence1, sentence2 and score (or label or similarity), from 0 to {MAX_SCORE:g}"


class SimilarityPair(NamedTuple):
    """Two sentences, normalised, and how similar they are: the human score divided by 5, so from 0 to 1."""

    first: str
    second: str
    score: float


def load_similarity_pairs(source: str | Path, *, split: str = "validation") -> list[SimilarityPair]:
    """Return the sentence pairs of a data set, in its order.

    Scores are read as 0 to 5 whatever they are: a table with scores already between 0 and 1 is not recognised, and
    comes out a fifth of what it should be.

    Args:
        source: ``"klue"``, KLUE-STS from the Hub; a file: KLUE-STS json, KorSTS tsv, or jsonl, csv, json or tsv with
            the columns ``sentence1``, ``sentence2`` and ``score``, ``label`` or ``similarity``; or a folder of such
            files with their split in the name. Of KLUE-STS's three labels the score is ``labels.label``, the mean
            rating to one decimal. A tsv is read like KorSTS, without quoting: a quotation mark is part of the sentence.
        split: Which part of a data set that has parts: ``train``, ``validation`` or ``test`` (KLUE-STS has published
            no test part). A file is taken for whichever one wants.

    Raises:
        FileNotFoundError: There is nothing at the path, or not the split in the folder.
        ValueError: The data are broken, or there are none; names the file and place.
        ImportError: ``"klue"`` without the datasets library.
        ConnectionError: ``"klue"`` without a connection.
    """
    path = Path(source)
    if str(source) == "klue":
        return _pairs(klue_rows("sts", split), "klue")
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}. By name there is klue (KLUE-STS)")
    files = split_files(path, split) if path.is_dir() else [path]
    return [pair for file in files for pair in _pairs(_file_rows(file), str(file))]


def _file_rows(path: Path) -> Iterator[Row]:
    if path.suffix.lower() not in _ROWS:
        raise ValueError(f"it has the suffix {path.suffix!r}. Sentence pairs are read from {', '.join(_ROWS)}")
    yield from _ROWS[path.suffix.lower()](path)


def _unquoted_rows(path: Path) -> Iterator[Row]:
    # A csv reader would take a sentence that begins with a quotation mark, and all lines to the next one, for one cell.
    with path.open(encoding=text_encoding(path), newline="\n") as file:
        header = [normalise(name) for name in file.readline().split("\t")]
        for number, line in enumerate(file, start=2):
            cells = line.rstrip("\r\n").split("\t")
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"line {number}: {len(cells)} cells under {len(header)} column names: {line[:80]!r}. Put one "
                    "tab between cells and none inside a sentence"
                )
            yield Row(f"line {number}", dict(zip(header, cells, strict=True)))


_ROWS: dict[str, Callable[[Path], Iterator[Row]]] = {**ROWS, ".tsv": _unquoted_rows}


def _pairs(rows: Iterator[Row], source: str) -> list[SimilarityPair]:
    try:
        pairs = [SimilarityPair(_sentence(row, "sentence1"), _sentence(row, "sentence2"), _score(row)) for row in rows]
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if not pairs:
        raise ValueError(f"{source} holds no sentence pair. Its rows need the columns {_WANTED}")
    return pairs


def _sentence(row: Row, name: str) -> str:
    if name not in row.values:
        raise ValueError(f"{row.place}: no column {name!r} among {', '.join(row.values)}. Name them {_WANTED}")
    value = row.values[name]
    if not isinstance(value, str | None):
        raise ValueError(f"{row.place}: column {name!r} holds a {type(value).__name__}, not text: {value!r}")
    sentence = normalise(value or "")
    if not sentence:
        raise ValueError(f"{row.place}: column {name!r} is empty: {value!r}. Fill it in or leave the pair out")
    return sentence


def _score(row: Row) -> float:
    column = next((name for name in _SCORES if name in row.values), None)
    if column is None:
        raise ValueError(f"{row.place}: no score among {', '.join(row.values)}. Name the columns {_WANTED}")
    value: Any = row.values[column]
    if isinstance(value, dict):  # KLUE-STS: label, real-label (not rounded) and binary-label (3 or more)
        value = value.get("label")
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = -1.0
    if not 0 <= score <= MAX_SCORE:  # nor is NaN
        raise ValueError(f"{row.place}: column {column!r} holds {value!r}. Scores are numbers from 0 to {MAX_SCORE:g}")
    return score / MAX_SCORE
