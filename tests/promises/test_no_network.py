"""Nothing goes onto the network that nobody asked for; what is missing without one is told at once, with its remedy."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
import pytest

from eval import hit_rate, mteb_tasks
from finetune import cross_encoder, mrc, sts
from rag_app.cli import main as rag_app
from rag_app.compressors import load_reranker
from rag_app.data.sources import klue_rows
from rag_app.embeddings import load_embeddings
from rag_app.models import load_cross_encoder, load_sentence_transformer, load_static_model
from tests.promises.offline_run import PARTS
from tests.reliability import Promised

pytestmark = pytest.mark.promise(8)

CHECKOUT = Path(__file__).parents[2]
SHORT = ("command line", "chain", "page")
# urllib3 asks the system, when it is imported, whether it knows IPv6: it binds a socket to the loopback address, closes
# it at once, and sends nothing.
HARMLESS = {"socket.bind ('::1', 0)"}
AT_ONCE = 2.0
"""Seconds in which a missing model has to be reported."""


@pytest.fixture(scope="module")
def cut_off() -> list[str]:
    """What runs a command in a network of its own that leads nowhere."""
    command = ["unshare", "--map-root-user", "--net"]
    if shutil.which(command[0]) is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody make a network namespace (unshare --net)")
    return command


def provide(folder: Path, request: pytest.FixtureRequest) -> None:
    """Put what a long day's work needs into a folder: a model of every kind, one in a Hub cache, and training data."""
    for name in ("static", "transformer", "sentence_transformer", "cross_encoder", "linear_reranker"):
        shutil.copytree(request.getfixturevalue(f"tiny_{name}"), folder / "models" / name)
    cached = folder / "hf" / "hub" / "models--owner--cached"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40, "utf-8")
    shutil.copytree(folder / "models" / "transformer", cached / "snapshots" / ("0" * 40))
    for name in ("sts", "mrc"):
        shutil.copy(request.getfixturevalue(f"klue_{name}"), folder / f"{name}.json")


def offline_run(command: list[str], folder: Path, *parts: str) -> dict[str, Any]:
    """Do parts of a day's work in a child process and return what it says of it."""
    settings = ("RAG_", "HF_", "LANGSMITH_", "LANGCHAIN_", "TRANSFORMERS_", "OPENAI_", "OTEL_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    environment |= {"HF_HOME": str(folder / "hf"), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.promises.offline_run", str(folder), *parts],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_a_whole_day_opens_no_socket(
    cut_off: list[str], tmp_path: Path, promised: Promised, request: pytest.FixtureRequest
) -> None:
    parts: tuple[str, ...] = SHORT
    if promised.times(0, 1):
        parts = tuple(PARTS)
        provide(tmp_path, request)

    day_s_work = offline_run(cut_off, tmp_path, *parts)

    assert set(day_s_work["done"]) == set(parts)
    assert set(day_s_work["tried"]) <= HARMLESS
    assert day_s_work["unroutable"] == 0, "something below Python tried to reach the network"
    promised.tried(sum(day_s_work["done"].values()), "steps of work without a network")
    promised.measured("sockets connected by Python", str(len(set(day_s_work["tried"]) - HARMLESS)))
    promised.measured("packets that left for another host, as the kernel counted", str(day_s_work["unroutable"]))


@pytest.mark.parametrize(
    ("attempt", "seen"),
    [
        ("import socket; socket.getaddrinfo('example.com', 443)", True),
        ("import socket; socket.create_connection(('192.0.2.1', 443))", True),
        ("import ctypes; c = ctypes.CDLL(None); s = c.socket(2, 1, 0); c.connect(s, bytes.fromhex("
        "'020001bbc0000201') + bytes(8), 16)", False),
    ],
    ids=["name", "address", "from C"],
)  # fmt: skip
def test_an_attempt_would_be_seen(cut_off: list[str], attempt: str, seen: bool) -> None:
    code = f"""
import contextlib
from tests.promises import offline_run
before = offline_run.unroutable()
with contextlib.suppress(OSError):
    {attempt}
assert offline_run.unroutable() > before, "the kernel did not count it"
offline_run.refuse_sockets()
with contextlib.suppress(OSError):
    {attempt}
assert bool(offline_run._tried) == {seen}, offline_run._tried
"""
    subprocess.run([*cut_off, sys.executable, "-c", code], cwd=CHECKOUT, check=True)


