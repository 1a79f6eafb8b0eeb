"""Indexing on many machines: Ray Data reads, splits, embeds and writes, and goes on where it was stopped."""

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_app.bulk.checkpoints import Checkpoints, are_there, checkpoints_of, done_before
from rag_app.bulk.cluster import is_alone, ray_cluster
from rag_app.bulk.files import DataFile, Source, find_files
from rag_app.bulk.reading import FileReport
from rag_app.bulk.rows import ID, doc_ids_of, done_with, no_ids, reports_of
from rag_app.embeddings import load_embeddings
from rag_app.files.tables import USUAL_COLUMNS, Columns
from rag_app.models import EMBEDDED, Backend, serving_backend
from rag_app.passages import PASSAGE_CHARS
from rag_app.server_index import (
    begin_index,
    count_stored,
    keep_articles,
    new_manifest,
    publish_index,
)
from rag_app.stores.address import Address
from rag_app.stores.cosines import NoEmbeddings
from rag_app.stores.servers import server_store

if TYPE_CHECKING:
    from ray.data import Dataset

    from rag_app.bulk.steps import ArticleSource

_BLOCK = 512 * 1024
"""Bytes of articles that are done, and noted as done, at once: with the usual 128 MiB the first kill loses hours."""
_LIGHT = 0.1  # CPUs that reading and noting ask for
_HEAVY = 0.9  # that an actor asks for, so that those on all cores leave some for reading and noting
_PATIENCE = 300.0
_STALLED = 1800.0


class BulkResult(NamedTuple):
    """What a bulk job did.

    Attributes:
        documents: In the index now.
        passages: Likewise.
        skipped: How many of those read repeat another.
        reports: Of every file that was read.
    """

    documents: int
    passages: int
    skipped: int
    reports: list[FileReport]

    @property
    def failed(self) -> list[FileReport]:
        """The reports of the files in which something could not be read."""
        return [report for report in self.reports if report.broken]


class Workers(NamedTuple):
    """Who does a bulk job.

    Attributes:
        ray_address: Of a Ray cluster; see `rag_app.bulk.cluster.ray_cluster`.
        actors: How many embed at once at most, each with the model in its memory; None for one on each core.
        gpus_per_actor: Such as 1, or 0.5 for two actors on a GPU; 0 for the CPU.
        backend: What a transformer runs on; see `rag_app.embeddings.load_embeddings`.
        patience: Seconds for which a store that does not answer is waited for.
        stalled: Seconds without any progress after which the job is begun anew, once, from its checkpoints. More than
            an actor takes for half a megabyte of articles, and than ``patience``.
    """

    ray_address: str | None = None
    actors: int | None = None
    gpus_per_actor: float = 0.0
    backend: Backend | None = None
    patience: float = _PATIENCE
    stalled: float = _STALLED


HERE = Workers()
"""The cluster that RAY_ADDRESS names, or this machine, with all cores."""


