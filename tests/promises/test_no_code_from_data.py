"""Promise 7: nothing that lies in the folder of an index or a model is run."""

import ast
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from rag_app.documents import make_document
from rag_app.index import build_index
from rag_app.models import model_fingerprint, resolve_model
from tests.promises.probing import edit_manifest, seal
from tests.reliability import Promised

pytestmark = pytest.mark.promise(7)

_ROOT = Path(__file__).parents[2]
_MODULES = (
    *("modeling_planted", "configuration_planted", "tokenization_planted", "planted", "custom_st", "sitecustomize"),
    *("sentence_transformers", "transformers", "torch", "conftest", "handler", "generate", "__init__"),
)
_PICKLES = ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt")
_NAMES = ("planted.Planted", "os.system", "builtins.exec", "torch.utils.collect_env.main", "torch.hub.load")


class _Payload:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._trace}",)


class Case(NamedTuple):
    """Something planted.

    Attributes:
        name: What.
        way: How it is loaded; see `tests.promises.audited_loading`.
        source: The folder that it is planted in.
        plant: Plants it.
        refused: Whether loading must fail; else it may.
    """

    name: str
    way: str
    source: str
    plant: Callable[[Path, Path], None]
    refused: bool = False


def _edit(path: Path, **settings: Any) -> None:
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**content, **settings}), "utf-8")


def _configured(file: str, **settings: Any) -> Callable[[Path, Path], None]:
    return lambda folder, trace: _edit(folder / file, **settings)


def _module(reference: str) -> Callable[[Path, Path], None]:
    def plant(folder: Path, trace: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text("utf-8"))
        modules[-1]["type"] = reference
        (folder / "modules.json").write_text(json.dumps(modules))

    return plant


def _pickled(file: str, *, alone: bool = False) -> Callable[[Path, Path], None]:
    def plant(folder: Path, trace: Path) -> None:
        (folder / file).write_bytes(pickle.dumps(_Payload(trace)))
        if alone:
            (folder / "model.safetensors").unlink()

    return plant


def _onnx(location: str) -> Callable[[Path, Path], None]:
    """Plant an export of the model whose weights lie elsewhere."""

    def plant(folder: Path, trace: Path) -> None:
        onnx = pytest.importorskip("onnx")
        proto = onnx.TensorProto
        weight = proto(name="w", data_type=proto.FLOAT, dims=[2, 32], data_location=proto.EXTERNAL)
        for key, value in (("location", location), ("offset", "0"), ("length", "256")):
            weight.external_data.add(key=key, value=value)
        output = onnx.helper.make_tensor_value_info("sentence_embedding", proto.FLOAT, [2, 32])
        node = onnx.helper.make_node("Identity", ["w"], ["sentence_embedding"])
        graph = onnx.helper.make_graph([node], "g", [], [output], [weight])
        target = folder / "onnx" / "fp32"
        target.mkdir(parents=True)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        (target / "model.onnx").write_bytes(model.SerializeToString())
        shutil.copy(folder / "tokenizer.json", target)
        (target / "link.bin").symlink_to("/etc/passwd")
        fingerprint = model_fingerprint(resolve_model(folder))
        export = {"fingerprint": fingerprint, "backend": "onnx", "inputs": [], "window": 64, "width": 32, "padding": 0}
        more = {"unknown": 3, "query_prompt": "", "document_prompt": "", "quality": None, "versions": {}, "format": 1}
        (target / "export.json").write_text(json.dumps(export | more))

    return plant


def _object_array(name: str) -> Callable[[Path, Path], None]:
    def plant(folder: Path, trace: Path) -> None:
        path = next(folder.rglob(name))
        np.save(path, np.array([_Payload(trace)], dtype=object), allow_pickle=True)
        seal(folder)

    return plant


def _in_index(name: str) -> Callable[[Path, Path], None]:
    def plant(folder: Path, trace: Path) -> None:
        path = next(folder.rglob(name))
        path.write_bytes(pickle.dumps(_Payload(trace)))
        seal(folder)

    return plant


