"""How long a fresh process takes to its first answer."""

from time import time

from tqdm import tqdm

from eval.timing.children import run_task
from eval.timing.first_answer import first_answer
from eval.timing.klue import Models, random_models
from eval.timing.rounds import spread
from eval.timing.setup import Found, Setup
from eval.timing.variants import export_unchecked
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.models import EMBEDDED, Backend

BACKENDS: tuple[Backend, ...] = ("torch", "onnx-int8")
PASSAGES = 30
"""As many as a reranker reads: what is measured is how long models and index take to load."""


def measure_cold_starts(setup: Setup, found: Found) -> None:
    """Start a process for each kind of model, several times."""
    size = setup.arguments.model_sizes[0]
    random = random_models(setup.models / size, size)
    embedded = Models("embedded models", EMBEDDED, EMBEDDED, random=False)
    starts: dict[str, tuple[Models, Backend | None]] = {
        embedded.name: (embedded, None),
        **{f"{random.name}, {backend}": (random, backend) for backend in BACKENDS},
    }
    for number, (name, (models, backend)) in enumerate(tqdm(starts.items(), desc="cold start", unit="kind")):
        index = setup.folder / "cold" / str(number)
        if backend is not None:
            export_unchecked(models, backend)
        build_index(index, setup.benchmark.corpus[:PASSAGES], load_embeddings(models.embedding, backend=backend))
        task = {
            "index": str(index),
            "embedding": str(models.embedding),
            "reranker": str(models.reranker),
            "backend": backend,
            "questions": [question.text for question in setup.questions(2)],
        }
        runs = [run_task(first_answer, {**task, "started": time()}) for _ in range(setup.arguments.starts)]
        imports_torch = [run.pop("imports torch") for run in runs]
        steps = {step: spread([run[step] for run in runs])._asdict() for step in runs[0]}
        found[name] = {"seconds": steps, "imports_torch": any(imports_torch), "starts": len(runs)}
