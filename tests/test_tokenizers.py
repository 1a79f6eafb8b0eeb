import json
from pathlib import Path
from typing import Any

import pytest

from eval.analyses import SERVING, Measured, candidates
from eval.tokenizers import MADE, compare_with_serving, cost_table, main, quality_table
from rag_app.korean import analyzer

ROWS = [
    ("어제 국회의원이 예산안을 두고 연설했다.", "국회의원", False),
    ("기상청은 주말에 비가 온다고 예보했다.", "주말에 비가 온다고 예보한 곳은?", False),
    ("프로야구 개막전이 잠실에서 열렸다.", "개막전이 열린 야구장은?", False),
    ("대한민국의 수도는 서울이다.", "대한민국의 인구는?", True),
]


@pytest.fixture
def names() -> list[str]:
    return list(candidates(analyzer()))


@pytest.fixture
def data(tmp_path: Path) -> str:
    keys = ("context", "question", "is_impossible")
    return write(tmp_path / "asked" / "validation.jsonl", [dict(zip(keys, row, strict=True)) for row in ROWS])


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def measured(*ranks: float, seconds: float = 1.0, size: int = 100) -> Measured:
    scores = {f"q{number}": 1 / rank for number, rank in enumerate(ranks)}
    return Measured({"mrr@10": scores}, 60, 7, seconds, size, 0.002)


def test_every_analysis_is_measured_on_the_same_questions(
    data: str, names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "report.json"
    assert main(["--data", data, "--json", str(path)]) == 0
    screen = capsys.readouterr().out
    assert "Data: 3 questions, 4 documents in 4 passages" in screen
    assert MADE not in screen
    report = read(path)
    assert list(report["analyses"]) == names
    assert report["complete"] is True
    assert report["data"] == {"questions": 3, "made_questions": False, "documents": 4, "passages": 4}
    for name, result in report["analyses"].items():
        assert 0 <= result["mrr@10"]["low"] <= result["mrr@10"]["mean"] <= result["mrr@10"]["high"] <= 1
        assert f"\n{name}" in screen
    found = {name: result["hit_rate@10"]["mean"] for name, result in report["analyses"].items()}
    assert found["bigrams"] == found[SERVING] == 1
    assert found["words"] == pytest.approx(2 / 3)  # the passage has 국회의원이
    assert report["analyses"][SERVING]["change"] is None
    assert report["analyses"]["words"]["change"]["losses"] == 1


def test_articles_without_questions_are_asked_for_by_title_or_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "articles"
    folder.mkdir()
    (folder / "rice.md").write_text("# 쌀 수확량 감소\n\n올해 쌀 수확량이 지난해보다 줄었다.", "utf-8")
    sentences = [
        f"조사선 {name}호가 바다에서 해저 지형을 조사했다고 밝혔다." for name in ("가온", "누리", "다솜", "라온")
    ]
    (folder / "ship.txt").write_text(" ".join(sentences), "utf-8")
    distractor = write(tmp_path / "more" / "more.jsonl", [{"text": "은행이 금리를 내렸다.", "title": "쌀 수확량 감소"}])
    assert main(["--data", str(folder), "--distractors", distractor, "--json", str(tmp_path / "report.json")]) == 0
    screen = capsys.readouterr().out
    assert "Data: 2 questions made from titles (1) and sentences (1), 3 documents in 3 passages" in screen
    assert MADE in screen
    report = read(tmp_path / "report.json")
    assert report["data"]["made_questions"] is True
    assert report["analyses"][SERVING]["mrr@10"]["mean"] == 1  # the distractor's title is not searched


def test_a_tokenizer_is_measured_beside_the_others(
    data: str, names: list[str], tiny_static: Path, tmp_path: Path
) -> None:
    tokenizer = tiny_static / "tokenizer.json"
    path = tmp_path / "report.json"
    assert main(["--data", data, "--tokenizer", str(tokenizer), "--k", "1", "--json", str(path)]) == 0
    report = read(path)
    assert list(report["analyses"]) == [*names, tiny_static.name]
    assert report["analyses"][tiny_static.name]["mrr@1"]["mean"] > 0
    assert report["arguments"]["tokenizer"] == [str(tokenizer)]


def test_json_on_stdout_stands_alone(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", data, "--limit", "1", "--seed", "3", "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["data"]["questions"] == 1
    assert "hit_rate@1" in captured.err


def test_an_interruption_keeps_what_is_finished(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*arguments: Any, name: str, **options: Any) -> Measured:
        if name == "words":
            raise KeyboardInterrupt
        return measured(1, 2, 3)

    monkeypatch.setattr("eval.tokenizers.measure", stop)
    path = tmp_path / "report.json"
    assert main(["--data", data, "--json", str(path)]) == 130
    captured = capsys.readouterr()
    assert "Finished: bigrams+morphemes, split. Not measured: words, unigrams" in captured.err
    assert "split " in captured.out
    assert list(read(path)["analyses"]) == [SERVING, "split"]
    assert read(path)["complete"] is False


def test_an_interruption_before_anything_is_finished(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.tokenizers.candidates", stop)
    assert main(["--data", data]) == 130
    assert "Finished: nothing. Not measured: anything." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere.jsonl"], "There is no file or folder nowhere.jsonl"),
        (["--tokenizer", "nowhere.json"], "No such file or directory: 'nowhere.json'"),
        (["--limit", "0"], "invalid positive number value: '0'"),
        (["--split", "test"], "The sample has no split 'test'"),
        (["--json", "."], "--json names a folder"),
        (["--distractors", "nowhere.txt"], "There is no file or folder nowhere.txt"),
    ],
)
def test_bad_arguments_say_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_changes_are_against_serving_and_corrected() -> None:
    ranks = [1.0, 2.0] * 10
    results = {SERVING: measured(*ranks), "same": measured(*ranks), "worse": measured(*[10.0] * 20)}
    changes = compare_with_serving(results, "mrr@10")
    assert set(changes) == {"same", "worse"}
    assert (changes["same"].comparison.ties, changes["same"].corrected_p) == (20, 1)
    worse = changes["worse"]
    assert (worse.before, worse.after, worse.comparison.losses) == (SERVING, "worse", 20)
    assert worse.comparison.after - worse.comparison.before == pytest.approx(0.1 - 0.75)
    assert worse.corrected_p == 2 * worse.comparison.p < 0.01


def test_tables_show_scores_and_ratios() -> None:
    results = {SERVING: measured(1, 2, seconds=4.0, size=200), "half": measured(2, 2, seconds=2.0, size=50)}
    quality = quality_table(results, compare_with_serving(results, "mrr@10")).splitlines()
    assert quality[0].split() == ["analysis", "mrr@10", "change", "p"]
    assert quality[2].split()[:2] == ["half", "0.500"]
    assert quality[2].split()[-2:] == ["−0.250", "1.000"]
    cost = cost_table(results, passages=6).splitlines()
    assert cost[1].split() == [SERVING, "10.0", "7", "1.00x", "1.00x", "2.00"]
    assert cost[2].split() == ["half", "10.0", "7", "0.50x", "0.25x", "2.00"]
