"""Run the Korean retrieval tasks of MTEB, the embedding benchmark, with our models and whole searches.

    python -m eval.mteb_tasks --list
    python -m eval.mteb_tasks --model models/mrc --task Ko-StrategyQA --task AutoRAGRetrieval
    python -m eval.mteb_tasks --system encoder --system hybrid --system hybrid+rerank --output reports/mteb

The tasks are those that the mteb package itself lists as Korean retrieval; their data come from the Hugging Face Hub,
or from its cache. `encoder` is the model alone, as on MTEB's leaderboard: one vector a document. `lexical`, `dense` and
`hybrid` index and search as in serving, each also as `+rerank`. Every finished task is kept under --output in mteb's
own files, and is not run again; after a change to the code itself, say --overwrite.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eval.mteb_catalogue import Part, import_mteb, korean_tasks, parts, split_by_size
from eval.mteb_models import ENCODER, RERANK, SEARCHES, MtebEncoder, MtebSearch, TaskIndex, encoder_meta, search_meta
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.hub import TIMEOUT, network_errors
from rag_app.models import EMBEDDED

INTERRUPTED = 130
SYSTEMS = (ENCODER, *SEARCHES, *(f"{name}{RERANK}" for name in SEARCHES))

_MEASURES = {
    "ndcg@10": "ndcg_at_10",
    "recall@10": "recall_at_10",
    "hit_rate@1": "hit_rate_at_1",
    "hit_rate@10": "hit_rate_at_10",
    "mrr@10": "mrr_at_10",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tasks and return the exit status: 0, or 130 when it was interrupted."""
    # 1. Arguments
    parser = _parser()
    arguments = parser.parse_args(argv)
    systems = list(dict.fromkeys(arguments.system or [ENCODER]))
    rows: list[list[str]] = []
    todo: list[tuple[str, str]] = []
    try:
        # 2. Tasks and models
        tasks = korean_tasks(arguments.task)
        if arguments.list:
            print(_table(["task", "part", "documents", "queries", "licence", "data"], map(_cells, parts(tasks))))
            return 0
        if not arguments.task:
            tasks = _small_enough(tasks, arguments.max_documents)
        todo = [(task.metadata.name, system) for task in tasks for system in systems]
        embeddings = load_embeddings(
            arguments.model, query_prompt=arguments.query_prompt, document_prompt=arguments.document_prompt
        )

        # 3. Runs
        with TemporaryDirectory(prefix="mteb_tasks-") as folder:
            index = TaskIndex(embeddings, Path(folder))
            models = {name: _build(name, embeddings, index, arguments.reranker) for name in systems}
            for task in tasks:
                for name, model in models.items():
                    result = run_task(task, model, arguments.output, overwrite=arguments.overwrite)
                    rows += [[*cells[:2], name, *cells[2:]] for cells in _scores(result)]
                    todo.remove((task.metadata.name, name))
                task.unload_data()
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except (ImportError, OSError, ValueError) as error:
        _report(rows, arguments.output)
        parser.error(str(error))

    # 4. Report
    _report(rows, arguments.output)
    if status == INTERRUPTED:
        missing = ", ".join(f"{task} ({system})" for task, system in todo)
        print(f"\nInterrupted. The same command goes on with: {missing}", file=sys.stderr)
    return status


