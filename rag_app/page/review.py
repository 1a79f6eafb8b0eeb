"""Feedback, reviewed before it becomes training data."""

from rag_app.index import Index
from rag_app.settings import Settings


def show_review(index: Index, settings: Settings) -> None:
    """Show it."""
