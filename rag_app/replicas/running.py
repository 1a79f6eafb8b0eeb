"""Replicas for as long as a Python program wants them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex

from rag_app.loopback import is_loopback
from rag_app.replicas.app import replicas_of
from rag_app.replicas.installed_ray import ray, serve
from rag_app.replicas.options import ReplicaOptions
from rag_app.settings import Settings

LONGEST_SECONDS = 30.0
"""After which a proxy gives a request up."""
_ALONE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # three that fail, and a proxy is replaced; else that takes 30 s
}


@contextmanager
def running_replicas(
    settings: Settings,
    options: ReplicaOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
) -> Iterator[str]:
    """Serve an index by HTTP inside a ``with`` statement; what it gives is the address, ready to be asked.

    Where this process is connected to no cluster of Ray's (``ray.init(address=...)``), one is started on this machine
    alone, without dashboard and usage statistics, and stopped in the end.

    Args:
        settings: What is searched and how; ``password`` is wanted of who asks.
        options: How many replicas, and how they batch.
        host: Where the proxies listen.
        port: Likewise.

    Raises:
        ValueError: Others than this machine could ask, and there is no password.
        RuntimeError: The replicas do not start; their log says why.
    """
    if settings.password is None and not is_loopback(host):
        raise ValueError(f"{host} is open to other machines, and there is no password. Set RAG_PASSWORD, or 127.0.0.1.")
    alone = not ray.is_initialized()
    if alone:
        for name, value in _ALONE.items():
            os.environ.setdefault(name, value)
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # else Ray writes one that other users of the machine can read
            os.environ.setdefault("RAY_AUTH_TOKEN", token_hex(32))
        ray.init(include_dashboard=False, log_to_driver=settings.log is not None)
    try:
        http = {"host": host, "port": port, "request_timeout_s": LONGEST_SECONDS}
        serve.start(http_options=http)
        serve.run(replicas_of(settings, options or ReplicaOptions()), name="korean-rag")
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        if alone:
            ray.shutdown()
