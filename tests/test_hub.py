"""Whatever the Hub does instead of answering, it is waited for only so long."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import huggingface_hub
import pytest

from finetune import cross_encoder
from rag_app import hub
from rag_app.data.sources import klue_rows


@pytest.fixture
def dripping(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that sends the beginning of an answer, then a byte now and then, and never its end."""
    ended = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
                while not ended.wait(0.05):
                    connection.sendall(b" ")

    thread = threading.Thread(target=serve)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
    yield "owner/model"
    ended.set()
    server.close()
    thread.join()


@pytest.mark.fault(
    8, "A Hub that sent a byte now and then, or a slow look-up of its address, was waited for endlessly."
)
def test_a_hub_that_keeps_talking_without_an_answer_is_given_up(dripping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TIMEOUT", 0.5)
    started = time.monotonic()

    with pytest.raises(ConnectionError, match=r"cannot be reached \(TimeoutError: no answer within 0\.5 seconds\)"):
        hub.download_model(dripping)

    assert time.monotonic() - started < 2


@pytest.mark.fault(
    8, "A reranker's training whose base model could not be had ended in a traceback and left a run behind."
)
def test_a_missing_base_model_is_explained_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    for _ in range(2):  # the second time it used to be told of an interrupted run
        with pytest.raises(SystemExit) as ended:
            cross_encoder.main(["--output", str(tmp_path / "run")])  # klue/roberta-small
        assert ended.value.code == 2
        assert "Unset HF_HUB_OFFLINE" in capsys.readouterr().err

    assert not (tmp_path / "run").exists()


@pytest.mark.fault(8, "Whoever had set HF_HUB_OFFLINE and missed a data set was told to set HF_HUB_OFFLINE.")
@pytest.mark.parametrize(("offline", "remedy"), [(True, "unset it to download"), (False, "set HF_HUB_OFFLINE=1")])
def test_the_remedy_for_missing_data_fits_the_mode(
    offline: bool, remedy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets", reason="the train extra is not installed")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")

    def missing(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(datasets, "load_dataset", missing)

    with pytest.raises(ConnectionError, match=remedy):
        list(klue_rows("mrc", "validation"))
