"""The steps of a bulk job as Ray Data runs them: read, then split, embed and write, then note what is done.

Imported where a job begins, as it needs Ray.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import chain
from time import monotonic, sleep
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from pyarrow import Table
from ray.data import Datasource, ReadTask
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.interfaces import TaskContext
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator
from ray.data.block import Block, BlockAccessor, BlockMetadata
from ray.data.checkpoint.checkpoint_filter import CheckpointManager
from ray.data.datasource import Datasink, WriteResult
from ray.exceptions import RayTaskError
from tqdm import tqdm

from rag_app.bulk.files import DataFile
from rag_app.bulk.reading import FileReport
from rag_app.bulk.rows import articles_of, done_with, file_tables, reports_of
from rag_app.embeddings import load_embeddings
from rag_app.files.tables import Columns
from rag_app.identity import check_model, describe_model
from rag_app.models import Backend, serving_backend
from rag_app.server_index import write_articles
from rag_app.stores.server import ServerStore


class ArticleSource(Datasource):
    """Reads files side by side, each by one worker.

    Args:
        files: What to read.
        columns: Which column of them holds what.
        done: The ids of the articles to leave out, sorted.
    """

    def __init__(self, files: Sequence[DataFile], columns: Columns, done: NDArray[np.bytes_]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._files = files
        self._columns = columns
        self._done = ray.put(done)

    def get_name(self) -> str:
        """Return what Ray calls the step."""
        return "Articles"

    def estimate_inmemory_data_size(self) -> int | None:
        """Return about how many bytes the articles take."""
        return sum(file.size for file in self._files)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Return the tasks that read the files."""
        count = min(len(self._files), max(parallelism, 1))
        shares = [self._files[first::count] for first in range(count)]
        return [
            ReadTask(
                partial(_read, share, self._columns, self._done),
                BlockMetadata(
                    None, sum(file.size for file in share), None, input_files=tuple(file.name for file in share)
                ),
            )
            for share in shares
        ]


def _read(files: Sequence[DataFile], columns: Columns, done: Any) -> Iterator[Table]:
    yield from file_tables(files, columns, ray.get(done))


class NoFilter(CheckpointManager):
    """Keeps Ray from filtering what is done: `ArticleSource` leaves that out.

    Ray's filter is a pool of actors with a CPU and a gigabyte each, between reading and embedding: where the embedding
    actors have all CPUs, the job stands still.
    """

    def load_checkpoint(self, data_file_dir: Any = None, data_file_filesystem: Any = None) -> tuple[None, int]:
        """Return that there is nothing to filter."""
        return None, 0


class ActorError(Exception):
    """Carries an error that says what is wrong and what to do to the process that waits; Ray adds to its own text.

    Attributes:
        error: What went wrong.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def without_ray() -> Iterator[None]:
    """Raise what an actor carries in an `ActorError` as it is, without what Ray says around it."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, ActorError):
            raise error.cause.error from None
        raise


class ArticleWriter:
    """Splits, embeds and writes articles; an actor, which loads the model once, when it is first called.

    What goes wrong then is raised as it is; of an actor that does not come up Ray keeps only a traceback.

    Args:
        store: Where to; pickled, without a model.
        manifest: Of the index.
        model: Its name.
        backend: What it runs on.
        patience: Seconds for which a store that does not answer is tried again.
        again: Whether articles may be there with other metadata; see `rag_app.server_index.write_articles`.
    """

    def __init__(
        self,
        store: ServerStore,
        manifest: Mapping[str, Any],
        model: str,
        backend: Backend | None,
        patience: float,
        again: bool,
    ) -> None:
        self._without_model = store
        self._manifest = manifest
        self._model = model
        self._backend = backend
        self._patience = patience
        self._again = again

    @cached_property
    def _store(self) -> ServerStore:
        embeddings = load_embeddings(self._model, backend=serving_backend(self._model, self._backend))
        check_model(self._without_model.address, self._manifest["model"], describe_model(embeddings))
        return self._without_model.embedding_with(embeddings)

    def __call__(self, table: Table) -> Table:
        """Write the articles of a table, those passages that are not there, and return what `done_with` keeps."""
        try:
            return self._write(table)
        except (OSError, ValueError, ImportError) as error:
            raise ActorError(error) from error

    def _write(self, table: Table) -> Table:
        articles = articles_of(table)
        store = self._store
        deadline = monotonic() + self._patience
        while True:
            try:
                write_articles(store, articles, self._manifest, again=self._again)
                return done_with(table)
            except (ConnectionError, TimeoutError):
                if monotonic() > deadline:
                    raise
                sleep(1)


class Done(Datasink[list[str]]):
    """Takes the ids of what is written, of which Ray makes checkpoints, and the reports of files.

    Attributes:
        reports: Of all files, once the job is done.
    """

    def __init__(self) -> None:
        self.reports: list[FileReport] = []

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> list[str]:
        """Return the reports in some blocks."""
        columns = (BlockAccessor.for_block(block).to_arrow()["report"].to_pylist() for block in blocks)
        return [text for column in columns for text in column if text]

    def on_write_complete(self, write_result: WriteResult[list[str]]) -> None:
        """Keep the reports."""
        self.reports = reports_of(chain.from_iterable(write_result.write_returns))


class Progress(ExecutionCallback):
    """A progress bar on stderr: the articles that are written, and the reports of files.

    Args:
        done: How many were before.
    """

    def __init__(self, done: int) -> None:
        self._bar = tqdm(desc="index", unit=" rows", initial=done, mininterval=1)
        self._done = done

    def on_execution_step(self, executor: Any) -> None:
        """Show how far it is."""
        written = [op.metrics.row_outputs_taken for op in executor._topology if isinstance(op, ActorPoolMapOperator)]
        self._bar.update(self._done + sum(written) - self._bar.n)

    def after_execution_succeeds(self, executor: Any) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Leave the bar as it is."""
        self._bar.close()
