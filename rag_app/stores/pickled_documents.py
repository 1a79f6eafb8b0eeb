"""Documents in a pickle, read without running what is in it.

A pickle is a program that calls whatever it names, and that may ask for any amount of memory before it does. So it is
read twice: once to see what it is made of, and only then by an unpickler that knows no class but those of documents.
"""

import datetime
import io
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any, cast

from langchain_core.documents import Document

_REFUSED = frozenset(
    {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "INST", "OBJ", "NEWOBJ_EX", "NEXT_BUFFER", "READONLY_BUFFER"}
)
_NUMBERED = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_MOST_TUPLES = 1000  # in metadata: a key made of many, one in the other, overflows the stack when it is looked up


def load_pickled(content: bytes) -> Any:
    """Return what documents and plain values a pickle holds.

    Raises:
        ValueError: It is damaged, names anything else, or unfolds into more than it is long.
    """
    _check_operations(content)
    try:
        return _Reader(io.BytesIO(content)).load()
    except ValueError:
        raise
    except Exception as error:  # of any kind, as the pickle calls what it likes of a few classes, with anything
        raise ValueError(f"it cannot be read: {error}") from error


def check_size(value: Any, room: int) -> None:
    """Check that a value, written out, has no more parts than there is room for: references unfold without end.

    Raises:
        ValueError: It has more.
    """
    parts = [value]
    while parts:
        part = parts.pop()
        room -= 1
        if room < 0:
            raise ValueError("its parts refer to one another again and again")
        if isinstance(part, dict):
            parts += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            parts += part


def _check_operations(content: bytes) -> None:
    tuples = 0
    for (operation, argument), following in _pairs(content):
        if operation in _REFUSED:
            raise ValueError(f"it does what no index of documents needs ({operation})")
        if operation in _NUMBERED and argument > len(content):
            raise ValueError(f"it numbers {argument} of its parts")  # for all of which room would be made
        tuples += operation in _TUPLES and following not in ("REDUCE", "NEWOBJ", "STOP")
        if tuples > _MOST_TUPLES:
            raise ValueError("it holds too many tuples")


def _pairs(content: bytes) -> Iterator[tuple[tuple[str, Any], str]]:
    """Yield each operation with its argument, and what follows it, but for those that only remember."""
    waiting: list[tuple[str, Any]] = []
    for code, argument, _ in pickletools.genops(content):
        if code.name == "MEMOIZE":
            continue
        if code.name not in _NUMBERED:
            yield from ((one, code.name) for one in waiting)
            waiting = []
        waiting.append((code.name, argument))
    yield from ((one, "") for one in waiting)


class _Reader(pickle.Unpickler):
    """Builds documents and nothing else: any other class or function in the file is refused before it is called."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)

        class Docstore:  # of its own, as a pickle may write to a class
            """Stands in for the in-memory docstore, so that langchain-community need not be installed."""

        self._classes: dict[tuple[str, str], type] = {
            ("langchain_community.docstore.in_memory", "InMemoryDocstore"): Docstore,
            ("langchain.docstore.in_memory", "InMemoryDocstore"): Docstore,
            ("langchain_core.documents.base", "Document"): Document,
            ("langchain.schema.document", "Document"): Document,
            ("langchain.docstore.document", "Document"): Document,
            ("datetime", "date"): datetime.date,
            ("datetime", "datetime"): datetime.datetime,
        }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._classes:
            raise ValueError(f"it names {module}.{name}, which no index of documents needs")
        return cast(Any, self._classes[module, name])
