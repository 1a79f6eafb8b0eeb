"""What the training programs do alike: begin or resume a run, train, measure what was saved, publish it."""

import argparse
import errno
import hashlib
import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from finetune.card import Score, score_table
from finetune.options import Recipes, fill
from finetune.processes import alike, check_restarts, first_process_first, main_process, on_first_process
from finetune.run import CHECKPOINTS, RECORD, REJECTED, Run
from rag_app.hub import network_errors
from rag_app.models import resolve_model

if TYPE_CHECKING:
    from transformers import Trainer

INTERRUPTED = 130
_NOT_UPLOADED = [f"{CHECKPOINTS}/*", f"{REJECTED}/*"]


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
        if given.resume and given.output is None:
            parser.error("--resume needs --output, the folder of the run")
        check_restarts(resume=bool(given.resume))
        with first_process_first(given):
            run = _open(program, given, recipes, defaults or {})
            path = run.checkpoints / RECORD
            record = path.read_text("utf-8") if path.exists() else None
        if not alike(given, record):
            run.abandon()
            raise FileNotFoundError(
                f"The processes do not see the same {run.output}. Give an --output in a folder that all machines share"
            )
        return run
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))


def _open(program: str, given: Namespace, recipes: Recipes, defaults: Mapping[str, Any]) -> Run:
    output = given.output or Path("models") / program.rpartition(".")[2]
    begun = (output / CHECKPOINTS / RECORD).exists()
    whole = given.model or given.train  # the command that begins a run, and not just that it shall go on
    if given.resume and (begun or not whole):
        return Run.resume(program, Namespace(**{**vars(given), "output": output}))
    return Run.begin(program, fill(given, recipes[recipe_name(given, recipes)], output=output, **defaults))


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
        parser.exit(INTERRUPTED, "Interrupted before training began.\n" if main_process() else None)
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
        SystemExit: See `resumable`.
    """
    from finetune.training import fit, last_checkpoint

    start = perf_counter()
    with resumable(run):
        checkpoint = on_first_process(  # the others' view of a shared folder may be late
            run.settings, lambda: last_checkpoint(folder or run.checkpoints) if run.resuming else None
        )
        finished = fit(trainer, names=names, checkpoint=checkpoint)
    run.note(seconds=run.record["seconds"] + perf_counter() - start)
    if not finished and main_process():
        print(f"\nInterrupted. {run.how_to_resume()}", file=sys.stderr)
    return finished


@contextmanager
def resumable(run: Run) -> Iterator[None]:
    """Say how to go on with a run when the disk is full or somebody stops it at once.

    Raises:
        SystemExit: That was so; the last whole checkpoint stays.
    """
    try:
        yield
    except KeyboardInterrupt:
        if main_process():
            print(f"\nStopped at once. {run.how_to_resume()}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        if not _disk_is_full(error):
            raise
        raise SystemExit(f"The disk is full: {error}. Make room. {run.how_to_resume()}") from error


def publish(run: Run, *, subfolder: str = "") -> None:
    """Move the model to its place, print the scores, and upload it if that was asked for.

    Raises:
        SystemExit: The upload failed; the model stays in its place. Or see `resumable`.
    """
    with resumable(run):
        folder = run.publish(subfolder=subfolder)
    if not main_process():
        return
    print(f"\n{score_table([Score(**score) for score in run.record['scores']])}\n")
    for note in run.record["card"].get("notes", ()):
        print(note)
    plot = "curve.png, " if "curve" in run.record else ""
    print(f"{folder}: the model, README.md, {plot}run.json")
    if run.settings.push_to_hub and not subfolder:
        push(folder, run.settings.push_to_hub, private=bool(run.settings.private))


def push(folder: Path, repo: str, *, private: bool) -> None:
    """Upload a finished run to the Hugging Face Hub as the model ``owner/name``, with the account of `hf auth login`.

    Raises:
        SystemExit: The Hub cannot be reached or refuses; the folder stays as it is.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    failures: tuple[type[Exception], ...] = (*network_errors(), OSError, ValueError)
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, ignore_patterns=_NOT_UPLOADED)
    except failures as error:
        command = ["hf", "upload", repo, str(folder), ".", *(f"--exclude={pattern}" for pattern in _NOT_UPLOADED)]
        raise SystemExit(
            f"The model in {folder} is finished, but was not uploaded ({type(error).__name__}: {error}). "
            f"Upload it with: {shlex.join(command + ['--private'] * private)}"
        ) from error
    print(f"Uploaded to {url}")


def data_record(rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """Return how many rows there are and the sha256 over them, as a record holds them."""
    digest, count = hashlib.sha256(), 0
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        count += 1
    return {"rows": count, "sha256": digest.hexdigest()}


def has_validation(source: str, load: Callable[..., object]) -> bool:
    """Return whether a source has a validation part of its own; a single file would be measured on what it trains on.

    Args:
        source: One of ``--train``.
        load: Reads it by ``split``.
    """
    if Path(source).is_file():
        return False
    try:
        load(source, split="validation")
    except FileNotFoundError:
        return False
    return True


def _disk_is_full(error: BaseException | None) -> bool:
    """Return whether that was the cause; torch and safetensors have exceptions of their own for it."""
    signs = ("No space left", "file write failed", "enforce fail at inline_container.cc")  # the last two are torch.save
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or any(sign in str(error) for sign in signs):
            return True
        error = error.__cause__ or error.__context__
    return False
