"""The loaders of every format, for a child process that is to tell what they raise by accident."""

import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from rag_app.files.loaders import LOADERS as USUAL
from rag_app.files.loaders.records import Loader, Record
from rag_app.files.tables import Columns

ACCIDENT = "ACCIDENT"
"""What the message of an error begins with that no loader should raise."""


def _strict(load: Loader) -> Loader:
    def strictly(path: Path, columns: Columns) -> Iterator[Record]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                yield from load(path, columns)
            except MemoryError:
                raise
            except Exception as error:
                if not isinstance(error, ValueError) or isinstance(error, UnicodeError):
                    raise ValueError(f"{ACCIDENT}: {''.join(traceback.format_exception(error)[-6:])}") from error
                raise

    return strictly


LOADERS = {suffix: _strict(load) for suffix, load in USUAL.items()}
