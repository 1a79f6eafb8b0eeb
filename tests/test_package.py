import subprocess
import sys
from importlib import import_module

import pytest

import rag_app

PROBE = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("opened a socket")
socket.socket = refuse
import rag_app
heavy = {"torch", "faiss", "tantivy", "kiwipiepy", "langchain_core", "transformers", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_importing_loads_nothing_heavy_and_opens_no_socket() -> None:
    subprocess.run([sys.executable, "-c", PROBE], check=True)


@pytest.mark.parametrize("name", rag_app.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(rag_app, name).__name__ == name
    assert name in dir(rag_app)


def test_searching_and_answering_need_no_torch() -> None:
    for module in ("rag_app.retrieval", "rag_app.chain", "rag_app.embeddings", "rag_app.cli"):
        code = f"import sys, {module}; assert 'torch' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert import_module(module).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_this"):
        rag_app.nothing_like_this  # noqa: B018
