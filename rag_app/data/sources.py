"""Where rows come from: the bundled sample, KLUE on the Hub, a file, a folder of files."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from rag_app.files.tables import ROWS, Row
from rag_app.hub import cached_only, check_dataset
from rag_app.korean import normalise

_SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


def sample_rows(name: str) -> Iterator[Row]:
    """Yield the rows of a file of the bundled sample: ``articles``, ``train`` or ``validation``.

    Raises:
        ValueError: The sample has no such split.
    """
    with as_file(files("rag_app.data") / "sample" / f"{name}.jsonl") as path:
        if not path.exists():
            raise ValueError(f"The sample has no split {name!r}. Ask for 'train' or 'validation'")
        yield from ROWS[".jsonl"](path)


def klue_rows(configuration: str, split: str) -> Iterator[Row]:
    """Yield the rows of a task of KLUE from the Hugging Face Hub, or from its cache when HF_HUB_OFFLINE is set.

    Args:
        configuration: Of klue/klue: ``mrc`` for questions, ``sts`` for the similarity of sentences.
        split: ``train`` or ``validation``.

    Raises:
        ImportError: The datasets library is not installed.
        ConnectionError: The Hub cannot be reached, or offline and nothing is in the cache.
        ValueError: The task has no such split.
    """
    name = f"KLUE-{configuration.upper()}"
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ImportError(f'{name} from the Hub needs the datasets library: pip install "korean-rag[train]"') from error
    if split not in ("train", "validation"):
        raise ValueError(f"{name} has no split {split!r}. Ask for 'train' or 'validation'")
    try:
        check_dataset("klue/klue")
        rows = load_dataset("klue/klue", configuration, split=split)
    except ConnectionError as error:
        otherwise = ", or 'sample' for the bundled news" if configuration == "mrc" else ""
        raise ConnectionError(
            f"Cannot get klue/klue ({name}) from the Hugging Face Hub: {normalise(str(error))}. Give a local copy of "
            f"its json file (klue-{configuration}-v1.1_dev.json){otherwise}; {cached_only()}"
        ) from error
    for number, values in enumerate(rows, start=1):
        yield Row(f"record {number}", dict(values))


def file_rows(path: Path, split: str) -> Iterator[Row]:
    """Yield the rows of a table with questions; a file is taken for whichever split one wants.

    Raises:
        ValueError: The file is of another format, or broken.
    """
    if path.suffix.lower() not in ROWS:
        raise ValueError(f"{path} has the suffix {path.suffix!r}. Questions are read from {', '.join(ROWS)}")
    try:
        yield from ROWS[path.suffix.lower()](path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def folder_rows(folder: Path, split: str) -> Iterator[Row]:
    """Yield the rows of the files in a folder with the split in their name: ``train_1.jsonl``, ``mrc_dev.json``.

    Raises:
        FileNotFoundError: No file has.
    """
    try:
        paths = split_files(folder, split)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. Nor is it a BEIR folder (corpus.jsonl, queries.jsonl, qrels.tsv)") from error
    for path in paths:
        for row in file_rows(path, split):
            yield Row(f"{path.name}, {row.place}", row.values)


def split_files(folder: Path, split: str) -> list[Path]:
    """Return the tables in a folder with the split in their name, sorted.

    Raises:
        FileNotFoundError: There is none.
    """
    if wanted := _tables_named(folder, split_names(split)):
        return wanted
    raise FileNotFoundError(
        f"{folder}: none of its tables has {' or '.join(split_names(split))} in its name: "
        f"{', '.join(path.name for path in _tables(folder)) or 'it has none'}"
    )


def all_split_files(folder: Path) -> list[Path]:
    """Return the tables in a folder with the name of any usual split in theirs, sorted."""
    return _tables_named(folder, [name for names in _SPLIT_NAMES.values() for name in names])


def split_names(split: str) -> tuple[str, ...]:
    """Return the names under which a split goes in file names, in lower case."""
    return _SPLIT_NAMES.get(split, (split.lower(),))


NAMED: dict[str, Callable[[str], Iterator[Row]]] = {"sample": sample_rows, "klue": partial(klue_rows, "mrc")}
"""The data sets with questions that go by a name, each read by its split."""


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ROWS)


def _tables_named(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the tables of a folder with one of these words in their name."""
    name = re.compile(rf"(?<![a-z])(?:{'|'.join(names)})(?![a-z])")
    return [path for path in _tables(folder) if name.search(path.stem.lower())]
