"""The articles of an index: uploads, changes, and an overview."""

from rag_app.index import Index
from rag_app.settings import Settings


def show_corpus(index: Index, settings: Settings) -> None:
    """Show it."""
