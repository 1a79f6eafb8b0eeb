import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from rag_app.loaded import Loaded


class Model:
    """Stands for a model, which can be weakly referred to."""


def counting(loads: list[str], name: str) -> Callable[[], Model]:
    def load() -> Model:
        loads.append(name)
        return Model()

    return load


def test_a_model_that_somebody_holds_is_never_loaded_again() -> None:
    loaded, loads = Loaded[Model](keep=1), list[str]()
    held = loaded.get("a", counting(loads, "a"))
    for name in "bcd":
        loaded.get(name, counting(loads, name))

    assert loaded.get("a", counting(loads, "a")) is held
    assert loads == ["a", "b", "c", "d"]


def test_the_last_ones_stay_although_nobody_holds_them() -> None:
    loaded, loads = Loaded[Model](keep=2), list[str]()
    for name in ("a", "b", "a", "c", "a", "b"):
        loaded.get(name, counting(loads, name))
        gc.collect()

    assert loads == ["a", "b", "c", "b"]


def test_threads_that_want_the_same_model_load_it_once() -> None:
    loaded, loads, together = Loaded[Model](), list[str](), Barrier(8)

    def want(_: int) -> Model:
        together.wait(10)
        return loaded.get("a", counting(loads, "a"))

    with ThreadPoolExecutor(8) as pool:
        models = set(pool.map(want, range(8)))

    assert (len(models), loads) == (1, ["a"])


def test_what_fails_is_tried_again() -> None:
    loaded, loads = Loaded[Model](), list[str]()

    def fail() -> Model:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        loaded.get("a", fail)
    loaded.get("a", counting(loads, "a"))

    assert loads == ["a"]


def test_clearing_lets_go_of_what_nobody_holds() -> None:
    loaded, loads = Loaded[Model](), list[str]()
    held = loaded.get("a", counting(loads, "a"))
    loaded.get("b", counting(loads, "b"))
    loaded.clear()
    gc.collect()
    for name in "ab":
        loaded.get(name, counting(loads, name))

    assert isinstance(held, Model)
    assert loads == ["a", "b", "b"]
