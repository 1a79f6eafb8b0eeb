"""The command line of the benchmark, and what other programs share of it."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from eval.metrics import measures
from eval.report.page import check_installed
from eval.room import check_room
from eval.run_folder import RunFolder
from rag_app.models import EMBEDDED
from rag_app.settings import name_or_none
from rag_app.stores.address import Address

INTERRUPTED = 130
"""The exit status after Ctrl-C or SIGTERM."""
PROTOCOLS = ("clean", "tutorial")
_CLEAN = ("distractors", "index", "store", "retriever", "robustness", "scaling")  # which the tutorial has not


def program(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser for ``python -m NAME``, without options yet."""
    return argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of ``python -m eval.hit_rate``."""
    parser = program("eval.hit_rate", description)
    data = add_data(parser)
    data.add_argument(
        "--trained-on",
        action="append",
        default=[],
        metavar="SOURCE",
        help="questions that a model was trained on, to look for them here; repeatable. Models of finetune tell theirs",
    )
    _add_systems(parser.add_argument_group("systems"))
    _add_measuring(parser.add_argument_group("what is measured"))
    _add_output(parser.add_argument_group("output"))
    return parser


def check(arguments: argparse.Namespace) -> None:
    """Raise what would otherwise only come up after all the work.

    Raises:
        OSError: A file or folder cannot be written.
        ImportError: ir_measures, for a report Jinja2, or what --store needs is not installed.
        ValueError: An option would do nothing under the only protocol.
        ConnectionError: The database of --store does not answer.
    """
    for option in _CLEAN if arguments.protocol == "tutorial" else ():
        if getattr(arguments, option) not in (None, []):
            raise ValueError(f"--{option} is for the clean protocol. Leave it out, or give --protocol both")
    measures(arguments.k)
    check_output(arguments.json)
    if arguments.store:
        check_room(arguments.store)
    if arguments.report:
        check_installed()
        RunFolder.check(arguments.report, overwrite=arguments.overwrite)


def check_output(name: str | None, option: str = "--json") -> None:
    """Raise what will keep a file from being written that an option names.

    Raises:
        OSError: It is a folder, or in one where nothing can be written.
    """
    if name and name != "-":
        path = Path(name)
        if path.is_dir():
            raise IsADirectoryError(f"{option} names a folder, {path}. Name a file in it")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"Cannot write {path}: no permission in the folder {path.parent}")


def add_data(parser: argparse.ArgumentParser, more: str = "") -> argparse._ArgumentGroup:
    """Add the options that say what is asked of which corpus; ``more`` tells what else --data takes."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        default="sample",
        metavar="SOURCE",
        help="'sample' (the bundled news, default), 'klue' (KLUE-MRC from the Hub), a KLUE-MRC or KorQuAD json file, "
        "a jsonl, csv or tsv file with question and context, a folder of these, a BEIR folder" + more,
    )
    data.add_argument("--split", default="validation", help="of data that has splits (default: %(default)s)")
    data.add_argument(
        "--distractors",
        action="append",
        default=[],
        metavar="FILE",
        help="add the passages of another data set, or of a file or folder of documents, to the corpus; repeatable. "
        "The other splits of --data are in it already",
    )
    data.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        help="ask a random sample of N questions only",
    )
    data.add_argument("--seed", type=int, default=0, help="of everything drawn at random (default: %(default)s)")
    data.add_argument("--text-column", metavar="NAME", help="column of --data that holds the passage")
    data.add_argument("--title-column", metavar="NAME", help="column of --data that holds the passage's title")
    return data


def _add_systems(systems: argparse._ArgumentGroup) -> None:
    systems.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[LABEL=]NAME",
        help="embedding model to compare with the base, a folder or a Hub id[@revision]; repeatable. The first without "
        "a label is `tuned`",
    )
    systems.add_argument(
        "--query-prompt", metavar="TEXT", help="put before every question by the models of --model: 'query: ' for E5"
    )
    systems.add_argument("--document-prompt", metavar="TEXT", help="put before every passage by them: 'passage: '")
    systems.add_argument("--base", default=EMBEDDED, metavar="NAME", help="embedding model of `base` and `hybrid`")
    systems.add_argument(
        "--reranker",
        type=name_or_none,
        default=EMBEDDED,
        metavar="NAME",
        help="of `+rerank`: 'embedded' (default), a folder, a Hub id[@revision], or 'none' to leave it out",
    )
    systems.add_argument(
        "--index",
        action="append",
        default=[],
        metavar="[LABEL=]PLACE",
        help="also measure a rag-app index in a folder or a vector database, with its own corpus; repeatable",
    )
    systems.add_argument(
        "--store",
        type=_address,
        metavar="ADDRESS",
        help="build the benchmark's indexes in a vector database and not in a folder: milvus://HOST:19530/NAME, where "
        "they are called NAME_hit_rate_0 and so on, and are dropped at the end; times are then those of asking the "
        "server",
    )
    systems.add_argument(
        "--retriever",
        action="append",
        default=[],
        metavar="[LABEL=]MODULE:OBJECT",
        help="also measure a LangChain retriever, or what a function makes of the list of documents; repeatable",
    )
    systems.add_argument(
        "--systems", type=_names, metavar="NAME,NAME", help="measure these only, in this order; 'list' prints them all"
    )


def _add_measuring(measuring: argparse._ArgumentGroup) -> None:
    measuring.add_argument(
        "--protocol",
        choices=(*PROTOCOLS, "both"),
        default="clean",
        help="clean (default): every text once, all splits' contexts as corpus, answerable questions, unanswerable "
        "ones as a test of abstention; tutorial: as published, 1,000 questions (or --limit) and their contexts with "
        "duplicates",
    )
    measuring.add_argument("--k", type=positive, default=10, help="where the measures cut off (default: %(default)s)")
    measuring.add_argument(
        "--one-at-a-time", action="store_true", help="tutorial protocol: ask one question at a time, not all at once"
    )
    measuring.add_argument(
        "--robustness",
        nargs="?",
        type=_names,
        const=(),
        metavar="NAME,NAME",
        help="also ask the questions otherwise (typos, no spaces, ...), of all systems or these",
    )
    measuring.add_argument(
        "--paraphrases",
        default="rtt_question",
        metavar="NAME",
        help="column with the question in other words, for --robustness (default: %(default)s)",
    )
    measuring.add_argument(
        "--scaling",
        nargs="?",
        type=_names,
        const=(),
        metavar="NAME,NAME",
        help="also measure on smaller corpora, all systems or these",
    )


def _add_output(output: argparse._ArgumentGroup) -> None:
    output.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write a page (index.html), report.md, results.json and per-query files; the same command goes on where "
        "it was interrupted",
    )
    output.add_argument("--overwrite", action="store_true", help="replace what is in --report")
    output.add_argument("--json", metavar="FILE", help="also write the results as JSON; '-' writes them to stdout")
    output.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="measure nothing; compare two reports or JSON files, B with A",
    )
    output.add_argument(
        "--gate",
        type=Path,
        metavar="FILE",
        help="exit with status 3 if a measure is significantly lower than in this earlier report or JSON file",
    )


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:  # argparse would print the address, with its password
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """Return a number from 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


positive.__name__ = "positive number"  # argparse: "invalid positive number value: '0'"


def _names(text: str) -> Sequence[str]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
