"""Ray, or how to install it."""

try:
    import ray as ray
    from ray import serve as serve
except ModuleNotFoundError as error:
    raise ImportError("Replicas need Ray Serve. Install: pip install 'korean-rag[ray]'") from error
