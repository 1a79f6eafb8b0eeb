"""Measure hit rate, MRR, nDCG and time of the retrieval systems on questions with known answers.

    python -m eval.hit_rate
    python -m eval.hit_rate --data klue-mrc-v1.1_dev.json --model models/mrc --reranker models/reranker
    python -m eval.hit_rate --data validation.jsonl --distractors train.jsonl --json reports/validation.json

The systems are `lexical`, `base` (vectors of the embedded model) and `hybrid` (both); with --model also `tuned` and
`tuned+hybrid`; each of these again as `+rerank`, unless --reranker is none. They are built as in serving. Seconds are
what all questions take, asked one at a time; loading models and building indexes is not part of it and reported apart.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TextIO

from langchain_core.documents import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings

from eval.metrics import mean_scores, measures
from eval.protocols import Benchmark, passage_retrieval
from eval.report import Result, machine, table, to_json, write_text
from eval.systems import ask, build_indexes, build_system, system_names
from rag_app.compressors import load_reranker
from rag_app.data.questions import load_passages, load_retrieval_data
from rag_app.embeddings import load_embeddings
from rag_app.models import EMBEDDED
from rag_app.settings import name_or_none
from rag_app.tables import Columns

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status: 0, or 130 when it was interrupted."""
    # 1. Arguments
    parser = _parser()
    arguments = parser.parse_args(argv)
    screen = sys.stderr if arguments.json == "-" else sys.stdout
    names = system_names(["base", "tuned"] if arguments.model else ["base"], rerank=arguments.reranker is not None)
    results: dict[str, Result] = {}
    interrupted = False
    try:
        # 2. Data and models: whatever is wrong with them shows before anything slow begins
        try:
            _check(arguments)
            benchmark = _load_benchmark(arguments, screen)
            models, reranker = _load_models(arguments, screen)
        except (ImportError, OSError, ValueError) as error:
            parser.error(str(error))

        # 3. Systems
        for name, result in _measure(names, benchmark, models, reranker, k=arguments.k, screen=screen):
            results[name] = result
    except KeyboardInterrupt:
        interrupted = True

    # 4. Report
    if results:
        print(f"\n{table(results)}\n\nMachine: {_machine_line()}", file=screen)
        report = to_json(results, arguments=vars(arguments), machine=machine(), complete=not interrupted)
        if arguments.json == "-":
            sys.stdout.write(report)
        elif arguments.json:
            write_text(Path(arguments.json), report)
    if interrupted:
        missing = ", ".join(name for name in names if name not in results)
        print(f"\nInterrupted. Finished: {', '.join(results) or 'nothing'}. Not measured: {missing}.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval.hit_rate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        default="sample",
        metavar="SOURCE",
        help="'sample' (the bundled news, default), 'klue' (KLUE-MRC from the Hub), a KLUE-MRC or KorQuAD json file, "
        "a jsonl, csv or tsv file with question and context, a BEIR folder",
    )
    data.add_argument("--split", default="validation", help="of data that has splits (default: %(default)s)")
    data.add_argument(
        "--distractors",
        action="append",
        default=[],
        metavar="FILE",
        help="add the passages of another data set, or of a file or folder of documents, to the corpus; repeatable",
    )
    data.add_argument("--limit", type=_positive, metavar="N", help="ask a random sample of N questions only")
    data.add_argument("--seed", type=int, default=0, help="chooses the sample of --limit (default: %(default)s)")
    data.add_argument("--text-column", metavar="NAME", help="column of --data that holds the passage")
    data.add_argument("--title-column", metavar="NAME", help="column of --data that holds the passage's title")
    systems = parser.add_argument_group("systems")
    systems.add_argument("--model", metavar="NAME", help="embedding model of `tuned`: a folder or a Hub id[@revision]")
    systems.add_argument(
        "--reranker",
        type=name_or_none,
        default=EMBEDDED,
        metavar="NAME",
        help="of `+rerank`: 'embedded' (default), a folder, a Hub id[@revision], or 'none' to leave it out",
    )
    systems.add_argument("--k", type=_positive, default=10, help="where the metrics cut off (default: %(default)s)")
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="also write the results as JSON; '-' writes them to stdout")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_positive.__name__ = "positive number"  # argparse: "invalid positive number value: '0'"


def _check(arguments: argparse.Namespace) -> None:
    """Raise what would otherwise only come up after all the work."""
    measures(arguments.k)
    if arguments.json and arguments.json != "-":
        path = Path(arguments.json)
        if path.is_dir():
            raise IsADirectoryError(f"--json names a folder, {path}. Name a file in it")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"Cannot write {path}: no permission in the folder {path.parent}")


def _load_benchmark(arguments: argparse.Namespace, screen: TextIO) -> Benchmark:
    columns = Columns(text=arguments.text_column, title=arguments.title_column)
    data = load_retrieval_data(arguments.data, split=arguments.split, columns=columns)
    distractors = [document for source in arguments.distractors for document in load_passages(source)]
    benchmark = passage_retrieval(data, distractors, limit=arguments.limit, seed=arguments.seed)
    print(
        f"Data: {len(benchmark.questions):,} questions ({len(benchmark.unanswerable):,} unanswerable ones set aside), "
        f"{len(benchmark.corpus):,} passages ({len(benchmark.corpus) - len(data.passages):,} of them distractors)",
        file=screen,
    )
    return benchmark


def _load_models(
    arguments: argparse.Namespace, screen: TextIO
) -> tuple[dict[str, Embeddings], BaseDocumentCompressor | None]:
    start = perf_counter()
    models: dict[str, Embeddings] = {"base": load_embeddings()}
    if arguments.model:
        models["tuned"] = load_embeddings(arguments.model)
    reranker = load_reranker(arguments.reranker, top_n=None) if arguments.reranker is not None else None
    print(f"Models loaded in {perf_counter() - start:.1f} s", file=screen)
    return models, reranker


def _measure(
    names: Sequence[str],
    benchmark: Benchmark,
    models: dict[str, Embeddings],
    reranker: BaseDocumentCompressor | None,
    *,
    k: int,
    screen: TextIO,
) -> Iterator[tuple[str, Result]]:
    """Yield each system's result as soon as it is there."""
    with TemporaryDirectory(prefix="hit_rate-") as folder:
        start = perf_counter()
        indexes = build_indexes(benchmark.corpus, models, Path(folder))
        print(f"Indexes built in {perf_counter() - start:.1f} s", file=screen)
        for name in names:
            answers = ask(build_system(name, indexes, reranker), benchmark.questions, k=k, name=name)
            scores = mean_scores(benchmark.qrels(), answers.run, k)
            seconds = sum(answers.seconds.values())
            yield name, Result(scores, seconds, len(benchmark.questions), len(benchmark.corpus))


def _machine_line() -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine().items())


if __name__ == "__main__":
    sys.exit(main())
