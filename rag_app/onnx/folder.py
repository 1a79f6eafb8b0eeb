"""Where the export of a model lies, and what its manifest says: a folder beside the model, or in the user's cache."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

from filelock import FileLock
from huggingface_hub.constants import HF_ASSETS_CACHE

from rag_app.model_folders import read_json
from rag_app.models import OnnxBackend, ResolvedModel, model_fingerprint
from rag_app.onnx.quality import Quality

GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
_MANIFEST = "export.json"
_FORMAT = 1  # of the folder: another number is exported anew
_FOLDERS: dict[OnnxBackend, str] = {"onnx": "fp32", "onnx-int8": "int8"}


@dataclass(frozen=True)
class Export:
    """What is known of an exported model.

    Attributes:
        fingerprint: Of the model it was made from; see `rag_app.models.model_fingerprint`.
        backend: What its numbers are.
        inputs: What the graph takes, in order: ``input_ids``, ``attention_mask``, and for some models
            ``token_type_ids``.
        window: Tokens after which a text or pair is cut, None for none.
        width: Numbers that come back for each text: the length of a vector, or 1 of a reranker.
        padding: The token that fills up a batch.
        unknown: The token of what the tokenizer does not know, None where it knows everything.
        query_prompt: What the model itself wants before a question, "" for nothing; likewise before a passage.
        document_prompt: See ``query_prompt``.
        quality: How well int8 keeps the order of float32; None where that was not measured.
        versions: What it was made with.
    """

    fingerprint: str
    backend: OnnxBackend
    inputs: tuple[str, ...]
    window: int | None
    width: int
    padding: int
    unknown: int | None
    query_prompt: str
    document_prompt: str
    quality: Quality | None
    versions: dict[str, str]


def find_export(model: ResolvedModel, backend: OnnxBackend) -> Path | None:
    """Return the folder that holds an export of a model as it is now, None if there is none."""
    fingerprint = model_fingerprint(model)
    for folder in _places(model, backend):
        export = read_export(folder)
        if export is not None and export.fingerprint == fingerprint:
            return folder
    return None


def read_export(folder: Path) -> Export | None:
    """Return what a folder's manifest says, None where there is no manifest of the present format."""
    path = folder / _MANIFEST
    if not path.is_file():
        return None
    content = read_json(path)
    if content.pop("format", None) != _FORMAT:
        return None
    try:
        quality = content.pop("quality")
        content["inputs"] = tuple(content["inputs"])
        return Export(**content, quality=None if quality is None else Quality(**quality))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}). Delete {folder}, and the model is exported anew.") from error


def write_export(folder: Path, export: Export) -> None:
    """Write the manifest of an export into the folder of its files."""
    content = {"format": _FORMAT, **asdict(export)}
    (folder / _MANIFEST).write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")


def is_complete(folder: Path) -> bool:
    """Return whether an export can be loaded; one that was refused is a manifest alone."""
    return (folder / GRAPH).is_file()


@contextmanager
def export_lock(model: ResolvedModel, backend: OnnxBackend) -> Iterator[Path]:
    """Wait until no other process or thread exports this model, and yield the folder to export into."""
    places = _places(model, backend)
    folder = next((place for place in places if _is_writable(place)), places[-1])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        yield folder


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of another when the block ends well, and else is removed.

    Only for one at a time; see `export_lock`.
    """
    for left in folder.parent.glob(f".{folder.name}-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield aside
        for path in aside.iterdir():  # on disk before it has a name that is looked for
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        aside.chmod(folder.parent.stat().st_mode & 0o777)  # others who use the model may use its export
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _places(model: ResolvedModel, backend: OnnxBackend) -> list[Path]:
    """Return where an export may lie, the place for a new one first that can be written to."""
    name = _FOLDERS[backend]
    digest = sha256(model_fingerprint(model).encode()).hexdigest()[:32]
    # The Hub's snapshots are the Hub's: what is made from them goes into its folder for that, by fingerprint.
    # Not cached_assets_path, which makes the folder and fails where it may not, as where there is no home.
    cached = Path(HF_ASSETS_CACHE).expanduser() / "korean-rag" / "onnx" / digest / name
    return [cached] if model.commit is not None else [model.folder / "onnx" / name, cached]


def _is_writable(place: Path) -> bool:
    existing = next(path for path in (place, *place.parents) if path.exists())
    return os.access(existing, os.W_OK)
