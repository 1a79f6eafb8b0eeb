"""Serving replicas: one retriever behind an HTTP API, as often as it takes, over an index that all of them read."""
