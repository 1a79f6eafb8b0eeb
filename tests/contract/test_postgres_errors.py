"""What goes wrong at a PostgreSQL server: told in one line, with what to do, of a type that the programs show."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from psycopg import errors

from rag_app.cli import FAILED, main
from rag_app.stores.address import Address
from rag_app.stores.postgres import Store
from rag_app.stores.postgres_connections import Connection, Connections
from rag_app.stores.postgres_errors import passes, told
from tests.postgres_server import USER, PostgresServer, postgres_server

EMBEDDINGS = DeterministicFakeEmbedding(size=8)
MANIFEST = {"model": {"dimension": 8}, "vectors": "exact"}
PASSWORD = "geheim"
RULES = """
host all sesame   127.0.0.1/32 scram-sha-256
host all rejected 127.0.0.1/32 reject
"""


def there(server: PostgresServer, database: str = "postgres") -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "user": USER, "dbname": database}


def sql(server: PostgresServer, *statements: str, database: str = "postgres") -> None:
    with psycopg.connect(**there(server, database), autocommit=True) as administrator:
        for statement in statements:
            administrator.execute(statement)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with users that it lets in on conditions, or not at all, and with a database without pgvector."""
    with postgres_server() as running:
        rules = Path(running.folder, "pg_hba.conf")
        rules.write_text(RULES + rules.read_text("utf-8"), "utf-8")
        sql(
            running,
            f"CREATE ROLE sesame LOGIN PASSWORD '{PASSWORD}'",
            "CREATE ROLE rejected LOGIN",
            "CREATE ROLE reader LOGIN",
            "CREATE ROLE sleeper",
            "CREATE DATABASE bare",
            "CREATE DATABASE old",
            "SELECT pg_reload_conf()",
        )
        sql(running, "CREATE EXTENSION vector", database="postgres")
        sql(running, "ALTER DATABASE bare SET extension_control_path = '/nowhere'")
        yield running


def store(server: PostgresServer, options: str = "", **parts: str) -> Store:
    text = server.address("news", options)
    for old, new in parts.items():
        text = text.replace(old, new)
    return Store(Address.parse(text), EMBEDDINGS)


