"""The child process of `tests.promises.test_no_code_from_data`: loads what was planted.

It reads a JSON list of (way of loading, folder) from stdin, and writes what came of each: the error's class, and what
an audit hook saw of code, processes, connections and libraries that come from a folder.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.embeddings import DeterministicFakeEmbedding

_PROCESSES = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect", "pty.spawn")
_CODE = ("exec", "compile", "import", "ctypes.dlopen", "runpy.run_path", "cpython.run_file")
_KNOWN_CLASSES = ("langchain", "datetime")

seen: list[str] = []
planted = ["<no folder>"]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        event in _PROCESSES
        or (event == "pickle.find_class" and not str(arguments[0]).startswith(_KNOWN_CLASSES))
        or (event in _CODE and any(planted[0] in _origin(argument) for argument in arguments))
    ):
        seen.append(f"{event} {arguments!r:.200}")


def _origin(argument: Any) -> str:
    return str(getattr(argument, "co_filename", argument if isinstance(argument, str) else ""))


def _embed(folder: Path) -> None:
    from rag_app.embeddings import load_embeddings

    load_embeddings(folder).embed_query("국회")


def _embed_onnx(folder: Path) -> None:
    from rag_app.embeddings import load_embeddings

    load_embeddings(folder, backend="onnx").embed_query("국회")


def _rerank(folder: Path) -> None:
    from langchain_core.documents import Document

    from rag_app.compressors import load_reranker

    load_reranker(folder).compress_documents([Document(page_content="국회는 서울에 있다.")], "국회")


def _train(folder: Path) -> None:
    from rag_app.models import load_cross_encoder

    load_cross_encoder(folder, device="cpu", new_head=True)


def _open(folder: Path) -> None:
    from rag_app.index import open_index
    from rag_app.retrieval import build_retriever

    build_retriever(open_index(folder, DeterministicFakeEmbedding(size=16), check=False)).invoke("국회")


def _open_by_name(folder: Path) -> None:
    from rag_app.index import open_index

    open_index(folder)


def _program(folder: Path) -> None:
    from rag_app.cli import main

    main(["search", "국회", "--index", str(folder)])


def _community(folder: Path) -> None:
    from rag_app.stores.community import import_community_index

    store = import_community_index(folder, DeterministicFakeEmbedding(size=16))
    store.save(folder / "saved")


def _checkpoint(folder: Path) -> None:
    """Resume as `finetune.training.fit` does."""
    import torch
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(output_dir=str(folder), use_cpu=True, report_to=[], max_steps=2)
    model = torch.nn.Linear(2, 2)
    trainer = Trainer(model=model, args=arguments, train_dataset=[{"x": torch.ones(2)}])
    trainer.create_optimizer_and_scheduler(2)
    trainer._load_rng_state(str(folder))
    trainer._load_optimizer_and_scheduler(str(folder))


WAYS: dict[str, Callable[[Path], None]] = {
    "embed": _embed,
    "embed_onnx": _embed_onnx,
    "rerank": _rerank,
    "train": _train,
    "open": _open,
    "open_by_name": _open_by_name,
    "program": _program,
    "community": _community,
    "checkpoint": _checkpoint,
}


def main() -> None:
    """Load each, and write what happened."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    cases = json.load(sys.stdin)
    if any(way in ("embed", "rerank", "train", "checkpoint") for way, _, needs_torch in cases if needs_torch):
        import sentence_transformers  # noqa: F401
        import transformers  # noqa: F401
    sys.addaudithook(_hook)
    for way, folder, _ in cases:
        seen.clear()
        planted[0] = folder
        try:
            WAYS[way](Path(folder))
            error = ""
        except Exception as problem:
            error = " ".join([*(kind.__name__ for kind in type(problem).__mro__), str(problem)])
        answers.write(json.dumps([error, seen]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
