"""Indexes too large for memory: documents, metadata and vectors on disk, memory-mapped."""
