"""Running a sentence-transformers trainer so that it can be interrupted and resumed without a trace."""

import json
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from zipfile import is_zipfile

import torch
from sentence_transformers.base.sampler import BatchSamplers, DefaultBatchSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.utils import logging

from finetune.batches import random_batches, shared_batches
from finetune.processes import main_process, per_process, processes

_STATE = "trainer_state.json"  # the last file that the first process writes into a checkpoint
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

T = TypeVar("T", bound=TrainingArguments)


def shared_arguments(
    settings: Namespace,
    folder: Path,
    *,
    metric: str | None,
    rows: int | None = None,
    batches: Callable[..., DefaultBatchSampler] | None = None,
) -> dict[str, Any]:
    """Return the arguments that sentence-transformers' trainers share, as keywords of their argument classes.

    Args:
        settings: From `finetune.options.fill`.
        folder: Where checkpoints go.
        metric: The evaluator's metric; the checkpoint where it is highest is kept. None keeps the last weights.
        rows: Rows of the data set in a batch, of all processes together; ``settings.batch_size`` if None.
        batches: Makes the sampler of batches; random ones if None.

    Raises:
        ValueError: See `finetune.processes.per_process`.
    """
    return {
        "output_dir": str(folder),
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps,
        "per_device_train_batch_size": per_process(settings.batch_size if rows is None else rows),
        "batch_sampler": _sampler(batches),
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.scheduler,
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "eval_strategy": "steps",
        "eval_steps": settings.eval_steps,
        "save_strategy": "steps",
        "save_steps": settings.eval_steps,
        "save_total_limit": 2,  # the best and the last
        "load_best_model_at_end": metric is not None,
        "metric_for_best_model": None if metric is None else f"eval_{metric}",
        "greater_is_better": None if metric is None else True,
        "logging_steps": settings.eval_steps,
        "report_to": "none",
        "dataloader_pin_memory": settings.device != "cpu" and torch.cuda.is_available(),
        "use_cpu": on_cpu(settings),
        **_precision(settings),
    }


def one_device(args: T) -> T:
    """Return a trainer's arguments with one GPU for each process.

    The trainer would take all that one process sees (``nn.DataParallel``), each with a batch of its own: a batch size
    of 16 would be one of 128 on a machine with eight. Several GPUs are for torchrun.
    """
    args._n_gpu = min(args.n_gpu, 1)
    return args


def on_cpu(settings: Namespace) -> bool:
    """Return whether the trainer has to be told to use the CPU.

    Several processes have to where there is nothing else: the trainer does not see that they belong together otherwise.
    """
    return bool(settings.device == "cpu" or (processes() > 1 and not torch.cuda.is_available()))


def fit(trainer: Trainer, *, names: Mapping[str, str], checkpoint: Path | None) -> bool:
    """Train to the end, or until the user interrupts; return whether it came to the end.

    Ctrl-C and SIGTERM let the running step finish, save a checkpoint there and stop; Ctrl-C after that stops at once.

    Args:
        trainer: With the arguments of `shared_arguments`.
        names: The metrics to show during training, with what they are called.
        checkpoint: Where to go on from; None begins.
    """
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar for each checkpoint's only file
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    interruption = Interruption()
    for added in (Progress(names), EpochOfBatches(), interruption):
        trainer.add_callback(added)
    if not main_process():  # sentence-transformers 6 leaves it to transformers to ask, which from 5.23 leaves it to it
        trainer._save = _write_nothing  # type: ignore[method-assign]
    if checkpoint is not None and _restore_finished(trainer, checkpoint):
        return True
    with interruption:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return not interruption.stopped


def _write_nothing(*args: object, **kwargs: object) -> None:
    """Leave it to the first process to write a model."""


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end; a kill or a full disk leaves broken ones."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_STATE}") if _is_json(path)]
    whole = [checkpoint for checkpoint in whole if _has_all_random_numbers(checkpoint)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _has_all_random_numbers(checkpoint: Path) -> bool:
    """Return whether the other processes wrote theirs; the first one does not wait for it before it writes the rest.

    Where one of these files is missing the trainer goes on with other random numbers, and says nothing.
    """
    count = processes()
    return count == 1 or all(is_zipfile(checkpoint / f"rng_state_{process}.pth") for process in range(count))


def _restore_finished(trainer: Trainer, checkpoint: Path) -> bool:
    """Load what was trained to the end and return True; the trainer itself would take another step with --max-steps."""
    state = TrainerState.load_from_json(str(checkpoint / _STATE))
    if state.global_step < state.max_steps:
        return False
    trainer.state = state
    trainer._load_from_checkpoint(str(checkpoint))
    if trainer.args.load_best_model_at_end and state.best_model_checkpoint is not None:
        trainer._load_best_model()
    return True


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


class Progress(ProgressCallback):
    """A progress bar, and above it one line for each evaluation.

    Args:
        names: The metrics to show, with what they are called.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = {"loss": "loss", **{f"eval_{key}": name for key, name in names.items()}}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the loss and the metrics; the speed comes with the bar."""
        shown = {name: logs[key] for key, name in self._names.items() if logs and key in logs}
        if shown and self.training_bar is not None:
            numbers = "  ".join(f"{name} {float(value):.4g}" for name, value in shown.items())
            self.training_bar.write(f"step {state.global_step}: {numbers}", file=sys.stderr)


class EpochOfBatches(TrainerCallback):
    """Tells the batch sampler its epoch, which transformers does not where several processes resume within one."""

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Find the sampler behind what accelerate wraps it in."""
        sampler = kwargs["train_dataloader"]
        while inner := getattr(sampler, "batch_sampler", None):
            sampler = inner
        sampler.set_epoch(int(state.epoch or 0))


class Interruption(TrainerCallback):
    """Turns Ctrl-C and SIGTERM into a checkpoint after the running step and the end of the training.

    Attributes:
        stopped: Whether the training ended that way.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no signals
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Save and stop when somebody asked for it, in all processes at the same step."""
        asked = torch.tensor(float(self._asked), device=args.device)
        if args.world_size > 1:
            torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
        if asked.item():
            self.stopped = control.should_save = control.should_training_stop = True
        return control

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:  # Slurm sends SIGTERM to all, and torchrun passes its own on
            raise KeyboardInterrupt
        self._asked = True


def curve(history: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[int, float]]:
    """Return the metric at each evaluated step, from a trainer's ``state.log_history``."""
    return [(entry["step"], entry[f"eval_{metric}"]) for entry in history if f"eval_{metric}" in entry]


def _sampler(batches: Callable[..., DefaultBatchSampler] | None) -> Any:
    if processes() > 1:
        return shared_batches(batches or random_batches, processes())
    return batches or BatchSamplers.BATCH_SAMPLER


def _precision(settings: Namespace) -> dict[str, bool]:
    wanted = settings.precision
    if wanted == "auto":
        on_cuda = settings.device != "cpu" and torch.cuda.is_available()
        wanted = "bf16" if on_cuda and torch.cuda.is_bf16_supported() else "fp32"
    return {"bf16": wanted == "bf16", "fp16": wanted == "fp16"}
