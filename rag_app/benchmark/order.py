"""What is to be measured, as the benchmark's options."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from rag_app.data.sources import NAMED
from rag_app.models import EMBEDDED
from rag_app.settings import NONE

PROTOCOLS = ("clean", "tutorial", "both")


class Order(NamedTuple):
    """A benchmark that somebody wants.

    Attributes:
        data: ``sample``, ``klue``, or the path of a file or folder.
        systems: Their names; the usual ones if empty.
        protocol: One of `PROTOCOLS`.
        limit: How many questions are drawn; None for all.
        base: The embedding model of `base` and `hybrid`.
        models: More embedding models, each ``[LABEL=]NAME``.
        reranker: None for none.
        indexes: Own indexes, each ``LABEL=FOLDER``.
    """

    data: str
    systems: tuple[str, ...] = ()
    protocol: str = "clean"
    limit: int | None = None
    base: str = EMBEDDED
    models: tuple[str, ...] = ()
    reranker: str | None = EMBEDDED
    indexes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the data are called: their name, or the last part of their path."""
        return self.data if self.data in NAMED else Path(self.data).name

    def options(self) -> list[str]:
        """Return the options of ``python -m eval.hit_rate``, without the systems and the data; see `measuring`."""
        # One word each: a value that begins with a dash is no option.
        return [
            f"--protocol={self.protocol}",
            f"--base={self.base}",
            f"--reranker={self.reranker or NONE}",
            *(f"--model={model}" for model in self.models),
            *(f"--index={index}" for index in self.indexes if self.protocol != "tutorial"),
        ]

    def measuring(self, report: Path) -> list[str]:
        """Return the options that measure it and write a report."""
        return [
            f"--data={self.data}",
            *self.options(),
            *([f"--systems={','.join(self.systems)}"] if self.systems else []),
            *([f"--limit={self.limit}"] if self.limit is not None else []),
            f"--report={report}",
        ]


def index_label(name: str) -> str:
    """Return the label under which an index is measured: its name, less what no label may have."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-") or "index"


def read_order(values: dict[str, Any]) -> Order:
    """Return what `Order._asdict` gave, after JSON made lists of its tuples.

    Raises:
        TypeError: It is something else.
    """
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Order(**given)
