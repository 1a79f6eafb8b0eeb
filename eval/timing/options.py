"""The command line of ``python -m eval.speed``."""

import argparse
import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import faiss

from eval.metrics import measures
from eval.options import add_data, check_json, positive, program
from eval.timing.klue import SIZES

_QUICK = {
    "limit": 6,
    "model_sizes": ("tiny",),
    "rounds": 1,
    "questions": 2,
    "rerank_rounds": 1,
    "rerank_questions": 1,
    "passages": 8,
    "default_questions": 4,
    "default_passages": 20,
    "starts": 1,
    "peer_passages": 20,
    "sizes": (20, 40),
    "size_questions": 2,
}
"""What --quick measures, where nothing else is said."""


def parser(description: str | None, parts: Iterable[str], *, quick: bool) -> argparse.ArgumentParser:
    """Return the parser of ``python -m eval.speed``.

    Args:
        description: Stands above the options.
        parts: The names of the parts.
        quick: Whether the defaults are those of ``--quick``.
    """
    parts = tuple(parts)
    parser = program("eval.speed", description)
    add_data(parser)
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--parts",
        type=_choices(parts),
        default=parts,
        metavar="NAME,NAME",
        help=f"of {', '.join(parts)} (default: all)",
    )
    what.add_argument("--quick", action="store_true", help="see that everything runs: tiny models, few questions")
    _add_models(parser.add_argument_group("same_weights"))
    _add_rest(parser)
    parser.set_defaults(**_QUICK if quick else {})
    return parser


def _add_models(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--embedding", metavar="NAME", help="a trained transformer, a folder or a Hub id[@revision]")
    group.add_argument("--reranker", metavar="NAME", help="a trained cross-encoder, to go with it")
    group.add_argument(
        "--model-sizes",
        type=_choices(tuple(SIZES)),
        default=("base", "small"),
        metavar="NAME,NAME",
        help=f"of models with random weights: {', '.join(SIZES)} (default: base,small). The other parts take the first",
    )
    group.add_argument(
        "--rounds", type=positive, default=5, metavar="N", help="of everything but reranking (%(default)s)"
    )
    group.add_argument("--questions", type=positive, default=32, metavar="N", help="in each round (%(default)s)")
    group.add_argument("--rerank-rounds", type=positive, default=3, metavar="N", help="of reranking (%(default)s)")
    group.add_argument("--rerank-questions", type=positive, default=1, metavar="N", help="in each (%(default)s)")
    group.add_argument("--passages", type=positive, default=128, metavar="N", help="that are searched (%(default)s)")


def _add_rest(parser: argparse.ArgumentParser) -> None:
    default = parser.add_argument_group("default, cold_start, peers, sizes")
    default.add_argument(
        "--default-questions", type=positive, default=1000, metavar="N", help="asked of the default (%(default)s)"
    )
    default.add_argument(
        "--default-passages",
        type=positive,
        default=2095,
        metavar="N",
        help="searched by it: --data, filled up with passages made of its sentences (%(default)s)",
    )
    default.add_argument(
        "--starts", type=positive, default=3, metavar="N", help="of each kind of process (%(default)s)"
    )
    default.add_argument(
        "--peer-passages",
        type=positive,
        default=2_000,
        metavar="N",
        help="that peers index, open and delete from (%(default)s)",
    )
    default.add_argument(
        "--sizes",
        type=_counts,
        default=(10_000, 100_000),
        metavar="N,N",
        help="of corpus, in passages (default: 10000,100000)",
    )
    default.add_argument(
        "--size-questions", type=positive, default=200, metavar="N", help="asked of each of these (%(default)s)"
    )
    machine = parser.add_argument_group("machine and output")
    machine.add_argument("--cores", type=positive, metavar="N", help="use only so many (default: all there are)")
    machine.add_argument("--json", metavar="FILE", help="also write everything as JSON; '-' writes it to stdout")
    machine.add_argument("--plot", type=Path, metavar="FILE", help="write the cost by corpus size as an SVG picture")


def check(arguments: argparse.Namespace) -> None:
    """Raise what would otherwise only come up after all the work.

    Raises:
        OSError: A file cannot be written.
        ImportError: ir_measures or PyTorch is not installed.
        ValueError: Options do not go together.
    """
    measures()
    check_json(arguments.json)
    if bool(arguments.embedding) != bool(arguments.reranker):
        missing = "--reranker" if arguments.embedding else "--embedding"
        raise ValueError(f"The loop needs both models. Give {missing} NAME as well, or neither for random weights")
    if arguments.plot is not None:
        if arguments.plot.is_dir():
            raise IsADirectoryError(f"--plot names a folder, {arguments.plot}. Name a file in it")
        if len(set(arguments.sizes)) < 2 or "sizes" not in arguments.parts:
            raise ValueError("--plot draws a curve over --sizes. Give two sizes or more, and leave that part in")
        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
    if find_spec("sentence_transformers") is None:
        raise ImportError("The tutorial's loop needs PyTorch: pip install 'korean-rag[torch,onnx]'")


def use_cores(count: int | None) -> None:
    """Keep this process, and those that it starts, to so many cores; before any model is loaded.

    Raises:
        ValueError: There are fewer, or the system has no way to do so.
    """
    if count is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError(f"--cores is for Linux; {sys.platform} cannot keep a process to some of the cores")
    cores = sorted(os.sched_getaffinity(0))
    if count > len(cores):
        raise ValueError(f"--cores is {count}, and there are {len(cores)}")
    os.sched_setaffinity(0, cores[:count])
    os.environ["OMP_NUM_THREADS"] = str(count)  # of the processes started from here
    faiss.omp_set_num_threads(count)
    if find_spec("torch"):
        import torch

        torch.set_num_threads(count)


class _choices:  # noqa: N801
    """Reads some of these names, as ``a,b``."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self.__name__ = "choice"

    def __call__(self, text: str) -> tuple[str, ...]:
        chosen = tuple(name.strip() for name in text.split(",") if name.strip())
        if not chosen or not set(chosen) <= set(self._names):
            raise argparse.ArgumentTypeError(f"{text!r} is not made of these: {', '.join(self._names)}")
        return tuple(name for name in self._names if name in chosen)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted({positive(number) for number in text.split(",")}))


_counts.__name__ = "list of positive numbers"
