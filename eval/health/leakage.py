"""Whether a model knows the questions already: what it was trained on, beside what it is asked.

    check_leakage(benchmark, {"train": load_retrieval_data(source, split="train")})
    check_training("tuned", Path("models/mrc"), benchmark)

A model that our programs trained says in its ``run.json`` what on, and so do those that it was trained from.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval.health.questions import counted, question_key
from eval.protocols import Benchmark
from eval.results import Finding
from rag_app.data.questions import Question, RetrievalData, load_passages, load_retrieval_data
from rag_app.data.sources import NAMED
from rag_app.duplicates import near_duplicates_of
from rag_app.models import EMBEDDED

_PROGRAMS = ("finetune.mrc", "finetune.cross_encoder")
"""Those that train on questions; the sentence pairs of the others are no data set of these readers."""


class Training(NamedTuple):
    """What a run was asked to train on.

    Attributes:
        sources: Names, files and folders, the latter as seen from where it was started.
        measured: Likewise, what it was measured on; None where it was not said.
        columns: What else was asked: columns with the questions in other words.
    """

    sources: tuple[str, ...]
    measured: tuple[str, ...] | None
    columns: tuple[str, ...]


def check_leakage(benchmark: Benchmark, training: Mapping[str, RetrievalData]) -> list[Finding]:
    """Return for each training data set how many of the questions, or of the passages that answer them, are in it.

    Questions are equal but for case, white space and the punctuation at their end, passages by their text, and nearly
    equal as `rag_app.duplicates` has it.
    """
    return [_leakage(name, "", benchmark, _asked_about(data)) for name, data in training.items()]


def check_training(name: str, folder: Path, benchmark: Benchmark, *, places: Sequence[Path] = ()) -> list[Finding]:
    """Return what a model's own training data have to do with the questions.

    Args:
        name: The model's label.
        folder: The model.
        benchmark: What it is asked.
        places: Folders to look in for data that are no longer where the run found them.
    """
    runs = training_sources(folder)
    if not runs:
        said = "no run.json says what it was trained on: leakage could not be checked"
        return [Finding("leakage", name, said, None, warning=False)]
    known, found, lost = _read(runs, places)
    findings = [_leakage(name, f"trained on {', '.join(found)}: ", benchmark, known)] if found else []
    if lost:
        said = f"trained on {', '.join(lost)}, which cannot be read here: leakage could not be checked"
        findings.append(Finding("leakage", name, said, None, warning=False))
    return findings + _measured(name, runs, benchmark, places)


def training_sources(folder: Path) -> list[Training]:
    """Return what a model was trained on, and what the models were that it was trained from, latest first.

    Empty for a model without a ``run.json`` of the programs that train on questions.
    """
    runs: list[Training] = []
    seen: set[Path] = set()
    while folder.resolve() not in seen and (arguments := _arguments(folder)) is not None:
        seen.add(folder.resolve())
        if arguments["program"] in _PROGRAMS:
            measured = arguments.get("validation")
            runs.append(
                Training(
                    tuple(arguments.get("train") or ()),
                    None if measured is None else tuple(measured),
                    tuple(arguments.get("also_ask") or ()),
                )
            )
        if arguments.get("model") in (None, EMBEDDED):
            break
        folder = Path(arguments["model"])
    return runs


def _arguments(folder: Path) -> dict[str, Any] | None:
    """Return the arguments of the run in a folder and its program; None if there is none, or a file of others."""
    record = folder / "run.json"
    try:
        run = json.loads(record.read_text("utf-8")) if record.is_file() else None
    except ValueError:
        return None
    if not isinstance(run, dict) or not isinstance(run.get("arguments"), dict):
        return None
    return {**run["arguments"], "program": run.get("program")}


def _read(runs: Iterable[Training], places: Sequence[Path]) -> tuple[RetrievalData, list[str], list[str]]:
    """Return what the runs were trained on, as far as it can be read, and which sources can be and which cannot."""
    parts: dict[str, RetrievalData] = {}
    lost: list[str] = []
    otherwise: list[Question] = []
    for run in runs:
        for source in run.sources:
            try:
                parts[source] = _load(source, places)
            except (ImportError, OSError, ValueError):
                lost.append(source)
                continue
            questions = parts[source].questions
            otherwise += [
                q._replace(text=str(q.metadata[c])) for q in questions for c in run.columns if c in q.metadata
            ]
    passages = {doc_id: passage for part in parts.values() for doc_id, passage in part.passages.items()}
    questions = [question for part in parts.values() for question in part.questions]
    return RetrievalData(passages, questions + otherwise), list(parts), list(dict.fromkeys(lost))


def _leakage(name: str, prefix: str, benchmark: Benchmark, training: RetrievalData) -> Finding:
    asked = len(benchmark.questions)
    keys = {question_key(question.text) for question in training.questions}
    known = [question_key(question.text) in keys for question in benchmark.questions]
    equal, near = _passages_in(benchmark, training)
    read = [not question.relevant.isdisjoint(equal) for question in benchmark.questions]
    alike = [not question.relevant.isdisjoint(near) for question in benchmark.questions]
    leaked = sum(map(any, zip(known, read, alike, strict=True)))
    said = (
        f"{prefix}of {asked:,} questions {counted(sum(known), asked)} are asked there too; "
        f"{counted(sum(read), asked)} have their passage there, {counted(sum(alike), asked)} one nearly like it"
    )
    return Finding("leakage", name, said, leaked / max(1, asked), leaked > 0)


def _passages_in(benchmark: Benchmark, training: RetrievalData) -> tuple[set[str], set[str]]:
    """Return the doc_ids of relevant passages that are in the training data, and of those that are nearly."""
    relevant = benchmark.relevant()
    texts = {d.metadata["doc_id"]: d.page_content for d in benchmark.corpus if d.metadata["doc_id"] in relevant}
    trained = {passage.page_content for passage in training.passages.values()}
    equal = {doc_id for doc_id, content in texts.items() if content in trained}
    doc_ids = [doc_id for doc_id in texts if doc_id not in equal]
    pairs = near_duplicates_of((texts[doc_id] for doc_id in doc_ids), sorted(trained))
    return equal, {doc_ids[number] for number, _ in pairs}


def _measured(name: str, runs: Iterable[Training], benchmark: Benchmark, places: Sequence[Path]) -> list[Finding]:
    """Return a finding if a run was measured on questions of the benchmark, as far as its data can be read."""
    keys: set[str] = set()
    for run in runs:
        for source in run.sources if run.measured is None else run.measured:
            if run.measured is None and source not in NAMED and not _find(source, places).is_dir():
                continue  # a single file has no validation part
            try:
                measured = load_retrieval_data(_find(source, places), split="validation")
            except (ImportError, OSError, ValueError):
                continue
            keys.update(question_key(question.text) for question in measured.questions)
    asked = len(benchmark.questions)
    count = sum(question_key(question.text) in keys for question in benchmark.questions)
    if not count:
        return []
    said = (
        f"its run was measured on {counted(count, asked)} of these {asked:,} questions: where settings were chosen by "
        "that, its scores are optimistic"
    )
    return [Finding("leakage", name, said, count / asked, warning=True)]


def _load(source: str, places: Sequence[Path]) -> RetrievalData:
    """Return the training part of a source; one without questions is all passages."""
    path = source if source in NAMED else _find(source, places)
    try:
        return _asked_about(load_retrieval_data(path, split="train"))
    except (FileNotFoundError, ValueError):
        if source in NAMED or not Path(path).exists():
            raise
        return RetrievalData({document.metadata["doc_id"]: document for document in load_passages(path)}, [])


def _asked_about(data: RetrievalData) -> RetrievalData:
    """Return the data with only the passages that were asked about: all splits of a BEIR folder have one corpus."""
    asked = frozenset[str]().union(*({*question.relevant, question.context_id} for question in data.questions))
    return data._replace(passages={doc_id: passage for doc_id, passage in data.passages.items() if doc_id in asked})


def _find(source: str, places: Sequence[Path]) -> Path:
    here = Path(source)
    return next((path for path in (here, *(place / source for place in places)) if path.exists()), here)
