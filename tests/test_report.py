import json
from pathlib import Path

import pytest

from eval.report import Result, machine, table, to_json, write_text

SCORES = {"hit_rate@1": 0.5, "hit_rate@10": 0.75, "mrr@10": 0.6, "ndcg@10": 0.625}
RESULTS = {"lexical": Result(SCORES, 0.5, 4, 20), "hybrid+rerank": Result(SCORES, 12.0, 4, 20)}


def test_the_table_has_a_line_per_system_and_lines_up() -> None:
    header, lexical, reranked = table(RESULTS).splitlines()
    assert header.split() == ["system", *SCORES, "seconds", "ms/question"]
    assert lexical.split() == ["lexical", "0.500", "0.750", "0.600", "0.625", "0.50", "125.0"]
    assert reranked.split()[-2:] == ["12.00", "3000.0"]
    assert len({len(line) for line in (header, lexical, reranked)}) == 1


def test_json_holds_scores_time_and_counts_by_system_and_details_beside_them() -> None:
    content = json.loads(to_json(RESULTS, complete=True))
    assert content["complete"] is True
    assert content["systems"]["lexical"] == {**SCORES, "seconds": 0.5, "queries": 4, "passages": 20}
    assert list(content["systems"]) == ["lexical", "hybrid+rerank"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "결과.json"
    write_text(path, "이전")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text("utf-8") == "이전"
    assert list(tmp_path.iterdir()) == [path]


def test_the_machine_says_how_many_cores_and_threads_there_are() -> None:
    assert machine()["cores"] >= 1
    assert machine()["faiss_threads"] >= 1
