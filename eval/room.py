"""Room for a benchmark's indexes in a vector database."""

from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from rag_app.stores.address import Address
from rag_app.stores.servers import server_store

_MARK = "_hit_rate_"


def check_room(address: Address) -> None:
    """Raise what would otherwise only come up when the first index is built there.

    Raises:
        OSError: The database does not answer, or lets nobody in.
        ValueError: What the address says is wrong, or the name is taken by something else.
        ImportError: What the address needs is not installed; says how to install it.
    """
    with suppress(FileNotFoundError):
        server_store(replace(address, name=f"{address.name}{_MARK}0")).manifest()


class Room:
    """Gives addresses for indexes, and drops what is there when the ``with`` block ends.

    Names are those of the address with ``_hit_rate_0`` and so on behind them: whatever has such a name is taken for
    what an earlier benchmark left, and replaced.

    Args:
        address: The beginning of their names, where they are to be.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._given: list[Address] = []

    def new(self) -> Address:
        """Return the address of another index."""
        name = f"{self._address.name}{_MARK}{len(self._given)}"
        self._given.append(replace(self._address, name=name))
        return self._given[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        problems = []
        for address in self._given:
            try:
                server_store(address).drop()
            except (OSError, RuntimeError) as problem:
                problems.append(problem)
                if error is not None:
                    error.add_note(f"{address} was not dropped: {problem}")
        if problems and error is None:
            raise problems[0]
