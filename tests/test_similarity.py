import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rag_app.data import sources
from rag_app.data.similarity import SimilarityPair, load_similarity_pairs

DATA = Path(__file__).parents[2] / "shared/data"
RAIN, SNOW = "주말에 비가 온다.", "주말에 눈이 온다."


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def klue_record(label: Any = 2.0) -> dict[str, Any]:
    labels = {"label": label, "real-label": 2.4285, "binary-label": 0}
    return {"guid": "klue-sts-v1_dev_00000", "sentence1": RAIN, "sentence2": SNOW, "labels": labels}


def test_klue_json_is_scored_by_its_rounded_label(tmp_path: Path) -> None:
    path = write(tmp_path / "klue-sts-v1.1_dev.json", json.dumps([klue_record()]))
    assert load_similarity_pairs(path) == [(RAIN, SNOW, 0.4)]


def test_korsts_keeps_quotation_marks_and_the_lines_after_them(tmp_path: Path) -> None:
    path = write(
        tmp_path / "korsts_dev.tsv",
        "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2",
        f'main-news\tMSRpar\t2012test\t0001\t5.000\t"비"라고 했다.\t"{RAIN}',
        f"main-news\tMSRpar\t2012test\t0002\t2.500\t{RAIN}\t{SNOW}\r",
        "",
    )
    assert load_similarity_pairs(path) == [('"비"라고 했다.', f'"{RAIN}', 1.0), (RAIN, SNOW, 0.5)]


@pytest.mark.parametrize("column", ["score", "label", "similarity"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "tsv"])
def test_tables_of_each_kind_name_the_score_as_they_like(tmp_path: Path, kind: str, column: str) -> None:
    record = {"sentence1": "비가, 온다", "sentence2": SNOW, column: "1"}
    lines = {
        "csv": ["sentence1,sentence2," + column, f'"비가, 온다",{SNOW},1'],
        "tsv": ["sentence1\tsentence2\t" + column, f"비가, 온다\t{SNOW}\t1"],
        "jsonl": [json.dumps(record)],
        "json": [json.dumps([record])],
    }
    assert load_similarity_pairs(write(tmp_path / f"a.{kind}", *lines[kind])) == [("비가, 온다", SNOW, 0.2)]


def test_sentences_are_normalised(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "sentence1,sentence2,score", "\u1107\u1175\u200b가  온다,ＬＧ전자,0")
    assert load_similarity_pairs(path) == [SimilarityPair("비가 온다", "LG전자", 0.0)]


def test_a_folder_gives_the_files_with_the_split_in_their_name(tmp_path: Path) -> None:
    for name in ("korsts_train", "korsts_dev"):
        write(tmp_path / f"{name}.tsv", "sentence1\tsentence2\tscore", f"{name}\t{RAIN}\t1")
    assert [pair.first for pair in load_similarity_pairs(tmp_path)] == ["korsts_dev"]
    assert [pair.first for pair in load_similarity_pairs(tmp_path, split="train")] == ["korsts_train"]
    with pytest.raises(FileNotFoundError, match=r"none of its tables has test in its name: korsts_dev\.tsv"):
        load_similarity_pairs(tmp_path, split="test")


@pytest.mark.parametrize("score", ["5.1", "-1", "nan", "inf", "높음", ""])
def test_a_score_that_is_none_is_named(tmp_path: Path, score: str) -> None:
    path = write(tmp_path / "a.csv", "sentence1,sentence2,score", f"{RAIN},{SNOW},0.0", f"{RAIN},{SNOW},{score}")
    with pytest.raises(ValueError, match=rf"a\.csv: line 3: column 'score' holds '{score}'.* from 0 to 5"):
        load_similarity_pairs(path)


