"""The files of a bulk job, on this machine's disk, a shared one or an object store."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from rag_app.files.tables import ROWS

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

PARQUET = ".parquet"
FORMATS = (PARQUET, *ROWS)
"""The suffixes of files that a bulk job reads; behind one of `ROWS` there may be one of `COMPRESSED`."""
COMPRESSED = (".gz", ".zst", ".bz2")

Source = str | Path | Sequence[str | Path]
"""A file or folder, the address of one on an object store (``s3://BUCKET/FOLDER``), or several of these."""


class DataFile(NamedTuple):
    """A file that holds articles.

    Attributes:
        filesystem: Where it is; can be pickled.
        path: On the filesystem.
        name: What messages call it, and the metadata of its articles has as ``path``.
        size: Bytes.
    """

    filesystem: "FileSystem"
    path: str
    name: str
    size: int

    @property
    def suffix(self) -> str:
        """The suffix that tells the format."""
        path = PurePosixPath(self.path.lower())
        return PurePosixPath(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def find_files(source: Source) -> list[DataFile]:
    """Return the files of known formats, sorted; hidden ones and those in hidden folders are passed over.

    Raises:
        FileNotFoundError: There is nothing at a place.
        ValueError: There is no file of a known format at a place, or it is an address of no known object store.
        OSError: A place cannot be read, or its object store does not answer.
    """
    places = [source] if isinstance(source, str | Path) else source
    found = {file.name: file for place in places for file in _files_at(place)}
    return [found[name] for name in sorted(found)]


def open_place(place: str | Path) -> tuple["FileSystem", str, str]:
    """Return the filesystem of a place, its path there, and what stands before such a path in an address.

    Raises:
        ValueError: It is an address, but of no object store that is known.
        OSError: The object store does not answer.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.fs import FileSystem, LocalFileSystem

    if "://" not in str(place):
        return LocalFileSystem(), Path(place).resolve().as_posix(), ""
    scheme = str(place).partition("://")[0]
    try:
        with _named(place):
            filesystem, path = FileSystem.from_uri(str(place))
    except ArrowInvalid as error:
        raise ValueError(
            f"{place} is no address of files. Give a folder, or one such as s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or "
            "file:///FOLDER"
        ) from error
    return filesystem, path, "" if isinstance(filesystem, LocalFileSystem) else f"{scheme}://"


def _files_at(place: str | Path) -> list[DataFile]:
    from pyarrow.fs import FileSelector, FileType

    filesystem, path, before = open_place(place)
    with _named(place):
        infos = [filesystem.get_file_info(path)]
        if infos[0].type == FileType.Directory:
            infos = filesystem.get_file_info(FileSelector(path, recursive=True))
        elif infos[0].type == FileType.NotFound:
            raise FileNotFoundError(f"There is no file or folder {place}")
    files = [
        DataFile(filesystem, info.path, f"{before}{info.path}", info.size)
        for info in infos
        if info.type == FileType.File and not _is_hidden(info.path.removeprefix(path))
    ]
    if not (known := [file for file in files if file.suffix in FORMATS]):
        raise ValueError(f"{place} holds no file that a bulk job reads. Give {', '.join(FORMATS)}")
    return known


@contextmanager
def _named(place: str | Path) -> Iterator[None]:
    """Name the place in the errors of a filesystem, some of which have many lines."""
    try:
        yield
    except OSError as error:
        if error.errno is None and not isinstance(error, FileNotFoundError):
            raise OSError(f"{place} cannot be read: {str(error).splitlines()[0]}") from error
        raise


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(path).parts)
