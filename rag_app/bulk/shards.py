"""A first load of Milvus from files: parquet shards are written on the machines of a Ray cluster, and imported in bulk.

Where there are many millions of passages, Milvus takes in files faster than requests, and without waiting for either.
Importing is three steps::

    shards = write_shards("s3://bucket/articles", "s3://milvus-bucket/shards")
    collection = begin_import(shards, "milvus://HOST:19530/news")

    from pymilvus.bulk_writer import bulk_import, get_import_progress  # pip install 'pymilvus[bulk_writer]'
    files = [[f"shards/{name}"] for name in shards.files]  # where they are in the bucket of Milvus
    bulk_import("http://HOST:19530", collection, files)  # and wait until get_import_progress says that it is done

    publish_import(shards, "milvus://HOST:19530/news")
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from rag_app.bulk.cluster import ray_cluster
from rag_app.bulk.files import PARQUET, DataFile, Source, find_files, open_place
from rag_app.bulk.indexing import HERE, Workers, check_ray, run_job
from rag_app.bulk.reading import FileReport
from rag_app.bulk.rows import DOC_ID, ID, ID_TYPE, REPORT, articles_of, done_with
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.files.tables import USUAL_COLUMNS, Columns
from rag_app.identity import check_model, describe_model
from rag_app.korean import analyzer
from rag_app.lexical import Analysis, korean_analyses
from rag_app.models import EMBEDDED, Backend, serving_backend
from rag_app.passages import PASSAGE_CHARS, split_documents
from rag_app.server_index import begin_index, embed_passages, new_manifest, publish_index
from rag_app.stores.address import Address
from rag_app.stores.cosines import NoEmbeddings
from rag_app.stores.milvus_rows import import_schema, import_table
from rag_app.stores.server import stored_rows
from rag_app.stores.servers import server_store

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.fs import FileSystem

    from rag_app.stores.milvus import Store

_DESCRIPTION = "index.json"  # written last: the shards are complete where it is
_WRITTEN = b"articles"  # the key of a piece's metadata with the ids of the rows it was made of
_PIECES = "_pieces"  # the folder with what is done of shards that are not complete
_BYTES = 256 * 1024**2  # of pieces in a shard, about
_LOOKED_AT = 200  # passages of each shard that are looked for in Milvus
_READERS = 16  # pieces that are looked at side by side


class Shards(NamedTuple):
    """Parquet files with the passages of an index, each passage once.

    Attributes:
        folder: Where they are.
        files: How many passages each holds, by its name in the folder.
        documents: How many they hold.
        manifest: Of the index.
        reports: Of the files that were read for it.
    """

    folder: str
    files: dict[str, int]
    documents: int
    manifest: dict[str, Any]
    reports: list[FileReport]

    @property
    def passages(self) -> int:
        """How many they hold."""
        return sum(self.files.values())

    @property
    def failed(self) -> list[FileReport]:
        """The reports of the files in which something could not be read."""
        return [report for report in self.reports if report.broken]


def write_shards(
    source: Source,
    folder: str | Path,
    model: str = EMBEDDED,
    *,
    columns: Columns = USUAL_COLUMNS,
    passage_chars: int = PASSAGE_CHARS,
    vectors: str = "auto",
    workers: Workers = HERE,
    progress: bool = False,
) -> Shards:
    """Write the passages of an index as parquet files that Milvus 2.5 or later imports.

    They are those that `rag_app.bulk.indexing.index_in_bulk` would write to a server, in the columns of its collection.
    A job that was stopped, begun again with the same arguments over the same files, does only what is missing: its
    pieces are in the folder until the shards are complete. An article that several files hold is in the shards once;
    the machine on which this is called holds the ids of all articles in its memory, 40 bytes each.

    Args:
        source: See `rag_app.bulk.indexing.index_in_bulk`, as for the others.
        folder: Where the shards are to be: a folder or the address of one on an object store, such as the bucket of
            Milvus. All machines have to see it.
        model: The embedding model.
        columns: Which columns hold what.
        passage_chars: The most characters of a passage.
        vectors: ``"auto"`` or ``"exact"``.
        workers: Who does it; ``patience`` does not matter.
        progress: Show a progress bar on stderr.

    Raises:
        FileExistsError: There are shards already.
        FileNotFoundError: There is no such source.
        ValueError: There is no article in it, an argument is none of those that are possible, or there is more of a
            passage than Milvus keeps.
        TimeoutError: Twice nothing was done for as long as ``workers`` says.
        ImportError: What the job needs is not installed; says how to install it.
    """
    check_ray()
    filesystem, path, _ = open_place(folder)
    if _is_there(filesystem, f"{path}/{_DESCRIPTION}"):
        raise FileExistsError(f"{folder} holds shards already. Import them, or delete them, or choose another folder.")
    files = find_files(source)
    embeddings = load_embeddings(model, backend=serving_backend(model, workers.backend))
    manifest = new_manifest(embeddings, passage_chars=passage_chars, vectors=vectors, user_dictionary=None)
    pieces = f"{path}/{_PIECES}/{_digest_of(manifest, columns, files)}"
    filesystem.create_dir(pieces, recursive=True)
    with ray_cluster(workers.ray_address):
        reports = run_job(
            files,
            columns,
            PieceWriter,
            (filesystem, pieces, manifest, model, workers.backend),
            lambda: np.unique(_look_at(filesystem, pieces).articles),
            None,
            workers,
            progress=progress,
        )
        counts, documents = _merge_pieces(filesystem, pieces, path)
    if not counts:
        raise ValueError("There is no document to index. Give at least one that holds text.")
    shards = Shards(str(folder), counts, documents, manifest, reports)
    described = {"manifest": manifest, "files": counts, "documents": documents}
    with _whole_file(filesystem, f"{path}/{_DESCRIPTION}") as stream:
        stream.write(json.dumps(described, ensure_ascii=False).encode())
    filesystem.delete_dir(f"{path}/{_PIECES}")
    return shards


def open_shards(folder: str | Path) -> Shards:
    """Return the shards that `write_shards` wrote to a folder, without the reports.

    Raises:
        FileNotFoundError: There are none, or they are not complete.
    """
    filesystem, path, _ = open_place(folder)
    if not _is_there(filesystem, f"{path}/{_DESCRIPTION}"):
        raise FileNotFoundError(f"There are no complete shards in {folder}. Write them, or let write_shards go on.")
    with filesystem.open_input_stream(f"{path}/{_DESCRIPTION}") as stream:
        described = json.loads(stream.read())
    return Shards(str(folder), described["files"], described["documents"], described["manifest"], [])


def begin_import(shards: Shards, address: str | Address, *, replace: bool = False) -> str:
    """Make an empty collection for shards, which nobody sees before `publish_import`, and return its name.

    What was imported before and not published is deleted: a file that is imported twice is in Milvus twice.

    Args:
        shards: What is to be imported.
        address: Where the index is to be.
        replace: Replace an index that is there already; it stays whole until `publish_import`.

    Raises:
        FileExistsError: There is an index already and ``replace`` was not asked for.
        ValueError: The address is none of Milvus.
        ConnectionError: Milvus does not answer.
    """
    place = _milvus_address(address)
    draft: Any = begin_index(place, NoEmbeddings(), shards.manifest, replace=replace)
    return str(draft.emptied().collection)


def publish_import(shards: Shards, address: str | Address) -> None:
    """Let what was imported take the place, in one step, of the index that has the address, which goes.

    Raises:
        ValueError: Not every passage of the shards is there once.
        ConnectionError: Milvus does not answer.
    """
    place = _milvus_address(address)
    draft: Store = server_store(place, NoEmbeddings()).begin(shards.manifest)  # type: ignore[assignment]
    draft.see_imported()
    if (there := draft.count()) != shards.passages:
        raise _not_once(draft, f"it has {there:,} passages of {shards.passages:,}")
    for name in shards.files:
        ids = _some_ids(shards, name)
        if (there := draft.copies(ids)) != len(ids):
            raise _not_once(draft, f"of {len(ids)} passages of {name} it has {there}")
    publish_index(draft, replace=True)


class PieceWriter:
    """Splits and embeds articles and writes their passages to files; an actor, which loads the model once.

    Args:
        filesystem: Where to.
        folder: On it.
        manifest: Of the index.
        model: Its name.
        backend: What it runs on.
    """

    def __init__(
        self, filesystem: "FileSystem", folder: str, manifest: Mapping[str, Any], model: str, backend: Backend | None
    ) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._manifest = manifest
        self._model = model
        self._backend = backend

    @cached_property
    def _embeddings(self) -> ModelEmbeddings:
        embeddings = load_embeddings(self._model, backend=serving_backend(self._model, self._backend))
        check_model(Path(self._folder), self._manifest["model"], describe_model(embeddings))
        return embeddings

    @cached_property
    def _analyses(self) -> Mapping[str, Analysis]:
        return korean_analyses(analyzer())

    def __call__(self, table: "Table") -> "Table":
        """Write the passages of the articles of a table, and return what `done_with` keeps.

        The file is named for the articles: what is done again is there once.
        """
        from rag_app.bulk.steps import ActorError

        try:
            return self._write(table)
        except (OSError, ValueError, ImportError) as error:
            raise ActorError(error) from error

    def _write(self, table: "Table") -> "Table":
        from pyarrow.parquet import write_table

        if ids := sorted({id_ for id_ in table[ID].to_pylist() if not id_.startswith(REPORT)}):
            articles = {article.id: article for article in articles_of(table)}  # one text may have other metadata
            passages = self._passages(list(articles.values()))
            rows = stored_rows(passages, embed_passages(passages, self._embeddings), self._analyses)
            piece = import_table(rows).replace_schema_metadata({_WRITTEN: json.dumps(ids)})
            name = sha256("".join(ids).encode()).hexdigest()[:32]
            with _whole_file(self._filesystem, f"{self._folder}/{name}{PARQUET}") as stream:
                write_table(piece, stream)
        return done_with(table)

    def _passages(self, articles: Sequence[Document]) -> list[Document]:
        chars = self._manifest["passage_chars"]
        return list(split_documents(articles, max_chars=chars, fits=self._embeddings.fits))


class _Pieces(NamedTuple):
    """What the files of a folder hold.

    Attributes:
        paths: Of the files, sorted.
        articles: The ids of the rows that were written, file by file.
        file: For each of these the place of its file in ``paths``.
    """

    paths: list[str]
    articles: NDArray[np.bytes_]
    file: NDArray[np.intp]


def _look_at(filesystem: "FileSystem", folder: str) -> _Pieces:
    from pyarrow.fs import FileSelector

    infos = filesystem.get_file_info(FileSelector(folder))
    paths = sorted(info.path for info in infos if info.path.endswith(PARQUET) and not info.base_name.startswith("_"))
    with ThreadPoolExecutor(_READERS) as readers:
        found = list(readers.map(lambda path: _written(filesystem, path), paths))
    numbers = np.repeat(np.arange(len(paths)), [len(some) for some in found])
    return _Pieces(paths, np.concatenate([np.array([], ID_TYPE), *found]), numbers)


def _written(filesystem: "FileSystem", path: str) -> NDArray[np.bytes_]:
    from pyarrow.parquet import read_metadata

    return np.array(json.loads(read_metadata(path, filesystem=filesystem).metadata[_WRITTEN]), ID_TYPE)


def _merge_pieces(filesystem: "FileSystem", folder: str, target: str) -> tuple[dict[str, int], int]:
    """Write shards of pieces, each article once, and return how many passages each has, and how many articles all."""
    import ray

    pieces = _look_at(filesystem, folder)
    doc_ids = pieces.articles.astype(f"S{DOC_ID}")
    articles, first = np.unique(doc_ids, return_index=True)
    gone: dict[str, set[str]] = {}
    owner = pieces.file[first][np.searchsorted(articles, doc_ids)]
    for place in np.flatnonzero(owner != pieces.file):
        gone.setdefault(pieces.paths[pieces.file[place]], set()).add(doc_ids[place].decode())
    kept = set(pieces.file[first].tolist())
    _delete_shards(filesystem, target)
    merge = ray.remote(num_cpus=1)(_merge)
    work = {}
    for number, some in enumerate(_of_size(filesystem, [pieces.paths[place] for place in sorted(kept)])):
        name = f"shard-{number:05}{PARQUET}"
        dropped = {path: gone[path] for path in some if path in gone}
        work[name] = merge.remote(filesystem, some, dropped, f"{target}/{name}")
    counts = ray.get(list(work.values()))
    return dict(zip(work, counts, strict=True)), len(articles)


def _of_size(filesystem: "FileSystem", paths: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for info in filesystem.get_file_info(list(paths)) if paths else []:
        some.append(info.path)
        size += info.size
        if size >= _BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _merge(filesystem: "FileSystem", paths: Sequence[str], gone: Mapping[str, set[str]], target: str) -> int:
    """Write a shard of pieces without the articles that are gone from each, and return how many passages it has."""
    from pyarrow import array, bool_
    from pyarrow.parquet import ParquetWriter, read_table

    count = 0
    with _whole_file(filesystem, target) as stream, ParquetWriter(stream, import_schema()) as writer:
        for path in paths:
            table = read_table(path, filesystem=filesystem)
            if without := gone.get(path):
                kept = [id_.partition(":")[0] not in without for id_ in table[ID].to_pylist()]
                table = table.filter(array(kept, bool_()))
            writer.write_table(table)
            count += table.num_rows
    return count


def _delete_shards(filesystem: "FileSystem", folder: str) -> None:
    """Delete what a job that was stopped has merged, perhaps of other pieces."""
    from pyarrow.fs import FileSelector

    for info in filesystem.get_file_info(FileSelector(folder)):
        if info.base_name.startswith("shard-") and info.base_name.endswith(PARQUET):
            filesystem.delete_file(info.path)


@contextmanager
def _whole_file(filesystem: "FileSystem", path: str) -> Iterator[Any]:
    """Open a file to write that is there once the block has ended well."""
    folder, _, name = path.rpartition("/")
    aside = f"{folder}/_{uuid4().hex}-{name}"
    with filesystem.open_output_stream(aside) as stream:
        yield stream
    filesystem.move(aside, path)


def _digest_of(manifest: Mapping[str, Any], columns: Columns, files: Sequence[DataFile]) -> str:
    job = {"manifest": manifest, "columns": columns, "files": [(file.name, file.size) for file in files]}
    return sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:16]


def _is_there(filesystem: "FileSystem", path: str) -> bool:
    from pyarrow.fs import FileType

    return bool(filesystem.get_file_info(path).type != FileType.NotFound)


def _milvus_address(address: str | Address) -> Address:
    place = address if isinstance(address, Address) else Address.parse(address)
    if place.scheme != "milvus":
        raise ValueError(f"Shards are imported by Milvus, and {place} is none. Use index_in_bulk there.")
    return place


def _some_ids(shards: Shards, name: str) -> list[str]:
    from pyarrow.parquet import read_table

    filesystem, path, _ = open_place(shards.folder)
    ids = read_table(f"{path}/{name}", filesystem=filesystem, columns=[ID])[ID]
    return [str(id_) for id_ in ids[:: max(1, len(ids) // _LOOKED_AT)].to_pylist()]


def _not_once(draft: "Store", seen: str) -> ValueError:
    return ValueError(
        f"{draft.collection} does not hold every passage of the shards once: {seen}. Wait until each file is imported. "
        "If there are too many, one was imported twice: call begin_import again, which empties it"
    )
