"""Which tasks of MTEB are Korean retrieval, and how large they are, as the `mteb` package itself says; offline."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Part(NamedTuple):
    """A part of a task that is scored by itself: one of its splits, in one of its subsets.

    Attributes:
        task: The name.
        part: Split, and subset where it has one.
        documents: How many there are to search; None where mteb does not say.
        queries: How many are asked; None likewise.
        licence: Of the data.
        source: How they came about, for example ``"machine-translated"``.
    """

    task: str
    part: str
    documents: int | None
    queries: int | None
    licence: str
    source: str


def import_mteb() -> Any:
    """Return the mteb package.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import mteb
    except ImportError as error:
        raise ImportError("The tasks of MTEB need the mteb package: pip install 'korean-rag[mteb]'") from error
    return mteb


def korean_tasks(names: Sequence[str] = ()) -> list[Any]:
    """Return mteb's retrieval tasks of texts in Korean, with the parts in which queries and documents are Korean.

    Args:
        names: Of the tasks, in this order; all that are public, final and not replaced by a newer one if none is given.

    Raises:
        ImportError: mteb is not installed.
        ValueError: There is no such task, or it is not Korean, or not one of retrieval.
    """
    mteb = import_mteb()
    if not names:
        listed = mteb.get_tasks(
            languages=["kor"],
            task_types=["Retrieval"],
            modalities=["text"],
            exclusive_modality_filter=True,
            exclude_superseded=True,
            exclude_aggregate=True,
            exclude_private=True,
            exclude_beta=True,
        )
        names = sorted(task.metadata.name for task in listed)
    return [_korean_task(mteb, name) for name in dict.fromkeys(names)]


def parts(tasks: Sequence[Any]) -> Iterator[Part]:
    """Yield the parts of tasks, with the sizes that come with the mteb package."""
    for task in tasks:
        metadata = task.metadata
        for split in task.eval_splits:
            of_split = (metadata.descriptive_stats or {}).get(split, {})
            for subset in task.hf_subsets:
                single = subset == "default"
                size = of_split if single else of_split.get("hf_subset_descriptive_stats", {}).get(subset, {})
                part = split if single else f"{split}, {subset}"
                documents, queries = size.get("num_documents"), size.get("num_queries")
                yield Part(
                    metadata.name, part, documents, queries, metadata.license or "", metadata.sample_creation or ""
                )


def split_by_size(tasks: Sequence[Any], limit: int) -> tuple[list[Any], list[Any]]:
    """Return the tasks of at most so many documents, those of unknown size among them, and the larger ones."""
    sizes = {task.metadata.name: max(part.documents or 0 for part in parts([task])) for task in tasks}
    small = [task for task in tasks if sizes[task.metadata.name] <= limit]
    return small, [task for task in tasks if sizes[task.metadata.name] > limit]


def _korean_task(mteb: Any, name: str) -> Any:
    try:
        task = mteb.get_task(name, languages=["kor"], exclusive_language_filter=True)
    except KeyError as error:  # its message says which name is near
        raise ValueError(f"mteb has no task {name!r}. See them all with --list. {error.args[0]}") from error
    except ValueError as error:
        raise ValueError(f"The task {name!r} has no part in Korean. See those that have with --list") from error
    if task.metadata.type != "Retrieval":
        raise ValueError(f"The task {name!r} is of type {task.metadata.type}, not Retrieval. See --list")
    return task
