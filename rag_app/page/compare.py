"""Several systems answer one question side by side."""

from rag_app.index import Index
from rag_app.settings import Settings


def show_compare(index: Index, settings: Settings) -> None:
    """Show it."""
