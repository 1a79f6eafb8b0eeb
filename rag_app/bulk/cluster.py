"""The Ray cluster of a bulk job: one that is there, or one on this machine for as long as the job takes."""

import logging
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import monotonic, sleep
from typing import Any

_ENDING = 10.0  # seconds that Ray's processes take to end at most
_alone = ContextVar("alone", default=False)
_HOST_AND_PORT = re.compile(r"\[?([^/\]]+)\]?:(\d+)")
_REACHING = 10.0  # seconds


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Be connected to a Ray cluster inside a ``with`` statement.

    Where this process is connected already, that cluster is taken, and nothing is changed. One that is started here
    listens on the loopback interface alone, has no dashboard, tells nobody that it is used, and keeps its files in a
    folder of its own, which is removed.

    Args:
        address: Such as ``HOST:6379``, or ``auto`` for the one that runs here; None for the one that RAY_ADDRESS names,
            or else one that is started.

    Raises:
        ConnectionError: The cluster does not answer.
    """
    # What raylets say of tasks that are done again; Ray prints it to stdout. Read on import.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            _connect(address)
            yield
        else:
            with _private_folder() as folder:
                _start(folder)
                token = _alone.set(True)
                try:
                    yield
                finally:
                    _alone.reset(token)
                    ray.shutdown()
    finally:
        ray.shutdown()


def is_alone() -> bool:
    """Whether the cluster that this process is connected to is one that `ray_cluster` has started."""
    return _alone.get()


def _connect(address: str) -> None:
    import ray

    try:
        _reach(address)
        _init(address=address)
    except (OSError, RuntimeError, ValueError) as error:
        ray.shutdown()
        raise ConnectionError(f"No Ray cluster answers at {address}. Start it, or name another: {error}") from error


def _reach(address: str) -> None:
    """Raise OSError if nothing listens there: Ray tries for ten minutes and more, and Ctrl-C does not end that."""
    from ray._private.services import resolve_ip_for_localhost  # Ray asks that one, not 127.0.0.1

    if where := _HOST_AND_PORT.fullmatch(address):
        socket.create_connection((resolve_ip_for_localhost(where[1]), int(where[2])), timeout=_REACHING).close()


def _start(folder: str) -> None:
    from ray._private import ray_constants

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Keeps other users of this machine out; else Ray writes one into the home folder.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # What Ray does on macOS and Windows; elsewhere it takes another address of this machine even for 127.0.0.1.
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        _init(address="local", include_dashboard=False, _temp_dir=folder)
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _init(**options: Any) -> None:
    import ray

    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if type(handler).__name__ == "PlainRayHandler":  # the one that writes to stderr, not to Ray's files
            handler.setLevel(logging.CRITICAL)  # errors are raised


@contextmanager
def _private_folder() -> Iterator[str]:
    """Make a folder, and remove it in the end, with what processes write to it that Ray has not waited for."""
    folder = mkdtemp(prefix="rag-", dir=_short_folder())
    try:
        yield folder
    finally:
        deadline = monotonic() + _ENDING
        rmtree(folder, ignore_errors=True)
        while Path(folder).exists() and monotonic() < deadline:
            sleep(0.1)
            rmtree(folder, ignore_errors=True)


def _short_folder() -> str:
    """Return a folder for temporary ones whose path leaves room for the names of sockets, 107 bytes in all."""
    return os.environ.get("RAY_TMPDIR") or "/tmp"  # noqa: S108