def index_in_bulk(
    source: Source,
    address: str | Address,
    model: str = EMBEDDED,
    *,
    columns: Columns = USUAL_COLUMNS,
    passage_chars: int = PASSAGE_CHARS,
    vectors: str = "auto",
    replace: bool = False,
    checkpoint: str | Path | None = None,
    workers: Workers = HERE,
    progress: bool = False,
) -> BulkResult:
    """Build an index in a vector database, on the machines of a Ray cluster.

    It is the index that `rag_app.index.build_index` makes of the same articles, and nobody sees it before it is
    complete. A job that was stopped, begun again with the same arguments, does only what is missing, and deletes what
    the source does not hold any more. A row that cannot be read costs that row alone; the result says which and why.
    Of articles with the same text but other metadata, one is kept, no matter which.

    Args:
        source: Files in jsonl, parquet, csv, tsv or json, a folder of them, the address of one on an object store, or
            several. All machines have to see it.
        address: Where the index is to be; see `rag_app.stores.address.Address`. All machines have to reach it.
        model: The embedding model: "embedded", a folder, or a Hub id. All machines have to have it, or to reach the
            Hub.
        columns: Which columns hold what, where they have no usual name.
        passage_chars: See `rag_app.index.build_index`, as for the following.
        vectors: ``"auto"`` or ``"exact"``.
        replace: Replace an index that is there already; it stays whole until the new one is complete.
        checkpoint: A folder for notes of what is done, which all machines have to see and which is removed at the end.
            None for one beside what is read.
        workers: Who does it.
        progress: Show a progress bar on stderr.

    Raises:
        FileExistsError: There is an index already and ``replace`` was not asked for.
        FileNotFoundError: There is no such source.
        ValueError: There is no article in it, or an argument is none of those that are possible.
        ConnectionError: The store or the cluster does not answer, or the source changed while it was read.
        TimeoutError: Twice nothing was done for as long as ``workers`` says.
        ImportError: What the job needs is not installed; says how to install it.
    """
    check_ray()
    place = _server_address(address)
    files = find_files(source)
    embeddings = load_embeddings(model, backend=serving_backend(model, workers.backend))
    manifest = new_manifest(embeddings, passage_chars=passage_chars, vectors=vectors, user_dictionary=None)
    draft = begin_index(place, NoEmbeddings(), manifest, replace=replace)
    job = {"to": str(place), "manifest": manifest, "columns": columns}
    notes = checkpoints_of(job, source, checkpoint)
    with ray_cluster(workers.ray_address):
        from rag_app.bulk.steps import ArticleWriter  # not before: what Ray says is settled when it is imported

        interrupted = draft.count() > 0
        arguments = (draft, manifest, model, workers.backend, workers.patience)
        done = partial(done_before, notes, draft)

        def write(*, again: bool) -> list[FileReport]:
            given = (*arguments, again)
            return run_job(files, columns, ArticleWriter, given, done, notes, workers, progress=progress)

        reports = write(again=interrupted)
        if interrupted:
            given = _given(files, columns, reports)
            if not are_there(draft, given):
                notes.remove()  # it has articles for done that another job deleted
                reports = write(again=True)
            keep_articles(draft, given)
    publish_index(draft, replace=replace)
    notes.remove()
    counted = count_stored(server_store(place))
    read = sum(report.articles + report.repeated for report in reports)
    return BulkResult(**counted, skipped=read - counted["documents"], reports=reports)


def check_ray() -> None:
    """Raise ImportError, with the remedy, if Ray Data is not installed."""
    if missing := [name for name in ("ray", "pyarrow") if find_spec(name) is None]:
        raise ImportError(f"Bulk indexing needs {' and '.join(missing)}. Install: pip install 'korean-rag[ray]'")


def run_job(
    files: list[DataFile],
    columns: Columns,
    actor: type,
    arguments: tuple[Any, ...],
    done: Callable[[], NDArray[np.bytes_]],
    notes: Checkpoints | None,
    workers: Workers,
    *,
    progress: bool,
) -> list[FileReport]:
    """Have actors work on the articles of files, on the cluster that this process is connected to.

    Args:
        files: What to read.
        columns: Which columns of them hold what.
        actor: Made with ``arguments``; called with tables of articles, it returns what `rows.done_with` keeps of them.
        arguments: Can be pickled.
        done: Returns the ids of the articles to leave out, sorted.
        notes: Where to note those that are done; None where the actors' own files tell.
        workers: Who does it.
        progress: Show a progress bar on stderr.

    Returns:
        The reports of the files.

    Raises:
        TimeoutError: Twice nothing was done for as long as ``workers`` says.
        OSError: Of an actor, as are ValueError and ImportError.
    """
    from ray.data.exceptions import ExecutionTimeoutError

    from rag_app.bulk.steps import ArticleSource, Done, without_ray

    for last in (False, True):
        before = done()
        source = ArticleSource(files, columns, before)
        written = _articles(source, notes, workers, len(before) if progress else None).map_batches(
            actor,
            fn_constructor_args=arguments,
            batch_format="pyarrow",
            batch_size=None,
            zero_copy_batch=True,
            num_cpus=_HEAVY,
            num_gpus=workers.gpus_per_actor or None,
            compute=_actor_pool(workers),
        )
        sink = Done()
        try:
            with without_ray(), warnings.catch_warnings():
                # It says that rows may be written twice: passages are kept under their ids.
                warnings.filterwarnings("ignore", message="Checkpointing with non-file datasink")
                written.write_datasink(sink, ray_remote_args={"num_cpus": _LIGHT})
            return sink.reports
        except ExecutionTimeoutError as error:
            if last:
                raise TimeoutError(
                    f"Nothing was done for {workers.stalled:,.0f} s, twice. Look whether the cluster has a free "
                    "machine; the same job goes on where it is"
                ) from error
    raise AssertionError


