"""Several processes that train one model together, as torchrun starts them: who does what.

What is not training is done by the first process alone, while the others wait for what comes of it: reading data,
mining, measuring, writing. Before the programs can say so torchrun has to have started them; it says in the environment
how many there are.
"""

import argparse
import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar, cast

T = TypeVar("T")
_PATIENCE = timedelta(days=7)  # as long as it takes: who waits gives up after ten or thirty minutes otherwise


def main_process() -> bool:
    """Return whether this is the only process, or the first of those that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


def processes() -> int:
    """Return how many processes torchrun started for this run, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launcher() -> str:
    """Return the beginning of a command that starts as many processes on as many machines."""
    if processes() == 1:
        return "python"
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes()))
    if here == processes():
        return f"torchrun --nproc-per-node {here}"
    return f"torchrun --nnodes {processes() // here} --nproc-per-node {here} (and the --rdzv options, on each machine)"


def refuse_processes(parser: argparse.ArgumentParser, what: str) -> None:
    """Exit with a message if torchrun started several processes of a program that works in one."""
    if processes() > 1:
        if main_process():
            parser.error(f"{what} in one process, and torchrun started {processes()}. Start it with python -m")
        parser.exit(2)


def check_restarts(*, resume: bool) -> None:
    """Check that processes that torchrun would start again (``--max-restarts``) find each other and their checkpoint.

    From torch 2.5 to 2.13 at least, torchrun keeps the store in which they look for each other, with the addresses of
    the dead: who looks before the other has written takes an old one (https://github.com/pytorch/pytorch/issues/135712).

    Args:
        resume: Whether the command goes on with a run that was begun.

    Raises:
        ValueError: They would not.
    """
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) == 0:
        return
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise ValueError(
            "With --max-restarts torchrun hands the addresses of dead processes on to new ones. Set "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun, and leave out --master-addr and --master-port"
        )
    if not resume:
        raise ValueError("With --max-restarts a process that is started again has to go on. Give --resume as well")


def per_process(rows: int) -> int:
    """Return how many of the rows of a batch each process takes.

    Raises:
        ValueError: They cannot be dealt out evenly.
    """
    if rows % processes():
        raise ValueError(
            f"A batch of {rows} cannot be dealt out evenly to {processes()} processes. Give a --batch-size that is a "
            "multiple of their number: it is that of all of them together"
        )
    return rows // processes()


def on_first_process(settings: Namespace, make: Callable[[], T]) -> T:
    """Return what the first process makes; the others wait for it, and get it pickled.

    Nothing but this program's own processes can send here: torchrun gave them their addresses.
    """
    if processes() == 1:
        return make()
    import torch

    _join(settings)
    box = [make() if main_process() else None]
    torch.distributed.broadcast_object_list(box, src=0)
    return cast(T, box[0])


def alike(settings: Namespace, value: object) -> bool:
    """Return, in all processes, whether all of them have the same value."""
    if processes() == 1:
        return True
    import torch

    _join(settings)
    values: list[object] = [None] * processes()
    torch.distributed.all_gather_object(values, value)
    return all(other == values[0] for other in values)


@contextmanager
def first_process_first(settings: Namespace) -> Iterator[None]:
    """Let the first process do something, and the others after it, when its files are there."""
    if processes() == 1:
        yield
    else:
        from accelerate import PartialState

        _join(settings)
        with PartialState().main_process_first():
            yield


def _join(settings: Namespace) -> None:
    """Let the processes find each other, the first time; on the CPU where that is wanted or all there is."""
    from accelerate import PartialState

    from finetune.training import on_cpu

    PartialState(cpu=on_cpu(settings), timeout=_PATIENCE)
