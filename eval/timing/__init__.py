"""The parts of `python -m eval.speed`."""
