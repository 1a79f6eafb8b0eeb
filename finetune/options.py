"""The options that all training programs share, and the recipes that fill in what was not given."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rag_app.text_tables import aligned

Recipes = Mapping[str, Mapping[str, Any]]
"""Settings by recipe: ``tutorial``, ``transformer`` and ``static``; the last two are the default for such a model."""

SHARED: dict[str, Any] = {
    "recipe": "default",
    "validation_share": 0.1,
    "seed": 42,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "scheduler": "linear",
    "precision": "auto",
    "gradient_accumulation": 1,
    "max_steps": -1,
}
"""Defaults that no recipe changes unless it says so."""

_OUTPUT_ONLY = ("resume", "overwrite", "push_to_hub", "private", "keep_checkpoints", "output")
"""Options that say what becomes of a run and not what it does: they may differ when it is resumed."""
_NOT_STORED = ("resume", "overwrite", "output")
SCHEDULERS = ("linear", "cosine", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong without the forty options before it."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def training_parser(program: str, description: str, recipes: Recipes, *, data: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all programs share; every option that was not given is None.

    Args:
        program: Name of the module, ``finetune.sts``.
        description: The program's docstring.
        recipes: Shown at the end of ``--help``.
        data: What ``--train`` and ``--validation`` take.
    """
    parser = _Parser(
        prog=f"python -m {program}",
        description=description,
        epilog=_recipe_table(recipes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=None,
        allow_abbrev=False,
    )
    what = parser.add_argument_group("model and data")
    what.add_argument("--model", metavar="NAME", help="'embedded', a folder, or a Hub id[@revision]")
    what.add_argument("--train", action="append", metavar="SOURCE", help=f"repeatable: {data}")
    what.add_argument(
        "--validation",
        action="append",
        metavar="SOURCE",
        help="repeatable, like --train; without it the validation split of a --train that has one, else a share of it",
    )
    what.add_argument("--validation-share", type=share, metavar="SHARE", help="of --train, where that is held out")
    what.add_argument("--limit", type=positive, metavar="N", help="train on a random N of the pairs only")

    run = parser.add_argument_group("run")
    run.add_argument("--recipe", choices=("default", "tutorial"), help="whose settings fill in the options below")
    run.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"where the model goes, models/{program.rpartition('.')[2]} if not given",
    )
    run.add_argument("--resume", action="store_true", default=None, help="go on with the interrupted run in --output")
    run.add_argument("--overwrite", action="store_true", default=None, help="replace what --output holds, at the end")
    run.add_argument("--keep-checkpoints", action="store_true", default=None, help="keep them when the run is finished")
    run.add_argument(
        "--push-to-hub", type=repository, metavar="OWNER/NAME", help="upload the finished model to the Hub"
    )
    run.add_argument("--private", action="store_true", default=None, help="as a private repository")

    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=above_zero, metavar="N", help="passes over the training pairs")
    training.add_argument("--max-steps", type=positive, metavar="N", help="stop after N steps, whatever --epochs says")
    training.add_argument("--batch-size", type=positive, metavar="N", help="pairs in a batch of all processes together")
    training.add_argument("--gradient-accumulation", type=positive, metavar="N", help="batches summed for one step")
    training.add_argument("--learning-rate", type=above_zero, metavar="RATE", help="its highest value")
    training.add_argument("--warmup-steps", type=float, metavar="N", help="steps to reach it; below 1, a share of all")
    training.add_argument("--scheduler", choices=SCHEDULERS, help="how it falls again")
    training.add_argument("--weight-decay", type=float, metavar="RATE", help="of AdamW")
    training.add_argument("--max-grad-norm", type=float, metavar="NORM", help="longer gradients are scaled down to it")
    training.add_argument("--max-length", type=positive, metavar="TOKENS", help="cut texts to so many tokens")
    training.add_argument(
        "--eval-steps", type=above_zero, metavar="N", help="steps between two evaluations; or a share"
    )
    training.add_argument("--seed", type=int, metavar="N", help="of splits, sampling and dropout")
    training.add_argument(
        "--precision", choices=("auto", "fp32", "bf16", "fp16"), help="auto: bf16 on CUDA that has it"
    )
    training.add_argument("--device", metavar="NAME", help="cpu or cuda; chosen if not given")
    return parser


def fill(given: argparse.Namespace, recipe: Mapping[str, Any], **defaults: Any) -> argparse.Namespace:
    """Return the settings of a run: what was given, else the recipe's, else the program's and the shared defaults."""
    chosen = {name: value for name, value in vars(given).items() if value is not None}
    return argparse.Namespace(**{**vars(given), **SHARED, **defaults, **recipe, **chosen})


def resumed(given: argparse.Namespace, stored: Mapping[str, Any]) -> argparse.Namespace:
    """Return the settings of an interrupted run, to go on with.

    Raises:
        ValueError: An option that changes the run was given again with another value.
    """
    for name, value in vars(given).items():
        if value is not None and name not in _OUTPUT_ONLY and plain(value) != stored.get(name):
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{option} is {value}, but the run to resume began with {stored.get(name)}. Leave {option} out, or "
                "start anew without --resume"
            )
    anew = {name: value for name, value in vars(given).items() if name in _NOT_STORED or value is not None}
    return argparse.Namespace(**{**vars(given), **stored, **anew})


def refuse(settings: argparse.Namespace, names: Sequence[str], defaults: Mapping[str, Any], why: str) -> None:
    """Check that options which would do nothing were not given.

    Raises:
        ValueError: One was.
    """
    for name in names:
        if getattr(settings, name) not in (None, {**SHARED, **defaults}.get(name)):
            raise ValueError(f"--{name.replace('_', '-')} {why}. Leave it out")


def plain(value: Any) -> Any:
    """Return a setting as JSON holds it."""
    if isinstance(value, Path):
        return str(value)
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def to_stored(settings: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that a resumed run takes over, as JSON holds them."""
    return {name: plain(value) for name, value in sorted(vars(settings).items()) if name not in _NOT_STORED}


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def whole(text: str) -> int:
    """Parse a whole number of at least 0."""
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def above_zero(text: str) -> float:
    """Parse a number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def below_one(text: str) -> float:
    """Parse a number from 0 up to 1, which is not included."""
    number = float(text)
    if not 0 <= number < 1:
        raise ValueError
    return number


def repository(text: str) -> str:
    """Parse the name of a repository on the Hub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text, re.ASCII):
        raise ValueError
    return text


def share(text: str) -> float:
    """Parse a number between 0 and 1, neither included."""
    number = float(text)
    if not 0 < number < 1:
        raise ValueError
    return number


positive.__name__ = "positive number"  # argparse: "invalid positive number value: '0'"
below_one.__name__ = "share of at least 0 and below 1"
whole.__name__ = "number of at least 0"
above_zero.__name__ = "number above 0"
repository.__name__ = "OWNER/NAME"
share.__name__ = "share between 0 and 1"


def _recipe_table(recipes: Recipes) -> str:
    names: Sequence[str] = list(recipes)
    settings = list(dict.fromkeys(key for recipe in recipes.values() for key in recipe))
    rows = [["setting", *names]]
    rows += [["--" + key.replace("_", "-"), *(_shown(recipes[name].get(key)) for name in names)] for key in settings]
    others = ", ".join(f"--{key.replace('_', '-')} {_shown(value)}" for key, value in SHARED.items())
    return "\n".join(
        [
            "What options are when they are not given (transformer and static: --recipe default on such a model):",
            "",
            *(f"  {line}" for line in aligned(rows).splitlines()),
            "",
            f"  in all: {others}",
        ]
    )


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"
