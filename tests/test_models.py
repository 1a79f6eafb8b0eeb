"""Finding models by name, refusing unsafe ones, and the klue/roberta repairs."""

import json
import logging
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from rag_app.embeddings import StaticEmbeddings
from rag_app.models import (
    load_cross_encoder,
    load_sentence_transformer,
    load_static_model,
    model_fingerprint,
    resolve_model,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    def copy_folder(source: Path) -> Path:
        return Path(shutil.copytree(source, tmp_path / "copy"))

    return copy_folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache, and a Hub at an address where nobody answers."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    return cache


def fill_cache(cache: Path, repo: str, source: Path) -> Path:
    """Put a model into a Hub cache as if it had been downloaded from the main branch."""
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    return Path(shutil.copytree(source, root / "snapshots" / COMMIT))


def edit_json(path: Path, **settings: Any) -> None:
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    content = {key: value for key, value in {**content, **settings}.items() if value is not None}
    path.write_text(json.dumps(content), "utf-8")


# Names


def test_a_folder_is_found_by_its_path(tiny_static: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_static.parent)

    by_string, by_path = resolve_model(tiny_static.name), resolve_model(tiny_static)

    assert by_string.folder == by_path.folder == tiny_static
    assert (by_string.name, by_string.commit) == (str(tiny_static), None)


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "~/none-here", "a/b/c", "models/", Path("owner/model")])
def test_a_path_that_does_not_exist_is_no_hub_id(name: str | Path, hub_cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model folder"):
        resolve_model(name)


@pytest.mark.parametrize("name", ["", "embeded", "owner/model@", "owner /model", "한국/모델"])
def test_a_name_that_is_none_of_the_three_is_an_error(name: str, hub_cache: Path) -> None:
    with pytest.raises(ValueError, match="neither 'embedded', nor an existing folder, nor a Hub id"):
        resolve_model(name)


def test_kinds_are_told_apart_without_loading(
    tiny_static: Path,
    tiny_transformer: Path,
    tiny_sentence_transformer: Path,
    tiny_cross_encoder: Path,
    tiny_linear_reranker: Path,
) -> None:
    folders = [tiny_static, tiny_transformer, tiny_sentence_transformer, tiny_cross_encoder, tiny_linear_reranker]

    kinds = [resolve_model(folder).kind for folder in folders]

    assert kinds == ["static", "transformer", "sentence-transformer", "cross-encoder", "linear-reranker"]


def test_embedded_is_one_model_for_each_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_model("embedded") == resolve_model("embedded", role="embeddings")
    assert resolve_model("embedded").folder.name == "embedded"

    monkeypatch.setattr("rag_app.models.files", lambda _: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"embeddings model is missing.*python -m finetune\.distill"):
        resolve_model("embedded")
    with pytest.raises(FileNotFoundError, match=r"reranker model is missing.*data/reranker\. Reinstall korean-rag"):
        resolve_model("embedded", role="reranker")


def test_a_role_changes_nothing_for_other_names(tiny_static: Path) -> None:
    assert resolve_model(tiny_static, role="reranker") == resolve_model(tiny_static)


def test_a_cross_encoder_saved_by_sentence_transformers_is_recognised(tiny_cross_encoder: Path, tmp_path: Path) -> None:
    load_cross_encoder(tiny_cross_encoder, device="cpu").save(str(tmp_path))

    assert resolve_model(tmp_path).kind == "cross-encoder"
    assert load_cross_encoder(tmp_path, device="cpu").tokenizer.model_input_names == ["input_ids", "attention_mask"]


def test_a_linear_reranker_without_its_counts_is_no_model(
    tiny_linear_reranker: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(tiny_linear_reranker)
    (folder / "counts.safetensors").unlink()

    with pytest.raises(ValueError, match=r"holds no model: there is no counts\.safetensors in"):
        resolve_model(folder)


def test_a_linear_reranker_s_fingerprint_follows_its_weights(
    tiny_linear_reranker: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(tiny_linear_reranker)
    assert model_fingerprint(resolve_model(folder)) == model_fingerprint(resolve_model(tiny_linear_reranker))

    edit_json(folder / "config.json", bias=2.0)

    assert model_fingerprint(resolve_model(folder)) != model_fingerprint(resolve_model(tiny_linear_reranker))


def test_a_model_for_another_purpose_is_not_converted(
    tiny_static: Path, tiny_transformer: Path, tiny_cross_encoder: Path, tiny_linear_reranker: Path
) -> None:
    for load in (load_sentence_transformer, load_static_model, load_cross_encoder):
        with pytest.raises(ValueError, match=r"is a linear-reranker model, wanted: .*Load a reranker with load_rera"):
            load(tiny_linear_reranker)
    with pytest.raises(ValueError, match="is a cross-encoder model, wanted: static or sentence-transformer"):
        load_sentence_transformer(tiny_cross_encoder)
    with pytest.raises(ValueError, match="is a transformer model, wanted: cross-encoder"):
        load_cross_encoder(tiny_transformer)
    with pytest.raises(ValueError, match="is a static model, wanted: cross-encoder"):
        load_cross_encoder(tiny_static, new_head=True)
    with pytest.raises(ValueError, match="is a transformer model, wanted: static"):
        load_static_model(tiny_transformer)


def test_a_sparse_encoder_is_refused(tiny_sentence_transformer: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(tiny_sentence_transformer)
    edit_json(folder / "config_sentence_transformers.json", model_type="SparseEncoder")

    with pytest.raises(ValueError, match="is a SparseEncoder"):
        resolve_model(folder)


def test_an_empty_folder_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no model"):
        resolve_model(tmp_path)


# The Hub


def test_a_cached_hub_model_is_used_without_asking_the_hub(hub_cache: Path, tiny_static: Path) -> None:
    snapshot = fill_cache(hub_cache, "owner/model", tiny_static)

    resolved = resolve_model("owner/model@main")

    assert resolved.folder.resolve() == snapshot.resolve()
    assert (resolved.name, resolved.kind, resolved.commit) == ("owner/model@main", "static", COMMIT)
    assert model_fingerprint(resolved) == f"owner/model@{COMMIT}"
    assert resolve_model(f"owner/model@{COMMIT}").folder.resolve() == snapshot.resolve()


def test_a_cached_snapshot_without_weights_is_not_used(hub_cache: Path, tiny_static: Path) -> None:
    (fill_cache(hub_cache, "owner/model", tiny_static) / "model.safetensors").unlink()

    with pytest.raises(ConnectionError):
        resolve_model("owner/model")


def test_offline_a_missing_hub_model_is_reported_at_once(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    started = time.monotonic()

    with pytest.raises(ConnectionError, match=r"Unset HF_HUB_OFFLINE.*hf download owner/model --revision v1"):
        resolve_model("owner/model@v1")

    assert time.monotonic() - started < 1


def test_without_a_network_a_missing_hub_model_is_reported_at_once(hub_cache: Path) -> None:
    started = time.monotonic()

    with pytest.raises(ConnectionError, match=r"no folder 'owner/model'.*cannot be reached.*hf download owner/model"):
        resolve_model("owner/model")

    assert time.monotonic() - started < 2


@pytest.mark.parametrize("files", [["config.json", "pytorch_model.bin"], []])
def test_a_hub_model_without_safetensors_is_not_downloaded(
    files: list[str], hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename=file) for file in files])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)

    with pytest.raises(ValueError, match="no safetensors weights"):
        resolve_model("owner/model")


# Safety


def test_a_planted_module_class_is_refused_and_never_imported(
    tiny_sentence_transformer: Path, copy: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trace = copy(tiny_sentence_transformer), tmp_path / "trace"
    (folder / "planted.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Module: ...\n")
    monkeypatch.syspath_prepend(folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "planted.Module"
    (folder / "modules.json").write_text(json.dumps(modules))

    with pytest.raises(ValueError, match=r"names the class 'planted\.Module'"):
        load_sentence_transformer(folder)

    assert not trace.exists()
    assert "planted" not in sys.modules


@pytest.mark.parametrize(
    "reference",
    [
        "sentence_transformers.base.modules.router.Router",
        "sentence_transformers.models.WordEmbeddings",
        "sentence_transformers.util.misc.import_from_string",
        "sentence_transformers.models.Transformer.load",
        "sentence_transformers_models.Transformer",
    ],
)
def test_a_module_class_outside_the_list_is_refused(
    reference: str, tiny_sentence_transformer: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(tiny_sentence_transformer)
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": reference}]))

    with pytest.raises(ValueError, match="not on the list"):
        resolve_model(folder)


@pytest.mark.parametrize("path", ["../elsewhere", "/etc"])
def test_a_module_path_outside_the_folder_is_refused(
    path: str, tiny_sentence_transformer: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(tiny_sentence_transformer)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = path
    (folder / "modules.json").write_text(json.dumps(modules))

    with pytest.raises(ValueError, match="leaves the folder"):
        resolve_model(folder)


def test_pickled_weights_are_refused_and_never_unpickled(
    tiny_transformer: Path, copy: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    folder = copy(tiny_transformer)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))

    with pytest.raises(ValueError, match=r"pytorch_model\.bin is pickled.*save_pretrained"):
        load_sentence_transformer(folder)


def test_a_pickle_beside_safetensors_is_left_alone(tiny_transformer: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(tiny_transformer)
    (folder / "pytorch_model.bin").write_bytes(b"not a model")

    load_sentence_transformer(folder, device="cpu")


def test_an_architecture_written_in_python_is_refused(
    tiny_transformer: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder, trace = copy(tiny_transformer), tmp_path / "trace"
    (folder / "planted.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    classes = {"AutoConfig": "planted.Config", "AutoModel": "planted.Model"}
    edit_json(folder / "config.json", model_type="planted", auto_map=classes)

    with pytest.raises(ValueError, match="trust_remote_code"):
        load_sentence_transformer(folder)

    assert not trace.exists()


@pytest.mark.fault(
    7, "A cross-encoder's configuration could call any function of torch, also one that starts programs."
)
@pytest.mark.parametrize("name", ["torch.utils.collect_env.main", "planted.Planted", "os.system"])
def test_an_activation_function_that_is_none_is_refused(
    name: str, tiny_cross_encoder: Path, copy: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch.utils.collect_env

    folder = copy(tiny_cross_encoder)
    edit_json(folder / "config.json", sentence_transformers={"activation_fn": name})
    monkeypatch.setattr(torch.utils.collect_env, "main", lambda: pytest.fail("called"))

    with pytest.raises(ValueError, match=f"names the code '{name}' as its activation_fn"):
        load_cross_encoder(folder, device="cpu")


@pytest.mark.fault(7, "Damaged weights of a model ended in an error of safetensors that no caller expects.")
def test_weights_that_are_none_are_named(tiny_static: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(tiny_static)
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)

    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read as safetensors"):
        resolve_model(folder)


def test_a_missing_extra_names_its_pip_line(tiny_transformer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)

    for load in (load_sentence_transformer, lambda name: load_cross_encoder(name, new_head=True)):
        with pytest.raises(ImportError, match=r"pip install 'korean-rag\[torch\]'$"):
            load(tiny_transformer)


# klue/roberta


@pytest.mark.parametrize("saved_as", ["vocab.txt", "tokenizer.json"])
def test_the_tokenizer_is_named_where_no_configuration_names_it(
    saved_as: str, tiny_transformer: Path, copy: Callable[[Path], Path]
) -> None:
    from transformers import AutoTokenizer

    folder = copy(tiny_transformer)
    if saved_as == "tokenizer.json":
        AutoTokenizer.from_pretrained(folder).backend_tokenizer.save(str(folder / saved_as))
        (folder / "vocab.txt").unlink()
    edit_json(folder / "config.json", tokenizer_class=None)

    tokenizer = load_sentence_transformer(folder, device="cpu").tokenizer

    assert type(AutoTokenizer.from_pretrained(folder)).__name__ == "RobertaTokenizer"  # what goes wrong without us
    assert tokenizer.tokenize("국회는 의결했다.") == ["국", "##회", "##는", "의", "##결", "##했", "##다", "."]


def test_a_tokenizer_that_loses_korean_is_refused(tiny_transformer: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(tiny_transformer)
    edit_json(folder / "tokenizer_config.json", do_lower_case=True)  # takes Hangul apart, as accents are stripped

    with pytest.raises(ValueError, match=r"loses Korean: .* keeps 1 of 7 tokens.*tokenizer_class"):
        load_sentence_transformer(folder, device="cpu")


def test_a_static_tokenizer_that_loses_korean_is_refused(tiny_static: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(tiny_static)
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    for piece in tokenizer["model"]["vocab"]:
        piece[0] = f"x{piece[0]}"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    with pytest.raises(ValueError, match="loses Korean"):
        load_static_model(folder)


def test_roberta_gets_512_positions_not_514(
    tiny_transformer: Path, tiny_cross_encoder: Path, sentences: tuple[str, ...]
) -> None:
    text = " ".join(sentences * 40)

    encoder = load_sentence_transformer(tiny_transformer, device="cpu")
    reranker = load_cross_encoder(tiny_cross_encoder, device="cpu")

    assert (encoder.max_seq_length, reranker.max_seq_length) == (512, 512)
    assert encoder.encode(text).shape == (32,)
    assert 0 <= reranker.predict((sentences[0], text)) <= 1


def test_a_shorter_limit_is_kept_and_a_longer_one_is_not(tiny_transformer: Path, tiny_cross_encoder: Path) -> None:
    assert load_sentence_transformer(tiny_transformer, device="cpu", max_length=64).max_seq_length == 64
    assert load_cross_encoder(tiny_cross_encoder, device="cpu", max_length=4096).max_seq_length == 512


def test_pairs_need_no_second_token_type(tiny_cross_encoder: Path, sentences: tuple[str, ...]) -> None:
    from sentence_transformers import CrossEncoder

    pair = (sentences[0], sentences[1])
    with pytest.raises(IndexError):  # what goes wrong without us
        CrossEncoder(str(tiny_cross_encoder), device="cpu", max_length=512).predict(pair)

    assert 0 <= load_cross_encoder(tiny_cross_encoder, device="cpu").predict(pair) <= 1


def test_a_new_head_is_put_on_only_when_asked_for(tiny_transformer: Path, tiny_sentence_transformer: Path) -> None:
    for folder in (tiny_transformer, tiny_sentence_transformer):
        assert load_cross_encoder(folder, device="cpu", new_head=True).num_labels == 1


def test_a_classifier_of_several_labels_is_no_reranker(tiny_cross_encoder: Path, copy: Callable[[Path], Path]) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = copy(tiny_cross_encoder)
    edit_json(folder / "config.json", id2label={"0": "참", "1": "거짓"}, label2id={"참": 0, "거짓": 1})
    AutoModelForSequenceClassification.from_pretrained(folder, ignore_mismatched_sizes=True).save_pretrained(folder)

    with pytest.raises(ValueError, match=r"one label, but .* has 2"):
        load_cross_encoder(folder, device="cpu")


def test_mean_pooling_is_announced(tiny_transformer: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rag_app.models"):
        model = load_sentence_transformer(tiny_transformer, device="cpu")

    assert model[1].pooling_mode == "mean"
    assert "mean pooling" in caplog.text


# Fingerprints


def test_a_fingerprint_follows_the_files_and_not_the_place(
    tiny_sentence_transformer: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(tiny_sentence_transformer)
    original, copied = (model_fingerprint(resolve_model(path)) for path in (tiny_sentence_transformer, folder))
    (folder / "README.md").write_text("More about it.")

    assert len(original) == 64
    assert original == copied == model_fingerprint(resolve_model(folder))


@pytest.mark.parametrize("changed", ["model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_a_fingerprint_changes_with_each_file_that_changes_vectors(
    changed: str, tiny_sentence_transformer: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(tiny_sentence_transformer)
    before = model_fingerprint(resolve_model(folder))
    content = (folder / changed).read_bytes()
    (folder / changed).write_bytes(content + b"\n" if changed.endswith(".json") else content[:-1] + b"!")

    assert model_fingerprint(resolve_model(folder)) != before


def test_the_unknown_token_of_a_static_model_learns_nothing(tiny_static: Path) -> None:
    text = "뷁 국회는 뷁 예산안을"
    model: Any = load_sentence_transformer(tiny_static, device="cpu")
    table = model[0].embedding.weight
    served = StaticEmbeddings(load_static_model(tiny_static), name="tiny", fingerprint="tiny")
    np.testing.assert_allclose(model.encode([text]), served.encode([text]), atol=1e-6)
    model(model.preprocess([text]))["sentence_embedding"].sum().backward()
    unknown = load_static_model(tiny_static).unknown
    assert table.grad is not None
    assert not table.grad[unknown].any()
    assert table.grad.any()


# Numbers of half the length


def test_bfloat16_is_near(tiny_transformer: Path, sentences: tuple[str, ...]) -> None:
    exact = load_sentence_transformer(tiny_transformer, device="cpu")
    short = load_sentence_transformer(tiny_transformer, device="cpu", backend="torch-bf16")

    vectors, near = (model.encode(list(sentences), normalize_embeddings=True) for model in (exact, short))

    assert str(short.dtype) == "torch.bfloat16"
    assert np.einsum("nd,nd->n", vectors, np.asarray(near, dtype=np.float32)).min() > 0.99
    assert not np.array_equal(vectors, near)


def test_bfloat16_scores_are_near(tiny_cross_encoder: Path) -> None:
    pairs = [("국회", "국회는 내년 예산안을 의결했다."), ("날씨", "서울")]
    exact, near = (
        load_cross_encoder(tiny_cross_encoder, device="cpu", backend=backend).predict(pairs)
        for backend in ("torch", "torch-bf16")
    )

    np.testing.assert_allclose(near, exact, atol=0.05)
    assert not np.array_equal(near, exact)


def test_float16_is_refused_on_a_cpu(tiny_transformer: Path, tiny_cross_encoder: Path) -> None:
    for load, folder in ((load_sentence_transformer, tiny_transformer), (load_cross_encoder, tiny_cross_encoder)):
        with pytest.raises(ValueError, match=r"on the CPU, where torch-fp16 .* Use onnx-int8 or torch-bf16"):
            load(folder, device="cpu", backend="torch-fp16")


def test_a_model_saved_in_bfloat16_computes_in_float32(tiny_transformer: Path, copy: Callable[[Path], Path]) -> None:
    import torch

    folder = copy(tiny_transformer)
    model: Any = load_sentence_transformer(folder, device="cpu")
    model[0].model.to(torch.bfloat16).save_pretrained(folder)

    assert str(load_sentence_transformer(folder, device="cpu").dtype) == "torch.float32"
