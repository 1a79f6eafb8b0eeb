"""What a loader makes of a file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rag_app.files.tables import Columns

Record = dict[str, Any]
"""``text``, or the parts (`rag_app.files.places.Part`) that make it up as ``parts``, and where the file says so
``title``, ``date``, ``section``, ``source``, ``url`` and other fields."""

Loader = Callable[[Path, Columns], Iterator[Record]]
"""Raises ValueError for a file it cannot read."""