@pytest.mark.parametrize(
    ("parts", "options", "error", "remedy"),
    [
        ({USER: "sesame"}, "", PermissionError, "Check them"),
        ({USER: "sesame:wrong"}, "", PermissionError, "Check them"),
        ({USER: "stranger"}, "", PermissionError, "Check them"),
        ({USER: "sleeper"}, "", PermissionError, "Check them"),
        ({USER: "rejected"}, "", PermissionError, "pg_hba.conf allow it"),
        ({"/postgres/": "/nowhere/"}, "", ValueError, "Create it: createdb -h 127.0.0.1 -p {port} -U tester nowhere"),
        ({}, "?sslmode=require", ValueError, "Check sslmode"),
        ({}, "?sslmode=please", ValueError, "Check sslmode"),
        ({}, "?sslmod=require", ValueError, "Use .*sslmode"),
        ({}, "?timeout=soon", ValueError, "Give seconds"),
        ({}, "?timeout=-1", ValueError, "Give seconds"),
        ({}, "?timeout=nan", ValueError, "Give seconds"),
        ({}, "", FileNotFoundError, "Build it: rag-app index PATH... --index postgresql://tester@127.0.0.1:{port}"),
    ],
)
def test_what_cannot_be_opened_is_told_in_one_line(
    parts: dict[str, str],
    options: str,
    error: type[Exception],
    remedy: str,
    server: PostgresServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(error, match=remedy.format(port=server.port)) as raised:
        store(server, options, **parts).manifest()
    assert type(raised.value) in (error, *error.__subclasses__())
    assert "\n" not in str(raised.value)
    assert "wrong" not in str(raised.value)
    address = server.address("news", options)
    for old, new in parts.items():
        address = address.replace(old, new)
    assert main(["search", "쌀", "--index", address]) == FAILED
    assert capsys.readouterr().err.count("\n") == 1


def test_the_right_password_opens(server: PostgresServer) -> None:
    with pytest.raises(FileNotFoundError):
        store(server, **{USER: f"sesame:{PASSWORD}"}).manifest()


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    address = Address.parse(f"postgresql://someone:{PASSWORD}@127.0.0.1:1/db/news")
    with pytest.raises(ConnectionError, match="Start PostgreSQL") as raised:
        Connections(address, patience=0.2)(lambda c: None)
    assert PASSWORD not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_database_that_is_not_there_is_not_one_without_an_index(server: PostgresServer) -> None:
    nowhere = store(server, **{"/postgres/": "/nowhere/"})
    for work in (nowhere.manifest, nowhere.drop, lambda: nowhere.begin(MANIFEST)):
        with pytest.raises(ValueError, match="createdb"):
            work()


def test_a_server_without_pgvector_is_told_what_to_install(
    server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="CREATE EXTENSION vector"):
        store(server, **{"/postgres/": "/bare/"}).begin(MANIFEST)
    assert (
        main(["index", "sample", "--quiet", "--index", server.address("news").replace("postgres/", "bare/")]) == FAILED
    )
    assert "github.com/pgvector" in capsys.readouterr().err


def test_a_user_who_may_not_create_is_told_what_to_grant_and_it_suffices(server: PostgresServer) -> None:
    theirs = store(server, **{USER: "reader"})
    with pytest.raises(PermissionError, match='GRANT CREATE ON DATABASE "postgres" TO "reader"'):
        theirs.begin(MANIFEST)
    with pytest.raises(PermissionError, match="CREATE EXTENSION IF NOT EXISTS vector"):
        store(server, **{USER: "reader", "/postgres/": "/old/"}).begin(MANIFEST)  # the right is not enough there
    store(server).begin(MANIFEST).publish()
    with pytest.raises(PermissionError, match='GRANT SELECT ON ALL TABLES IN SCHEMA "news" TO "reader"'):
        theirs.manifest()
    sql(server, 'GRANT USAGE ON SCHEMA "news" TO "reader"', 'GRANT SELECT ON ALL TABLES IN SCHEMA "news" TO "reader"')
    assert theirs.manifest() == MANIFEST
    assert not theirs.search_units({("bigrams", "쌀"): 1.0}, 3)
    assert not theirs.search_vector([1.0] * 8, 3)
    with pytest.raises(PermissionError, match="does not allow that"):
        theirs.delete()
    store(server).drop()
    sql(server, 'GRANT CREATE ON DATABASE "postgres" TO "reader"')
    theirs.begin(MANIFEST).publish()
    assert len(theirs) == 0
    theirs.drop()
    sql(server, 'REVOKE CREATE ON DATABASE "postgres" FROM "reader"')


def test_a_server_that_only_lets_read_is_told(server: PostgresServer) -> None:
    store(server).begin(MANIFEST).publish()
    sql(server, "ALTER ROLE reader SUPERUSER", "ALTER ROLE reader SET default_transaction_read_only = on")
    try:
        standby = store(server, **{USER: "reader"})
        assert standby.manifest() == MANIFEST
        with pytest.raises(PermissionError, match="Give the address of the primary"):
            standby.delete()
    finally:
        sql(server, "ALTER ROLE reader NOSUPERUSER", "ALTER ROLE reader RESET default_transaction_read_only")
        store(server).drop()


def test_a_write_that_waits_too_long_is_told_and_changes_nothing(server: PostgresServer) -> None:
    store(server).begin(MANIFEST).publish()
    hurried = store(server, "?timeout=0.2")
    rows = hurried.rows([Document("글", id="a")], [[1.0] * 8])
    with psycopg.connect(**there(server)) as blocking:
        blocking.execute("SET idle_in_transaction_session_timeout = '10s'")  # to fail, and not to wait for ever
        blocking.execute("LOCK TABLE news.postings IN EXCLUSIVE MODE")
        with pytest.raises(TimeoutError, match="timeout=300"):
            hurried.upsert(rows)
        assert (len(hurried), hurried.known(["a"])) == (0, set())
    hurried.upsert(rows)
    assert (len(hurried), hurried.known(["a"])) == (1, {"a"})
    hurried.drop()


def test_an_index_may_take_longer_to_build_than_a_statement(server: PostgresServer) -> None:
    draft = store(server, "?timeout=0.2").begin({**MANIFEST, "vectors": "auto"})
    waiting = "SELECT now() - query_start > '0.5 s' FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%nearest%'"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(**there(server)) as blocking:
        blocking.execute(f'LOCK TABLE "{draft._schema}".passages IN ROW EXCLUSIVE MODE')
        published = pool.submit(draft.publish)
        with psycopg.connect(**there(server), autocommit=True) as watching:
            while not published.done() and watching.execute(waiting).fetchone() != (True,):
                pass
        blocking.rollback()
        published.result()
    assert len(draft) == 0
    draft.drop()


def test_a_table_that_is_missing_just_while_another_index_takes_its_place_is_asked_for_again(
    server: PostgresServer,
) -> None:
    missing = [errors.UndefinedTable("relation does not exist")]

    def work(connection: Connection) -> str:
        if missing:
            raise missing.pop()
        return "found"

    do = Connections(Address.parse(server.address("news")))
    assert do(work) == "found"
    missing += [errors.UndefinedTable("relation does not exist")] * 2
    with pytest.raises(FileNotFoundError, match="Build it"):
        do(work)


def test_an_address_may_say_for_how_long_to_wait_when_it_builds(server: PostgresServer) -> None:
    patient = store(server, "?timeout=300")
    patient.begin({**MANIFEST, "vectors": "auto"}).publish()
    patient.drop()


@pytest.mark.parametrize(
    ("said", "type_", "again"),
    [
        ('connection failed: root certificate file "/x/root.crt" does not exist', ValueError, False),
        ("connection failed: SSL error: certificate verify failed", ValueError, False),
        ("SSL connection has been closed unexpectedly", ConnectionError, True),
        ("consuming input failed: SSL SYSCALL error: EOF detected", ConnectionError, True),
        ('FATAL:  Peer authentication failed for user "x"', PermissionError, False),
        ("server closed the connection unexpectedly\n\tThis probably means", ConnectionError, True),
        ('could not translate host name "x": Temporary failure in name resolution', ConnectionError, True),
        ("failed to resolve host 'x': [Errno -2] Name or service not known", ConnectionError, False),
    ],
)
def test_what_the_client_says_is_understood(said: str, type_: type[Exception], again: bool) -> None:
    error = psycopg.OperationalError(said)
    assert (type(told(Address.parse("postgresql://h/d/n"), error)), passes(error)) == (type_, again)


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        (psycopg.errors.DiskFull("could not extend file"), OSError),
        (psycopg.errors.ProgramLimitExceeded("index row size 2712 exceeds"), ValueError),
        (psycopg.errors.NumericValueOutOfRange("out of range"), ValueError),
        (psycopg.errors.SyntaxError("a bug of ours"), RuntimeError),
    ],
)
def test_what_the_server_says_is_understood(error: psycopg.Error, type_: type[Exception]) -> None:
    assert type(told(Address.parse("postgresql://h/d/n"), error)) is type_
    assert not passes(error)
