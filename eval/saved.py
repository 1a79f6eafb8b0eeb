"""The results of a benchmark as JSON, and back: what ``--json`` writes, and ``--compare`` and ``--gate`` read."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from eval.protocols import Benchmark
from eval.results import ProtocolResult, Results, SystemResult
from rag_app.data.questions import Question
from rag_app.documents import searchable_text

FORMAT = "korean-rag-benchmark-1"
FILE = "results.json"
"""The file's name in the folder of a report."""

_DIGITS = 12  # of a question's score: fewer, and differences that are equal would no longer tie in a significance test
_HASH = 12  # hexadecimal digits that tell one question from another


class SavedProtocol(NamedTuple):
    """What was measured under one protocol.

    Attributes:
        ids: Of the questions.
        hashes: Of each question's text and relevant doc_ids, in the order of ``ids``.
        passages: How many there were to search.
        questions: Fingerprint of all questions with their ids and relevant doc_ids.
        corpus: Fingerprint of the passages.
        scores: By system and measure, each question's in the order of ``ids``.
    """

    ids: list[str]
    hashes: list[str]
    passages: int
    questions: str
    corpus: str
    scores: dict[str, dict[str, list[float]]]


class Saved(NamedTuple):
    """A run that was saved.

    Attributes:
        name: What a message calls it: its path.
        protocols: By name.
        content: All of the JSON.
    """

    name: str
    protocols: dict[str, SavedProtocol]
    content: dict[str, Any]


def to_json(results: Results) -> str:
    """Return the results as JSON, one line per record; ``protocols.clean.systems.NAME["mrr@10"]`` is a mean.

    Under ``protocols`` each has its counts, fingerprints, ``systems``, ``pairs`` and ``per_question``: the ``ids``,
    and by system and measure the ``scores`` in their order. A number that is none (NaN, infinite) becomes null.
    """
    content = {
        "format": FORMAT,
        "complete": results.complete,
        "details": _plain(results.details),
        "health": _plain(results.health),
        "protocols": {name: _protocol(result) for name, result in results.protocols.items()},
        "slices": _plain(results.slices),
        "scaling": _plain(results.scaling),
    }
    # Half of a surrogate pair, as a name cut short may end in, cannot be written: the escape means the same in JSON.
    return (_layout(content) + "\n").encode("utf-8", "backslashreplace").decode()


def read_saved(path: str | Path) -> Saved:
    """Return a run that was saved with ``--json FILE`` or ``--report DIR``.

    Args:
        path: The file, or the folder of a report.

    Raises:
        FileNotFoundError: There is no such file, or not in the folder.
        ValueError: It is no benchmark's JSON, or a broken one.
    """
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not file.exists():
        raise FileNotFoundError(f"There is no saved run {file}. Write one with --json FILE or --report DIR")
    return parse_saved(file.read_bytes(), str(file))


def parse_saved(text: str | bytes, name: str = "this run") -> Saved:
    """Return the run behind the JSON of `to_json`.

    Args:
        text: The JSON.
        name: What a message calls it.

    Raises:
        ValueError: It is no benchmark's JSON, or a broken one.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}. Give what --json FILE or --report DIR wrote") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ValueError(f"{name} has the format {found!r}, want {FORMAT!r}. Run the benchmark again with --json FILE")
    try:
        return Saved(name, {key: _saved(key, value) for key, value in content["protocols"].items()}, content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = error if isinstance(error, ValueError) else repr(error)
        raise ValueError(f"{name} is broken: {reason}. Run the benchmark again with --json FILE") from error


def _protocol(result: ProtocolResult) -> dict[str, Any]:
    benchmark = result.benchmark
    ids = [question.id for question in benchmark.questions]
    return {
        "questions": len(ids),
        "unanswerable": len(benchmark.unanswerable),
        "passages": len(benchmark.corpus),
        "fingerprint": _fingerprints(benchmark),
        "systems": {name: _system(system) for name, system in result.systems.items()},
        "pairs": _plain(result.pairs),
        "per_question": {
            "ids": ids,
            "hashes": [_question_hash(question)[:_HASH] for question in benchmark.questions],
            "scores": {
                name: {
                    measure: [_short(scores[question]) for question in ids] for measure, scores in system.scores.items()
                }
                for name, system in result.systems.items()
            },
        },
    }


def _system(system: SystemResult) -> dict[str, Any]:
    means = {measure: interval.mean for measure, interval in system.intervals.items()}
    others = {name: value for name, value in system._asdict().items() if name not in ("answers", "scores")}
    return {**_plain(means), **_plain(others)}


def _fingerprints(benchmark: Benchmark) -> dict[str, str]:
    questions = (_sha256(question.id, _question_hash(question)) for question in benchmark.questions)
    passages = (_sha256(passage.metadata["doc_id"], searchable_text(passage)) for passage in benchmark.corpus)
    return {"questions": _sha256(*sorted(questions)), "corpus": _sha256(*sorted(passages))}


def _question_hash(question: Question) -> str:
    return _sha256(question.text, *sorted(question.relevant))


def _sha256(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _short(score: float) -> float | None:
    if not math.isfinite(score):
        return None
    return int(score) if score == int(score) else round(score, _DIGITS)


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: records as objects, paths and the like as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if callable(plain := getattr(value, "tolist", None)):  # numpy's numbers and arrays
        return _plain(plain())
    if callable(fields := getattr(value, "_asdict", None)):
        value = fields()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Iterable) else str(value)


def _layout(value: Any, indent: str = "") -> str:
    """Return JSON in which whatever holds no objects and lists of its own stands on one line."""
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(item, dict | list) for item in items):
        separators = (",", ":") if isinstance(value, list) else (", ", ": ")
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators)
    inner = f"{indent} "
    names = (
        [f"{json.dumps(name, ensure_ascii=False)}: " for name in value]
        if isinstance(value, dict)
        else [""] * len(items)
    )
    lines = f",\n{inner}".join(name + _layout(item, inner) for name, item in zip(names, items, strict=True))
    return f"{opening}\n{inner}{lines}\n{indent}{closing}"


def _saved(name: str, content: dict[str, Any]) -> SavedProtocol:
    per_question, fingerprint = content["per_question"], content["fingerprint"]
    ids, hashes, scores = per_question["ids"], per_question["hashes"], per_question["scores"]
    columns = [column for measures in scores.values() for column in measures.values()]
    if any(len(column) != len(ids) for column in [hashes, *columns]) or len(set(ids)) != len(ids) or not ids:
        raise ValueError(f"protocols.{name}.per_question has not one value for each question")
    if not all(isinstance(score, int | float) and 0 <= score <= 1 for column in columns for score in column):
        raise ValueError(f"protocols.{name}.per_question has a score that is no number between 0 and 1")
    return SavedProtocol(ids, hashes, content["passages"], fingerprint["questions"], fingerprint["corpus"], scores)
