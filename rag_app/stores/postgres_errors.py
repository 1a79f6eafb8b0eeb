"""What PostgreSQL and its client say when something goes wrong, as errors that say what to do."""

from errno import ENOSPC
from typing import NamedTuple

import psycopg
from psycopg import errors

from rag_app.stores.address import Address

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


class _Refusal(NamedTuple):
    """Why there is no connection, and none a moment later; libpq tells it in words only.

    Attributes:
        said: Any of these is in what libpq says.
        type: What is raised.
        told: What to do, with ``{database}`` and ``{server}``, the options of PostgreSQL's programs.
    """

    said: tuple[str, ...]
    type: type[Exception]
    told: str


# The first that fits counts.
_REFUSALS = (
    _Refusal(
        ("no pg_hba.conf entry", "pg_hba.conf rejects"),
        PermissionError,
        "lets nobody in as this user from here. Let a line of its pg_hba.conf allow it, or, if that wants encryption, "
        "end the address with ?sslmode=require",
    ),
    _Refusal(
        ("authentication failed", "no password supplied", 'role "'),
        PermissionError,
        "lets nobody in with this user and password. Check them",
    ),
    _Refusal(
        ("does not support SSL", "sslmode", "certificate", "private key file"),
        ValueError,
        "cannot be reached in the way that its options ask for. Check sslmode, sslrootcert, sslcert and sslkey",
    ),
    _Refusal(
        ('" does not exist',),
        ValueError,
        "names a database that is not there. Create it: createdb {server} {database}",
    ),
    _Refusal(
        ("Name or service not known", "No address associated"),
        ConnectionError,
        "names a host that is not there. Check its name",
    ),
)


def passes(error: psycopg.Error) -> bool:
    """Whether an error may be gone a moment later."""
    if isinstance(error, _AGAIN):
        return True
    lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None
    return lost and _refusal(str(error)) is None


def _refusal(said: str) -> _Refusal | None:
    return next((refusal for refusal in _REFUSALS if any(words in said for words in refusal.said)), None)


def told(address: Address, error: psycopg.Error) -> Exception:
    """Return what is raised for an error of PostgreSQL's: one line, without the password.

    A FileNotFoundError says that there is no index, and nothing else is said by one: whoever is told so builds it.
    """
    where, said = address, " ".join(str(error).split())
    if address.password:
        said = said.replace(address.password, "***")
    user, database = address.user or "USER", address.database or "postgres"
    match error:
        case errors.UndefinedTable() | errors.InvalidSchemaName():
            return FileNotFoundError(f"{where} holds no index. Build it: rag-app index PATH... --index {where}")
        case errors.QueryCanceled():
            return TimeoutError(f"{where} did not answer in time. Try again, or end the address with ?timeout=300")
        case errors.UndefinedFile() | errors.FeatureNotSupported() | errors.UndefinedObject():
            return ValueError(
                f"{where} has no pgvector 0.8 or later ({said}). Install it on the server "
                "(https://github.com/pgvector/pgvector), then let an administrator run in the database: "
                "CREATE EXTENSION vector"
            )
        case errors.InsufficientPrivilege():
            return PermissionError(
                f"{where} does not allow that ({said}). Let an administrator run in the database, to build: CREATE "
                f'EXTENSION IF NOT EXISTS vector; GRANT CREATE ON DATABASE "{database}" TO "{user}"; or to read: '
                f'GRANT USAGE ON SCHEMA "{where.name}" TO "{user}"; '
                f'GRANT SELECT ON ALL TABLES IN SCHEMA "{where.name}" TO "{user}"'
            )
        case errors.ReadOnlySqlTransaction():
            return PermissionError(f"{where} only lets read. Give the address of the primary server: {said}")
        case errors.DiskFull():
            return OSError(ENOSPC, f"{where} has no space left ({said}). Make room there")
        case psycopg.DataError() | errors.ProgramLimitExceeded():
            return ValueError(f"{where} cannot store that: {said}")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            if refusal := _refusal(str(error)):
                server = f"-h {where.host} -p {where.port or 5432} -U {user}"
                return refusal.type(f"{where} {refusal.told.format(database=database, server=server)}: {said}")
            return ConnectionError(f"{where} does not answer. Start PostgreSQL, or check host and port: {said}")
    return RuntimeError(f"{where} failed: {said}")
