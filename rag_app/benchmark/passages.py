"""The articles that a benchmark searches, as an index of one's own is built from them."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from rag_app.data.questions import all_passages
from rag_app.documents import FileResult
from rag_app.files.tables import USUAL_COLUMNS, Columns


class PassageReader:
    """Reads all passages of a data set, where `rag_app.files.parsing.FileReader` would read its rows as articles."""

    def __enter__(self) -> "PassageReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read_all(self, path: Path, *, name: str | None, columns: Columns = USUAL_COLUMNS) -> Iterator[FileResult]:
        """Yield the passages as one result.

        Raises:
            OSError: The data cannot be read.
            ValueError: They are broken.
        """
        yield FileResult(name or str(path), all_passages(path, columns=columns), None)

    def close(self) -> None:
        """Do nothing: reading is not interrupted."""
