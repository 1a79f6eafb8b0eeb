import json
from pathlib import Path
from typing import Any

import pytest

from eval.hit_rate import main
from eval.systems import ask, build_indexes
from rag_app.compressors import RerankingCompressor, load_reranker
from rag_app.embeddings import ModelEmbeddings, load_embeddings

ROWS = [
    ("국회는 내년 예산안을 의결했다.", "국회가 의결한 것은?", False),
    ("기상청은 주말에 비가 온다고 예보했다.", "기상청은 언제 비가 온다고 예보했나?", False),
    ("프로야구 개막전이 잠실에서 열렸다.", "프로야구 개막전은 어디에서 열렸나?", False),
    ("대한민국의 수도는 서울이다.", "대한민국의 인구는?", True),
]
METRICS = {"hit_rate@1", "hit_rate@10", "mrr@10", "ndcg@10"}


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write(tmp_path / "validation.jsonl", [row(*values) for values in ROWS])


@pytest.fixture(autouse=True)
def embedded(tiny_static: Path, tiny_linear_reranker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The miniature static model and a reranker over it stand in for the embedded ones."""

    def load(name: str | Path = tiny_static) -> ModelEmbeddings:
        return load_embeddings(name)

    def load_either(name: str, *, top_n: int | None) -> RerankingCompressor:
        return load_reranker(tiny_linear_reranker if name == "embedded" else name, top_n=top_n)

    monkeypatch.setattr("eval.hit_rate.load_embeddings", load)
    monkeypatch.setattr("eval.hit_rate.load_reranker", load_either)


def row(context: str, question: str, impossible: bool = False) -> dict[str, Any]:
    return {"context": context, "question": question, "is_impossible": impossible, "answers": {"text": []}}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def report(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def test_the_embedded_models_are_measured_unless_others_are_named(data: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert main(["--data", data, "--json", str(path)]) == 0
    systems = report(path)["systems"]
    names = ["lexical", "base", "hybrid"]
    assert list(systems) == [*names, *(f"{name}+rerank" for name in names)]
    assert systems["base+rerank"]["mrr@10"] > systems["base"]["mrr@10"]
    assert report(path)["arguments"]["reranker"] == "embedded"


def test_without_a_reranker_lexical_base_and_hybrid_are_measured(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", data, "--reranker", "none", "--json", str(tmp_path / "new" / "report.json")]) == 0
    content = report(tmp_path / "new" / "report.json")
    assert list(content["systems"]) == ["lexical", "base", "hybrid"]
    for result in content["systems"].values():
        assert set(result) == METRICS | {"seconds", "queries", "passages"}
        assert all(0 <= result[metric] <= 1 for metric in METRICS)
        assert result["seconds"] > 0
        assert (result["queries"], result["passages"]) == (3, 4)
    assert content["systems"]["lexical"]["hit_rate@1"] == 1
    assert content["complete"] is True
    screen = capsys.readouterr().out
    assert "3 questions (1 unanswerable ones set aside), 4 passages (0 of them distractors)" in screen
    assert "cores" in screen
    [lexical] = [line for line in screen.splitlines() if line.startswith("lexical ")]
    assert lexical.split()[1:5] == ["1.000"] * 4


def test_with_a_model_and_a_reranker_every_system_is_measured(
    data: str, tmp_path: Path, tiny_sentence_transformer: Path, tiny_cross_encoder: Path
) -> None:
    path = tmp_path / "report.json"
    models = ["--model", str(tiny_sentence_transformer), "--reranker", str(tiny_cross_encoder)]
    assert main(["--data", data, "--json", str(path), *models]) == 0
    systems = report(path)["systems"]
    names = ["lexical", "base", "hybrid", "tuned", "tuned+hybrid"]
    assert list(systems) == [*names, *(f"{name}+rerank" for name in names)]
    # All four passages are reranked, by scores that know nothing of the search before them.
    assert systems["base+rerank"]["mrr@10"] == systems["tuned+rerank"]["mrr@10"]


def test_distractors_of_question_and_document_files_join_the_corpus_once(data: str, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [row("금리를 동결했다.", "금리는?"), row(ROWS[0][0], "예산안은?")])
    (tmp_path / "document.txt").write_text("올해 벼농사는 풍년이다.", "utf-8")
    path = tmp_path / "report.json"
    distractors = ["--distractors", train, "--distractors", str(tmp_path / "document.txt")]
    assert main(["--data", data, *distractors, "--json", str(path)]) == 0
    assert report(path)["systems"]["hybrid"]["passages"] == 4 + 1 + 1
    assert report(path)["systems"]["hybrid"]["queries"] == 3


def test_a_beir_folder_is_measured(tmp_path: Path) -> None:
    write(
        tmp_path / "corpus.jsonl", [{"_id": f"d{n}", "title": "", "text": text} for n, (text, _, _) in enumerate(ROWS)]
    )
    write(tmp_path / "queries.jsonl", [{"_id": f"q{n}", "text": text} for n, (_, text, _) in enumerate(ROWS[:3])])
    (tmp_path / "qrels").mkdir()
    lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in range(3))]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    path = tmp_path / "report.json"
    assert main(["--data", str(tmp_path), "--split", "test", "--json", str(path)]) == 0
    assert report(path)["systems"]["lexical"]["hit_rate@1"] == 1


def test_limit_and_k_are_those_of_the_report(data: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert main(["--data", data, "--limit", "2", "--k", "3", "--json", str(path)]) == 0
    result = report(path)["systems"]["lexical"]
    assert result["queries"] == 2
    assert set(result) == {"hit_rate@1", "hit_rate@3", "mrr@3", "ndcg@3", "seconds", "queries", "passages"}


def test_unusual_columns_can_be_named(tmp_path: Path) -> None:
    rows = [{"지문": text, "question": question} for text, question, _ in ROWS[:3]]
    data = write(tmp_path / "rows.jsonl", rows)
    path = tmp_path / "report.json"
    assert main(["--data", data, "--text-column", "지문", "--json", str(path)]) == 0
    assert report(path)["systems"]["lexical"]["passages"] == 3


def test_json_on_stdout_stands_alone(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", data, "--reranker", "none", "--json", "-"]) == 0
    output = capsys.readouterr()
    assert set(json.loads(output.out)["systems"]) == {"lexical", "base", "hybrid"}
    assert "hit_rate@10" in output.err


def test_an_interruption_leaves_the_systems_that_are_finished(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted_in_hybrid(*args: Any, name: str, **kwargs: Any) -> Any:
        if name == "hybrid":
            raise KeyboardInterrupt
        return ask(*args, name=name, **kwargs)

    monkeypatch.setattr("eval.hit_rate.ask", interrupted_in_hybrid)
    path = tmp_path / "report.json"
    assert main(["--data", data, "--reranker", "none", "--json", str(path)]) == 130
    assert list(report(path)["systems"]) == ["lexical", "base"]
    assert report(path)["complete"] is False
    output = capsys.readouterr()
    assert "Interrupted. Finished: lexical, base. Not measured: hybrid." in output.err
    assert "\nlexical " in output.out
    assert "\nbase " in output.out
    assert "\nhybrid " not in output.out


def test_an_interruption_before_the_first_result_keeps_the_old_report(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.hit_rate.build_indexes", interrupted)
    path = tmp_path / "report.json"
    path.write_text("before")
    assert main(["--data", data, "--json", str(path)]) == 130
    assert path.read_text() == "before"
    assert "Finished: nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "missing.jsonl"], "missing.jsonl"),
        (["--distractors", "missing.txt"], "missing.txt"),
        (["--model", "./missing"], "missing"),
        (["--json", "."], "--json names a folder"),
        (["--limit", "0"], "invalid positive number value"),
        (["--text-column", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_argument_ends_in_one_clear_line(
    arguments: list[str], message: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--data", data, *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_help_names_the_systems(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "`tuned+hybrid`" in capsys.readouterr().out


def test_the_index_folder_is_gone_afterwards(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    seen: list[Path] = []

    def build(corpus: Any, models: Any, path: Path) -> Any:
        seen.append(path)
        return build_indexes(corpus, models, path)

    monkeypatch.setattr("eval.hit_rate.build_indexes", build)
    assert main(["--data", data]) == 0
    assert [path.parent for path in seen] == [folder]
    assert not any(folder.iterdir())
