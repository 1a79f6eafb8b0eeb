"""Hub models and data: taken from the local cache, downloaded once, or reported missing within seconds."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

TIMEOUT = 5.0  # seconds until an unreachable Hub is reported
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model"]
_IGNORED = ["onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*"]

Answer = TypeVar("Answer")


def download_model(repo: str, revision: str | None = None) -> Path:
    """Return the folder of a Hub model's snapshot; it is named by its commit.

    A snapshot in the local cache is used without asking the Hub. Only safetensors weights are downloaded.

    Args:
        repo: ``owner/name``.
        revision: A branch, tag or commit; the main branch if None.

    Raises:
        ConnectionError: The model is not in the cache and the Hub is switched off or out of reach.
        ValueError: The Hub does not have this model or revision, or not as safetensors.
    """
    from huggingface_hub import HfApi, is_offline_mode
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    cached = _cached(repo, revision)
    if cached is not None:
        return cached
    label, option = (f"{repo}@{revision}", f" --revision {revision}") if revision else (repo, "")
    remedy = (
        f"Download it once where there is a network (hf download {repo}{option}), or name a local folder or 'embedded'."
    )
    if is_offline_mode():
        raise ConnectionError(
            f"The Hub model {label!r} is not in the local cache, and HF_HUB_OFFLINE forbids asking the Hub. "
            f"Unset HF_HUB_OFFLINE. {remedy}"
        )
    try:
        # Asked first and once: a download would go on retrying before it says that there is no network.
        info = _in_time(lambda: HfApi().model_info(repo, revision=revision, timeout=TIMEOUT))
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ValueError(
            f"There is no folder {label!r}, and the Hub has no such model or revision, or keeps it private: {error}"
        ) from error
    except network_errors() as error:
        raise ConnectionError(
            f"There is no folder {label!r}, no such Hub model is in the local cache, and the Hub cannot be reached "
            f"({type(error).__name__}: {error}). {remedy}"
        ) from error
    if not any(file.rfilename.endswith(".safetensors") for file in info.siblings or ()):
        raise ValueError(f"The Hub model {label!r} has no safetensors weights, and pickled weights are not loaded.")
    return _snapshot(repo, info.sha, local_files_only=False)


def check_dataset(repo: str, revision: str | None = None) -> None:
    """Fail at once where the datasets library would retry for half a minute before it says that there is no network.

    Raises:
        ConnectionError: The Hub is out of reach. Where it is switched off, datasets looks into its cache alone.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        _in_time(lambda: HfApi().dataset_info(repo, revision=revision, timeout=TIMEOUT))
    except (HfHubHTTPError, OfflineModeIsEnabled):  # the Hub answered; or only the cache will be looked into
        return
    except network_errors() as error:
        raise ConnectionError(str(error)) from error


def cached_only() -> str:
    """Return what to do with ``HF_HUB_OFFLINE`` about data that are not to be had."""
    from huggingface_hub import is_offline_mode

    return (
        "HF_HUB_OFFLINE is set and nothing is in the cache: unset it to download"
        if is_offline_mode()
        else "with a copy in the cache set HF_HUB_OFFLINE=1"
    )


def _in_time(ask: Callable[[], Answer]) -> Answer:
    """Return what the Hub answers.

    The client's own limit holds for each step of a request: not for looking up the Hub's address, and not for a server
    that sends a byte now and then.

    Raises:
        TimeoutError: It has not answered in `TIMEOUT` seconds, whatever it does meanwhile.
    """
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    # A daemon: what hangs in a look-up cannot be stopped, and the program does not wait for it.
    threading.Thread(target=run, name="ask-hub", daemon=True).start()
    try:
        return answer.result(TIMEOUT)
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {TIMEOUT:g} seconds") from error


def _cached(repo: str, revision: str | None) -> Path | None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = _snapshot(repo, revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    # Other programs leave snapshots that hold a configuration only.
    return folder if any(folder.rglob("*.safetensors")) else None


def _snapshot(repo: str, revision: str | None, *, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        repo,
        revision=revision,
        local_files_only=local_files_only,
        allow_patterns=_WANTED,
        ignore_patterns=_IGNORED,
    )
    return Path(folder)


def network_errors() -> tuple[type[Exception], ...]:
    """Return what the Hub's client raises when a request fails: its HTTP library differs between versions."""
    from huggingface_hub import utils

    library = getattr(utils, "httpx", None)
    return (OSError,) if library is None else (OSError, library.HTTPError)
