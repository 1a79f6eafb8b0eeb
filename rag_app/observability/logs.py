"""What programs log, on stderr: one event per line, in words or as JSON, without texts and without secrets.

The library logs through `logging` under ``rag_app`` and sets nothing up; a program calls `set_up_logging` once.
An event is a record's message; its figures come in ``extra={"figures": {...}}``.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Literal

from rag_app.observability.secret_words import without_secrets

Style = Literal["text", "json"]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Figure = str | int | float | bool | None
LIBRARY = "rag_app"


class _Line(logging.Formatter):
    """A record in one line. Of an exception it tells kind and place; its message may hold what a visitor wrote."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        figures: Mapping[str, object] = getattr(record, "figures", None) or {}
        event = {"time": when, "level": record.levelname, "logger": record.name, "event": record.getMessage()}
        return without_secrets(self.write({**event, **figures, **_what_failed(record)}))

    def write(self, event: Mapping[str, object]) -> str:
        """Return an event as a line."""
        time, level, logger, what, *more = event.items()
        figures = " ".join(f"{name}={value}" for name, value in more)
        return " ".join(f"{time[1]} {level[1]} {logger[1]}: {what[1]} {figures}".split())


class _Json(_Line):
    def write(self, event: Mapping[str, object]) -> str:
        return json.dumps(event, ensure_ascii=False, default=str)


STYLES: dict[Style, type[_Line]] = {"text": _Line, "json": _Json}


def set_up_logging(style: Style | None, level: Level = "INFO", *, stream: IO[str] | None = None) -> None:
    """Let this process write what the library logs to stderr; called again, it replaces what it did before.

    Args:
        style: ``text`` or ``json``; None leaves logging as it is.
        level: The least that is written.
        stream: Somewhere else than stderr.
    """
    if style is None:
        return
    logger = logging.getLogger(LIBRARY)
    ours = [handler for handler in logger.handlers if isinstance(handler.formatter, _Line)]
    logger.setLevel(level)
    if stream is None and any(type(handler.formatter) is STYLES[style] for handler in ours):
        return  # each visitor of the page asks for it again
    for handler in ours:
        logger.removeHandler(handler)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(STYLES[style]())
    logger.addHandler(handler)
    logger.propagate = False  # else a program with a handler of its own would write each line twice


def log_event(logger: logging.Logger, event: str, **figures: Figure) -> None:
    """Log that something happened, with its figures: counts, milliseconds, names of models; never a text."""
    logger.info(event, extra={"figures": figures})


def milliseconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return stage times as figures: ``encode_ms`` and so on."""
    return {f"{stage}_ms": round(spent * 1000, 1) for stage, spent in seconds.items()}


def _what_failed(record: logging.LogRecord) -> dict[str, object]:
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    kind, _, traceback = record.exc_info
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename}:{traceback.tb_lineno}:{code.co_name}")
        traceback = traceback.tb_next
    return {"error": kind.__name__, "at": places[-8:]}
