"""What is raised where an index is not what was written: always ValueError, with what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

REMEDY = "Restore a copy or build the index anew."


@contextmanager
def panics_as_errors(name: object) -> Iterator[None]:
    """Raise ValueError where Tantivy panics, as it does on damaged files: with an exception that nobody catches.

    Args:
        name: What is being read, for the message.

    Raises:
        ValueError: It is damaged.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of pyo3, which has no name to import it by
            raise
        raise ValueError(f"{name} is damaged: {error}. {REMEDY}") from error
