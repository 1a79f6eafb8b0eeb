"""How long a fresh process takes to its first answer."""

from collections.abc import Sequence
from pathlib import Path
from time import time
from typing import NamedTuple

from tqdm import tqdm

from eval.timing.children import run_task
from eval.timing.klue import Models, random_models
from eval.timing.rounds import spread
from eval.timing.setup import Found, Setup
from eval.timing.variants import export_unchecked
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.models import EMBEDDED, Backend

BACKENDS: tuple[Backend, ...] = ("torch", "onnx-int8")
PASSAGES = 30
"""As many as a reranker reads: no index is smaller in practice, and none takes longer for its models to load."""


class _Start(NamedTuple):
    name: str
    models: Models
    backend: Backend | None


def measure_cold_starts(setup: Setup, found: Found) -> None:
    """Start a process for each kind of model, several times."""
    questions = [question.text for question in setup.questions(2)]
    for start in tqdm(_starts(setup), desc="cold start", unit="kind"):
        index = _index(setup, start)
        task = {
            "index": str(index),
            "embedding": str(start.models.embedding),
            "reranker": str(start.models.reranker),
            "backend": start.backend,
            "questions": questions,
        }
        runs = [
            run_task("eval.timing.first_answer", {**task, "started": time()}) for _ in range(setup.arguments.starts)
        ]
        steps = {step: spread([run[step] for run in runs])._asdict() for step in runs[0] if step != "imports torch"}
        found[start.name] = {"seconds": steps, "imports_torch": runs[0]["imports torch"], "starts": len(runs)}


def _starts(setup: Setup) -> Sequence[_Start]:
    embedded = Models("embedded", EMBEDDED, EMBEDDED, random=False)
    size = setup.arguments.model_sizes[0]
    random = random_models(setup.models / size, size)
    return [
        _Start("embedded models", embedded, None),
        *(_Start(f"{random.name}, {backend}", random, backend) for backend in BACKENDS),
    ]


def _index(setup: Setup, start: _Start) -> Path:
    folder = setup.folder / "cold" / start.name.replace("/", "-")
    if start.backend is not None:
        export_unchecked(start.models, start.backend)
    embeddings = load_embeddings(start.models.embedding, backend=start.backend)
    build_index(folder, setup.benchmark.corpus[:PASSAGES], embeddings)
    return folder
