"""Transformers on onnxruntime: exported once, checked, and served without PyTorch."""
