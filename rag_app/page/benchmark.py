"""The hit-rate benchmark, run from the page."""

from rag_app.index import Index
from rag_app.settings import Settings


def show_benchmark(index: Index, settings: Settings) -> None:
    """Show it."""
