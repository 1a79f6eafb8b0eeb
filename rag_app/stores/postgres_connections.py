"""Connections to a PostgreSQL server: kept for the next caller, made anew where they were lost."""

import logging
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import BoundedSemaphore
from time import monotonic, sleep
from typing import Any, TypeVar

import psycopg
from pgvector.psycopg import register_vector

from rag_app.forking import Lock
from rag_app.stores.address import Address
from rag_app.stores.postgres_errors import passes, told

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]

OPTIONS = {"sslmode", "sslrootcert", "sslcert", "sslkey", "timeout"}
"""What an address may say after ``?``; ``timeout`` is how many seconds a statement may take, 60 unless it is said."""

_CONNECTIONS = 16  # at most, for all threads of a process
_PATIENCE = 10.0  # seconds that are spent on trying again
_LONGEST = 2_000_000  # seconds that PostgreSQL can be told to wait
_log = logging.getLogger(__name__)


class Connections:
    """The connections of one process to one server.

    A process that was forked makes connections of its own. Safe to use from several threads.

    Args:
        address: Where.
        patience: For how many seconds what failed is tried again.
    """

    def __init__(self, address: Address, patience: float = _PATIENCE) -> None:
        if unknown := {name for name, _ in address.options} - OPTIONS:
            raise ValueError(
                f"{address} has unknown options: {', '.join(sorted(unknown))}. Use {', '.join(sorted(OPTIONS))}."
            )
        self._address = address
        self._options = dict(address.options)
        self._timeout = _seconds(address, self._options.pop("timeout", "60"))
        self.patience = patience
        self._lock = Lock()
        self._idle: list[Connection] = []
        self._own()

    def _own(self) -> None:
        self._pid = os.getpid()
        self._inherited = self._idle  # of the parent, which goes on using them
        self._idle = []
        self._free = BoundedSemaphore(_CONNECTIONS)
        weakref.finalize(self, _close, self._idle, self._pid)

    def __reduce__(self) -> Any:
        return type(self), (self._address, self.patience)

    def __call__(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction, again and again where it may succeed later, and return what it returns.

        Args:
            work: Can be done twice: the connection may be lost after it was committed.
        """
        deadline, pause = monotonic() + self.patience, 0.05
        looked = False
        while True:
            try:
                with self._connection() as connection, connection.transaction():
                    return work(connection)
            except psycopg.errors.UndefinedTable as error:
                if looked:
                    raise told(self._address, error) from None
                looked = True  # a search that names a table just when another index takes its place finds neither
                continue
            except psycopg.Error as error:
                if not passes(error) or monotonic() + pause > deadline:
                    raise told(self._address, error) from None
                _log.info("PostgreSQL is tried again: %s", type(error).__name__)
            sleep(pause)
            pause = min(2 * pause, 1.0)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._lock:
            if self._pid != os.getpid():
                self._own()
            idle, free = self._idle, self._free
        with free:
            try:
                connection = idle.pop()
            except IndexError:
                connection = self._connect()
            try:
                if connection.adapters.types.get("vector") is None:
                    with suppress(psycopg.ProgrammingError):  # the extension is not there yet
                        register_vector(connection)
                yield connection
            except BaseException:
                if connection.closed or connection.broken:
                    _close(idle, self._pid)  # the server went, and with it the others
                connection.close()
                raise
            idle.append(connection)

    def _connect(self) -> Connection:
        return psycopg.connect(**self.parameters(), prepare_threshold=None, autocommit=True)

    def parameters(self, timeout: float | None = None) -> dict[str, Any]:
        """Return what libpq wants to know.

        Args:
            timeout: How many seconds a statement may take; None for what the address says.
        """
        seconds = self._timeout if timeout is None else timeout
        return {
            "host": self._address.host,
            "port": self._address.port or 5432,
            "dbname": self._address.database or "postgres",
            **({"user": self._address.user} if self._address.user else {}),
            **({"password": self._address.password} if self._address.password else {}),
            "connect_timeout": 5,
            "tcp_user_timeout": 10_000,
            "application_name": "korean-rag",
            "options": f"-c statement_timeout={int(1000 * seconds)} -c client_encoding=UTF8",
            **self._options,
        }


def _seconds(address: Address, timeout: str) -> float:
    try:
        seconds = float(timeout)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= _LONGEST:
        raise ValueError(f"{address} has timeout={timeout}. Give seconds, at most {_LONGEST}: ?timeout=300")
    return seconds


def _close(idle: list[Connection], pid: int) -> None:
    if pid == os.getpid():
        while idle:
            idle.pop().close()