def _given(files: list[DataFile], columns: Columns, reports: list[FileReport]) -> set[str]:
    """Read files once more, on the cluster, and return the doc_ids of their articles.

    Raises:
        ConnectionError: They are not what the reports tell of.
    """
    import ray

    from rag_app.bulk.steps import ArticleSource

    read: Dataset = ray.data.read_datasource(ArticleSource(files, columns, no_ids()), num_cpus=_LIGHT)
    read.context.enable_progress_bars = False
    kept = read.map_batches(done_with, batch_format="pyarrow", batch_size=None, num_cpus=_LIGHT)
    given: set[str] = set()
    table: Any
    told: list[str] = []
    for table in kept.iter_batches(batch_format="pyarrow", batch_size=None):
        given.update(doc_ids_of(table))
        told += table["report"].to_pylist()
    if reports_of(told) != reports:
        raise ConnectionError(
            "What is read has changed meanwhile, or cannot be read any more. Begin the same job again"
        )
    return given


def _articles(source: "ArticleSource", notes: Checkpoints | None, workers: Workers, shown: int | None) -> "Dataset":
    """Return what is read; ``shown`` is where a progress bar begins, None for no bar."""
    import ray
    from ray.data.checkpoint import CheckpointConfig

    from rag_app.bulk.steps import NoFilter, Progress

    read: Dataset = ray.data.read_datasource(source, num_cpus=_LIGHT)
    if notes:
        read.context.checkpoint_config = CheckpointConfig(
            ID,
            notes.path,
            override_filesystem=notes.filesystem,
            delete_checkpoint_on_success=False,
            checkpoint_manager_cls=NoFilter,
        )
    read.context.target_max_block_size = _BLOCK
    read.context.enable_progress_bars = False  # Ray's tell of its steps
    if shown is not None:
        read.context.custom_execution_callback_classes = [partial(Progress, shown)]  # type: ignore[list-item]
    read.context.raise_original_map_exception = True
    read.context.execution_no_progress_timeout_s = workers.stalled
    return read


def _actor_pool(workers: Workers) -> Any:
    """Return a pool that grows with the work, up to what the cluster that this process is connected to has room for.

    Raises:
        ValueError: A cluster of this machine alone has no such GPU, or there are to be no actors.
    """
    import ray
    from ray.data import ActorPoolStrategy

    if workers.actors is not None and workers.actors < 1:
        raise ValueError(f"Want at least 1 actor, got {workers.actors}")
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if workers.gpus_per_actor > resources.get("GPU", 0) and is_alone():
        raise ValueError(
            f"This machine has {resources.get('GPU', 0):g} GPUs that Ray sees, and each actor is to have "
            f"{workers.gpus_per_actor:g}. Leave that out, or name a cluster that has them"
        )
    each = resources.get("GPU", 0) / workers.gpus_per_actor if workers.gpus_per_actor else resources.get("CPU", 1)
    return ActorPoolStrategy(min_size=1, max_size=workers.actors or max(1, int(each)))


def _server_address(address: str | Address) -> Address:
    if isinstance(address, Address):
        return address
    if "://" not in address:
        raise ValueError(
            f"Many machines write to a vector database, and {address} is a folder. Give an address, such as "
            "milvus://HOST:19530/COLLECTION, or leave out --engine ray"
        )
    return Address.parse(address)
