"""One loaded model per process, however many use it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from rag_app.forking import Lock

M = TypeVar("M")


class Loaded(Generic[M]):
    """Loaded models by what they were loaded with: one that anybody holds is never loaded again.

    Safe to share between threads; two that want the same model at once load it once.

    Args:
        keep: How many of those asked for last stay loaded when nobody holds them.
    """

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._kept: OrderedDict[Hashable, M] = OrderedDict()
        self._held: WeakValueDictionary[Hashable, M] = WeakValueDictionary()
        self._lock = Lock()

    def get(self, key: Hashable, load: Callable[[], M]) -> M:
        """Return the model under a key, loading it if it is not there; what fails to load is not remembered."""
        with self._lock:
            model = self._held.get(key)
            if model is None:
                model = self._held[key] = load()
            self._kept[key] = model
            self._kept.move_to_end(key)
            while len(self._kept) > self._keep:
                self._kept.popitem(last=False)
            return model

    def clear(self) -> None:
        """Let go of those that nobody holds."""
        with self._lock:
            self._kept.clear()