def test_a_klue_record_without_its_label_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps([klue_record(None)]))
    with pytest.raises(ValueError, match=r"a\.json: record 1: column 'labels' holds None\. Scores are numbers"):
        load_similarity_pairs(path)


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (
            "a.csv",
            ["sentence1,score", f"{RAIN},1"],
            r"line 2: no column 'sentence2' among sentence1, score\. Name them",
        ),
        ("a.csv", ["sentence1,sentence2", f"{RAIN},{SNOW}"], r"line 2: no score among sentence1, sentence2\. Name the"),
        ("a.csv", ["sentence1,sentence2,score", f"{RAIN},\u200b,1"], r"line 2: column 'sentence2' is empty: '\\u200b'"),
        (
            "a.jsonl",
            ['{"sentence1": 3, "sentence2": "비", "score": 1}'],
            r"line 1: column 'sentence1' holds a int.* 3",
        ),
        ("a.jsonl", ["{"], r"line 1: not JSON"),
        ("a.tsv", ["sentence1\tsentence2\tscore", "비\t눈"], r"line 2: 2 cells under 3 column names: '비.*one tab"),
        ("a.tsv", ["sentence1\tsentence2\tscore"], r"holds no sentence pair\. Its rows need the columns sentence1"),
        ("a.json", ["[]"], r"holds no sentence pair"),
        ("a.txt", [""], r"it has the suffix '\.txt'\. Sentence pairs are read from \.csv, \.tsv, \.jsonl, \.json"),
    ],
)
def test_broken_files_say_what_and_where(tmp_path: Path, name: str, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}:? {message}"):
        load_similarity_pairs(write(tmp_path / name, *lines))


def test_nothing_at_the_path_names_what_goes_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nowhere.* klue"):
        load_similarity_pairs(tmp_path / "nowhere")


def test_klue_from_the_hub_is_its_sts_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load_dataset(name: str, configuration: str, split: str) -> Iterator[dict[str, Any]]:
        asked.append((name, configuration, split))
        yield klue_record(5.0)

    datasets = types.ModuleType("datasets")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    monkeypatch.setattr(sources, "check_dataset", lambda repo: None)
    assert load_similarity_pairs("klue", split="train") == [(RAIN, SNOW, 1.0)]
    assert asked == [("klue/klue", "sts", "train")]
    with pytest.raises(ValueError, match="KLUE-STS has no split 'test'"):
        load_similarity_pairs("klue", split="test")


def test_klue_without_the_datasets_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'KLUE-STS .*pip install "korean-rag\[train\]"'):
        load_similarity_pairs("klue")


def test_klue_without_a_network_fails_at_once_and_names_the_file_to_get(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = types.ModuleType("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("tried to download"), raising=False)
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    with pytest.raises(ConnectionError, match=r"KLUE-STS.*klue-sts-v1\.1_dev\.json.*HF_HUB_OFFLINE=1") as raised:
        load_similarity_pairs("klue")
    assert "sample" not in str(raised.value)


@pytest.mark.skipif(not (DATA / "korsts").exists(), reason="KorSTS is not beside the checkout")
@pytest.mark.parametrize(
    ("split", "count", "quoted"), [("train", 5749, 150), ("validation", 1500, 53), ("test", 1379, 29)]
)
def test_korsts_is_read_whole(split: str, count: int, quoted: int) -> None:
    pairs = load_similarity_pairs(DATA / "korsts", split=split)
    assert len(pairs) == count
    assert sum(pair.first.startswith('"') or pair.second.startswith('"') for pair in pairs) == quoted
    assert not any("\t" in pair.first + pair.second or "\n" in pair.first + pair.second for pair in pairs)


@pytest.mark.skipif(not (DATA / "klue_sts").exists(), reason="KLUE-STS is not beside the checkout")
def test_klue_sts_is_read_whole() -> None:
    pairs = load_similarity_pairs(DATA / "klue_sts")
    assert len(pairs) == 519
    assert (min(pair.score for pair in pairs), max(pair.score for pair in pairs)) == (0.0, 1.0)
    assert pairs[1].first == "주요 관광지 모두 걸어서 이동가능합니다."
    assert pairs[1].second == "위치는 피렌체 중심가까지 걸어서 이동 가능합니다."
    assert pairs[1].score == pytest.approx(1.4 / 5)