def _model_of_index(folder: Path, trace: Path) -> None:
    """Name a model that holds a payload as that of an index."""
    model = folder.parent / f"{folder.name}-model"
    model.mkdir()
    (model / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "planted.Planted"}]))
    (model / "planted.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Planted: ...\n")
    edit_manifest(
        folder,
        lambda manifest: manifest.update(model={"name": str(model), "fingerprint": "x", "dimension": 16}),
    )


def _community(content: Callable[[Path], bytes]) -> Callable[[Path, Path], None]:
    def plant(folder: Path, trace: Path) -> None:
        (folder / "index.pkl").write_bytes(content(trace))

    return plant


def _calls(module: str, name: str) -> Callable[[Path], bytes]:
    return lambda trace: f"c{module}\n{name}\n(S'touch {trace}'\ntR.".encode()


def _laughs(trace: Path) -> bytes:
    """Return a docstore whose metadata is a list of twice a list of twice a list, and so on."""
    laugh: Any = "하"
    for _ in range(60):
        laugh = [laugh, laugh]
    document = Document(page_content="글", metadata={"laugh": laugh})
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 4)
    store = _Docstore()
    store._dict = {"a": document}
    pickler.dump((store, {0: "a"}))
    # As langchain-community calls it.
    return buffer.getvalue().replace(*_renamed())


class _Docstore:
    _dict: dict[str, Document]


def _renamed() -> tuple[bytes, bytes]:
    there, wanted = (
        b"\x8c" + bytes([len(module)]) + module.encode() + b"\x94\x8c" + bytes([len(name)]) + name.encode()
        for module, name in (
            (_Docstore.__module__, "_Docstore"),
            ("langchain_community.docstore.in_memory", "InMemoryDocstore"),
        )
    )
    return there, wanted


def _to_class(trace: Path) -> bytes:
    """Write to the class of the docstore: the second half of its state is set as attributes."""
    module = "langchain_community.docstore.in_memory\nInMemoryDocstore\n"
    return f"(c{module}(NdS'_dict'\n(dstb(dt.".encode()


_BOMBS: dict[str, Callable[[Path], bytes]] = {
    "os.system": _calls("os", "system"),
    "builtins.eval": _calls("builtins", "eval"),
    "builtins.getattr": _calls("builtins", "getattr"),
    "a name with a dot": lambda trace: b"\x80\x04\x8c\x08datetime\x8c\x0fsys.modules.pop\x93)R.",
    "a class of a known module": _calls("datetime", "tzinfo"),
    "posix": _calls("posix", "system"),
    "an extension": lambda trace: b"\x80\x02\x82\x01.",
    "a persistent id": lambda trace: b"Pos.system\n.",
    "an instance": lambda trace: f"(S'touch {trace}'\nios\nsystem\n.".encode(),
    "bytes without end": lambda trace: b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b".",
    "a frame without end": lambda trace: b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b".",
    "a memo without end": lambda trace: b"\x80\x04Nr" + (2**31).to_bytes(4, "little") + b".",
    "text without end": lambda trace: b"\x80\x04\x8d" + (2**40).to_bytes(8, "little") + b".",
    "a key without end": lambda trace: b"\x80\x04}N" + b"\x85" * 300_000 + b"Ns.",
    "a billion laughs": _laughs,
    "another class's attributes": _to_class,
    "a list of itself": lambda trace: b"\x80\x04]\x94h\x00a.",
    "nothing": lambda trace: b"",
    "an empty stack": lambda trace: b"\x80\x04R.",
}


