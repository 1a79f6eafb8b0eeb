"""What tells one benchmark from another: only the same one goes on with the answers that an interrupted one left."""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import rag_app
from eval.details import PACKAGES
from eval.machine import machine
from eval.preparing import Setup
from eval.protocols import Benchmark
from rag_app.documents import searchable_text
from rag_app.models import model_fingerprint, resolve_model
from rag_app.provenance import versions

_OPTIONS = ("k", "protocol", "one_at_a_time", "seed", "paraphrases")


def identity(setup: Setup, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the answers and their times depend on, for `eval.run_folder.RunFolder`.

    Of a foreign retriever that is its name and the module's own file: what it reads from elsewhere cannot be known.
    """
    reranker = None if arguments.reranker is None else resolve_model(arguments.reranker, role="reranker")
    return {
        **{option: getattr(arguments, option) for option in _OPTIONS},
        "code": [_digest_files(Path(__file__).parent), _digest_files(Path(rag_app.__file__).parent)],
        "versions": versions(PACKAGES),
        "machine": {what: value for what, value in machine().items() if what != "load_average"},
        "names": [setup.names, setup.robust, setup.scaled],
        "models": {label: model.fingerprint for label, model in setup.models.items()},
        "store": arguments.store and str(arguments.store),
        "reranker": reranker and model_fingerprint(reranker),
        "served": {
            label: [index.snapshot.manifest.get(part) for part in ("files", "model", "documents", "passages")]
            for label, index in setup.stock.served.items()
        },
        "foreign": {label: _digest_module(retriever.name or "") for label, retriever in setup.stock.foreign.items()},
        "benchmarks": {name: _digest(benchmark, arguments.paraphrases) for name, benchmark in setup.benchmarks.items()},
    }


def _digest(benchmark: Benchmark, paraphrases: str) -> str:
    digest = hashlib.sha256()
    for question in [*benchmark.questions, *benchmark.unanswerable]:
        asked = (question.id, question.text, question.metadata.get(paraphrases), sorted(question.relevant))
        digest.update(repr(asked).encode())
    for document in benchmark.corpus:
        digest.update(repr((document.metadata["doc_id"], searchable_text(document))).encode())
    return digest.hexdigest()


def _digest_module(spec: str) -> list[str | None]:
    """Return ``module:object`` and a digest of the module's file, None if it has none."""
    file = getattr(sys.modules.get(spec.partition(":")[0]), "__file__", None)
    return [spec, _digest_files(Path(file)) if file else None]


def _digest_files(place: Path) -> str:
    """Return a digest of a file, or of the Python files in a folder."""
    digest = hashlib.sha256()
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        digest.update(repr((path.name, path.read_bytes())).encode())
    return digest.hexdigest()
