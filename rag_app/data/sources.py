"""Where rows with questions come from: the bundled sample, KLUE-MRC on the Hub, a file, a folder of files."""

import re
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path

from rag_app.hub import TIMEOUT, network_errors
from rag_app.korean import normalise
from rag_app.tables import ROWS, Row

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


def klue_rows(split: str) -> Iterator[Row]:
    """Yield the rows of KLUE-MRC from the Hugging Face Hub, or from its cache when HF_HUB_OFFLINE is set.

    Raises:
        ImportError: The datasets library is not installed.
        ConnectionError: The Hub cannot be reached, or offline and nothing is in the cache.
        ValueError: KLUE-MRC has no such split.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ImportError(
            'KLUE-MRC from the Hub needs the datasets library: pip install "korean-rag[train]"'
        ) from error
    if split not in ("train", "validation"):
        raise ValueError(f"KLUE-MRC has no split {split!r}. Ask for 'train' or 'validation'")
    _check_hub()
    try:
        rows = load_dataset("klue/klue", "mrc", split=split)
    except ConnectionError as error:
        raise ConnectionError(_no_hub(error)) from error
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
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ROWS)
    name = re.compile(rf"(?<![a-z])(?:{'|'.join(split_names(split))})(?![a-z])")
    wanted = [path for path in paths if name.search(path.stem.lower())]
    if not wanted:
        raise FileNotFoundError(
            f"{folder} is no BEIR folder (corpus.jsonl, queries.jsonl, qrels.tsv), and none of its tables has "
            f"{' or '.join(split_names(split))} in its name: {', '.join(path.name for path in paths) or 'it has none'}"
        )
    for path in wanted:
        for row in file_rows(path, split):
            yield Row(f"{path.name}, {row.place}", row.values)


def split_names(split: str) -> tuple[str, ...]:
    """Return the names under which a split goes in file names, in lower case."""
    return _SPLIT_NAMES.get(split, (split.lower(),))


NAMED: dict[str, Callable[[str], Iterator[Row]]] = {"sample": sample_rows, "klue": klue_rows}
"""The data sets that go by a name, each read by its split."""


def _check_hub() -> None:
    """Fail at once where load_dataset would retry for half a minute before it says that there is no connection."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        HfApi().dataset_info("klue/klue", timeout=TIMEOUT)
    except (HfHubHTTPError, OfflineModeIsEnabled):  # the Hub answered; or load_dataset will look into the cache only
        return
    except network_errors() as error:
        raise ConnectionError(_no_hub(error)) from error


def _no_hub(error: Exception) -> str:
    return (
        f"Cannot get klue/klue from the Hugging Face Hub: {normalise(str(error))}. Give a local copy of its json file "
        "(klue-mrc-v1.1_dev.json), or 'sample' for the bundled news; with a copy in the cache set HF_HUB_OFFLINE=1"
    )
