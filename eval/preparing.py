"""Everything that a benchmark needs, loaded before anything slow begins."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from eval.foreign import load_retriever, open_served_index
from eval.labels import labelled
from eval.options import PROTOCOLS
from eval.protocols import Benchmark, clean, tutorial
from eval.systems import BASE, RERANK, Stock, system_names, usual_systems
from rag_app.compressors import load_reranker
from rag_app.data.questions import RetrievalData, all_passages, load_passages, load_retrieval_data
from rag_app.data.sources import NAMED
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.files.tables import Columns

Say = Callable[[str], None]

PROBES = 3
"""How many questions a foreign retriever is tried with."""


class Setup(NamedTuple):
    """What is measured on what.

    Attributes:
        training: What models were or may have been trained on, by source.
        benchmarks: By protocol, ``clean`` first.
        models: The embedding models by label, ``"base"`` first.
        stock: What systems are built from; its ``indexes`` are still empty.
        names: The systems to measure, in order.
        flat: Those to measure under the tutorial protocol, which has vectors alone and reranking.
        robust: Those that are asked otherwise.
        scaled: Those that are measured on smaller corpora.
        seconds: What loading took, by what was loaded.
    """

    training: dict[str, RetrievalData]
    benchmarks: dict[str, Benchmark]
    models: dict[str, ModelEmbeddings]
    stock: Stock
    names: list[str]
    flat: list[str]
    robust: list[str]
    scaled: list[str]
    seconds: dict[str, float]


def prepare(arguments: argparse.Namespace, say: Say) -> Setup:
    """Load data, models and retrievers.

    Raises:
        ValueError: Data, models or names are wrong.
        OSError: Something cannot be read.
        ImportError: An extra is missing.
    """
    seconds: dict[str, float] = {}
    models, indexes, retrievers = _labels(arguments)
    labels = [BASE, *models]
    possible = possible_systems(arguments)
    names = _choose(arguments.systems, possible, usual_systems(possible), "--systems")
    flat = [name for name in names if name.removesuffix(RERANK) in labels]
    if arguments.protocol != "clean" and not flat:
        raise ValueError(
            f"The tutorial protocol measures vectors, so --systems has to name {', '.join(labels)} as well"
        )
    robust = _choose(arguments.robustness, names, names, "--robustness")
    built = [name for name in names if name in system_names(labels, rerank=True)]
    if arguments.scaling is not None and not built:
        raise ValueError("--scaling builds smaller indexes, which cannot be done for what --index and --retriever name")
    scaled = _choose(arguments.scaling, built, built, "--scaling")
    with timing(seconds, "data"):
        columns = Columns(text=arguments.text_column, title=arguments.title_column)
        data = load_retrieval_data(arguments.data, split=arguments.split, columns=columns)
        benchmarks = _benchmarks(arguments, data, columns)
        training = {source: load_retrieval_data(source, split="train") for source in arguments.trained_on}
        if own := own_training_part(arguments, columns, data):
            training[f"{arguments.data}, train"] = own
    for protocol, benchmark in benchmarks.items():
        say(describe(protocol, benchmark, data))
    with timing(seconds, "models"):
        loaded = {BASE: load_embeddings(arguments.base)}
        given = {option: getattr(arguments, option) for option in ("query_prompt", "document_prompt")}
        prompts = {option: prompt for option, prompt in given.items() if prompt is not None}
        loaded |= {label: load_embeddings(name, **prompts) for label, name in models.items()}
        reranker = load_reranker(arguments.reranker, top_n=None) if arguments.reranker is not None else None
    stock = Stock({}, {}, {}, 0, reranker)
    if "clean" in benchmarks:
        with timing(seconds, "retrievers"):
            stock = _others(stock, benchmarks["clean"], indexes, retrievers)
    return Setup(
        training,
        benchmarks,
        loaded,
        stock,
        names,
        flat,
        robust if arguments.robustness is not None else [],
        scaled if arguments.scaling is not None else [],
        seconds,
    )


def possible_systems(arguments: argparse.Namespace) -> list[str]:
    """Return the names of all systems that the options make possible; the tutorial protocol alone has few.

    Raises:
        ValueError: A label cannot be one, or is taken.
    """
    models, indexes, retrievers = _labels(arguments)
    names = system_names([BASE, *models], indexes, retrievers, rerank=arguments.reranker is not None)
    tutorial = arguments.protocol == "tutorial"
    return [name for name in names if not tutorial or name.removesuffix(RERANK) in (BASE, *models)]


def describe(protocol: str, benchmark: Benchmark, data: RetrievalData) -> str:
    """Return in a line what is asked of which corpus."""
    distractors = len({passage.metadata["doc_id"] for passage in benchmark.corpus} - data.passages.keys())
    unanswerable = f" ({len(benchmark.unanswerable):,} unanswerable ones apart)" if benchmark.unanswerable else ""
    of_them = f" ({distractors:,} of them distractors)" if protocol == "clean" else ", with duplicates"
    return (
        f"Protocol {protocol}: {len(benchmark.questions):,} questions{unanswerable}, "
        f"{len(benchmark.corpus):,} passages{of_them}"
    )


def _labels(arguments: argparse.Namespace) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return what ``--model``, ``--index`` and ``--retriever`` name, by label."""
    taken = system_names([BASE], rerank=True)
    models = labelled(arguments.model, "tuned", taken)
    indexes = labelled(arguments.index, "index", [*taken, *models])
    return models, indexes, labelled(arguments.retriever, "retriever", [*taken, *models, *indexes])


