"""What the rerankers of `rag_app.compressors` are made of."""
