"""The embedded model is what `finetune.distill` makes of Kiwi's morphemes."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from kiwipiepy import Kiwi
from model2vec import StaticModel
from safetensors.numpy import load_file

from finetune import distill, morpheme_space, morpheme_tokens
from finetune.morpheme_space import Morpheme, Space
from finetune.morpheme_tokens import Token

EMBEDDED = Path(distill.__file__).parents[1] / "rag_app" / "data" / "embedded"
SENTENCE = "서울의 부모가 결혼했다면 갔습니다. LG전자는 1996년 ㄱㄴ 漢字"


@pytest.fixture(scope="module")
def kiwi() -> Kiwi:
    return morpheme_space.load_kiwi()


@pytest.fixture(scope="module")
def morphemes(kiwi: Kiwi) -> list[Morpheme]:
    return morpheme_space.read_morphemes(kiwi)


@pytest.fixture(scope="module")
def tokens(kiwi: Kiwi, morphemes: list[Morpheme]) -> list[Token]:
    return morpheme_tokens.to_tokens(morpheme_tokens.spellings(kiwi, morphemes))


@pytest.fixture(scope="module")
def space(kiwi: Kiwi, morphemes: list[Morpheme]) -> Space:
    return morpheme_space.find_space(kiwi, len(morphemes))


@pytest.fixture(scope="module")
def model() -> StaticModel:
    return StaticModel.from_pretrained(EMBEDDED)


def test_shipped_rows_are_those_recomputed_from_kiwi(kiwi: Kiwi, tokens: list[Token], space: Space) -> None:
    tensors = load_file(EMBEDDED / "model.safetensors")
    chosen = np.random.default_rng(1).choice(len(tokens), 100, replace=False)
    shipped = tensors["embeddings"][tensors["mapping"][chosen]].astype(float)
    fresh = morpheme_space.embed(kiwi, [tokens[index].row for index in chosen], space)
    steps = shipped - fresh * np.linalg.norm(shipped, axis=1, keepdims=True)
    assert np.abs(steps).max() < 2  # int8 steps: half by rounding, the rest for another machine's linear algebra
    assert np.abs(fresh[0] @ fresh[1:].T).mean() < 0.2, "vectors that all look alike would pass the line above"


def test_shipped_weights_and_vocabulary_are_those_recomputed_from_kiwi(model: StaticModel, tokens: list[Token]) -> None:
    assert model.weights is not None
    expected = np.array([token.weight for token in tokens])
    ratio = model.weights[1 : len(tokens)] / expected[1:]
    assert model.tokens == (*(token.text for token in tokens), *morpheme_tokens.PLAIN)
    assert ratio == pytest.approx(np.full(len(ratio), ratio[0]), rel=1e-4)


def test_recovered_cosines_are_kiwis_own(kiwi: Kiwi, space: Space) -> None:
    marks = space.landmarks
    values, vectors = np.linalg.eigh(morpheme_space.similarities(kiwi, marks, marks))
    recovery = vectors[:, -morpheme_space.DIMENSIONS :] / np.sqrt(values[-morpheme_space.DIMENSIONS :])
    ids = [1000, 5000, 20000, 60000]
    recovered = morpheme_space.similarities(kiwi, ids, marks) @ recovery
    assert recovered @ recovered.T == pytest.approx(morpheme_space.similarities(kiwi, ids, ids), abs=1e-5)


def test_two_builds_give_the_same_bytes(
    kiwi: Kiwi, morphemes: list[Morpheme], tokens: list[Token], tmp_path: Path
) -> None:
    few = [token._replace(row=token.row % 50) for token in tokens[:2000]]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        small = morpheme_space.find_space(kiwi, len(morphemes), sample=400)
        distill.write_model(tmp_path / name, few, morpheme_space.embed(kiwi, range(50), small), {"scores": {}})
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_korean_survives_the_tokenizer(model: StaticModel) -> None:
    encoded = model.tokenizer.encode("의미로 결혼했다 도와주었다", add_special_tokens=False)
    assert [token.strip("▁") for token in encoded.tokens if token != "▁"] == (
        ["의미", "로", "결혼", "했", "다", "도와주", "었", "다"]
    )


def test_decomposed_and_upper_case_text_embeds_the_same(model: StaticModel) -> None:
    expected = model.encode(SENTENCE)
    assert np.linalg.norm(expected) == pytest.approx(1)
    assert np.array_equal(model.encode(unicodedata.normalize("NFD", SENTENCE)), expected)
    assert np.array_equal(model.encode(SENTENCE.lower()), expected)


def test_a_text_without_a_known_token_embeds_as_zeros(model: StaticModel) -> None:
    assert not model.encode(["", "?!", "漢字"]).any()


def test_a_word_after_a_quote_or_bracket_begins_like_one_after_a_space(model: StaticModel) -> None:
    for text in ("“의미로", "(의미로)", "그는,의미로", "그는\n의미로"):
        assert "▁의미" in model.tokenizer.encode(text, add_special_tokens=False).tokens


def test_every_token_can_come_out_of_the_tokenizer(model: StaticModel) -> None:
    chosen = np.random.default_rng(2).choice(np.arange(1, len(model.tokens)), 500, replace=False)
    for token in (model.tokens[index] for index in chosen):
        text = token if token.startswith("▁") else "漢" + token  # Hanja are unknown: what follows continues a word
        assert model.tokenizer.encode(text, add_special_tokens=False).tokens[-1] == token


def test_related_words_are_closer_than_unrelated_ones(model: StaticModel) -> None:
    king, queen, bus = model.encode(["임금이 죽었다", "왕비가 사망했다", "버스가 늦게 온다"])
    assert king @ queen > king @ bus + 0.1


def test_the_end_of_a_long_passage_counts(model: StaticModel) -> None:
    filler = "서울에서 회의가 열렸다. " * 400
    assert not np.allclose(model.encode(filler), model.encode(filler + "고양이 " * 400))


def test_the_folder_fits_its_budget_and_carries_the_notice() -> None:
    assert sum(file.stat().st_size for file in EMBEDDED.iterdir()) <= 20_000_000
    card = (EMBEDDED / "README.md").read_text(encoding="utf-8")
    assert "Apache License, Version 2.0" in card
    assert "Minchul Lee" in card


def test_an_interrupted_build_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "model"
    output.mkdir()
    (output / "config.json").write_text("old", encoding="utf-8")

    def interrupt(folder: Path, *_: object) -> None:
        (folder / "config.json").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr(distill, "load_kiwi", lambda: None)
    monkeypatch.setattr(distill, "read_morphemes", lambda *_: [])
    monkeypatch.setattr(distill, "find_space", lambda *_: None)
    monkeypatch.setattr(distill, "embed", lambda *_: np.zeros((1, morpheme_space.DIMENSIONS)))
    monkeypatch.setattr(distill, "spellings", lambda *_: {})
    monkeypatch.setattr(distill, "write_model", interrupt)
    with pytest.raises(KeyboardInterrupt):
        distill.main(["--output", str(output)])
    assert (output / "config.json").read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [output]


def test_a_build_is_readable_for_all_whatever_the_umask(tmp_path: Path) -> None:
    new, output = tmp_path / "new", tmp_path / "model"
    new.mkdir(mode=0o700)
    (new / "config.json").touch(mode=0o600)
    distill.replace_folder(new, output)
    assert output.stat().st_mode & 0o777 == 0o755
    assert (output / "config.json").stat().st_mode & 0o777 == 0o644


def test_the_card_shows_how_the_model_came_about_and_both_splits(tmp_path: Path) -> None:
    scores = {split: {"question": {"hit@1": 0.25, "hit@10": 0.5}} for split in ("train", "validation")}
    provenance = {"arguments": {"landmarks": 320}, "versions": {"numpy": "2.0"}, "scores": scores}
    distill.write_card(tmp_path, provenance)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for row in ("| `--landmarks` | 320 |", "| numpy | 2.0 |", "| train | question | 0.2500 | 0.5000 |"):
        assert row in card.splitlines()
    assert "| validation | question | 0.2500 | 0.5000 |" in card.splitlines()


def test_evaluate_counts_hits_on_a_hand_made_corpus(model: StaticModel, tmp_path: Path) -> None:
    records = [
        {"title": "왕", "context": "임금이 궁궐에서 죽었다.", "question": "궁궐에서 죽은 임금은?"},
        {"title": "차", "context": "버스가 정류장에 늦게 왔다.", "question": "정류장에 늦게 온 버스는?"},
        {"title": "꽃", "context": "봄에 벚꽃이 피었다.", "question": "정류장의 버스는?"},
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    scores = distill.evaluate(model, distill.read_records([file]), [])
    assert scores["question"] == {"hit@1": 0.6667, "hit@10": 1.0}
