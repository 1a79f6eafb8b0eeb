"""Transformers made into graphs for onnxruntime: exported with PyTorch once, checked, kept beside the model, loaded.

An export is a folder with a graph, a tokenizer and a manifest, ``onnx/fp32`` or ``onnx/int8`` in the model's own folder
where that can be written to, else in huggingface_hub's folder for what is made from models (``HF_ASSETS_CACHE``). It
belongs to the model's fingerprint: a changed model is exported anew. What it makes of a few texts is compared with
PyTorch, and how int8 ranks with how float32 does; a model that loses too much is refused.
"""

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_app.embeddings import ModelEmbeddings, TransformerEmbeddings, model_prompt
from rag_app.models import (
    OnnxBackend,
    ResolvedModel,
    Role,
    load_cross_encoder,
    load_sentence_transformer,
    model_fingerprint,
    resolve_model,
)
from rag_app.onnx.embeddings import OnnxEmbeddings
from rag_app.onnx.folder import (
    GRAPH,
    TOKENIZER,
    Export,
    export_lock,
    find_export,
    is_complete,
    read_export,
    replacing,
    write_export,
)
from rag_app.onnx.models import OnnxCrossEncoder, OnnxModel
from rag_app.onnx.quality import WANTED, Quality, embedding_quality, reranker_quality
from rag_app.reranking.cross_encoders import PairModel, TorchCrossEncoder

logger = logging.getLogger(__name__)

_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_TOLERANCE = 1e-3  # of the largest number: what PyTorch and the graph may differ by; some 1e-6 is usual
_QUANTISED = ["MatMul", "Gemm", "Gather"]  # the last are the embeddings, most of a small model
_LARGE = 4 * 1024**3  # bytes in float32 from which the weights in int8 need a file of their own
_PROMPT = "질문: "
_PROBES = (
    "대한민국의 수도는 서울이다.",
    "국회",
    "기상청은 주말에 비가 온다고 예보했다. " * 60,
)  # the last one gets cut


def load_onnx_model(resolved: ResolvedModel, backend: OnnxBackend, *, threads: int | None = None) -> OnnxModel:
    """Load the export of a model, which is made when there is none; this alone needs PyTorch.

    An export that was made without a check is taken as it is.

    Raises:
        ImportError: onnxruntime is not installed, or PyTorch or onnx where the model has to be exported.
        ValueError: The model cannot be exported, or int8 ranks too differently.
    """
    folder = find_export(resolved, backend)
    if folder is None or not is_complete(folder):
        folder = export_model(resolved, backend)
    return OnnxModel(folder, model=resolved, threads=threads)


def export_model(
    name: str | Path | ResolvedModel,
    backend: OnnxBackend = "onnx-int8",
    *,
    role: Role = "embeddings",
    check: bool = True,
) -> Path:
    """Export a model for onnxruntime, unless that is done, and return the export's folder.

    It takes seconds to a minute. Another process that exports the same model is waited for.

    Args:
        name: An embedding model or a cross-encoder; see `rag_app.models.resolve_model`.
        backend: "onnx" for float32, "onnx-int8" for int8.
        role: See `rag_app.models.resolve_model`.
        check: Whether to measure how well int8 ranks, and to refuse it where that is too far from float32. Without it
            any model is taken, such as one with random weights whose speed is to be measured; the vectors of such an
            export count as those of another model.

    Raises:
        ImportError: PyTorch, onnx or onnxruntime is not installed.
        ValueError: The model cannot be exported, or int8 ranks too differently.
    """
    resolved = name if isinstance(name, ResolvedModel) else resolve_model(name, role=role)
    if resolved.kind not in ("sentence-transformer", "transformer", "cross-encoder"):
        raise ValueError(f"{resolved.name!r} is a {resolved.kind} model: it needs no backend.")
    with export_lock(resolved, backend) as target:
        found = find_export(resolved, backend)
        if found is None or not _serves(found, backend, check=check, model=resolved):
            logger.warning("Exporting %s as %s, once: this may take a minute", resolved.name, backend)
            with replacing(target) as folder:
                _export(resolved, backend, folder, check=check)
            found = target
            _serves(found, backend, check=check, model=resolved)
    return found


def _serves(folder: Path, backend: OnnxBackend, *, check: bool, model: ResolvedModel) -> bool:
    """Return whether an export that is there is what is wanted.

    Raises:
        ValueError: It was checked, and int8 ranks too differently.
    """
    export = read_export(folder)
    quality = export.quality if export else None
    if check and backend == "onnx-int8":
        if quality is None:
            return False
        if not quality.is_enough:
            raise ValueError(
                f"{model.name!r} loses too much in int8: of its order on Korean news a rank correlation of "
                f"{quality.spearman:.3f} is left and {quality.overlap:.2f} of the first ten passages, wanted "
                f"{WANTED.spearman} and {WANTED.overlap}. Use the backend onnx, or take it as it is with "
                "rag_app.onnx.export.export_model(name, check=False)."
            )
    return is_complete(folder)


def _export(resolved: ResolvedModel, backend: OnnxBackend, folder: Path, *, check: bool) -> None:
    """Fill a folder with the export of a model, or with the mere manifest of one that would be refused."""
    _require_onnx(resolved)
    if backend == "onnx":
        _export_exact(resolved, folder)
        return
    exact = find_export(resolved, "onnx")
    if exact is None:
        exact = folder / "exact"
        exact.mkdir()
        _export_exact(resolved, exact)
    _quantise(exact / GRAPH, folder / GRAPH)
    shutil.copy(exact / TOKENIZER, folder)
    export = read_export(exact)
    assert export is not None  # noqa: S101
    export = replace(export, backend=backend)
    write_export(folder, export)
    if check:
        quality = _quality(resolved, exact, folder)
        write_export(folder, replace(export, quality=quality))
        if not quality.is_enough:
            for path in folder.glob(f"{GRAPH}*"):
                path.unlink()
    shutil.rmtree(folder / "exact", ignore_errors=True)


