import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from eval import machine as module
from eval.machine import machine


def test_the_machine_says_how_many_cores_and_threads_there_are() -> None:
    assert machine()["cores"] >= 1
    assert machine()["faiss_threads"] >= 1


def test_the_device_is_that_of_torch_where_torch_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert machine()["device"] == "CPU"
    cuda = SimpleNamespace(is_available=lambda: True, get_device_name=lambda: "A device")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, get_num_threads=lambda: 3))
    assert (machine()["device"], machine()["torch_threads"]) == ("A device", 3)


def test_the_processor_goes_by_its_name_or_its_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine()["processor"]
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A processor at 2 GHz\n")
    assert machine()["processor"] == "A processor at 2 GHz"
