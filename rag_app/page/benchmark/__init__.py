"""The view of the benchmark."""
