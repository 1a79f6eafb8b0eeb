"""The command line of ``python -m eval.speed``."""

import argparse
from collections.abc import Callable, Collection, Iterable
from importlib.util import find_spec

from eval.metrics import measures
from eval.options import add_data, check_output, positive, program
from eval.timing.klue import PAIRS

_AMOUNTS: dict[str, tuple[object, object]] = {
    "limit": (None, 6),
    "model_sizes": (("klue",), ("tiny",)),
    "rounds": (5, 1),
    "questions": (32, 2),  # in each of these rounds; when reranking it is one, as the loop takes seconds for it
    "rerank_rounds": (3, 1),
    "passages": (64, 8),  # that are searched with the same weights
    "default_questions": (1000, 4),
    "default_passages": (2095, 20),  # --data, filled up with passages made of its sentences
    "starts": (3, 1),
    "peer_passages": (2000, 20),
    "sizes": ((10_000, 100_000), (20, 40)),
    "size_questions": (200, 2),  # asked of a corpus of each size, and of what the peers keep
}
"""How much is measured, and how much of it with --quick. Some are options, and all are in the JSON file."""


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
        type=_some_of(parts),
        default=parts,
        metavar="NAME,NAME",
        help=f"of {', '.join(parts)} (default: all)",
    )
    what.add_argument("--quick", action="store_true", help="see that everything runs: tiny models, few questions")
    what.add_argument(
        "--embedding", metavar="NAME", help="same_weights: a transformer, a folder or a Hub id[@revision]"
    )
    what.add_argument("--reranker", metavar="NAME", help="same_weights: a cross-encoder, to go with it")
    what.add_argument(
        "--model-sizes",
        type=_some_of(PAIRS),
        metavar="NAME,NAME",
        help=f"of models with random weights: {', '.join(PAIRS)} (default: klue, an embedding model of klue/roberta-"
        "base's size and a reranker of -small's). The first of them is also what default and cold_start take",
    )
    what.add_argument("--rounds", type=positive, metavar="N", help="of everything but reranking (default: %(default)s)")
    what.add_argument("--rerank-rounds", type=positive, metavar="N", help="of reranking (default: %(default)s)")
    what.add_argument(
        "--peer-passages", type=positive, metavar="N", help="that peers keep on disk (default: %(default)s)"
    )
    what.add_argument("--sizes", type=_counts, metavar="N,N", help="of corpus, in passages (default: 10000,100000)")
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="also write everything as JSON; '-' writes it to stdout")
    output.add_argument("--plot", metavar="FILE", help="write the cost by corpus size as an SVG picture")
    parser.set_defaults(**{name: amounts[quick] for name, amounts in _AMOUNTS.items()})
    return parser


def check(arguments: argparse.Namespace) -> None:
    """Raise what would otherwise only come up after all the work.

    Raises:
        OSError: A file cannot be written.
        ImportError: ir_measures or PyTorch is not installed.
        ValueError: Options do not go together.
    """
    measures()
    check_output(arguments.json)
    check_output(arguments.plot, "--plot")
    if bool(arguments.embedding) != bool(arguments.reranker):
        missing = "--reranker" if arguments.embedding else "--embedding"
        raise ValueError(f"The loop needs both models. Give {missing} NAME as well, or neither for random weights")
    if arguments.plot and (len(arguments.sizes) < 2 or "sizes" not in arguments.parts):
        raise ValueError("--plot draws a curve over --sizes. Give two sizes or more, and leave that part in")
    if find_spec("sentence_transformers") is None:
        raise ImportError("The tutorial's loop needs PyTorch: pip install 'korean-rag[torch,onnx]'")


def _some_of(names: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Return what reads some of these names, as ``a,b``."""

    def read(text: str) -> tuple[str, ...]:
        chosen = {name.strip() for name in text.split(",") if name.strip()}
        if not chosen or not chosen <= set(names):
            raise argparse.ArgumentTypeError(f"{text!r} is not made of these: {', '.join(names)}")
        return tuple(name for name in names if name in chosen)

    return read


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted({positive(number) for number in text.split(",")}))


_counts.__name__ = "list of positive numbers"
