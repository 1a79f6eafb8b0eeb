"""What indexing and searching cost as the corpus grows."""

import shutil

from tqdm import tqdm

from eval.timing.children import run_task
from eval.timing.setup import Found, Setup

BUILD, SERVE = "eval.timing.build_size", "eval.timing.serve_size"


def measure_sizes(setup: Setup, found: Found) -> None:
    """Build and serve an index of each size, each in a process of its own."""
    arguments = setup.arguments
    questions = [question.text for question in setup.questions(arguments.size_questions)]
    for size in tqdm(arguments.sizes, desc="corpus sizes", unit="size"):
        folder = setup.folder / "sizes" / str(size)
        task = {"index": str(folder), "data": arguments.data, "passages": size, "questions": questions}
        own = found.setdefault(str(size), {})
        own["build"] = run_task(BUILD, task, apart=not arguments.quick)
        own["serve"] = run_task(SERVE, task, apart=not arguments.quick)
        shutil.rmtree(folder)  # the disk may hold one large index and not two
