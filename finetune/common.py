"""What the training programs do alike: begin or resume a run, train, measure what was saved, publish it."""

import argparse
import errno
import hashlib
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from finetune.card import Score, score_table
from finetune.options import Recipes, fill
from finetune.run import Run, main_process, processes
from rag_app.models import resolve_model

if TYPE_CHECKING:
    from transformers import Trainer

INTERRUPTED = 130


def open_run(
    program: str,
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    recipes: Recipes,
    defaults: Mapping[str, Any] | None = None,
) -> Run:
    """Parse the arguments and begin a run, or resume one; exit with a message where that cannot be.

    Args:
        program: Name of the module.
        parser: From `finetune.options.training_parser`.
        argv: The arguments; those of the process if None.
        recipes: The program's.
        defaults: Of the program's own options, where no recipe says otherwise.
    """
    given = parser.parse_args(argv)
    try:
        if given.resume:
            if given.output is None:
                parser.error("--resume needs --output, the folder of the run")
            return Run.resume(program, given)
        recipe = recipe_name(given, recipes)
        output = Path("models") / program.rpartition(".")[2]
        return Run.begin(program, fill(given, recipes[recipe], output=output, **(defaults or {})))
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))


def recipe_name(given: Namespace, recipes: Recipes) -> str:
    """Return which recipe fills in the arguments: ``tutorial``, or the default for the kind of model."""
    if given.recipe == "tutorial":
        return "tutorial"
    if given.model is None:
        return "transformer"
    return "static" if resolve_model(given.model).kind == "static" else "transformer"


@contextmanager
def preparing(run: Run, parser: argparse.ArgumentParser) -> Iterator[None]:
    """Turn what is wrong with models and data into a message, and leave nothing behind of a run that never trained."""
    try:
        yield
    except KeyboardInterrupt:
        run.abandon()
        parser.exit(INTERRUPTED, "Interrupted before training began.\n")
    except (ImportError, OSError, ValueError) as error:
        run.abandon()
        parser.error(str(error))


def train(run: Run, trainer: "Trainer", *, names: Mapping[str, str], folder: Path | None = None) -> bool:
    """Train to the end and return True; or, when interrupted, say how to go on and return False.

    Args:
        run: Its record gets the seconds of training.
        trainer: With the arguments of `finetune.training.shared_arguments`.
        names: The metrics to show, with what they are called.
        folder: Its checkpoints; those of the run if None.

    Raises:
        SystemExit: The disk is full; the last whole checkpoint stays.
    """
    from finetune.training import fit

    start = perf_counter()
    try:
        finished = fit(trainer, folder or run.checkpoints, names=names, resume=run.resuming)
    except Exception as error:
        if not _disk_is_full(error):
            raise
        raise SystemExit(f"The disk is full: {error}. Make room. {run.how_to_resume()}") from error
    run.note(seconds=run.record["seconds"] + perf_counter() - start)
    if not finished and main_process():
        print(f"\nInterrupted. {run.how_to_resume()}", file=sys.stderr)
    return finished


def publish(run: Run, *, subfolder: str = "") -> None:
    """Move the model to its place, upload it if that was asked for, and print the scores."""
    folder = run.publish(subfolder=subfolder)
    if not main_process():
        return
    print(f"\n{score_table([Score(**score) for score in run.record['scores']])}\n")
    print(f"{folder}: the model, README.md, curve.png, run.json")
    if run.settings.push_to_hub and not subfolder:
        push(folder, run.settings.push_to_hub, private=bool(run.settings.private))


def push(folder: Path, repo: str, *, private: bool) -> None:
    """Upload a finished run to the Hugging Face Hub as the model ``owner/name``, with the account of `hf auth login`.

    Raises:
        OSError, ValueError: The Hub cannot be reached or refuses; the folder stays as it is.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    url = api.create_repo(repo, private=private, exist_ok=True)
    api.upload_folder(repo_id=repo, folder_path=folder, ignore_patterns=["checkpoints/*", "rejected/*"])
    print(f"Uploaded to {url}")


def data_record(rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """Return how many rows there are and the sha256 over them, as a record holds them."""
    digest, count = hashlib.sha256(), 0
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        count += 1
    return {"rows": count, "sha256": digest.hexdigest()}


@contextmanager
def first_process_first(settings: Namespace) -> Iterator[None]:
    """Let the first of several processes do something, and the others after it, when its files are there."""
    if processes() == 1:
        yield
    else:
        from accelerate import PartialState

        with PartialState(cpu=settings.device == "cpu").main_process_first():
            yield


def _disk_is_full(error: BaseException | None) -> bool:
    """Return whether that was the cause; torch and safetensors have exceptions of their own for it."""
    signs = ("No space left", "file write failed")
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or any(sign in str(error) for sign in signs):
            return True
        error = error.__cause__ or error.__context__
    return False
