"""What lies in a model's folder: its modules, its kind, and whether it can be loaded without running foreign code."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from numpy.typing import NDArray

T = TypeVar("T")

Kind = Literal["static", "sentence-transformer", "transformer", "cross-encoder", "linear-reranker"]

LINEAR_RERANKER = "korean-rag-linear-reranker"
"""The ``model_type`` of our own rerankers; see `rag_app.reranking.linear`."""
COUNTS = "counts.safetensors"
"""What they keep beside their configuration."""

_MODULE_CLASS = re.compile(
    r"sentence_transformers\.(models|base\.modules|sentence_transformer\.modules|cross_encoder\.modules)(\.[a-z_]+)?\."
    r"(Transformer|StaticEmbedding|Pooling|WeightedLayerPooling|Normalize|Dense|Dropout|LayerNorm|LogitScore)"
)
"""Router and WordEmbeddings are left out: their own configuration names further classes to import."""

_ACTIVATION = re.compile(r"torch\.nn\.modules\.(activation|linear)\.[A-Z][A-Za-z0-9]*")
_ACTIVATIONS = frozenset({"activation_fn", "activation_function", "sbert_ce_default_activation_function"})
_ATTENTIONS = frozenset({"attn_implementation", "_attn_implementation", "_attn_implementation_internal"})
"""Where configurations name a function that sentence-transformers imports and calls if it is anywhere in torch, and
code that transformers gets from the Hub if it has a slash."""

_STATIC_PATHS = ("", ".", "0_StaticEmbedding")  # where model2vec looks for a static embedding
_MODEL_TYPES: dict[str, Kind] = {"SentenceTransformer": "sentence-transformer", "CrossEncoder": "cross-encoder"}
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def check_folder(folder: Path, name: str) -> Kind:
    """Return the kind of model a folder holds, from its configuration alone: nothing is imported or unpickled.

    Args:
        folder: A local folder or the snapshot of a Hub model.
        name: What messages call the model.

    Raises:
        ValueError: The folder holds no model, or one that is not safe to load.
    """
    for module in _modules(folder):
        inside = PurePosixPath(module["path"])
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError(f"Model {name!r} is not loaded: its modules.json leaves the folder with {str(inside)!r}.")
        if not _MODULE_CLASS.fullmatch(module["type"]):
            raise ValueError(
                f"Model {name!r} is not loaded: its modules.json names the class {module['type']!r}, which is not on "
                "the list of sentence-transformers modules that run no foreign code."
            )
    for module_folder in module_folders(folder):
        for path in matching(module_folder, ("*.safetensors",)):
            _with_tensors(path, lambda tensors: None)
        for configuration in matching(module_folder, ("*config*.json",)):
            _check_configuration(configuration, name)
    if _is_linear_reranker(folder):
        if not (folder / COUNTS).is_file():
            raise ValueError(f"{name!r} holds no model: there is no {COUNTS} in {folder}.")
        return "linear-reranker"
    weighted = False
    for module_folder in module_folders(folder):
        weights = matching(module_folder, _WEIGHTS)
        weighted = weighted or bool(weights)
        pickled = [path for path in matching(module_folder, _PICKLED) if path.name != "training_args.bin"]
        if pickled and not weights:
            raise ValueError(
                f"Model {name!r} is not loaded: {pickled[0].name} is pickled and there is no safetensors file. Convert "
                "it where you trust it: load it with transformers and save_pretrained(folder)."
            )
        if (module_folder / "adapter_config.json").exists():
            raise ValueError(f"Model {name!r} is an adapter. Merge it into its base model and save that.")
    if not weighted:
        raise ValueError(f"{name!r} holds no model: there is no model.safetensors in {folder}.")
    return _kind(folder, name)


def _check_configuration(path: Path, name: str) -> None:
    """Check everything in a configuration that names code."""
    parts: list[Any] = [read_json(path)]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        if not isinstance(part, dict):
            continue
        parts += part.values()
        for key in part.keys() & (_ACTIVATIONS | _ATTENTIONS):
            value = str(part[key])
            if "/" in value or ("." in value and key in _ACTIVATIONS and not _ACTIVATION.fullmatch(value)):
                raise ValueError(
                    f"Model {name!r} is not loaded: its {path.name} names the code {value!r} as its {key}, which is "
                    "none of PyTorch's activation functions or attentions."
                )


def _is_linear_reranker(folder: Path) -> bool:
    return not _modules(folder) and read_json(folder / "config.json").get("model_type") == LINEAR_RERANKER


def _kind(folder: Path, name: str) -> Kind:
    modules = _modules(folder)
    if modules:
        model_type = read_json(folder / "config_sentence_transformers.json").get("model_type", "SentenceTransformer")
        if model_type not in _MODEL_TYPES:
            raise ValueError(f"Model {name!r} is a {model_type}, wanted: {' or '.join(_MODEL_TYPES)}.")
        first, *others = (module["type"].rpartition(".")[2] for module in modules)
        if first == "StaticEmbedding" and set(others) <= {"Normalize"} and modules[0]["path"] in _STATIC_PATHS:
            return "static"
        return _MODEL_TYPES[model_type]
    config = read_json(folder / "config.json")
    if config.get("model_type", "model2vec") == "model2vec" and _has_tensor(folder / "model.safetensors", "embeddings"):
        return "static"
    if "model_type" not in config:
        raise ValueError(f"{name!r} holds no model: {folder / 'config.json'} does not say its model_type.")
    classifier = any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ())
    return "cross-encoder" if classifier else "transformer"


def module_folders(folder: Path) -> list[Path]:
    """Return the folders that a model's files lie in, the encoder's first."""
    return list(dict.fromkeys([*(folder / module["path"] for module in _modules(folder)), folder]))


def _modules(folder: Path) -> list[dict[str, str]]:
    path = folder / "modules.json"
    if not path.exists():
        return []
    modules = _parsed(path)
    if not isinstance(modules, list) or not all(
        isinstance(module, dict) and all(isinstance(module.get(key), str) for key in ("path", "type"))
        for module in modules
    ):
        raise ValueError(f"{path} is not a list of modules with a path and a type each.")
    return modules


def _has_tensor(path: Path, name: str) -> bool:
    return path.exists() and name in _with_tensors(path, lambda tensors: tensors.keys())


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file.

    Raises:
        ValueError: It is none, or damaged.
    """
    return _with_tensors(path, lambda tensors: {name: tensors.get_tensor(name) for name in tensors.keys()})  # noqa: SIM118


def _with_tensors(path: Path, read: Callable[[Any], T]) -> T:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as tensors:
            return read(tensors)
    except (SafetensorError, TypeError, AttributeError) as error:  # also a type of number that NumPy lacks
        raise ValueError(f"{path} cannot be read as safetensors: {error}. Get the model anew.") from error


def matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files right in a folder that match one of the patterns."""
    return [path for pattern in patterns for path in folder.glob(pattern)]


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object, empty where there is no such file.

    Raises:
        ValueError: The file holds something else.
    """
    content = _parsed(path) if path.exists() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object. Get the model anew.")
    return content


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}. Get the model anew.") from error
