"""The folder of a training run: what it was asked, what it measured, its checkpoints and, at the end, its model.

A run works in ``OUTPUT/checkpoints``, so that a model that is in OUTPUT already stays as it is until the new one is
whole. ``run.json`` is there from the first minute; at the end it moves to OUTPUT with the model, its card and the
plot of its evaluations.
"""

import json
import shlex
import shutil
from argparse import Namespace
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.card import plot_curve, write_card
from finetune.options import resumed, to_stored
from finetune.processes import launcher, main_process, processes
from rag_app.durable_files import write_text
from rag_app.provenance import commit, versions

CHECKPOINTS = "checkpoints"
RECORD = "run.json"
REJECTED = "rejected"
_PACKAGES = ("korean-rag", "sentence-transformers", "transformers", "torch", "datasets", "accelerate", "kiwipiepy")


class Run:
    """A run that was begun or resumed; every change to its record is on disk at once.

    With several processes only the first one writes; see `finetune.processes`.

    Attributes:
        output: Where the model goes.
        checkpoints: Where the run works.
        settings: The arguments, filled in.
        record: What ``run.json`` holds.
        resuming: Whether there may be checkpoints to go on from.
    """

    def __init__(self, output: Path, settings: Namespace, record: dict[str, Any], *, resuming: bool) -> None:
        self.output = output
        self.checkpoints = output / CHECKPOINTS
        self.settings = settings
        self.record = record
        self.resuming = resuming
        self._made: list[Path] = []

    @classmethod
    def begin(cls, program: str, settings: Namespace) -> "Run":
        """Make the folder of a new run.

        Raises:
            FileExistsError: It holds a run and ``settings.overwrite`` is not set, or files that no run wrote.
        """
        output = Path(settings.output)
        if main_process():
            cls._check_free(output, overwrite=bool(settings.overwrite))
        run = cls(output, settings, {"program": program, "arguments": to_stored(settings)}, resuming=False)
        if main_process():
            run._made = [folder for folder in (output, *output.parents) if not folder.exists()]
            shutil.rmtree(run.checkpoints, ignore_errors=True)
            run.checkpoints.mkdir(parents=True)
        run.note(started=datetime.now(UTC).isoformat(timespec="seconds"), seconds=0.0, **environment())
        return run

    @staticmethod
    def _check_free(output: Path, *, overwrite: bool) -> None:
        interrupted, finished = (output / CHECKPOINTS / RECORD).exists(), (output / RECORD).exists()
        own = {REJECTED, CHECKPOINTS} if (output / REJECTED / RECORD).exists() else {REJECTED}  # --keep-checkpoints
        foreign = output.exists() and any(path.name not in own for path in output.iterdir())
        if foreign and not (interrupted or finished):
            raise FileExistsError(f"{output} holds something that is no training run. Give another --output")
        if (interrupted or finished) and not overwrite:
            state = "an interrupted run. Go on with it (--resume)" if interrupted else "a finished run. Keep it"
            raise FileExistsError(f"{output} holds {state}, give another --output, or replace it with --overwrite")

    @classmethod
    def resume(cls, program: str, given: Namespace) -> "Run":
        """Open the folder of an interrupted run.

        Args:
            program: Name of the module; the run has to be of the same one.
            given: Arguments, those not given None.

        Raises:
            FileNotFoundError: There is no interrupted run.
            ValueError: It is another program's, of another number of processes, or an argument contradicts it.
        """
        path = given.output / CHECKPOINTS / RECORD
        if not path.exists():
            state = "its run is finished" if (given.output / RECORD).exists() else "no run was begun there"
            raise FileNotFoundError(f"{given.output} holds nothing to resume: {state}. Leave out --resume to begin one")
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if record["program"] != program:
            raise ValueError(f"{given.output} holds a run of {record['program']}. Resume it with that program")
        if record["processes"] != processes():
            raise ValueError(
                f"The run in {given.output} began in {record['processes']} processes, and in {processes()} would go on "
                f"with other random numbers. Start {record['processes']} with torchrun"
            )
        return cls(given.output, resumed(given, record["arguments"]), record, resuming=True)

    def note(self, **entries: Any) -> None:
        """Add to the record."""
        self.record.update(entries)
        if main_process():
            _write(self.checkpoints / RECORD, self.record)

    def abandon(self) -> None:
        """Remove what a new run has written so far; a resumed one stays."""
        if not self.resuming and main_process():
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            for folder in self._made:
                if folder.exists() and not any(folder.iterdir()):
                    folder.rmdir()

    def check_data(self, data: Mapping[str, Any]) -> None:
        """Note what the run trains on; a resumed one has to find the same.

        Raises:
            ValueError: The data are others than those it began with.
        """
        if self.resuming and self.record.get("data", data) != data:
            raise ValueError(
                f"The data are not those that the run in {self.output} began with. Restore them, or start anew "
                "without --resume"
            )
        self.note(data=data)

    def save(self, save: Callable[[Path], None]) -> Path:
        """Write the model into a folder of its own and return it; what OUTPUT holds stays for now.

        Args:
            save: Writes the model into a folder.
        """
        new = self.checkpoints / "finished"
        if main_process():
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            save(new)
        return new

    def publish(self, *, subfolder: str = "") -> Path:
        """Move the saved model, with its card, plot and record, to OUTPUT and drop the checkpoints; return where it is.

        Args:
            subfolder: Leave what OUTPUT holds and move it to this folder in it.
        """
        new, folder = self.checkpoints / "finished", self.output / subfolder
        if main_process():
            if "curve" in self.record:
                plot_curve(new / "curve.png", self.record)
            write_card(new / "README.md", self.record)
            _write(new / RECORD, self.record)
            _replace(folder, new, aside=self.checkpoints / "replaced")
            if self.settings.keep_checkpoints:
                (self.checkpoints / RECORD).unlink()
                shutil.rmtree(self.checkpoints / "replaced")
            else:
                shutil.rmtree(self.checkpoints)
        return folder

    def how_to_resume(self) -> str:
        """Return what to say to somebody whose run stopped."""
        return f"Go on with: {launcher()} -m {self.record['program']} --output {shlex.quote(str(self.output))} --resume"


def environment() -> dict[str, Any]:
    """Return versions, commit and device, as a record holds them."""
    import torch

    return {
        "versions": versions(_PACKAGES),
        "commit": commit(),
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU ({torch.get_num_threads()} threads)",
        "processes": processes(),
    }


def _write(path: Path, record: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(record, ensure_ascii=False, indent=2) + "\n")


def _replace(folder: Path, new: Path, *, aside: Path) -> None:
    """Make a folder hold what another one holds; what it held goes aside, by renaming alone."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed right here
    aside.mkdir()
    for old in folder.iterdir():
        if old.name not in (CHECKPOINTS, REJECTED):
            old.rename(aside / old.name)
    for path in new.iterdir():
        path.rename(folder / path.name)
    new.rmdir()
