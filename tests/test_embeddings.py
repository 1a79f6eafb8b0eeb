"""What both embedding classes promise, and what each does differently."""

import asyncio
import json
import pickle
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_app.data import sample_documents
from rag_app.embeddings import ModelEmbeddings, StaticEmbeddings, TransformerEmbeddings, load_embeddings
from rag_app.korean import normalise
from rag_app.models import ResolvedModel, load_sentence_transformer, load_static_model, resolve_model


@pytest.fixture(params=["static", "transformer"])
def embeddings(request: pytest.FixtureRequest) -> ModelEmbeddings:
    folder = request.getfixturevalue("tiny_static" if request.param == "static" else "tiny_transformer")
    return load_embeddings(folder, device=None if request.param == "static" else "cpu")


@pytest.fixture
def static(tiny_static: Path) -> StaticEmbeddings:
    return StaticEmbeddings(load_static_model(tiny_static), name="tiny", fingerprint="f")


@pytest.fixture
def prompted(tiny_sentence_transformer: Path) -> TransformerEmbeddings:
    model = load_sentence_transformer(tiny_sentence_transformer, device="cpu")
    return TransformerEmbeddings(model, name="tiny", fingerprint="f")


# Both


def test_vectors_have_length_one_and_the_dimension_said(
    embeddings: ModelEmbeddings, sentences: tuple[str, ...]
) -> None:
    vectors = embeddings.encode(sentences)

    assert vectors.dtype == np.float32
    assert vectors.shape == (len(sentences), embeddings.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_different_texts_have_different_vectors_in_the_order_of_the_texts(
    embeddings: ModelEmbeddings, sentences: tuple[str, ...]
) -> None:
    vectors = embeddings.encode(sentences)

    assert np.triu(vectors @ vectors.T, k=1).max() < 0.999
    np.testing.assert_allclose(embeddings.encode(sentences[::-1]), vectors[::-1], atol=1e-5)


def test_embed_query_and_embed_documents_give_what_encode_gives(
    embeddings: ModelEmbeddings, sentences: tuple[str, ...]
) -> None:
    expected = embeddings.encode(sentences)

    np.testing.assert_allclose(embeddings.embed_documents(list(sentences)), expected, atol=1e-5)
    np.testing.assert_allclose([embeddings.embed_query(text) for text in sentences], expected, atol=1e-5)


async def test_the_async_methods_give_the_same(embeddings: ModelEmbeddings, sentences: tuple[str, ...]) -> None:
    assert await embeddings.aembed_query(sentences[1]) == embeddings.embed_query(sentences[1])
    assert await embeddings.aembed_documents(list(sentences)) == embeddings.embed_documents(list(sentences))


def test_decomposed_hangul_gives_the_same_vector(embeddings: ModelEmbeddings, sentences: tuple[str, ...]) -> None:
    decomposed = unicodedata.normalize("NFD", sentences[0])

    assert decomposed != sentences[0]
    assert embeddings.embed_query(decomposed) == embeddings.embed_query(sentences[0])
    assert embeddings.embed_documents([decomposed]) == embeddings.embed_documents([sentences[0]])


@pytest.mark.parametrize("empty", ["", " \n\u200b"])
def test_a_text_with_nothing_in_it_gets_the_zero_vector(
    empty: str, embeddings: ModelEmbeddings, sentences: tuple[str, ...]
) -> None:
    vectors = embeddings.encode([sentences[0], empty])

    assert vectors[0].any()
    assert not vectors[1].any()
    assert embeddings.embed_query(empty) == [0.0] * embeddings.dimension


def test_no_texts_give_no_vectors(embeddings: ModelEmbeddings) -> None:
    assert embeddings.encode([]).shape == (0, embeddings.dimension)
    assert embeddings.embed_documents([]) == []


def test_a_text_longer_than_any_model_reads_has_a_vector(
    embeddings: ModelEmbeddings, sentences: tuple[str, ...]
) -> None:
    vector = embeddings.embed_query(" ".join(sentences * 100))

    assert np.linalg.norm(vector) == pytest.approx(1)


def test_threads_share_a_model(embeddings: ModelEmbeddings, sentences: tuple[str, ...]) -> None:
    texts = [sentences[i % 4] * (i % 7 + 1) for i in range(64)]
    expected = [embeddings.embed_query(text) for text in texts]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(embeddings.embed_query, texts))

    np.testing.assert_allclose(results, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["query", "documents"])