CASES = (
    *(Case(f"module {name}", "embed", "sentence-transformer", _module(name), refused=True) for name in _NAMES),
    *(Case(f"{file} beside", "embed", "sentence-transformer", _pickled(file)) for file in _PICKLES),
    *(Case(f"{file} alone", "embed", "transformer", _pickled(file, alone=True), refused=True) for file in _PICKLES),
    Case("pickled safetensors", "embed", "sentence-transformer", _pickled("model.safetensors"), refused=True),
    Case("pickled safetensors", "embed", "static", _pickled("model.safetensors"), refused=True),
    Case("pickled counts", "rerank", "linear", _pickled("counts.safetensors"), refused=True),
    *(
        Case(f"{file} {key}", way, source, _configured(file, **{key: value}))
        for way, source in (("embed", "sentence-transformer"), ("rerank", "cross-encoder"), ("train", "transformer"))
        for file, key, value in (
            ("config.json", "auto_map", dict.fromkeys(("AutoConfig", "AutoModel"), "modeling_planted.Planted")),
            ("config.json", "custom_pipelines", {"x": {"impl": "planted.Planted"}}),
            ("tokenizer_config.json", "auto_map", {"AutoTokenizer": ["planted.Planted", None]}),
            ("tokenizer_config.json", "chat_template", "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
            ("preprocessor_config.json", "auto_map", {"AutoProcessor": "planted.Planted"}),
            ("generation_config.json", "custom_generate", "planted"),
            ("config_sentence_transformers.json", "loss", {"fullname": "planted.Planted"}),
        )
    ),
    *(
        Case(f"{key} {name}", "rerank", "cross-encoder", _configured("config.json", **{key: value}), refused=True)
        for name in _NAMES
        for key, value in (
            ("sentence_transformers", {"activation_fn": name}),
            ("sbert_ce_default_activation_function", name),
        )
    ),
    Case(
        "attention from the Hub",
        "embed",
        "sentence-transformer",
        _configured("config.json", attn_implementation="someone/kernel"),
        refused=True,
    ),
    *(
        Case(f"weights in {place}", "embed_onnx", "sentence-transformer", _onnx(place), refused=True)
        for place in ("/etc/passwd", "../../../../../../../../etc/passwd", "link.bin")
    ),
    *(
        Case(f"objects in {name}", "open", "index", _object_array(name), refused=True)
        for name in ("gone.npy", "offsets.npy", "id_rows.npy", "doc_id_hashes.npy", "columns.npy")
    ),
    *(
        Case(f"pickled {name}", "open", "index", _in_index(name), refused=True)
        for name in ("documents.jsonl", "columns.json", "clusters.faiss", "vectors.faiss", "meta.json", "gone.npy")
    ),
    Case("an index's model", "open_by_name", "index", _model_of_index, refused=True),
    Case("an index's model", "program", "index", _model_of_index, refused=False),
    *(Case(name, "community", "community", _community(content), refused=True) for name, content in _BOMBS.items()),
    *(
        Case(file, "checkpoint", "checkpoint", _pickled(file), refused=True)
        for file in ("optimizer.pt", "rng_state.pth")
    ),
)


@pytest.fixture
def sources(
    tmp_path: Path,
    tiny_static: Path,
    tiny_transformer: Path,
    tiny_sentence_transformer: Path,
    tiny_cross_encoder: Path,
    tiny_linear_reranker: Path,
) -> dict[str, Path]:
    """What things are planted in, by kind."""
    import faiss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rag_app.generation_writer.EXACT_MOST", 40)
        articles = [make_document(f"{number}번째 소식이다.", section="정치") for number in range(60)]
        index = build_index(tmp_path / "index", articles, DeterministicFakeEmbedding(size=16), vectors="ivf")
        index.delete(sorted(index.document_ids())[:3])
    community, checkpoint = tmp_path / "community", tmp_path / "checkpoint"
    community.mkdir()
    checkpoint.mkdir()
    flat = faiss.IndexFlatL2(16)
    flat.add(np.ones((1, 16), np.float32))
    faiss.write_index(flat, str(community / "index.faiss"))
    for name in ("optimizer.pt", "scheduler.pt"):
        (checkpoint / name).write_bytes(b"")
    return {
        "static": tiny_static,
        "transformer": tiny_transformer,
        "sentence-transformer": tiny_sentence_transformer,
        "cross-encoder": tiny_cross_encoder,
        "linear": tiny_linear_reranker,
        "index": index.path,
        "community": community,
        "checkpoint": checkpoint,
    }


def _load(cases: list[tuple[str, Path, bool]]) -> list[tuple[str, list[str]]]:
    """Return the error and what was seen of each, from a child process."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.promises.audited_loading"],
        cwd=_ROOT,
        input=json.dumps([(way, str(folder), torch) for way, folder, torch in cases]).encode(),
        capture_output=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert finished.returncode == 0, finished.stderr.decode()[-2000:]
    return [tuple(json.loads(line)) for line in finished.stdout.splitlines()]


def test_what_is_planted_is_not_run(sources: dict[str, Path], tmp_path: Path, promised: Promised) -> None:
    trace = tmp_path / "trace"
    folders = []
    for number, case in enumerate(CASES):
        folder = Path(shutil.copytree(sources[case.source], tmp_path / "planted" / str(number)))
        for name in _MODULES:
            if case.source != "index":
                (folder / f"{name}.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Planted: ...\n")
        case.plant(folder, trace)
        folders.append(folder)
    torch = {"transformer", "sentence-transformer", "cross-encoder", "checkpoint"}
    planted = [(case.way, folder, case.source in torch) for case, folder in zip(CASES, folders, strict=True)]
    for case, (error, seen) in zip(CASES, _load(planted), strict=True):
        assert not seen, (case.name, case.way, seen)
        assert "Error" in error or not case.refused, (case.name, case.way, error)
        assert not error or {"ValueError", "OSError"} & set(error.split()) or case.way == "checkpoint", (case, error)
    assert not trace.exists()
    promised.tried(len(CASES), "payloads planted in folders of indexes and models, none run")


def test_the_audit_sees_what_runs(tmp_path: Path) -> None:
    """Else nothing seen would mean nothing."""
    from tests.promises import audited_loading

    trace = tmp_path / "trace"
    code = (
        "import sys, pickle; from tests.promises import audited_loading as a; a.planted[0] = sys.argv[1]; "
        "sys.addaudithook(a._hook); pickle.loads(open(sys.argv[1] + '/p', 'rb').read()); "
        "sys.path.insert(0, sys.argv[1]); import planted; print(a.seen)"
    )
    (tmp_path / "planted.py").write_text("1")
    (tmp_path / "p").write_bytes(pickle.dumps(_Payload(trace)))
    finished = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert trace.exists()
    assert all(event in finished.stdout for event in ("pickle.find_class", "os.system", "exec")), finished.stdout
    assert audited_loading.WAYS


_CALLS = {"eval", "exec", "compile", "__import__"}
_LOADERS = {"pickle": {"load", "loads", "Unpickler"}, "yaml": {"load"}, "joblib": {"load"}, "dill": {"load", "loads"}}
_SAFE = {"trust_remote_code": "False", "allow_pickle": "False", "weights_only": "True"}
_NAMED = {"rag_app/stores/pickled_documents.py": {"pickle.Unpickler"}}
"""The one unpickler, which knows no class but those of documents."""


def _violations(source: str) -> list[str]:
    """Return what in a program may run data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            found.append(node.func.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if node.attr in _LOADERS.get(node.value.id, ()) or name in ("np.load", "numpy.load", "torch.load"):
                found.append(name)
        if isinstance(node, ast.ImportFrom) and node.module in _LOADERS:
            found.append(f"from {node.module}")
        if isinstance(node, ast.keyword) and node.arg in _SAFE and ast.unparse(node.value) != _SAFE[node.arg]:
            found.append(node.arg)
    return found


def test_no_program_of_this_project_can_run_data(promised: Promised) -> None:
    paths = [path for folder in ("rag_app", "finetune", "eval") for path in (_ROOT / folder).rglob("*.py")]
    for path in [*paths, _ROOT / "streamlit_app.py"]:
        name = path.relative_to(_ROOT).as_posix()
        assert set(_violations(path.read_text("utf-8"))) <= _NAMED.get(name, set()), name
    readers = [path for path in paths if "faiss.read_index" in path.read_text("utf-8")]
    assert [path.name for path in readers] == ["faiss_files.py"]
    promised.tried(len(paths) + 1, "source files searched for loaders that run data")


@pytest.mark.parametrize(
    "source",
    [
        "import pickle; pickle.loads(x)",
        "np.load(p)",
        "f(trust_remote_code=True)",
        "torch.load(p, weights_only=False)",
        "eval(x)",
        "from pickle import load",
        "f(allow_pickle=x)",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert _violations(source)
