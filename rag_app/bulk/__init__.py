"""Indexing on many machines, with Ray Data."""
