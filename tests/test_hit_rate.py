import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from langchain_core.documents import Document

from eval.asking import AtOnce, ask_at_once, read_journal
from eval.hit_rate import main
from eval.measuring import measure_system
from eval.results import Results, SystemResult
from eval.room import Room
from eval.systems import build_indexes
from rag_app.compressors import RerankingCompressor, load_reranker
from rag_app.documents import load_documents
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.index import build_index
from rag_app.stores.address import Address
from tests.in_memory_server import Server, memory_server

__all__ = ["memory_server"]

ROWS = [
    ("국회는 내년 예산안을 의결했다.", "국회가 의결한 것은?", False),
    ("기상청은 주말에 비가 온다고 예보했다.", "기상청은 언제 비가 온다고 예보했나?", False),
    ("프로야구 개막전이 잠실에서 열렸다.", "프로야구 개막전은 어디에서 열렸나?", False),
    ("대한민국의 수도는 서울이다.", "대한민국의 인구는?", True),
]
METRICS = ["hit_rate@1", "hit_rate@10", "recall@10", "mrr@10", "ndcg@10", "map@10"]


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write(tmp_path / "validation.jsonl", [row(*values) for values in ROWS])


@pytest.fixture(autouse=True)
def embedded(tiny_static: Path, tiny_linear_reranker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The miniature static model and a reranker over it stand in for the embedded ones."""

    def load(name: str, **prompts: str) -> ModelEmbeddings:
        return load_embeddings(tiny_static if name == "embedded" else name, **prompts)  # type: ignore[arg-type]

    def load_either(name: str, *, top_n: int | None) -> RerankingCompressor:
        return load_reranker(tiny_linear_reranker if name == "embedded" else name, top_n=top_n)

    monkeypatch.setattr("eval.preparing.load_embeddings", load)
    monkeypatch.setattr("eval.preparing.load_reranker", load_either)


def row(context: str, question: str, impossible: bool = False) -> dict[str, Any]:
    return {"context": context, "question": question, "is_impossible": impossible, "answers": {"text": []}}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def run(tmp_path: Path, *arguments: str, status: int = 0) -> dict[str, Any]:
    """Run the benchmark and return what it writes as JSON."""
    path = tmp_path / "results.json"
    assert main([*arguments, "--json", str(path)]) == status
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def systems(content: dict[str, Any], protocol: str = "clean") -> dict[str, Any]:
    found: dict[str, Any] = content["protocols"][protocol]["systems"]
    return found


def beir(folder: Path, qrels: dict[str, Iterable[int]]) -> Path:
    """Write the rows as a BEIR folder; each qrels file asks a question of the passages of these numbers."""
    write(folder / "corpus.jsonl", [{"_id": f"d{n}", "title": "", "text": text} for n, (text, _, _) in enumerate(ROWS)])
    write(folder / "queries.jsonl", [{"_id": f"q{n}", "text": ROWS[n % 3][1]} for n in range(10)])
    for name, numbers in qrels.items():
        (folder / name).parent.mkdir(exist_ok=True)
        lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in numbers)]
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def interrupting(name: str, error: BaseException | None = None) -> Callable[..., SystemResult]:
    """Return `measure_system`, interrupted when it comes to a system."""

    def measure(asked: str, *args: Any, **kwargs: Any) -> SystemResult:
        if asked == name:
            raise error or KeyboardInterrupt
        return measure_system(asked, *args, **kwargs)

    return measure


def test_the_embedded_models_are_measured_unless_others_are_named(data: str, tmp_path: Path) -> None:
    content = run(tmp_path, "--data", data)
    names = ["lexical", "base", "hybrid"]
    assert list(systems(content)) == ["bigrams", "morphemes", *names, *(f"{name}+rerank" for name in names)]
    assert systems(content)["base+rerank"]["mrr@10"] > systems(content)["base"]["mrr@10"]
    assert content["details"]["arguments"]["reranker"] == "embedded"


def test_without_a_reranker_the_searches_alone_are_measured(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = run(tmp_path / "new", "--data", data, "--reranker", "none")
    assert list(systems(content)) == ["bigrams", "morphemes", "lexical", "base", "hybrid"]
    for result in systems(content).values():
        assert [name for name in result if "@" in name] == METRICS
        assert all(0 <= result[metric] <= 1 for metric in METRICS)
        assert 0 < result["times"]["p50"] <= result["times"]["p95"] <= result["times"]["p99"]
        assert result["throughput"]["questions"] == 3
        assert result["passages"] == 4
    assert systems(content)["lexical"]["hit_rate@1"] == 1
    assert content["complete"] is True
    assert content["protocols"]["clean"]["per_question"]["scores"]["lexical"]["hit_rate@1"] == [1, 1, 1]
    screen = capsys.readouterr().out
    assert "3 questions (1 unanswerable ones apart), 4 passages (0 of them distractors)" in screen
    [lexical] = [line for line in screen.splitlines() if line.startswith("lexical ") and "±" in line]
    assert lexical.split()[1] == "1.000"


def test_health_is_told_before_any_score(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", data]) == 0
    screen = capsys.readouterr().out
    for check in ("truncation", "tokens", "leakage", "duplicates", "answers", "lexical search alone finds"):
        assert 0 <= screen.index(check) < screen.index("hit_rate@1")


def test_with_a_model_and_a_reranker_every_system_is_measured(
    data: str, tmp_path: Path, tiny_sentence_transformer: Path, tiny_cross_encoder: Path
) -> None:
    models = ["--model", str(tiny_sentence_transformer), "--reranker", str(tiny_cross_encoder)]
    found = systems(run(tmp_path, "--data", data, *models))
    names = ["lexical", "base", "hybrid", "tuned", "tuned+hybrid"]
    assert list(found) == ["bigrams", "morphemes", *names, *(f"{name}+rerank" for name in names)]
    # All four passages are reranked, by scores that know nothing of the search before them.
    assert found["base+rerank"]["mrr@10"] == found["tuned+rerank"]["mrr@10"]


def test_systems_can_be_chosen_and_labelled(data: str, tmp_path: Path, tiny_sentence_transformer: Path) -> None:
    model = f"mini={tiny_sentence_transformer}"
    chosen = "bigrams+rerank,mini,mini+hybrid"
    assert list(systems(run(tmp_path, "--data", data, "--model", model, "--systems", chosen))) == chosen.split(",")


def test_models_get_the_prompts_that_are_given(
    data: str, tmp_path: Path, tiny_transformer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []

    def load(name: str, **prompts: str) -> ModelEmbeddings:
        seen.append(prompts)
        return load_embeddings(tiny_transformer, **prompts)  # type: ignore[arg-type]

    monkeypatch.setattr("eval.preparing.load_embeddings", load)
    prompts = ["--query-prompt", "query: ", "--document-prompt", "passage: "]
    run(tmp_path, "--data", data, "--model", str(tiny_transformer), *prompts, "--systems", "tuned")
    assert seen == [{}, {"query_prompt": "query: ", "document_prompt": "passage: "}]


def test_a_list_of_the_systems_can_be_had_without_a_run(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", data, "--model", "mini=models/mrc", "--systems", "list"]) == 0
    listed = capsys.readouterr().out.split()
    assert listed[:5] == ["bigrams", "morphemes", "lexical", "base", "hybrid"]
    assert {"mini", "mini+hybrid+rerank"} <= set(listed)


def test_an_index_and_a_retriever_of_ones_own_are_measured(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(tmp_path / "news", load_documents(data), load_embeddings())
    (tmp_path / "my_search.py").write_text(
        "from langchain_core.retrievers import BaseRetriever\n"
        "class Fixed(BaseRetriever):\n"
        "    found: list\n"
        "    def _get_relevant_documents(self, query, *, run_manager):\n"
        "        return self.found\n"
        "def make(corpus):\n"
        "    return Fixed(found=corpus[:2])\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    content = run(
        tmp_path, "--data", data, "--index", str(tmp_path / "news"), "--retriever", "mine=my_search:make",
        "--systems", "index,mine,mine+rerank",
    )  # fmt: skip
    sys.modules.pop("my_search", None)
    assert systems(content)["index"]["hit_rate@1"] == 1
    assert systems(content)["mine"]["hit_rate@10"] == pytest.approx(2 / 3)
    assert systems(content)["mine"]["mrr@10"] == pytest.approx((1 + 1 / 2) / 3)
    assert systems(content)["mine"]["index_bytes"] is None
    assert systems(content)["mine"]["times"]["stages"] == {}
    assert systems(content)["mine+rerank"]["hit_rate@1"] == pytest.approx(2 / 3)


def test_distractors_of_question_and_document_files_join_the_corpus_once(data: str, tmp_path: Path) -> None:
    train = write(tmp_path / "others.jsonl", [row("금리를 동결했다.", "금리는?"), row(ROWS[0][0], "예산안은?")])
    (tmp_path / "document.txt").write_text("올해 벼농사는 풍년이다.", "utf-8")
    distractors = ["--distractors", train, "--distractors", str(tmp_path / "document.txt")]
    content = run(tmp_path, "--data", data, *distractors, "--systems", "hybrid")
    assert systems(content)["hybrid"]["passages"] == 4 + 1 + 1
    assert content["protocols"]["clean"]["questions"] == 3


def test_the_other_splits_of_a_folder_are_in_the_corpus_and_checked_for_leaks(data: str, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [row("금리를 동결했다.", "금리는?"), row(ROWS[0][0], "국회가 의결한 것은")])
    content = run(tmp_path / "out", "--data", str(tmp_path), "--systems", "lexical")
    assert content["protocols"]["clean"]["passages"] == 5
    [leak] = [finding for finding in content["health"] if finding["subject"].endswith("train")]
    assert leak["share"] == pytest.approx(1 / 3)
    assert leak["warning"] is True


def test_unanswerable_questions_test_abstention(data: str, tmp_path: Path) -> None:
    found = systems(run(tmp_path, "--data", data, "--systems", "hybrid"))["hybrid"]["abstention"]
    assert (found["answerable"], found["unanswerable"]) == (3, 1)
    assert found["false_answers"]["mean"] in (0, 1)
    write(tmp_path / "validation.jsonl", [row(*values) for values in ROWS[:3]])
    assert systems(run(tmp_path, "--data", data, "--systems", "hybrid"))["hybrid"]["abstention"] is None


def test_both_protocols_stand_side_by_side(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = run(tmp_path, "--data", data, "--protocol", "both")
    assert list(content["protocols"]) == ["clean", "tutorial"]
    assert content["protocols"]["tutorial"]["questions"] == 4  # the tutorial asks unanswerable ones too
    flat = systems(content, "tutorial")
    assert list(flat) == ["base", "base+rerank"]
    assert flat["base"]["times"] is None
    assert flat["base"]["throughput"]["questions"] == 4
    assert "hit_rate@10 under each protocol" in capsys.readouterr().out


def test_the_tutorial_can_be_asked_one_at_a_time(data: str, tmp_path: Path) -> None:
    content = run(tmp_path, "--data", data, "--protocol", "tutorial", "--one-at-a-time")
    assert list(content["protocols"]) == ["tutorial"]
    assert set(systems(content, "tutorial")["base"]["times"]["stages"]) == {"encode", "dense", "other"}


def test_questions_are_asked_otherwise_of_the_systems_named(data: str, tmp_path: Path) -> None:
    content = run(tmp_path, "--data", data, "--robustness", "lexical,base")
    otherwise = {part["name"]: part for part in content["slices"] if part["kind"] == "asked otherwise"}
    assert {"NFD", "no spaces", "typos"} <= set(otherwise)
    assert set(otherwise["NFD"]["changes"]) == {"lexical", "base"}
    assert otherwise["NFD"]["changes"]["lexical"]["mrr@10"]["ties"] == 3


def test_smaller_corpora_are_measured_too(data: str, tmp_path: Path) -> None:
    others = write(tmp_path / "others.jsonl", [row(f"{n}월의 금리를 동결했다.", "금리는?") for n in range(1, 13)])
    content = run(tmp_path, "--data", data, "--distractors", others, "--systems", "lexical,base", "--scaling", "base")
    assert content["scaling"]["passages"][0] == 3
    assert content["scaling"]["passages"][-1] == 16
    [curve] = [measures["mrr@10"] for measures in content["scaling"]["intervals"].values()]
    assert len(curve) == len(content["scaling"]["passages"])
    assert curve[-1]["mean"] == systems(content)["base"]["mrr@10"]


def test_a_beir_folder_is_measured(tmp_path: Path) -> None:
    beir(tmp_path, {"qrels/test.tsv": range(3)})
    content = run(tmp_path / "out", "--data", str(tmp_path), "--split", "test", "--systems", "lexical")
    assert systems(content)["lexical"]["hit_rate@1"] == 1


def test_limit_and_k_are_those_of_the_results(data: str, tmp_path: Path) -> None:
    content = run(tmp_path, "--data", data, "--limit", "2", "--k", "3", "--systems", "lexical")
    assert content["protocols"]["clean"]["questions"] == 2
    measured = [name for name in systems(content)["lexical"] if "@" in name]
    assert measured == ["hit_rate@1", "hit_rate@3", "recall@3", "mrr@3", "ndcg@3", "map@3"]


def test_unusual_columns_can_be_named(tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", [{"지문": text, "question": question} for text, question, _ in ROWS[:3]])
    content = run(tmp_path, "--data", data, "--text-column", "지문", "--systems", "lexical")
    assert systems(content)["lexical"]["passages"] == 3


def test_json_on_stdout_stands_alone(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", data, "--systems", "lexical,base", "--json", "-"]) == 0
    output = capsys.readouterr()
    assert set(systems(json.loads(output.out))) == {"lexical", "base"}
    assert "hit_rate@10" in output.err


def test_an_interruption_leaves_the_systems_that_are_finished(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.benchmarking.measure_system", interrupting("hybrid"))
    content = run(tmp_path, "--data", data, "--reranker", "none", "--scaling", status=130)
    assert list(systems(content)) == ["bigrams", "morphemes", "lexical", "base"]
    assert content["complete"] is False
    output = capsys.readouterr()
    assert "Interrupted: not measured: hybrid, scaling." in output.err
    assert "\nbase " in output.out
    assert "\nhybrid " not in output.out


def test_an_interruption_before_the_first_result_keeps_the_old_one(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.benchmarking.build_indexes", interrupted)
    path = tmp_path / "results.json"
    path.write_text("before")
    assert main(["--data", data, "--json", str(path)]) == 130
    assert path.read_text() == "before"
    assert "Interrupted" in capsys.readouterr().err


def test_an_error_in_the_middle_shows_what_is_finished_and_is_not_swallowed(
    data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.benchmarking.measure_system", interrupting("hybrid", RuntimeError("the server is down")))
    with pytest.raises(RuntimeError, match="the server is down"):
        main(["--data", data])
    assert "\nlexical " in capsys.readouterr().out


def test_a_report_is_written_once_everything_is_measured(data: str, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    assert main(["--data", data, "--report", str(folder)]) == 0
    assert "<html" in (folder / "index.html").read_text("utf-8")
    assert "hybrid+rerank" in (folder / "report.md").read_text("utf-8")
    assert json.loads((folder / "results.json").read_text("utf-8"))["complete"] is True
    answers = read_journal(folder / "answers" / "clean" / "hybrid.jsonl")
    assert len(answers) == 3
    assert (folder / "runs" / "clean" / "hybrid.txt").exists()
    assert not (folder / "unfinished").exists()


def test_the_same_command_goes_on_where_it_was_interrupted(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "report"
    command = ["--data", data, "--report", str(folder)]
    with monkeypatch.context() as patched:
        patched.setattr("eval.benchmarking.measure_system", interrupting("hybrid"))
        assert main(command) == 130
    assert "The same command goes on" in capsys.readouterr().err
    kept = read_journal(folder / "unfinished" / "answers" / "clean" / "lexical.jsonl")
    with pytest.raises(SystemExit):
        main([*command, "--k", "5"])
    assert "was interrupted" in capsys.readouterr().err
    assert main(command) == 0
    assert "Going on with the benchmark" in capsys.readouterr().err
    assert read_journal(folder / "answers" / "clean" / "lexical.jsonl") == kept


def test_a_report_is_only_replaced_when_asked(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "report"
    command = ["--data", data, "--report", str(folder), "--systems", "lexical"]
    assert main(command) == 0
    with pytest.raises(SystemExit):
        main(command)
    assert "--overwrite" in capsys.readouterr().err
    before = (folder / "results.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("eval.benchmarking.measure_system", interrupting("lexical"))
        assert main([*command, "--overwrite"]) == 130
    assert (folder / "results.json").read_bytes() == before
    assert main([*command, "--overwrite"]) == 0
    assert (folder / "results.json").read_bytes() != before


def test_a_way_that_is_left_out_by_an_interruption_is_named(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, name: str, **kwargs: Any) -> AtOnce:
        if name == "lexical, typos":
            raise KeyboardInterrupt
        return ask_at_once(*args, name=name, **kwargs)

    monkeypatch.setattr("eval.benchmarking.ask_at_once", interrupted)
    content = run(tmp_path, "--data", data, "--systems", "lexical", "--robustness", status=130)
    assert [part["name"] for part in content["slices"]] == ["NFD", "no spaces"]
    assert "not measured: robustness." in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_written_by_the_same_command(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--data", data, "--systems", "lexical", "--report", str(tmp_path / "report")]

    def full(results: Results, folder: Path) -> None:
        (folder / "results.json").write_text("{}")
        raise OSError(28, "No space left on device")

    def interrupted(results: Results, folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("eval.hit_rate.write_report", full)
        with pytest.raises(OSError, match="No space left"):
            main(command)
        patched.setattr("eval.hit_rate.write_report", interrupted)
        assert main(command) == 130
    assert "The same command goes on" in capsys.readouterr().err
    assert main(command) == 0
    assert (tmp_path / "report" / "index.html").exists()


def test_a_signal_to_terminate_ends_like_an_interruption(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eval.hit_rate", "--report", str(tmp_path / "report")]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        while not (tmp_path / "report" / "unfinished" / "answers").exists() and process.poll() is None:
            sleep(0.05)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "The same command goes on" in said
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_system_that_is_named_twice_is_measured_once(data: str, tmp_path: Path) -> None:
    content = run(tmp_path, "--data", data, "--systems", "base,base", "--scaling", "base,base")
    assert len(content["scaling"]["intervals"]["base"]["mrr@10"]) == len(content["scaling"]["passages"]) == 2


def test_qrels_without_splits_are_no_training_data(tmp_path: Path) -> None:
    folder = beir(tmp_path, {"qrels.tsv": range(3)})
    content = run(tmp_path / "out", "--data", str(folder), "--systems", "lexical")
    assert not [finding for finding in content["health"] if finding["subject"].endswith(", train")]


def test_passages_that_the_corpus_lacks_are_never_found_and_stop_nothing(tmp_path: Path) -> None:
    folder = beir(tmp_path, {"qrels.tsv": range(7, 10)})
    content = run(tmp_path / "out", "--data", str(folder), "--systems", "lexical", "--scaling")
    assert systems(content)["lexical"]["hit_rate@10"] == 0
    assert content["scaling"]["passages"][-1] == 4


def test_lexical_search_is_tried_on_a_sample_that_is_named(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.health.checking.MOST", 2)
    content = run(tmp_path, "--data", data, "--systems", "lexical")
    [finding] = [finding for finding in content["health"] if finding["check"] == "lexical"]
    assert "of 2 questions first" in finding["text"]
    assert finding["text"].endswith("; tried on a sample of 3 questions")


def test_a_file_has_no_split(data: str, tmp_path: Path) -> None:
    assert run(tmp_path, "--data", data, "--systems", "lexical")["details"]["data"] == data


def test_two_runs_are_compared(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, systems_ in (("a", "lexical,base"), ("b", "lexical,base,hybrid")):
        assert main(["--data", data, "--systems", systems_, "--json", str(tmp_path / f"{name}.json")]) == 0
    capsys.readouterr()
    assert main(["--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    screen = capsys.readouterr().out
    assert "hybrid" in screen
    assert "lexical" in screen
    with pytest.raises(SystemExit):
        main(["--compare", str(tmp_path / "a.json"), str(tmp_path / "missing.json")])
    assert "missing.json" in capsys.readouterr().err.splitlines()[-1]


def test_the_gate_closes_when_a_measure_falls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    months = [f"{month}월 {day}일" for month in range(1, 9) for day in range(1, 9)]
    rows = [row(f"{month}에는 {n}번째 회의가 열렸다.", f"{month}에 열린 것은?") for n, month in enumerate(months)]
    data = write(tmp_path / "many.jsonl", rows)
    baseline = str(tmp_path / "baseline.json")
    command = ["--data", data, "--systems", "lexical", "--reranker", "none"]
    assert main([*command, "--json", baseline]) == 0
    assert main([*command, "--gate", baseline]) == 0
    assert "Gate passed" in capsys.readouterr().out

    def worse(*args: Any, **kwargs: Any) -> SystemResult:
        result = measure_system(*args, **kwargs)
        return result._replace(
            scores={measure: dict.fromkeys(values, 0.0) for measure, values in result.scores.items()}
        )

    monkeypatch.setattr("eval.benchmarking.measure_system", worse)
    assert main([*command, "--gate", baseline]) == 3
    assert "Gate FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "missing.jsonl"], "missing.jsonl"),
        (["--distractors", "missing.txt"], "missing.txt"),
        (["--trained-on", "missing.jsonl"], "missing.jsonl"),
        (["--model", "./missing"], "missing"),
        (["--model", "base=./missing"], "base"),
        (["--index", "./missing"], "missing"),
        (["--retriever", "missing_module:make"], "missing_module"),
        (["--systems", "lexical,nothing"], "'nothing'"),
        (["--systems", "lexical", "--protocol", "tutorial"], "There are: base, base+rerank"),
        (["--systems", "lexical", "--protocol", "both"], "has to name base"),
        (["--protocol", "tutorial", "--scaling"], "--scaling is for the clean protocol"),
        (["--protocol", "tutorial", "--robustness", "base"], "--robustness is for the clean protocol"),
        (["--protocol", "tutorial", "--retriever", "a:b"], "--retriever is for the clean protocol"),
        (["--protocol", "tutorial", "--distractors", "a"], "--distractors is for the clean protocol"),
        (["--index", "a", "--systems", "index", "--scaling"], "cannot be done"),
        (["--systems", "lexical", "--scaling", "base"], "'base'"),
        (["--robustness", "nothing"], "'nothing'"),
        (["--json", "."], "--json names a folder"),
        (["--report", "pyproject.toml"], "--report names a file"),
        (["--report", "eval"], "is not empty and holds no report"),
        (["--gate", "missing.json"], "missing.json"),
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

    monkeypatch.setattr("eval.benchmarking.build_indexes", build)
    assert main(["--data", data, "--systems", "lexical"]) == 0
    assert [path.parent for path in seen] == [folder]
    assert not any(folder.iterdir())


@pytest.mark.usefixtures("memory_server")
def test_a_store_holds_the_indexes_for_as_long_as_they_are_asked(
    data: str, tmp_path: Path, memory_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    place = "memory://me:hunter2@here/bench?token=hunter3"
    asked = ["--data", data, "--systems", "lexical,base,hybrid", "--scaling", "--reranker", "none"]
    there, here = run(tmp_path, *asked, "--store", place), run(tmp_path, *asked)
    assert not memory_server.tables
    assert not memory_server.drafts
    assert "publish" in memory_server.calls
    for name, system in systems(there).items():
        assert system["index_bytes"] is None
        assert [system[metric] for metric in METRICS] == [systems(here)[name][metric] for metric in METRICS]
    assert "hunter" not in json.dumps(there)
    assert "hunter" not in "".join(capsys.readouterr())


def test_an_index_on_a_server_is_measured_and_its_password_told_nowhere(
    data: str, tmp_path: Path, tiny_static: Path, memory_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    place = "memory://me:hunter2@here/news?token=hunter3"
    build_index(place, load_documents(data), load_embeddings(tiny_static))
    asked = ["--data", data, "--index", f"served={place}", "--report", str(tmp_path / "report")]
    content = run(tmp_path, *asked, "--systems", "served")
    assert systems(content)["served"]["hit_rate@1"] == 1
    written = [path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert written
    assert not any(b"hunter" in content for content in [*written, json.dumps(content).encode()])
    other = write(tmp_path / "others.jsonl", [row("금리를 동결했다.", "금리는?")])
    for wrong in (["--data", other, "--index", place], ["--index", f"a={place}"] * 2, ["--index", f"a label={place}"]):
        with pytest.raises(SystemExit):
            main(["--data", data, *wrong, "--systems", "lexical,index"])
    assert "hunter" not in "".join(capsys.readouterr())


def test_an_interrupted_benchmark_leaves_nothing_in_the_store(
    data: str, memory_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.benchmarking.measure_system", interrupted)
    assert main(["--data", data, "--store", "memory://here/bench"]) == 130
    assert memory_server.calls[-1] == "drop"
    assert not memory_server.tables


def test_an_index_that_cannot_be_dropped_keeps_no_other_and_no_error_from_being_told(memory_server: Server) -> None:
    def build(room: Room) -> None:
        for _ in range(3):
            build_index(room.new(), [Document("쌀 수확량이 줄었다.")], load_embeddings("embedded"))
        lost = [ConnectionError("It is away.")]

        def fail(call: str) -> None:
            if call == "drop" and lost:
                raise lost.pop()

        memory_server.fail = fail

    def fail_in(room: Room) -> None:
        with room:
            build(room)
            raise ZeroDivisionError

    place = Address.parse("memory://here/bench")
    with pytest.raises(ConnectionError, match="away"), Room(place) as room:
        build(room)
    assert list(memory_server.tables) == ["bench_hit_rate_0"]
    memory_server.tables.clear()
    with pytest.raises(ZeroDivisionError) as raised:
        fail_in(Room(place))
    assert raised.value.__notes__ == ["memory://here/bench_hit_rate_0 was not dropped: It is away."]
    assert list(memory_server.tables) == ["bench_hit_rate_0"]
