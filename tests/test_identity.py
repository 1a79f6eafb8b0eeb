import json
import sys
from pathlib import Path
from typing import Any

import pytest

from eval import options
from eval.identity import identity
from eval.preparing import prepare

ROW = {"title": "국회", "context": "국회는 내년 예산안을 의결했다.", "question": "국회가 의결한 것은?", "rtt": "무엇?"}
SEARCH = """from langchain_core.retrievers import BaseRetriever
class Nothing(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return []
search = Nothing()
"""


def told(folder: Path, *arguments: str, **row: str) -> dict[str, Any]:
    """Return the identity of a benchmark of one question."""
    data = folder / "data.jsonl"
    data.write_text(json.dumps({**ROW, **row}), "utf-8")
    parsed = options.parser(None).parse_args(["--data", str(data), "--paraphrases", "rtt", *arguments])
    return identity(prepare(parsed, lambda _: None), parsed)


def test_the_same_benchmark_has_the_same_identity_that_fits_into_json(tmp_path: Path) -> None:
    assert told(tmp_path) == told(tmp_path, "--report", "elsewhere")
    assert json.loads(json.dumps(told(tmp_path))) == told(tmp_path)


@pytest.mark.parametrize(
    ("changed", "arguments"),
    [
        ({"title": "의회"}, ()),  # it is read before the text, which the doc_id does not tell
        ({"rtt": "무얼?"}, ()),
        ({"question": "의결한 것은?"}, ()),
        ({}, ("--k", "5")),
        ({}, ("--reranker", "none")),
        ({}, ("--systems", "lexical")),
    ],
)
def test_what_changes_the_answers_changes_the_identity(
    changed: dict[str, str], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    assert told(tmp_path, *arguments, **changed) != told(tmp_path)


def test_a_reranker_that_was_trained_again_in_its_folder_is_another(tmp_path: Path, tiny_cross_encoder: Path) -> None:
    reranker = tmp_path / "reranker"
    reranker.mkdir()
    for path in tiny_cross_encoder.iterdir():
        (reranker / path.name).write_bytes(path.read_bytes())
    before = told(tmp_path, "--reranker", str(reranker))
    weights = bytearray((reranker / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (reranker / "model.safetensors").write_bytes(weights)
    assert told(tmp_path, "--reranker", str(reranker)) != before


def test_a_retriever_whose_module_was_changed_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "nothing_found.py").write_text(SEARCH)
    before = told(tmp_path, "--retriever", "nothing_found:search")
    assert before == told(tmp_path, "--retriever", "nothing_found:search")
    (tmp_path / "nothing_found.py").write_text(f"{SEARCH}# changed\n")
    assert told(tmp_path, "--retriever", "nothing_found:search") != before
    sys.modules.pop("nothing_found")


@pytest.mark.parametrize("name", ["versions", "machine"])
def test_other_packages_and_machines_are_told_apart(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = told(tmp_path)
    monkeypatch.setattr(f"eval.identity.{name}", lambda *_: {"faiss-cpu": "0", "load_average": 3})
    assert told(tmp_path) != before
