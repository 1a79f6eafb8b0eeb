"""Connections to a PostgreSQL server: kept for the next caller, made anew where they were lost, errors in our words."""

import logging
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import BoundedSemaphore
from time import monotonic, sleep
from typing import Any, TypeVar

import psycopg
from pgvector.psycopg import register_vector  # type: ignore[import-untyped]
from psycopg import errors

from rag_app.forking import Lock
from rag_app.stores.address import Address

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]

OPTIONS = {"sslmode", "sslrootcert", "sslcert", "sslkey", "timeout"}
"""What an address may say after ``?``; ``timeout`` is how many seconds a statement may take, 60 unless it is said."""

_CONNECTIONS = 16  # at most, for all threads of a process
_PATIENCE = 10.0  # seconds that are spent on trying again
_log = logging.getLogger(__name__)

_AGAIN = (
    errors.UniqueViolation,  # somebody wrote the same passage at the same moment
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.TooManyConnections,
    errors.IdleInTransactionSessionTimeout,
)
_NOT_LET_IN = ("password authentication failed", "no password supplied", "no pg_hba.conf entry", "role ")


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
        self._patience = patience
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
        return type(self), (self._address, self._patience)

    def __call__(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction, again and again where it may succeed later, and return what it returns.

        Args:
            work: Can be done twice: the connection may be lost after it was committed.
        """
        deadline, pause = monotonic() + self._patience, 0.05
        while True:
            try:
                with self._connection() as connection, connection.transaction():
                    return work(connection)
            except psycopg.Error as error:
                if not _passes(error) or monotonic() + pause > deadline:
                    raise self.told(error) from None
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
        options = dict(self._address.options)
        seconds = float(options.pop("timeout", "60")) if timeout is None else timeout
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
            **options,
        }

    def told(self, error: psycopg.Error) -> Exception:
        """Return what is raised for an error of the server's."""
        where, said = self._address, str(error).strip()
        if self._address.password:
            said = said.replace(self._address.password, "***")
        if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName):
            return FileNotFoundError(f"{where} holds no index. Build it: rag-app index PATH... --index {where}")
        if isinstance(error, errors.QueryCanceled):
            return TimeoutError(f"{where} did not answer in time. Try again, or give it longer: {where}?timeout=300")
        if isinstance(error, errors.UndefinedFile | errors.FeatureNotSupported | errors.UndefinedObject):
            return RuntimeError(f"{where} has no pgvector ({said}). Install it: https://github.com/pgvector/pgvector")
        if isinstance(error, errors.InsufficientPrivilege):
            database = self._address.database or "postgres"
            return PermissionError(
                f"{where} does not allow that ({said}). Let its owner run: CREATE EXTENSION IF NOT EXISTS vector; "
                f'GRANT CREATE ON DATABASE "{database}" TO "{self._address.user}"'
            )
        if isinstance(error, psycopg.OperationalError) and any(words in said for words in _NOT_LET_IN):
            return PermissionError(f"{where} lets nobody in with this user and password. Check them: {said}")
        if isinstance(error, psycopg.OperationalError) and "does not exist" in said:
            return FileNotFoundError(
                f"{where} names a database that is not there. Create it: createdb {where.database}"
            )
        if isinstance(error, psycopg.DataError):
            return ValueError(f"{where} cannot store that: {said}")
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return ConnectionError(f"{where} does not answer. Start PostgreSQL, or check host and port: {said}")
        return RuntimeError(f"{where} failed: {said}")


def _passes(error: psycopg.Error) -> bool:
    """Whether an error may be gone a moment later."""
    if isinstance(error, _AGAIN):
        return True
    lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None
    said = str(error)
    return lost and "does not exist" not in said and not any(words in said for words in _NOT_LET_IN)


def _close(idle: list[Connection], pid: int) -> None:
    if pid == os.getpid():
        while idle:
            idle.pop().close()