class Missing(NamedTuple):
    """A way to ask for what is not on this machine, and what to do about it.

    Attributes:
        ask: Given a folder to write to.
        remedy: What the error says, or what is printed.
    """

    ask: Callable[[Path], object]
    remedy: str


MODEL, DATA = "hf download owner/model", "local copy of its json file"
MISSING = {
    "load_embeddings": Missing(lambda _: load_embeddings("owner/model"), MODEL),
    "load_reranker": Missing(lambda _: load_reranker("owner/model"), MODEL),
    "load_static_model": Missing(lambda _: load_static_model("owner/model"), MODEL),
    "load_sentence_transformer": Missing(lambda _: load_sentence_transformer("owner/model@v1"), MODEL),
    "load_cross_encoder": Missing(lambda _: load_cross_encoder("owner/model@v1"), MODEL),
    "rag-app index": Missing(
        lambda to: rag_app(["index", "sample", "--index", str(to), "--model", "owner/model"]), MODEL
    ),
    "rag-app index klue": Missing(lambda to: rag_app(["index", "klue", "--index", str(to)]), DATA),
    "finetune.sts": Missing(lambda to: sts.main(["--output", str(to)]), DATA),
    "finetune.mrc": Missing(lambda to: mrc.main(["--output", str(to)]), "hf download klue/roberta-base"),
    "finetune.cross_encoder": Missing(
        lambda to: cross_encoder.main(["--output", str(to)]), "hf download klue/roberta-small"
    ),
    "eval.hit_rate": Missing(lambda to: hit_rate.main(["--data", "klue", "--report", str(to)]), DATA),
    "KLUE-STS": Missing(lambda _: list(klue_rows("sts", "train")), DATA),
}


@pytest.fixture(params=["switched off", "refused", "name unknown"])
def hub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hub that cannot be had, and an empty cache."""
    endpoints = {"switched off": "https://huggingface.co", "refused": "http://127.0.0.1:9"}
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", request.param == "switched off")
    monkeypatch.setattr(
        huggingface_hub.constants, "ENDPOINT", endpoints.get(request.param, "https://huggingface.invalid")
    )


@pytest.fixture(scope="module")
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the programs import and load before they look for anything; how long that takes is the machine's."""
    import datasets  # noqa: F401
    import sentence_transformers  # noqa: F401

    rag_app(["index", "sample", "--quiet", "--index", str(tmp_path_factory.mktemp("first") / "index")])


@pytest.mark.usefixtures("hub", "_imported")
@pytest.mark.parametrize("way", MISSING)
def test_what_is_missing_is_told_at_once_with_the_remedy(
    way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], promised: Promised
) -> None:
    missing = MISSING[way]
    started = time.perf_counter()

    with pytest.raises((ConnectionError, SystemExit)) as raised:  # noqa: PT012
        if missing.ask(tmp_path / "new") == 1:
            raise SystemExit(1)

    seconds = time.perf_counter() - started
    assert seconds < AT_ONCE
    assert missing.remedy in str(raised.value) + capsys.readouterr().err
    left = [path for path in (tmp_path / "new").rglob("*") if path.name != "write.lock"]
    assert not left, "nothing is left behind of what never began"
    promised.tried(1, "ways to miss a model or data")


@pytest.mark.usefixtures("hub", "_imported")
def test_a_task_whose_data_are_missing_is_told_at_once(promised: Promised) -> None:
    pytest.importorskip("mteb", reason="the mteb extra is not installed")
    if not promised.times(0, 1):
        pytest.skip("mteb takes seconds to import: make torture does")
    task = mteb_tasks.korean_task("Ko-StrategyQA")
    started = time.perf_counter()

    with pytest.raises(ConnectionError, match=r"Run it once where there is a network"):
        mteb_tasks._load_data(task)

    assert time.perf_counter() - started < AT_ONCE
    promised.tried(1, "ways to miss a model or data")


def test_the_programs_send_no_usage_statistics() -> None:
    import tomllib

    config = tomllib.loads((CHECKOUT / ".streamlit" / "config.toml").read_text("utf-8"))
    assert config["browser"]["gatherUsageStats"] is False
    reporting = [
        path
        for package in ("finetune", "eval")
        for path in (CHECKOUT / package).rglob("*.py")
        if "TrainingArguments(" in (text := path.read_text("utf-8")) and "shared_arguments" not in text
    ]
    assert not reporting, "only finetune.training.shared_arguments says that nothing is reported to anybody"
