"""Transformers on onnxruntime: the same as on PyTorch, exported once, checked, and served without it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_app.compressors import CrossEncoderCompressor, load_reranker
from rag_app.embeddings import load_embeddings
from rag_app.models import OnnxBackend, ResolvedModel, model_fingerprint, resolve_model
from rag_app.onnx import export as onnx_export
from rag_app.onnx.export import export_model
from rag_app.onnx.folder import Export, export_lock, find_export, read_export, replacing, write_export
from rag_app.onnx.models import batches
from rag_app.onnx.quality import Quality, _compare

pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")

PROBES = ["국회", "", "대한민국의 수도는 서울이고", "기상청은 주말에 비가 온다고 예보했다. " * 60]
PAIRS = [(question, text) for question in ("수도는?", "날씨는?") for text in PROBES]


@pytest.fixture(scope="session")
def exported(tiny_sentence_transformer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature embedding model with both of its exports, made once; int8 unchecked, as its weights are random."""
    return _export_both(tiny_sentence_transformer, tmp_path_factory)


@pytest.fixture(scope="session")
def exported_reranker(tiny_cross_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature cross-encoder, likewise."""
    return _export_both(tiny_cross_encoder, tmp_path_factory)


def _export_both(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(model, tmp_path_factory.mktemp("exported") / "model"))
    for backend in ("onnx", "onnx-int8"):
        export_model(folder, backend, check=False)
    return folder


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Replaces the export itself, which takes seconds, by files that say what was exported, with a given quality."""

    def install(quality: Quality | None = None) -> list[str]:
        calls: list[str] = []

        def export(resolved: ResolvedModel, backend: OnnxBackend, folder: Path, *, check: bool) -> None:
            calls.append(f"{resolved.folder.name} {backend} {check}")
            fingerprint = model_fingerprint(resolved)
            found = quality if check else None
            write_export(folder, Export(fingerprint, backend, ("input_ids",), 512, 32, 1, 3, "", "", found, {}))
            if found is None or found.is_enough:
                (folder / "model.onnx").write_text("graph")

        monkeypatch.setattr(onnx_export, "_export", export)
        return calls

    return install


# The same as PyTorch


@pytest.mark.parametrize("prompts", [{}, {"query_prompt": "수도 ", "document_prompt": "비 "}])
def test_vectors_are_those_of_pytorch(prompts: dict[str, Any], exported: Path) -> None:
    torch = load_embeddings(exported, device="cpu", **prompts)
    onnx = load_embeddings(exported, backend="onnx", **prompts)

    for query in (True, False):
        for unit_length in (True, False):
            expected = torch.encode(PROBES, query=query, unit_length=unit_length)
            np.testing.assert_allclose(onnx.encode(PROBES, query=query, unit_length=unit_length), expected, atol=1e-4)
    assert not onnx.encode(PROBES)[1].any()  # nothing to embed
    assert onnx.encode([]).shape == (0, 32)
    assert onnx.fingerprint == torch.fingerprint
    assert (onnx.dimension, onnx.window, onnx.name) == (torch.dimension, torch.window, torch.name)
    assert [onnx.fits(text) for text in PROBES] == [torch.fits(text) for text in PROBES] == [True] * 3 + [False]
    assert onnx.unknown_share(["국회 🙂 rag"]) == torch.unknown_share(["국회 🙂 rag"]) == 3 / 5


def test_the_model_s_own_prompt_is_put_before_questions(exported: Path) -> None:
    onnx = load_embeddings(exported, backend="onnx")

    np.testing.assert_allclose(
        onnx.encode(["예산"], query=True),
        load_embeddings(exported, backend="onnx", query_prompt="국회 ").encode(["국회 예산"]),
        atol=1e-5,
    )
    assert not np.allclose(onnx.encode(["예산"], query=True), onnx.encode(["예산"]), atol=1e-3)


def test_scores_are_those_of_pytorch(exported_reranker: Path) -> None:
    torch = load_reranker(exported_reranker, device="cpu")
    onnx = load_reranker(exported_reranker, backend="onnx")

    np.testing.assert_allclose(onnx.score_pairs(PAIRS), torch.score_pairs(PAIRS), atol=1e-4)
    assert onnx.score_pairs([]).shape == (0,)
    assert onnx.window == torch.window == 512
    assert [onnx.fits(*pair) for pair in PAIRS] == [torch.fits(*pair) for pair in PAIRS]
    assert {onnx.fits(*pair) for pair in PAIRS} == {True, False}


def test_both_count_the_same_tokens(exported_reranker: Path) -> None:
    rerankers = [load_reranker(exported_reranker, backend=backend) for backend in ("torch", "onnx")]
    models = [reranker._pairs for reranker in rerankers if isinstance(reranker, CrossEncoderCompressor)]

    torch, onnx = (model.count_tokens(PROBES) for model in models)

    assert torch == onnx
    assert torch[:3] == [2, 0, 12]
    assert [model.count_tokens([]) for model in models] == [[], []]
    assert [model.special_tokens for model in models] == [3, 3]


def test_a_pair_with_token_types_keeps_them(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    config = json.loads((tiny_cross_encoder / "config.json").read_text("utf-8"))
    sizes: dict[str, Any] = {
        key: config[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    }
    sizes["num_labels"] = 1
    BertForSequenceClassification(
        BertConfig(**sizes, intermediate_size=64, pad_token_id=1, initializer_range=0.5)
    ).save_pretrained(tmp_path)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(tiny_cross_encoder / name, tmp_path)

    onnx = load_reranker(tmp_path, backend="onnx")

    np.testing.assert_allclose(
        onnx.score_pairs(PAIRS), load_reranker(tmp_path, device="cpu").score_pairs(PAIRS), atol=1e-4
    )
    export = read_export(tmp_path / "onnx" / "fp32")
    assert export is not None
    assert set(export.inputs) == {"input_ids", "token_type_ids", "attention_mask"}


def test_int8_is_near(exported: Path, exported_reranker: Path) -> None:
    exact, quantised = (load_embeddings(exported, backend=backend) for backend in ("onnx", "onnx-int8"))
    logits, near = (load_reranker(exported_reranker, backend=backend) for backend in ("onnx", "onnx-int8"))

    cosines = np.einsum("nd,nd->n", exact.encode(PROBES), quantised.encode(PROBES))

    assert cosines[[0, 2, 3]].min() > 0.99
    assert not np.array_equal(exact.encode(PROBES), quantised.encode(PROBES))
    assert 0 < np.abs(logits.score_pairs(PAIRS) - near.score_pairs(PAIRS)).max() < 0.1


def test_threads_do_not_disturb_each_other(exported: Path) -> None:
    onnx = load_embeddings(exported, backend="onnx", threads=2)
    texts = [PROBES[0] * (number + 1) for number in range(24)]

    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(onnx.embed_query, texts))
        fitting = list(pool.map(onnx.fits, texts))

    np.testing.assert_allclose(vectors, onnx.encode(texts, query=True), atol=1e-5)
    assert all(fitting)


def test_a_model_is_loaded_once_for_each_backend(exported: Path, exported_reranker: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        models = set(pool.map(lambda _: load_embeddings(exported, backend="onnx"), range(8)))

    assert len(models) == 1
    assert load_embeddings(exported, backend="onnx-int8") not in models
    first, second = (load_reranker(exported_reranker, backend="onnx", top_n=n) for n in (3, 5))
    assert first.model is second.model


# Without PyTorch


def test_serving_imports_no_torch(exported: Path, exported_reranker: Path) -> None:
    program = f"""
import sys
from rag_app.compressors import load_reranker
from rag_app.embeddings import load_embeddings
assert load_embeddings({str(exported)!r}, backend="onnx-int8").encode(["국회"]).shape == (1, 32)
assert load_reranker({str(exported_reranker)!r}, backend="onnx-int8").score_pairs([("국회", "서울")]).shape == (1,)
print(sorted({{"torch", "transformers", "sentence_transformers", "onnx", "onnxscript"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize("missing", ["onnxruntime", "torch"])
def test_a_missing_extra_is_named(
    missing: str, tiny_sentence_transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny_sentence_transformer, tmp_path / "model")
    monkeypatch.setitem(sys.modules, missing, None)

    with pytest.raises(ImportError, match=r"pip install 'korean-rag\[torch,onnx\]'"):
        export_model(folder)
    assert not (tmp_path / "model" / "onnx" / "int8").exists()


def test_serving_without_onnxruntime_says_what_to_install(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(ImportError, match=r"pip install 'korean-rag\[onnx\]'"):
        load_embeddings(exported, backend="onnx", threads=3)


# Exported once


def test_what_was_exported_is_found_again(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "_export", None)  # not callable

    assert export_model(exported, "onnx") == exported / "onnx" / "fp32"
    assert export_model(exported, "onnx-int8", check=False) == exported / "onnx" / "int8"
    assert sorted(path.name for path in (exported / "onnx").iterdir() if path.is_dir()) == ["fp32", "int8"]


def test_a_changed_model_is_exported_anew(
    tiny_transformer: Path, tmp_path: Path, written: Callable[..., list[str]]
) -> None:
    calls = written()
    folder = shutil.copytree(tiny_transformer, tmp_path / "model")
    export_model(folder, "onnx")
    export_model(folder, "onnx")
    assert len(calls) == 1

    (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text("utf-8") + "새말\n", "utf-8")
    assert find_export(resolve_model(folder), "onnx") is None
    export_model(folder, "onnx")

    assert len(calls) == 2
    assert find_export(resolve_model(folder), "onnx") == folder / "onnx" / "fp32"


def test_many_who_export_at_once_export_once(
    tiny_transformer: Path, tmp_path: Path, written: Callable[..., list[str]]
) -> None:
    calls = written()
    folder = shutil.copytree(tiny_transformer, tmp_path / "model")

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: export_model(folder, "onnx"), range(4)))

    assert (len(calls), len(found)) == (1, 1)


def test_an_export_that_fails_leaves_nothing(
    tiny_transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny_transformer, tmp_path / "model")

    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_export, "_export_exact", fail)
    with pytest.raises(KeyboardInterrupt):
        export_model(folder)

    assert [path.name for path in (folder / "onnx").iterdir() if path.is_dir()] == []


def test_a_hub_model_is_exported_beside_the_hub_s_cache(
    tiny_transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[..., list[str]]
) -> None:
    written()
    monkeypatch.setattr("rag_app.onnx.folder.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    snapshot = Path(shutil.copytree(tiny_transformer, tmp_path / "snapshot"))
    of_commits = [ResolvedModel("owner/model", snapshot, "transformer", commit) for commit in ("a" * 40, "b" * 40)]

    folders = [export_model(model, "onnx") for model in of_commits]

    assert not (snapshot / "onnx").exists()
    assert len(set(folders)) == 2
    assert all(folder.is_relative_to(tmp_path / "assets" / "korean-rag" / "onnx") for folder in folders)
    assert find_export(of_commits[0], "onnx") == folders[0]


def test_a_folder_that_cannot_be_written_to_is_exported_elsewhere(
    tiny_transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_app.onnx.folder.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr("os.access", lambda path, mode: not Path(path).is_relative_to(tiny_transformer))

    with export_lock(resolve_model(tiny_transformer), "onnx") as folder:
        assert folder.is_relative_to(tmp_path / "assets")


def test_where_no_folder_can_be_written_to_an_export_is_found_and_none_is_made(
    exported: Path, tiny_transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setattr("rag_app.onnx.folder.HF_ASSETS_CACHE", str(tmp_path / "home" / "assets"))
    monkeypatch.setattr("os.access", lambda path, mode: False)

    assert find_export(resolve_model(exported), "onnx") == exported / "onnx" / "fp32"
    with pytest.raises(OSError, match="home"), export_lock(resolve_model(tiny_transformer), "onnx"):
        pass


def test_a_manifest_of_another_format_is_none(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "onnx" / "int8" / "export.json", tmp_path)
    assert read_export(tmp_path) == read_export(exported / "onnx" / "int8")

    content = json.loads((tmp_path / "export.json").read_text("utf-8"))
    (tmp_path / "export.json").write_text(json.dumps({**content, "format": 0}))

    assert read_export(tmp_path) is None


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "int8"
    target.mkdir()
    (target / "old").write_text("old")

    with replacing(target) as folder:
        (folder / "new").write_text("new")
        assert [path.name for path in target.iterdir()] == ["old"]

    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["int8"]


def test_what_a_killed_export_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".int8-abc").mkdir()
    (tmp_path / ".int8-abc" / "model.onnx").write_text("half")

    with replacing(tmp_path / "int8"):
        pass

    assert [path.name for path in tmp_path.iterdir()] == ["int8"]


# What is refused


def test_a_model_that_loses_too_much_is_refused_and_can_be_accepted(
    tiny_transformer: Path, tmp_path: Path, written: Callable[..., list[str]]
) -> None:
    calls = written(Quality(spearman=0.8, overlap=0.9))
    folder = shutil.copytree(tiny_transformer, tmp_path / "model")

    for _ in range(2):  # the second time at once
        with pytest.raises(ValueError, match=r"correlation of 0\.800 .* 0\.90 .* wanted 0\.95 and 0\.8.*check=False"):
            load_embeddings(folder, backend="onnx-int8")
    assert len(calls) == 1

    found = export_model(folder, check=False)

    assert (found / "model.onnx").exists()
    with pytest.raises(ValueError, match="loses too much"):  # whoever asks for a check gets one
        export_model(folder)


def test_an_unchecked_model_s_vectors_are_not_taken_for_the_model_s(exported: Path) -> None:
    fingerprints = [load_embeddings(exported, backend=backend).fingerprint for backend in (None, "onnx", "onnx-int8")]

    assert fingerprints[0] == fingerprints[1]
    assert fingerprints[2] == f"{fingerprints[0]}+onnx-int8"


def test_a_checked_model_s_vectors_are_the_model_s(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "model"))
    manifest = folder / "onnx" / "int8" / "export.json"
    content = json.loads(manifest.read_text("utf-8"))
    manifest.write_text(json.dumps({**content, "quality": {"spearman": 0.99, "overlap": 0.95}}))

    assert load_embeddings(folder, backend="onnx-int8").fingerprint == load_embeddings(exported).fingerprint


def test_the_check_compares_orders() -> None:
    exact = np.array([[*range(20)], [*range(20)]], dtype=float)

    assert (_compare(exact, exact * 3 + 1).spearman, _compare(exact, exact * 3 + 1).overlap) == pytest.approx((1, 1))
    assert _compare(exact, -exact).spearman == pytest.approx(-1)
    assert _compare(exact, -exact).overlap == 0
    half = np.array([exact[0], -exact[0]])
    assert (_compare(exact, half).spearman, _compare(exact, half).overlap) == pytest.approx((0, 0.5))


def test_the_check_measures_int8_on_the_bundled_news(exported: Path, exported_reranker: Path) -> None:
    embeddings, reranker = resolve_model(exported), resolve_model(exported_reranker)

    qualities = [
        onnx_export._quality(model, model.folder / "onnx" / "fp32", model.folder / "onnx" / "int8")
        for model in (embeddings, reranker)
    ]
    same = onnx_export._quality(embeddings, *[embeddings.folder / "onnx" / "fp32"] * 2)

    assert (same.spearman, same.overlap) == pytest.approx((1, 1))
    assert all(0.3 < quality.spearman < 1 and 0.3 < quality.overlap <= 1 for quality in qualities)


def test_a_graph_that_differs_from_the_model_is_refused(tiny_transformer: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_transformer), device="cpu")
    pooling: Any = model[1]
    pooling.include_prompt = False  # how long a prompt is, the graph is not told
    model.save(str(tmp_path))

    with pytest.raises(ValueError, match="cannot be exported: onnxruntime and PyTorch differ by"):
        load_embeddings(tmp_path, backend="onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "int8"}, "There is no backend 'int8', wanted: torch, torch-bf16, torch-fp16, onnx, onnx-int8"),
        ({"backend": "onnx", "device": "cuda"}, "onnx runs on the CPU, not on 'cuda'"),
        ({"backend": "onnx", "threads": 0}, "threads must be at least 1"),
        ({"threads": 2}, "Only onnxruntime takes threads"),
    ],
)
@pytest.mark.parametrize("role", ["embeddings", "reranker"])
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, Any], message: str, role: str, tiny_transformer: Path, tiny_cross_encoder: Path
) -> None:
    load: Any = load_embeddings if role == "embeddings" else load_reranker
    with pytest.raises(ValueError, match=message):
        load(tiny_transformer if role == "embeddings" else tiny_cross_encoder, **options)


def test_models_without_pytorch_take_no_backend(tiny_static: Path, tiny_linear_reranker: Path) -> None:
    with pytest.raises(ValueError, match="is a static model: it takes no"):
        load_embeddings(tiny_static, backend="onnx-int8")
    with pytest.raises(ValueError, match="is a linear reranker: it takes no"):
        load_reranker(tiny_linear_reranker, backend="onnx-int8")
    with pytest.raises(ValueError, match="is a static model: it needs no backend"):
        export_model("embedded")


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8"])
def test_a_model_for_another_role_is_refused(backend: OnnxBackend, exported: Path, exported_reranker: Path) -> None:
    with pytest.raises(ValueError, match="is a cross-encoder model, wanted: sentence-transformer or transformer"):
        load_embeddings(exported_reranker, backend=backend)
    with pytest.raises(ValueError, match="is a sentence-transformer model, wanted: cross-encoder"):
        load_reranker(exported, backend=backend)


# Batches


def test_batches_hold_so_many_tokens_and_each_text_once() -> None:
    lengths = [5, 500, 500, 500, 500, 500, 30, 4000, 0]

    found = batches(lengths)

    assert found == [[7], [1, 2, 3, 4], [5, 6, 0, 8]]
    assert batches(lengths, 2) == [[7], [1, 2], [3, 4], [5, 6], [0, 8]]
    assert batches([]) == []


def test_a_batch_of_short_texts_is_not_opened_by_a_long_one() -> None:
    found = batches([2000, *[10] * 300])

    assert [len(batch) for batch in found] == [1, 204, 96]