def run_task(task: Any, model: Any, output: Path, *, overwrite: bool = False) -> Any:
    """Run a task, or read its result where it has been run before, and return mteb's ``TaskResult``.

    Args:
        task: From `korean_tasks`.
        model: A `MtebEncoder` or `MtebSearch`.
        output: The folder of results; `mteb.ResultCache` reads it.
        overwrite: Run it again.

    Raises:
        ConnectionError: The task's data are neither in the cache nor to be had.
    """
    mteb = import_mteb()
    cache = mteb.ResultCache(output)
    before = None if overwrite else cache.load_task_result(task.metadata.name, model.mteb_model_meta)
    if not task.data_loaded and (before is None or before.get_missing_evaluations(task)):
        _load_data(task)
    results = mteb.evaluate(
        model,
        task,
        cache=cache,
        overwrite_strategy="always" if overwrite else "only-missing",
        co2_tracker=False,
        encode_kwargs={"show_progress_bar": True},
        show_progress_bar=False,
    )
    return results.task_results[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval.mteb_tasks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument("--list", action="store_true", help="print the tasks, their sizes and licences, and stop")
    tasks.add_argument(
        "--task", action="append", default=[], metavar="NAME", help="run this one; repeatable (default: all that fit)"
    )
    tasks.add_argument(
        "--max-documents",
        type=int,
        default=100_000,
        metavar="N",
        help="without --task leave out tasks with more documents than this (default: %(default)s)",
    )
    models = parser.add_argument_group("models")
    models.add_argument(
        "--model", default=EMBEDDED, metavar="NAME", help="embedding model: 'embedded' (default), a folder, a Hub id"
    )
    models.add_argument("--query-prompt", metavar="TEXT", help="put before every query, for example 'query: ' for E5")
    models.add_argument("--document-prompt", metavar="TEXT", help="put before every document, likewise")
    models.add_argument("--system", action="append", choices=SYSTEMS, help="repeatable (default: encoder)")
    models.add_argument("--reranker", default=EMBEDDED, metavar="NAME", help="of +rerank (default: %(default)s)")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", type=Path, default=Path("reports/mteb"), metavar="DIR", help="results (default: %(default)s)"
    )
    output.add_argument("--overwrite", action="store_true", help="run tasks again that have results in --output")
    return parser


def _small_enough(tasks: Sequence[Any], limit: int) -> list[Any]:
    small, large = split_by_size(tasks, limit)
    if not small:
        raise ValueError(
            f"All tasks have more than {limit:,} documents. Raise --max-documents, or name one with --task"
        )
    if large:
        names = ", ".join(task.metadata.name for task in large)
        print(f"Left out, with more than {limit:,} documents: {names} (name them with --task to run them)")
    return small


def _build(system: str, embeddings: ModelEmbeddings, index: TaskIndex, reranker: str) -> MtebEncoder | MtebSearch:
    if system == ENCODER:
        return MtebEncoder(embeddings, encoder_meta(embeddings))
    return MtebSearch(system, index, reranker, search_meta(system, embeddings, reranker))


def _load_data(task: Any) -> None:
    """Load a task's data, failing at once where the datasets library would go on retrying without a network."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    name = task.metadata.name
    path, revision = task.metadata.dataset["path"], task.metadata.dataset["revision"]
    remedy = (
        "Run it once where there is a network; then it goes without one, with the Hub's cache copied along and "
        "HF_HUB_OFFLINE=1 set"
    )
    try:
        HfApi().dataset_info(path, revision=revision, timeout=TIMEOUT)
    except (HfHubHTTPError, OfflineModeIsEnabled):  # the Hub answered; or only the cache is looked into below
        pass
    except network_errors() as error:
        raise ConnectionError(
            f"The data of {name} ({path}) come from the Hugging Face Hub, which cannot be reached "
            f"({type(error).__name__}). {remedy}"
        ) from error
    try:
        task.load_data()
    except (OSError, ValueError) as error:  # datasets raises either for what it has not in its cache
        offline = (
            " HF_HUB_OFFLINE is set, and they may not be in the cache." if os.environ.get("HF_HUB_OFFLINE") else ""
        )
        raise ConnectionError(f"Cannot load the data of {name} ({path}): {error}.{offline} {remedy}") from error


def _scores(result: Any) -> Iterator[list[str]]:
    """Yield the cells of a result's table: task, part, and the measures."""
    for split, scored in result.scores.items():
        for scores in scored:
            subset = scores["hf_subset"]
            part = split if subset == "default" else f"{split}, {subset}"
            yield [result.task_name, part, *(f"{scores[name]:.3f}" for name in _MEASURES.values())]


def _report(rows: Sequence[Sequence[str]], output: Path) -> None:
    if rows:
        print(f"\n{_table(['task', 'part', 'system', *_MEASURES], rows)}\n\nResults: {output / 'results'}")


def _cells(part: Part) -> list[str]:
    return ["?" if cell is None else f"{cell:,}" if isinstance(cell, int) else cell for cell in part]


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
