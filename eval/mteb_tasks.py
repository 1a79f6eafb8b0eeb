"""Run the Korean retrieval tasks of MTEB, the embedding benchmark, with our models and whole searches.

    python -m eval.mteb_tasks
    python -m eval.mteb_tasks --model models/mrc --task Ko-StrategyQA --task AutoRAGRetrieval
    python -m eval.mteb_tasks --task Ko-StrategyQA --system encoder --system hybrid --system hybrid+rerank

Without --task the tasks are listed: those that the mteb package itself calls Korean retrieval. Their data come from
the Hugging Face Hub, or from its cache. `encoder` is the model alone, as on MTEB's leaderboard: one vector a document.
`lexical`, `dense` and `hybrid` index and search as in serving, each also as `+rerank`. Every finished task is kept in
mteb's own files under --output and is not run again; after a change to the code itself, say --overwrite.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eval.mteb_models import RERANK, SEARCHES, MtebEncoder, MtebSearch
from eval.options import INTERRUPTED, program
from rag_app.compressors import load_reranker
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.hub import check_dataset
from rag_app.models import EMBEDDED
from rag_app.text_tables import aligned

ENCODER = "encoder"
SYSTEMS = (ENCODER, *SEARCHES, *(f"{name}{RERANK}" for name in SEARCHES))

_MEASURES = ("ndcg@10", "recall@10", "hit_rate@1", "hit_rate@10", "mrr@10")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tasks and return the exit status: 0, or 130 when it was interrupted."""
    # 1. Arguments
    parser = _parser()
    arguments = parser.parse_args(argv)
    rows: list[list[str]] = []
    status = 0
    try:
        # 2. Tasks and models
        if not arguments.task:
            print(task_table())
            return 0
        tasks = [korean_task(name) for name in dict.fromkeys(arguments.task)]
        embeddings = load_embeddings(
            arguments.model, query_prompt=arguments.query_prompt, document_prompt=arguments.document_prompt
        )
        with TemporaryDirectory(prefix="mteb_tasks-") as folder:
            systems = arguments.system or [ENCODER]
            models = {system: _load(system, embeddings, arguments.reranker, Path(folder)) for system in systems}

            # 3. Runs
            for task in tasks:
                for system, model in models.items():
                    result = run_task(task, model, arguments.output, overwrite=arguments.overwrite)
                    rows += [[part, system, *scores] for part, scores in _scores(result)]
                task.unload_data()
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from there.", file=sys.stderr)
        status = INTERRUPTED
    except (ImportError, OSError, ValueError) as error:
        _report(rows, arguments.output)
        parser.error(str(error))

    # 4. Report
    _report(rows, arguments.output)
    return status


def korean_task(name: str) -> Any:
    """Return a task of mteb with those parts in which queries and documents are Korean.

    Raises:
        ImportError: mteb is not installed.
        ValueError: There is no such task, or it is not Korean, or not one of retrieval.
    """
    try:
        task = _import_mteb().get_task(name, languages=["kor"], exclusive_language_filter=True)
    except (KeyError, ValueError) as error:  # the message says which name is near
        raise ValueError(
            f"mteb has no Korean task {name!r}; without --task they are listed. {error.args[0]}"
        ) from error
    if task.metadata.type != "Retrieval":
        raise ValueError(f"The task {name!r} is of type {task.metadata.type}, not Retrieval")
    return task


def task_table() -> str:
    """Return all Korean retrieval tasks of mteb with the sizes and licences that come with the package.

    Raises:
        ImportError: mteb is not installed.
    """
    listed = _import_mteb().get_tasks(
        languages=["kor"],
        task_types=["Retrieval"],
        modalities=["text"],
        exclusive_modality_filter=True,
        exclude_aggregate=True,
    )
    rows = [["task", "documents", "queries", "licence", "data"]]
    for task in map(korean_task, sorted(task.metadata.name for task in listed)):
        sizes = [
            of_split if subset == "default" else of_split.get("hf_subset_descriptive_stats", {}).get(subset, {})
            for split in task.eval_splits
            for subset in task.hf_subsets
            for of_split in [(task.metadata.descriptive_stats or {}).get(split, {})]
        ]
        counts = [max(size.get(name, 0) for size in sizes) for name in ("num_documents", "num_queries")]
        shown = [f"{count:,}" if count else "?" for count in counts]
        rows.append([task.metadata.name, *shown, task.metadata.license or "", task.metadata.sample_creation or ""])
    return aligned(rows)


def run_task(task: Any, model: Any, output: Path, *, overwrite: bool = False) -> Any:
    """Run a task, or read its result where it has been run before, and return mteb's ``TaskResult``.

    Args:
        task: From `korean_task`.
        model: A `MtebEncoder` or `MtebSearch`.
        output: The folder of results; `mteb.ResultCache` reads it.
        overwrite: Run it again.

    Raises:
        ConnectionError: The task's data are neither in the cache nor to be had.
    """
    mteb = _import_mteb()
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


def _import_mteb() -> Any:
    try:
        import mteb
    except ImportError as error:
        raise ImportError("The tasks of MTEB need the mteb package: pip install 'korean-rag[mteb]'") from error
    return mteb


def _parser() -> argparse.ArgumentParser:
    parser = program("eval.mteb_tasks", __doc__)
    parser.add_argument("--task", action="append", metavar="NAME", help="run this one; repeatable")
    parser.add_argument(
        "--model", default=EMBEDDED, metavar="NAME", help="embedding model: 'embedded' (default), a folder, a Hub id"
    )
    parser.add_argument("--query-prompt", metavar="TEXT", help="put before every query, for example 'query: ' for E5")
    parser.add_argument("--document-prompt", metavar="TEXT", help="put before every document, likewise")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="repeatable (default: encoder)")
    parser.add_argument("--reranker", default=EMBEDDED, metavar="NAME", help="of +rerank (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("reports/mteb"), metavar="DIR", help="results (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="run tasks again that have results in --output")
    return parser


def _load(system: str, embeddings: ModelEmbeddings, reranker: str, folder: Path) -> MtebEncoder | MtebSearch:
    if system == ENCODER:
        return MtebEncoder(embeddings)
    compressor = load_reranker(reranker, top_n=None) if system.endswith(RERANK) else None
    return MtebSearch(system.removesuffix(RERANK), embeddings, folder, compressor)


def _load_data(task: Any) -> None:
    dataset = task.metadata.dataset
    try:
        check_dataset(dataset["path"], dataset["revision"])
        task.load_data()
    except (OSError, ValueError) as error:  # datasets raises either for what it has not in its cache
        offline = " HF_HUB_OFFLINE is set." if os.environ.get("HF_HUB_OFFLINE") else ""
        raise ConnectionError(
            f"Cannot get the data of {task.metadata.name} ({dataset['path']}) from the Hugging Face Hub or its cache: "
            f"{error}.{offline} Run it once where there is a network; then it goes without one, with the Hub's cache "
            "copied along and HF_HUB_OFFLINE=1 set"
        ) from error


def _scores(result: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each part of a task that is scored by itself, and its measures."""
    for split, scored in result.scores.items():
        for scores in scored:
            part = " ".join(name for name in (result.task_name, split, scores["hf_subset"]) if name != "default")
            yield part, [f"{scores[name.replace('@', '_at_')]:.3f}" for name in _MEASURES]


def _report(rows: Sequence[Sequence[str]], output: Path) -> None:
    if rows:
        print(f"\n{aligned([['task', 'system', *_MEASURES], *rows])}\n\nResults: {output / 'results'}")


if __name__ == "__main__":
    sys.exit(main())