def _export_exact(resolved: ResolvedModel, folder: Path) -> None:
    """Export a model in float32, and check that it is the same model."""
    reranker = resolved.kind == "cross-encoder"
    model: Any = (load_cross_encoder if reranker else load_sentence_transformer)(resolved, device="cpu")
    if not model.tokenizer.is_fast:
        raise ValueError(f"{resolved.name!r} has a tokenizer written in Python, which onnxruntime lacks. Use torch.")
    features = model.preprocess([(text, text) for text in _PROBES[:2]] if reranker else list(_PROBES[:2]))
    inputs = {name: tensor for name, tensor in features.items() if hasattr(tensor, "shape")}
    if not inputs.keys() <= _INPUTS:
        raise ValueError(f"{resolved.name!r} takes {', '.join(inputs)}, and only text can be exported. Use torch.")
    _write_graph(model, inputs, "scores" if reranker else "sentence_embedding", folder / GRAPH)
    _write_tokenizer(model.tokenizer, folder / TOKENIZER)
    write_export(
        folder,
        Export(
            fingerprint=model_fingerprint(resolved),
            backend="onnx",
            inputs=tuple(inputs),
            window=model.max_seq_length,
            width=1 if reranker else model.get_embedding_dimension(),
            padding=model.tokenizer.pad_token_id,
            unknown=model.tokenizer.unk_token_id,
            query_prompt="" if reranker else model_prompt(model, query=True),
            document_prompt="" if reranker else model_prompt(model, query=False),
            quality=None,
            versions={package: version(package) for package in ("torch", "transformers", "onnx", "onnxruntime")},
        ),
    )
    exported = OnnxModel(folder, model=resolved)
    if reranker:
        expected = _probe_logits(TorchCrossEncoder(model))
        found = _probe_logits(OnnxCrossEncoder(exported))
    else:
        expected = _probe_vectors(TransformerEmbeddings(model, name="", fingerprint="", query_prompt=_PROMPT))
        found = _probe_vectors(OnnxEmbeddings(exported, name="", fingerprint="", query_prompt=_PROMPT))
    difference, scale = np.abs(expected - found).max(), np.abs(expected).max()
    if not difference <= _TOLERANCE * scale:  # also when it is no number
        raise ValueError(
            f"{resolved.name!r} cannot be exported: onnxruntime and PyTorch differ by {difference:.2g} in numbers up "
            f"to {scale:.2g}. Use torch."
        )


def _probe_logits(model: PairModel) -> NDArray[np.floating]:
    return model.logits([(_PROBES[0], text) for text in _PROBES])


def _probe_vectors(embeddings: ModelEmbeddings) -> NDArray[np.floating]:
    return np.concatenate([embeddings.encode(_PROBES, query=query, unit_length=False) for query in (True, False)])


def _write_graph(model: Any, inputs: dict[str, Any], output: str, path: Path) -> None:
    """Write the modules of a model, from tokens to vectors or logits, as one graph for any batch."""
    import torch

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.model(dict(zip(inputs, tensors, strict=True)))[output]
            return result

    # Without it softmax is guarded against rows that are masked completely, which do not occur.
    model[0].model.set_attn_implementation("eager")
    any_size = torch.export.Dim.DYNAMIC
    # The older exporter, by tracing, writes the attention mask of its example into the graph of such a model.
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            Graph().eval(),
            tuple(inputs.values()),
            path,
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=(tuple({0: any_size, 1: any_size} for _ in inputs),),
            external_data=True,  # a graph in one file ends at 2 GB
        )


def _write_tokenizer(tokenizer: Any, path: Path) -> None:
    """Write a tokenizer as the tokenizers library reads it, also where the model has a list of words only."""
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    plain.save(str(path))


def _quantise(source: Path, target: Path) -> None:
    """Write a graph with its matrices in int8, one scale for each column; activations get theirs as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    graph = onnx.load(source)
    add_pre_process_metadata(graph)  # or else advice is logged, by a handler that stays
    size = sum(path.stat().st_size for path in source.parent.glob(f"{source.name}*"))
    with _quiet():
        quantize_dynamic(
            graph,
            target,
            op_types_to_quantize=_QUANTISED,
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=size > _LARGE,
        )


def _quality(resolved: ResolvedModel, exact: Path, quantised: Path) -> Quality:
    models = [OnnxModel(folder, model=resolved) for folder in (exact, quantised)]
    if resolved.kind == "cross-encoder":
        return reranker_quality(*(OnnxCrossEncoder(model).logits for model in models))
    return embedding_quality(*(OnnxEmbeddings(model, name="", fingerprint="") for model in models))


def _require_onnx(resolved: ResolvedModel) -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"Exporting {resolved.name!r} for onnxruntime needs PyTorch and onnx, once: "
            "pip install 'korean-rag[torch,onnx]'"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to themselves what the exporter and the quantiser have to say to their own developers."""
    loggers = [logging.getLogger(), logging.getLogger("torch.onnx._internal.exporter._registration")]
    silent = logging.NullHandler()  # the quantiser logs to the root, which would get itself a handler for good
    loggers[0].addHandler(silent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for chatty in loggers:
            chatty.addFilter(_nothing)  # of what is logged right there, not further down
        try:
            yield
        finally:
            for chatty in loggers:
                chatty.removeFilter(_nothing)
            loggers[0].removeHandler(silent)


def _nothing(record: logging.LogRecord) -> bool:
    return False
