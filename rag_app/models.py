"""One model name, three places: "embedded", a local folder, or a Hub id, loaded without running foreign code.

What this module refuses rather than repairs: pickled weights, module classes it does not know, a tokenizer that loses
Korean, a reranker without a trained head. What it repairs are the three ways in which klue/roberta models break with
sentence-transformers: the token type of pairs, two positions too many, and a tokenizer class named nowhere.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from typing_extensions import TypeIs

from rag_app.hub import download_model
from rag_app.model_folders import Kind, check_folder, matching, module_folders, read_json
from rag_app.token_vectors import TokenVectors, read_token_vectors

if TYPE_CHECKING:  # torch is imported only when a model that needs it is loaded
    from sentence_transformers import CrossEncoder, SentenceTransformer

logger = logging.getLogger(__name__)

EMBEDDED = "embedded"
"""Name of the models that ship with the package, one for each role."""

Role = Literal["embeddings", "reranker"]
"""What a model is wanted for."""

TorchBackend = Literal["torch", "torch-bf16", "torch-fp16"]
"""The numbers PyTorch computes with: float32 as the model has them, or half as long."""

OnnxBackend = Literal["onnx", "onnx-int8"]
"""What onnxruntime computes with: float32, or matrices of int8."""

Backend = TorchBackend | OnnxBackend
"""What a transformer runs on; see `load_sentence_transformer` and `rag_app.onnx.export.export_model`."""

_DTYPES: dict[TorchBackend, str] = {"torch": "float32", "torch-bf16": "bfloat16", "torch-fp16": "float16"}


class _Shipped(NamedTuple):
    folder: str  # in rag_app/data
    program: str  # that builds it


_SHIPPED: dict[Role, _Shipped] = {
    "embeddings": _Shipped("embedded", "finetune.distill"),
    "reranker": _Shipped("reranker", "finetune.cross_encoder --model embedded"),
}

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_FINGERPRINTED = (
    *("*.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "merges.txt", "*.model"),
    *("config.json", "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"),
)
_PROBE = "대한민국의 수도는 서울이고 국민은 한국어를 씁니다."


class ResolvedModel(NamedTuple):
    """A model found on this machine and checked: nothing in it has been imported or unpickled."""

    name: str
    folder: Path
    kind: Kind
    commit: str | None
    """The commit a Hub model is at; None for a folder."""


def resolve_model(name: str | Path, *, role: Role = "embeddings") -> ResolvedModel:
    """Find a model by name and check that it can be loaded safely.

    Args:
        name: "embedded", the path of a folder, or a Hub id ``owner/name`` with optional ``@revision`` (a branch, tag
            or commit). An existing folder goes before a Hub id of the same spelling. A Hub model already in the local
            cache is used as it is, without asking the Hub; name a revision to get a newer one.
        role: Which of the models that ship with the package "embedded" is; the model is not checked to be of use for
            it.

    Raises:
        FileNotFoundError: The folder does not exist.
        ConnectionError: The Hub model is not in the cache and the Hub is switched off or out of reach.
        ValueError: The name is none of the three, the Hub does not have it, or loading it would not be safe.
    """
    if name == EMBEDDED:
        shipped = _SHIPPED[role]
        folder = Path(str(files("rag_app") / "data" / shipped.folder))
        if not folder.is_dir():
            raise FileNotFoundError(
                f"The embedded {role} model is missing from this installation: no folder {folder}. "
                f"Reinstall korean-rag, or build the model with: python -m {shipped.program}"
            )
        return ResolvedModel(EMBEDDED, folder, check_folder(folder, EMBEDDED), None)

    folder = Path(name).expanduser()
    if str(name) and folder.is_dir():
        folder = folder.resolve()  # so that the name finds the model from any working directory
        return ResolvedModel(str(folder), folder, check_folder(folder, str(name)), None)
    if isinstance(name, Path) or name.startswith((".", "/", "~", "\\")) or name.endswith("/") or name.count("/") > 1:
        raise FileNotFoundError(f"There is no model folder {str(name)!r}.")
    hub = _HUB_ID.fullmatch(name)
    if hub is None:
        raise ValueError(
            f"{name!r} is no model name: it is neither {EMBEDDED!r}, nor an existing folder, nor a Hub id of the form "
            "owner/name or owner/name@revision."
        )
    folder = download_model(hub["repo"], hub["revision"])
    return ResolvedModel(name, folder, check_folder(folder, name), folder.name)


def is_onnx(backend: Backend | None) -> TypeIs[OnnxBackend]:
    """Return whether a transformer is to run on onnxruntime; None is PyTorch."""
    return backend in get_args(OnnxBackend)


def check_backend(backend: Backend | None, device: str | None, threads: int | None) -> None:
    """Check the options that say how a transformer runs.

    Raises:
        ValueError: There is no such backend, or it takes no such device or number of threads.
    """
    names = (*get_args(TorchBackend), *get_args(OnnxBackend))
    if backend is not None and backend not in names:
        raise ValueError(f"There is no backend {backend!r}, wanted: {', '.join(names)}.")
    if is_onnx(backend):
        if device not in (None, "cpu"):
            raise ValueError(f"The backend {backend} runs on the CPU, not on {device!r}. Use torch-fp16 or torch-bf16.")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}.")
    elif threads is not None:
        raise ValueError("Only onnxruntime takes threads; for PyTorch call torch.set_num_threads, once for all models.")


def serving_backend(name: str | Path, backend: Backend | None, *, role: Role = "embeddings") -> Backend | None:
    """Return the backend that a model of this name is loaded with; None for one that is no transformer and needs none.

    So that a program can have one setting for all of its models.

    Raises:
        FileNotFoundError: See `resolve_model`, as for the following.
        ValueError: The model is not safe to load.
        ConnectionError: It is on the Hub, which cannot be reached.
    """
    if backend is None or resolve_model(name, role=role).kind in ("static", "linear-reranker"):
        return None
    return backend


def load_static_model(name: str | Path | ResolvedModel) -> TokenVectors:
    """Load a static model, with numpy and tokenizers alone. It reads texts of any length to their end.

    Raises:
        ValueError: The model is not static, or its tokenizer loses Korean; and what `resolve_model` raises.
    """
    resolved = resolve_kind(name, "static")
    model = read_token_vectors(resolved.folder)
    check_korean(lambda text: model.tokenizer.encode(text, add_special_tokens=False).ids, model.unknown, resolved)
    return model


def load_sentence_transformer(
    name: str | Path | ResolvedModel,
    *,
    device: str | None = None,
    max_length: int | None = None,
    backend: TorchBackend = "torch",
) -> "SentenceTransformer":
    """Load an embedding model with sentence-transformers, to embed or to train.

    A plain transformer gets mean pooling. A static model becomes one float32 vector per token, ready for training.

    Args:
        name: See `resolve_model`.
        device: For example "cpu" or "cuda"; sentence-transformers chooses if None.
        max_length: Tokens after which a text is cut; never more than the model has positions for.
        backend: "torch-bf16" and "torch-fp16" take half the memory and, where the hardware multiplies such numbers,
            half the time or less. A static model takes neither.

    Raises:
        ImportError: PyTorch or sentence-transformers is not installed.
        ValueError: The model is a reranker, or its tokenizer loses Korean, or float16 is wanted of a CPU; and what
            `resolve_model` raises.
    """
    resolved = resolve_kind(name, "static", "sentence-transformer", "transformer")
    _require_torch(resolved)
    from sentence_transformers import SentenceTransformer

    if resolved.kind == "static":
        return SentenceTransformer(modules=_static_modules(resolved), device=device)
    if resolved.kind == "transformer":
        logger.warning(
            "%s has no sentence-transformers modules: its token vectors are averaged (mean pooling). "
            "Without fine-tuning such a model searches badly.",
            resolved.name,
        )
    model = SentenceTransformer(
        str(resolved.folder),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"use_safetensors": True},
        processor_kwargs=_processor_kwargs(resolved),
    )
    _finish(model, max_length, resolved)
    _convert(model, backend, resolved)
    return model


def load_cross_encoder(
    name: str | Path | ResolvedModel,
    *,
    device: str | None = None,
    max_length: int | None = None,
    new_head: bool = False,
    backend: TorchBackend = "torch",
) -> "CrossEncoder":
    """Load a cross-encoder with one label.

    Args:
        name: See `resolve_model`.
        device: For example "cpu" or "cuda"; sentence-transformers chooses if None.
        max_length: Tokens after which a pair is cut; never more than the model has positions for.
        new_head: Accept an encoder without a classification head and give it an untrained one. For training only.
        backend: See `load_sentence_transformer`.

    Raises:
        ImportError: PyTorch or sentence-transformers is not installed.
        ValueError: The model has no trained head or several labels, or its tokenizer loses Korean, or float16 is
            wanted of a CPU; and what `resolve_model` raises.
    """
    encoders: tuple[Kind, ...] = ("sentence-transformer", "transformer") if new_head else ()
    resolved = resolve_kind(name, "cross-encoder", *encoders)
    _require_torch(resolved)
    from sentence_transformers import CrossEncoder

    model: CrossEncoder = CrossEncoder(
        str(resolved.folder),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        num_labels=1 if resolved.kind != "cross-encoder" else None,
        model_kwargs={"use_safetensors": True},
        processor_kwargs=_processor_kwargs(resolved),
    )
    if model.num_labels != 1:
        raise ValueError(f"A reranker has one label, but {resolved.name!r} has {model.num_labels}: it is a classifier.")
    _finish(model, max_length, resolved)
    _convert(model, backend, resolved)
    return model


def model_fingerprint(model: ResolvedModel) -> str:
    """Return what identifies the vectors a model makes, to be stored with an index.

    ``owner/name@commit`` for a Hub model; for a folder a sha256 in hexadecimal over its weights, tokenizer and
    configuration, the same wherever the folder lies.
    """
    if model.commit is not None:
        return f"{model.name.partition('@')[0]}@{model.commit}"
    paths = sorted({path for folder in module_folders(model.folder) for path in matching(folder, _FINGERPRINTED)})
    # Hashing a large model takes seconds: repeated only when a file has changed.
    stamps = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    return _digest(model.folder, stamps)


@lru_cache(maxsize=16)
def _digest(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in stamps:
        with path.open("rb") as file:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def resolve_kind(name: str | Path | ResolvedModel, *kinds: Kind) -> ResolvedModel:
    """Find a model of one of some kinds; see `resolve_model`.

    Raises:
        ValueError: It is of another kind; and what `resolve_model` raises.
    """
    resolved = name if isinstance(name, ResolvedModel) else resolve_model(name)
    if resolved.kind in kinds:
        return resolved
    hint = {
        "cross-encoder": "Load a reranker with load_reranker.",
        "linear-reranker": "Load a reranker with load_reranker.",
        "static": "Load a static model with load_embeddings.",
    }.get(
        resolved.kind,
        "Load an embedding model with load_embeddings, or train it as a reranker first."
        if kinds == ("cross-encoder",)
        else "Load it with load_embeddings.",
    )
    raise ValueError(f"{resolved.name!r} is a {resolved.kind} model, wanted: {' or '.join(kinds)}. {hint}")


def _static_modules(resolved: ResolvedModel) -> list[Any]:
    """Return a static model as sentence-transformers modules that give the same vectors."""
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    # StaticEmbedding.from_model2vec keeps int8, which cannot be trained, and a maximum length in the tokenizer.
    model = load_static_model(resolved)
    table = np.asarray(model.vectors[model.rows] * model.weights[:, None], dtype=np.float32)
    module = StaticEmbedding(model.tokenizer, embedding_weights=table)
    if model.unknown is not None:  # it has no part in a text's vector, so it must not learn one either
        module.embedding.padding_idx = model.unknown
    return [module, Normalize()]


def _require_torch(resolved: ResolvedModel) -> None:
    try:
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{resolved.name!r} is a {resolved.kind} model and needs PyTorch: pip install 'korean-rag[torch]'"
        ) from error


def _processor_kwargs(resolved: ResolvedModel) -> dict[str, Any]:
    """Return the tokenizer settings that a klue/roberta model needs and may not name itself."""
    folder = module_folders(resolved.folder)[0]
    config, tokenizer = read_json(folder / "config.json"), read_json(folder / "tokenizer_config.json")
    settings: dict[str, Any] = {}
    if config.get("type_vocab_size") == 1:  # a BERT tokenizer gives the second text of a pair token type 1
        settings["model_input_names"] = ["input_ids", "attention_mask"]
    named = tokenizer.get("tokenizer_class") or config.get("tokenizer_class")
    if not named and config.get("model_type") == "roberta" and _is_wordpiece(folder):
        logger.info(
            "%s does not name its tokenizer class: BertTokenizer, as its vocabulary is WordPiece", resolved.name
        )
        settings["tokenizer_type"] = "bert"
    return settings


def _is_wordpiece(folder: Path) -> bool:
    if (folder / "tokenizer.json").exists():
        return bool(read_json(folder / "tokenizer.json")["model"]["type"] == "WordPiece")
    return (folder / "vocab.txt").exists()


def _finish(model: "SentenceTransformer | CrossEncoder", max_length: int | None, resolved: ResolvedModel) -> None:
    limits = [limit for limit in (model.max_seq_length, max_length) if limit is not None]
    for module in model.modules():
        positions: Any = getattr(module, "position_embeddings", None)
        # RoBERTa counts positions from behind the padding index: 514 rows hold 512 tokens.
        if getattr(positions, "padding_idx", None) is not None:
            limits.append(positions.num_embeddings - positions.padding_idx - 1)
    model.max_seq_length = min(limits, default=None)
    tokenizer = model.tokenizer
    check_korean(lambda text: tokenizer.encode(text, add_special_tokens=False), tokenizer.unk_token_id, resolved)


def _convert(model: "SentenceTransformer | CrossEncoder", backend: TorchBackend, resolved: ResolvedModel) -> None:
    import torch

    if backend == "torch-fp16" and model.device.type == "cpu":
        raise ValueError(
            f"{resolved.name!r} is on the CPU, where torch-fp16 takes several times as long as torch. "
            "Use onnx-int8 or torch-bf16 there, or name another device."
        )
    model.to(getattr(torch, _DTYPES[backend]))  # transformers loads what lies in the file, often bfloat16


def check_korean(encode: Callable[[str], Sequence[int]], unknown: int | None, resolved: ResolvedModel) -> None:
    """Check that a Korean sentence survives tokenization.

    Args:
        encode: Returns the tokens of a text, without special ones.
        unknown: The token of what the tokenizer does not know, if there is one.
        resolved: The model, for the message.

    Raises:
        ValueError: Too little of it does.
    """
    tokens = encode(_PROBE)
    known = sum(token != unknown for token in tokens)
    if known < max(len(_PROBE.split()), len(tokens) / 2):
        raise ValueError(
            f"The tokenizer of {resolved.name!r} loses Korean: of {_PROBE!r} it keeps {known} of {len(tokens)} tokens. "
            "Use a model with Korean in its vocabulary; if this one has it, name the right tokenizer_class in its "
            'tokenizer_config.json (klue models: "BertTokenizer", "do_lower_case": false).'
        )
