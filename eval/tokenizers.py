"""Compare ways to take Korean apart for BM25, on your own corpus and in the engine that serves.

    python -m eval.tokenizers
    python -m eval.tokenizers --data validation.jsonl --distractors train.jsonl
    python -m eval.tokenizers --data articles/ --tokenizer models/mine/tokenizer.json --json reports/tokenizers.json

Each analysis gets an index of its own, of titles above texts as in serving, and is asked every question. `change` is
that of the mean reciprocal rank against bigrams+morphemes, which serves; its p is of a two-sided paired randomisation
test, corrected for the number of analyses (Holm). Index time (of the processor, over all its cores) and size are in
multiples of those of bigrams+morphemes in the same run; ms/question is the median, one question at a time through
LangChain, which takes about 0.3 of it.

Articles without a column for questions are asked for by their titles, which are then left out of the texts, or where
there is none by a sentence cut out of the text. The output says so: these are made questions.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eval.analyses import SERVING, Candidate, Measured, candidates, measure
from eval.known_items import known_items
from eval.metrics import measures
from eval.options import INTERRUPTED, add_data, check_output, positive, program
from eval.protocols import Benchmark, clean
from eval.report.cells import ms, p_text, signed, with_interval
from eval.report.folder import write_output
from eval.results import Pair
from eval.statistics import compare_all, interval
from rag_app.data.questions import all_passages, load_passages, load_retrieval_data
from rag_app.data.unlabelled import asks_questions, without_title
from rag_app.documents import load_documents
from rag_app.files.tables import Columns
from rag_app.korean import analyzer
from rag_app.passages import split_documents
from rag_app.provenance import versions
from rag_app.text_tables import aligned

MADE = (
    "Nobody asked these questions: they were made from the articles, share their words as people's questions would "
    "not, and say which analysis suits the corpus, not how well people will find what they look for."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit status: 0, or 130 when it was interrupted."""
    # 1. Arguments
    parser = _parser()
    arguments = parser.parse_args(argv)
    say = partial(print, file=sys.stderr if arguments.json == "-" else sys.stdout)
    table: dict[str, Candidate] = {}
    measured: dict[str, Measured] = {}
    interrupted = False
    try:
        # 2. Data and tokenizers: whatever is wrong with them shows before anything slow begins
        try:
            measures(arguments.k)
            check_output(arguments.json)
            table = candidates(analyzer(), arguments.tokenizer)
            made = not asks_questions(arguments.data)
            benchmark = _load_benchmark(arguments, made=made)
        except (ImportError, OSError, ValueError) as error:
            parser.error(str(error))
        passages = list(split_documents(benchmark.corpus))
        say(_describe(benchmark, len(passages), made=made))

        # 3. Analyses
        for name, candidate in table.items():
            measured[name] = measure(candidate, passages, benchmark, k=arguments.k, name=name)
    except KeyboardInterrupt:
        interrupted = True

    # 4. Report
    if measured:
        changes = compare_with_serving(measured, f"mrr@{arguments.k}")
        say(f"\n{quality_table(measured, changes)}\n\n{cost_table(measured, len(passages))}\n")
        say("\n".join(f"{name}: {table[name].about}" for name in measured))
        if made:
            say(f"\n{MADE}")
        if arguments.json:
            details = {
                "data": {
                    "questions": len(benchmark.questions),
                    "made_questions": made,
                    "documents": len(benchmark.corpus),
                    "passages": len(passages),
                },
                "arguments": {**vars(arguments), "tokenizer": list(map(str, arguments.tokenizer))},
                "versions": versions(("korean-rag", "kiwipiepy", "tantivy", "tokenizers")),
                "complete": not interrupted,
            }
            report = {"analyses": to_json(measured, changes, len(passages)), **details}
            write_output(arguments.json, json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    if interrupted:
        missing = ", ".join(name for name in table if name not in measured) or "anything"
        print(f"\nInterrupted. Finished: {', '.join(measured) or 'nothing'}. Not measured: {missing}.", file=sys.stderr)
        return INTERRUPTED
    return 0


def compare_with_serving(measured: Mapping[str, Measured], measure: str) -> dict[str, Pair]:
    """Return how each other candidate compares with the one that serves; p is corrected for how many there are."""
    scores = {name: result.scores[measure] for name, result in measured.items()}
    return {pair.after: pair for pair in compare_all(scores, against=SERVING)}


def quality_table(measured: Mapping[str, Measured], changes: Mapping[str, Pair]) -> str:
    """Return what the candidates find as plain text: each measure with its 95% interval, and the change."""
    rows = [["analysis", *measured[SERVING].scores, "change", "p"]]
    for name, result in measured.items():
        means = [interval(list(scores.values())) for scores in result.scores.values()]
        pair = changes.get(name)
        change = (
            ("", "")
            if pair is None
            else (signed(pair.comparison.after - pair.comparison.before), p_text(pair.corrected_p))
        )
        rows.append([name, *map(with_interval, means), *change])
    return aligned(rows, labels=1)


def cost_table(measured: Mapping[str, Measured], passages: int) -> str:
    """Return what the candidates cost as plain text; ``passages`` is how many there are."""
    serving = measured[SERVING]
    rows = [["analysis", "units/passage", "distinct units", "index time", "index size", "ms/question"]]
    for name, result in measured.items():
        time, size = result.index_seconds / serving.index_seconds, result.index_bytes / serving.index_bytes
        units = (f"{result.units / passages:,.1f}", f"{result.distinct:,}")
        rows.append([name, *units, f"{time:.2f}x", f"{size:.2f}x", ms(result.question_seconds)])
    return aligned(rows, labels=1)


def to_json(measured: Mapping[str, Measured], changes: Mapping[str, Pair], passages: int) -> dict[str, Any]:
    """Return both tables by candidate, with exact figures; ``change`` is None for the one that serves."""
    analyses = {}
    for name, result in measured.items():
        pair = changes.get(name)
        analyses[name] = {
            **{measure: interval(list(scores.values()))._asdict() for measure, scores in result.scores.items()},
            "change": None if pair is None else {**pair.comparison._asdict(), "corrected_p": pair.corrected_p},
            "units_per_passage": result.units / passages,
            "distinct_units": result.distinct,
            "index_seconds": result.index_seconds,
            "index_bytes": result.index_bytes,
            "ms_per_question": 1000 * result.question_seconds,
        }
    return analyses


def _parser() -> argparse.ArgumentParser:
    parser = program("eval.tokenizers", __doc__)
    add_data(parser, "; or a file or folder of articles without questions")
    parser.add_argument(
        "--tokenizer",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="also measure the word pieces of a tokenizer.json of the tokenizers library; repeatable",
    )
    parser.add_argument("--k", type=positive, default=10, help="where the measures cut off (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="also write the results as JSON; '-' writes them to stdout")
    return parser


def _load_benchmark(arguments: argparse.Namespace, *, made: bool) -> Benchmark:
    columns = Columns(text=arguments.text_column, title=arguments.title_column)
    distractors = [document for source in arguments.distractors for document in load_passages(source)]
    if made:
        data = known_items(load_documents(arguments.data, columns=columns), seed=arguments.seed)
        distractors = list(map(without_title, distractors))
    else:
        data = load_retrieval_data(arguments.data, split=arguments.split, columns=columns)
        distractors = [*all_passages(arguments.data, columns=columns), *distractors]
    return clean(data, distractors, limit=arguments.limit, seed=arguments.seed)


def _describe(benchmark: Benchmark, passages: int, *, made: bool) -> str:
    kinds = Counter(question.metadata["made_from"] for question in benchmark.questions) if made else {}
    of = f" made from {' and '.join(f'{kind}s ({count:,})' for kind, count in kinds.items())}" if made else ""
    questions, documents = len(benchmark.questions), len(benchmark.corpus)
    return f"Data: {questions:,} questions{of}, {documents:,} documents in {passages:,} passages"


if __name__ == "__main__":
    sys.exit(main())
