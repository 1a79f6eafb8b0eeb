"""The hit-rate benchmark from outside: started as a program of its own, watched, and read when it is finished.

``rag_app`` does not import ``eval``: it runs ``python -m eval.hit_rate`` and reads the files that this writes.
"""
