"""The view of the articles of an index."""
