"""The benchmark: what each retrieval system finds, and how long it takes."""