def _benchmarks(arguments: argparse.Namespace, data: RetrievalData, columns: Columns) -> dict[str, Benchmark]:
    wanted = PROTOCOLS if arguments.protocol == "both" else (arguments.protocol,)
    benchmarks: dict[str, Benchmark] = {}
    if "clean" in wanted:
        benchmarks["clean"] = load_clean(arguments, data, columns)
    if "tutorial" in wanted:
        benchmarks["tutorial"] = tutorial(data, limit=arguments.limit)
    return benchmarks


def load_clean(arguments: argparse.Namespace, data: RetrievalData, columns: Columns) -> Benchmark:
    """Return what the clean protocol asks of which corpus, with the distractors that the options name."""
    distractors = list(all_passages(arguments.data, columns=columns))
    distractors += [document for source in arguments.distractors for document in load_passages(source)]
    return clean(data, distractors, limit=arguments.limit, seed=arguments.seed)


def own_training_part(arguments: argparse.Namespace, columns: Columns, asked: RetrievalData) -> RetrievalData | None:
    """Return the train split of the data that are asked, where they have one and it is not what is asked."""
    if arguments.split == "train" or not (arguments.data in NAMED or Path(arguments.data).is_dir()):
        return None
    try:
        training = load_retrieval_data(arguments.data, split="train", columns=columns)
    except FileNotFoundError:  # a folder without one
        return None
    return None if training.questions == asked.questions else training  # a BEIR folder whose qrels have no splits


def _others(stock: Stock, benchmark: Benchmark, indexes: Mapping[str, str], retrievers: Mapping[str, str]) -> Stock:
    """Return the stock with what does not come from the benchmark: ``rag-app`` indexes and foreign retrievers."""
    probe = [question.text for question in benchmark.questions[:PROBES]]
    return stock._replace(
        served={label: open_served_index(path, benchmark.relevant()) for label, path in indexes.items()},
        foreign={label: load_retriever(spec, benchmark.corpus, probe=probe) for label, spec in retrievers.items()},
        passages=len(benchmark.corpus),
    )


def _choose(wanted: Sequence[str] | None, possible: Sequence[str], usual: Sequence[str], option: str) -> list[str]:
    """Return the systems that an option names, all of the usual ones if it names none."""
    if unknown := [name for name in wanted or () if name not in possible]:
        raise ValueError(f"{option} names {unknown[0]!r}. There are: {', '.join(possible)}")
    return list(dict.fromkeys(wanted or usual))


@contextmanager
def timing(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Note how many seconds the ``with`` block takes."""
    start = perf_counter()
    yield
    seconds[what] = perf_counter() - start