async def test_the_event_loop_goes_on_while_a_model_works(
    method: str, embeddings: ModelEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = embeddings.encode

    def slow(texts: Sequence[str], **options: Any) -> Any:
        time.sleep(0.3)
        return encode(texts, **options)

    monkeypatch.setattr(embeddings, "encode", slow)
    work = embeddings.aembed_query("국회") if method == "query" else embeddings.aembed_documents(["국회"])
    task = asyncio.ensure_future(work)
    beats = 0
    while not task.done():
        await asyncio.sleep(0.01)
        beats += 1

    assert beats >= 3  # one, where the loop waits for the model
    assert task.result()


def test_a_progress_bar_is_shown_when_asked_for(
    embeddings: ModelEmbeddings, capsys: pytest.CaptureFixture[str], sentences: tuple[str, ...]
) -> None:
    embeddings.encode(sentences)
    assert capsys.readouterr().err == ""

    embeddings.encode(sentences, progress=True)
    assert "100%" in capsys.readouterr().err


# Static models


def test_a_static_vector_is_the_sum_of_its_characters_vectors(static: StaticEmbeddings) -> None:
    model = static.token_vectors
    total = sum(model.vectors[model.tokenizer.token_to_id(character)] for character in "국회")

    np.testing.assert_allclose(static.embed_query("국회"), total / np.linalg.norm(total), rtol=1e-5)


def test_an_unknown_character_changes_nothing(static: StaticEmbeddings) -> None:
    assert static.embed_query("국회 ☃") == static.embed_query("국회")
    assert not any(static.embed_query("☃"))


def test_a_static_model_reads_beyond_its_saved_maximum(static: StaticEmbeddings, tiny_static: Path) -> None:
    assert json.loads((tiny_static / "config.json").read_text(encoding="utf-8"))["max_length"] == 8
    assert static.embed_query("국회 " * 8 + "야구") != static.embed_query("국회 " * 8)


def test_static_vectors_agree_with_model2vec(
    static: StaticEmbeddings, tiny_static: Path, sentences: tuple[str, ...]
) -> None:
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(tiny_static)
    expected = model.encode(list(sentences), max_length=None, normalize=True)

    np.testing.assert_allclose(static.encode(sentences), expected, rtol=1e-5, atol=1e-6)


def test_the_embedded_models_vectors_agree_with_model2vec_on_news_passages() -> None:
    """But for the few texts in which two ways of taking a word apart are equally likely; see tests/test_word_tokens."""
    from model2vec import StaticModel

    embedded = load_embeddings()
    folder = resolve_model("embedded").folder
    passages = [document.page_content for document in sample_documents()]
    texts = [*passages, *(text[:20] for text in passages), " ".join(passages[:20]), "KBS 2025년", "?!", ""]

    expected = StaticModel.from_pretrained(folder).encode([normalise(text) for text in texts])

    vectors = embedded.encode(texts)
    same = np.abs(vectors - expected).max(axis=1) < 1e-5
    assert same.mean() > 0.95
    assert (vectors * expected).sum(axis=1)[~same].min() > 0.99
    decomposed = [unicodedata.normalize("NFD", text).upper() for text in texts]
    np.testing.assert_allclose(embedded.encode(decomposed), vectors, atol=1e-5)


def test_a_static_vector_does_not_depend_on_what_else_is_embedded() -> None:
    embedded = load_embeddings()
    texts = [document.page_content for document in sample_documents()]
    np.testing.assert_array_equal(embedded.encode(texts), [embedded.encode([text])[0] for text in texts])
    np.testing.assert_array_equal(embedded.encode(texts * 8)[-len(texts) :], embedded.encode(texts))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_static_model_can_be_trained_and_read_again(
    dtype: str, tiny_static: Path, tmp_path: Path, sentences: tuple[str, ...]
) -> None:
    from model2vec import StaticModel

    folder, trained = tmp_path / "untrained", tmp_path / "trained"
    StaticModel.from_pretrained(tiny_static, quantize_to=dtype).save_pretrained(folder)
    texts = [*sentences, "국회 ☃ 야구", "국회 " * 20]

    model = load_sentence_transformer(folder, device="cpu")
    np.testing.assert_allclose(model.encode(texts), load_embeddings(folder).encode(texts), rtol=1e-4, atol=1e-6)
    weight = next(model.parameters())
    assert weight.requires_grad
    weight.data += 0.01
    model.save(str(trained))
    static = load_embeddings(trained)

    assert isinstance(static, StaticEmbeddings)  # read without PyTorch, though PyTorch saved it
    known = [*sentences, "국회 " * 20]
    np.testing.assert_allclose(static.encode(known), model.encode(known), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("quantised", [{"quantize_to": "int8"}, {"vocabulary_quantization": 20}])
def test_quantised_static_models_stay_close(
    quantised: dict[str, Any], static: StaticEmbeddings, tiny_static: Path, tmp_path: Path, sentences: tuple[str, ...]
) -> None:
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(tiny_static, **quantised)
    model.save_pretrained(tmp_path)

    vectors = load_embeddings(tmp_path).encode(sentences)

    np.testing.assert_allclose(vectors, model.encode(list(sentences), max_length=None, normalize=True), atol=1e-5)
    assert np.einsum("nd,nd->n", vectors, static.encode(sentences)).min() > (0.999 if "quantize_to" in quantised else 0)


def test_many_batches_keep_the_order_of_the_texts(static: StaticEmbeddings, sentences: tuple[str, ...]) -> None:
    texts = [sentences[i % 4][: i % 19] for i in range(3000)]

    vectors = static.encode(texts)

    for i in (0, 1, 255, 256, 257, 1500, 2999):
        np.testing.assert_allclose(vectors[i], static.embed_query(texts[i]), atol=1e-6)


@pytest.mark.parametrize(
    "option",
    [{"query_prompt": "query: "}, {"batch_size": 8}, {"device": "cpu"}, {"backend": "onnx-int8"}, {"threads": 1}],
)
def test_a_static_model_takes_no_options_in_silence(option: dict[str, Any], tiny_static: Path) -> None:
    with pytest.raises(ValueError, match="takes no prompts, batch size, device, backend"):
        load_embeddings(tiny_static, **option)


def test_static_embeddings_import_no_torch(tiny_static: Path) -> None:
    program = f"""
import sys
import rag_app.embeddings, rag_app.compressors
assert not {{"torch", "transformers", "sentence_transformers", "model2vec"}} & sys.modules.keys(), "on import"
rag_app.embeddings.load_embeddings({str(tiny_static)!r}).embed_query("국회")
assert not {{"torch", "transformers", "sentence_transformers"}} & sys.modules.keys(), "on use"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=Path(__file__).parents[1])


# Sentence-transformers models


def test_questions_get_the_models_own_prompt(prompted: TransformerEmbeddings) -> None:
    assert prompted.embed_query("예산안") != pytest.approx(prompted.embed_documents(["예산안"])[0], abs=1e-3)
    assert prompted.embed_query("예산안") == pytest.approx(prompted.embed_documents(["국회 예산안"])[0], abs=1e-5)
    assert prompted.encode(["예산안"], query=True)[0].tolist() == prompted.embed_query("예산안")


def test_prompts_can_be_given_and_taken_away(tiny_sentence_transformer: Path) -> None:
    plain = load_embeddings(tiny_sentence_transformer, query_prompt="", device="cpu")
    given = load_embeddings(tiny_sentence_transformer, query_prompt="수도 ", document_prompt="주말 ", device="cpu")

    expected = plain.encode(["국회", "수도 국회", "주말 국회"])

    assert plain.embed_query("국회") == pytest.approx(expected[0], abs=1e-5)
    assert given.embed_query("국회") == pytest.approx(expected[1], abs=1e-5)
    assert given.embed_documents(["국회"])[0] == pytest.approx(expected[2], abs=1e-5)


def test_a_text_fits_as_long_as_its_last_character_counts(
    tiny_sentence_transformer: Path, sentences: tuple[str, ...]
) -> None:
    model = load_sentence_transformer(tiny_sentence_transformer, device="cpu", max_length=16)
    plain = TransformerEmbeddings(model, name="tiny", fingerprint="f")
    prompted = TransformerEmbeddings(model, name="tiny", fingerprint="f", document_prompt="주말 ")
    text = sentences[0].replace(" ", "")[:16]  # a token for each character, and one more at either end

    assert [plain.fits(text[:length]) for length in (1, 13, 14, 15, 16)] == [True, True, True, False, False]
    assert [prompted.fits(text[:length]) for length in (12, 13)] == [True, False]
    assert plain.fits(unicodedata.normalize("NFD", text[:14]))
    for embeddings, fitting in ((plain, 14), (prompted, 12)):
        vectors = embeddings.encode([text[:length] for length in (fitting - 1, fitting, fitting + 1)])
        assert vectors[1] @ vectors[0] < 0.999
        assert vectors[1] @ vectors[2] == pytest.approx(1)


def test_the_models_own_prompt_takes_its_room(tiny_transformer: Path, sentences: tuple[str, ...]) -> None:
    model = load_sentence_transformer(tiny_transformer, device="cpu", max_length=16)
    model.prompts = {"passage": "주말 "}
    embeddings = TransformerEmbeddings(model, name="tiny", fingerprint="f")
    text = sentences[0].replace(" ", "")

    assert [embeddings.fits(text[:length]) for length in (12, 13)] == [True, False]
    given = TransformerEmbeddings(model, name="tiny", fingerprint="f", document_prompt="")
    assert [given.fits(text[:length]) for length in (14, 15)] == [True, False]


def test_a_static_model_has_no_window_even_in_training(static: StaticEmbeddings, tiny_static: Path) -> None:
    model = load_sentence_transformer(tiny_static, device="cpu")
    training = TransformerEmbeddings(model, name="tiny", fingerprint="f")

    assert static.fits("국회 " * 10_000)
    assert training.fits("국회 " * 10_000)


def test_asking_what_fits_changes_nothing_for_a_thread_that_embeds(
    tiny_transformer: Path, sentences: tuple[str, ...]
) -> None:
    embeddings = load_embeddings(tiny_transformer, device="cpu")
    long = " ".join(sentences * 20)  # far past the window: the model fails if it is not cut
    expected = embeddings.embed_query(long)

    with ThreadPoolExecutor(4) as pool:
        fitting = pool.map(embeddings.fits, [long] * 200)
        vectors = list(pool.map(embeddings.embed_query, [long] * 20))

    assert not any(fitting)
    np.testing.assert_allclose(vectors, [expected] * 20, atol=1e-5)


def test_batches_do_not_change_vectors(tiny_transformer: Path, sentences: tuple[str, ...]) -> None:
    texts = [sentences[i % 4][: i + 2] for i in range(20)]

    one, many = (load_embeddings(tiny_transformer, batch_size=size, device="cpu").encode(texts) for size in (1, 7))

    np.testing.assert_allclose(one, many, atol=1e-5)


def test_inference_keeps_no_gradients(prompted: TransformerEmbeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    seen: list[bool] = []
    forward = prompted._model.forward

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(torch.is_inference_mode_enabled())
        return forward(*arguments, **options)

    monkeypatch.setattr(prompted._model, "forward", watched)

    with ThreadPoolExecutor(1) as pool:  # the mode belongs to a thread
        pool.submit(prompted.embed_query, "국회").result()

    assert seen == [True]


# Loading by name


def test_a_model_is_loaded_once_however_many_ask(
    tiny_static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny_static, tmp_path / "copy")
    loads: list[str] = []

    def slow(resolved: ResolvedModel) -> Any:
        loads.append(resolved.name)
        time.sleep(0.05)
        return load_static_model(resolved)

    monkeypatch.setattr("rag_app.embeddings.load_static_model", slow)
    with ThreadPoolExecutor(8) as pool:
        models = set(pool.map(load_embeddings, [folder] * 8))

    assert len(models) == 1
    assert loads == [str(folder)]


def test_other_options_are_another_model(tiny_transformer: Path) -> None:
    first = load_embeddings(tiny_transformer, device="cpu")

    assert load_embeddings(tiny_transformer, device="cpu") is first
    assert load_embeddings(tiny_transformer, device="cpu", query_prompt="질문: ") is not first


def test_a_retrained_model_is_loaded_anew(tiny_static: Path, tmp_path: Path) -> None:
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(tiny_static)
    model.save_pretrained(tmp_path)
    before = load_embeddings(tmp_path)
    model.embedding = -model.embedding
    model.save_pretrained(tmp_path)

    after = load_embeddings(tmp_path)

    assert after.fingerprint != before.fingerprint
    assert after.embed_query("국회") == pytest.approx([-value for value in before.embed_query("국회")])


def test_a_loaded_model_knows_its_name(tiny_static: Path, tiny_transformer: Path) -> None:
    static, transformer = load_embeddings(tiny_static), load_embeddings(tiny_transformer, device="cpu")

    assert (static.name, static.dimension) == (str(tiny_static), 16)
    assert (transformer.name, transformer.dimension) == (str(tiny_transformer), 32)
    assert len({static.fingerprint, transformer.fingerprint}) == 2


def test_a_reranker_is_no_embedding_model(tiny_cross_encoder: Path, tiny_linear_reranker: Path) -> None:
    with pytest.raises(ValueError, match=r"is a cross-encoder model.*load_reranker"):
        load_embeddings(tiny_cross_encoder)
    with pytest.raises(ValueError, match=r"is a linear-reranker model.*load_reranker"):
        load_embeddings(tiny_linear_reranker)


def test_the_embedded_model_understands_korean() -> None:
    embeddings = load_embeddings()

    query = embeddings.encode(["정부의 내년도 나라 살림"], query=True)[0]
    related, unrelated = embeddings.encode(["국회는 내년 예산안을 의결했다.", "프로야구 개막전이 잠실에서 열렸다."])

    assert (embeddings.name, embeddings.dimension) == ("embedded", 256)
    assert query @ related > query @ unrelated


def test_prompts_are_part_of_what_identifies_a_model(tiny_sentence_transformer: Path) -> None:
    plain = load_embeddings(tiny_sentence_transformer)
    prompted = load_embeddings(tiny_sentence_transformer, query_prompt="query: ")
    other = load_embeddings(tiny_sentence_transformer, document_prompt="query: ")
    assert len({plain.fingerprint, prompted.fingerprint, other.fingerprint}) == 3


def test_a_model_that_has_embedded_a_question_can_be_pickled(tiny_static: Path) -> None:
    embeddings = load_embeddings(tiny_static)
    vector = embeddings.embed_query("가뭄")
    copied = pickle.loads(pickle.dumps(embeddings))
    assert copied.embed_query("가뭄") == vector
    assert copied._questions is not embeddings._questions
