"""A working day without a network, in a process of its own: ``python -m tests.promises.offline_run FOLDER [PART...]``.

Prints one line of JSON: what ran, which connections Python itself tried to make, and how many packets to elsewhere the
kernel had no way for. The second number holds whatever asked for them, native libraries among them, where the process
has a network of its own without any way out (``unshare --net``).
"""

import contextlib
import importlib
import io
import json
import os
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

QUESTION = "한빛 3호의 태양전지판은 언제 완전히 열렸나요?"
_PASSED_ON = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
_tried: list[str] = []
_Command = Callable[[list[str]], int | None]


def refuse_sockets() -> None:
    """Let Python open no socket to any host from here on; for good, as audit hooks cannot be removed."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _PASSED_ON:
            return
        wanted = arguments[1] if event in ("socket.connect", "socket.bind", "socket.sendto") else arguments[0]
        if isinstance(wanted, str | bytes) and event in ("socket.connect", "socket.bind"):
            return  # the path of a Unix socket
        _tried.append(f"{event} {wanted!r}")
        raise PermissionError(f"{event} {wanted!r}: there is no network today")

    sys.addaudithook(refuse)


def unroutable() -> int | None:
    """Return how many packets this network namespace could not send anywhere; None if the system does not tell."""
    total = 0
    try:
        lines = Path("/proc/self/net/snmp").read_text("ascii").splitlines()
    except OSError:
        return None
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        counts = dict(zip(names.split()[1:], values.split()[1:], strict=True))
        total += sum(int(counts.get(name, 0)) for name in ("OutNoRoutes", "ActiveOpens", "OutDatagrams"))
    return total


def command_line(folder: Path) -> int:
    """Index the sample, check it, search and ask it from the command line."""
    from rag_app.cli import main

    index = ["--index", str(folder / "index")]
    commands = [
        ["index", "sample", "--quiet", *index],
        ["check", *index],
        ["search", QUESTION, *index],
        ["ask", QUESTION, *index],
        ["ask", QUESTION, "--reranker", "none", "--json", *index],
        ["add", str(_article(folder)), "--quiet", *index],
        ["delete", "no-such-document", *index],
    ]
    for command in commands:
        _run(main, command, allowed=(0, 3))
    return len(commands)


def chain(folder: Path) -> int:
    """Chat: a question and one that goes on from it, at once, in a stream, in a batch, and asynchronously."""
    import asyncio

    from rag_app import build_chain, build_retriever, load_embeddings, load_reranker, open_index

    index = open_index(folder / "index")
    answers = build_chain(build_retriever(index, compressor=load_reranker()), embeddings=load_embeddings())
    first = answers.invoke({"question": QUESTION})
    history = [("human", QUESTION), ("ai", first["answer"])]
    asked: list[dict[str, Any]] = [{"question": "그럼 발사는요?", "history": history}, {"question": QUESTION}]
    assert first["documents"]
    assert list(answers.stream(asked[0]))
    assert len(answers.batch(asked)) == len(asked)
    assert asyncio.run(answers.ainvoke(asked[1]))["answer"]
    return 5


def page(folder: Path) -> int:
    """Open every view of the page and ask in the chat."""
    from streamlit.testing.v1 import AppTest

    import streamlit_app

    os.environ |= {"RAG_INDEX": str(folder / "index"), "RAG_HOME": str(folder / "home")}
    app = AppTest.from_file(str(Path(streamlit_app.__file__)), default_timeout=60).run()
    assert not app.exception
    app.chat_input[0].set_value(QUESTION).run()
    assert not app.exception
    return 2


def evaluation(folder: Path) -> int:
    """Measure retrieval on the sample, with the report and its plots."""
    from eval.hit_rate import main

    _run(main, ["--data", "sample", "--systems", "lexical", "--report", str(folder / "report")])
    return 1


def imports(_: Path) -> int:
    """Import every module of the three packages."""
    import eval as eval_package
    import finetune
    import rag_app

    names = [
        module.name
        for package in (rag_app, finetune, eval_package)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    for name in names:
        importlib.import_module(name)
    return len(names)


def models(folder: Path) -> int:
    """Load a local model of every kind and use it."""
    from rag_app import load_embeddings, load_reranker
    from rag_app.models import resolve_model

    used = 0
    for path in sorted((folder / "models").iterdir()):
        kind = resolve_model(path).kind
        if kind in ("cross-encoder", "linear-reranker"):
            load_reranker(path)
        else:
            load_embeddings(path).embed_query(QUESTION)
        used += 1
    load_embeddings("owner/cached").embed_query(QUESTION)  # of the Hub, and here already
    return used + 1


def training(folder: Path) -> int:
    """Train an embedding model and a reranker for a few steps."""
    from finetune import cross_encoder, sts

    steps = ["--max-steps", "2", "--batch-size", "4", "--eval-steps", "2", "--device", "cpu"]
    model = ["--model", "owner/cached"]
    _run(sts.main, [*model, *steps, "--train", str(folder / "sts.json"), "--output", str(folder / "sts")])
    _run(
        cross_encoder.main,
        [*model, *steps, "--train", str(folder / "mrc.json"), "--output", str(folder / "reranker")],
        allowed=(0, 1, 3),  # so few steps may not make it better, and then it is not kept
    )
    return 2


PARTS: dict[str, Callable[[Path], int]] = {
    "command line": command_line,
    "chain": chain,
    "page": page,
    "evaluation": evaluation,
    "models": models,
    "training": training,
    "imports": imports,
}


def main(folder: Path, parts: list[str]) -> None:
    """Do some parts of the day, all if none is named, and print what came of it."""
    refuse_sockets()
    done = {}
    for part in parts or list(PARTS):
        with _quiet() as said:
            try:
                done[part] = PARTS[part](folder)
            except BaseException as error:
                error.add_note(said.getvalue()[-3000:])
                raise
    threads = sorted(thread.name for thread in threading.enumerate())
    result = {"done": done, "tried": _tried, "unroutable": unroutable(), "threads": threads}
    sys.stdout.write(json.dumps(result) + "\n")


def _article(folder: Path) -> Path:
    path = folder / "article.txt"
    path.write_text("국회는 내년 예산안을 의결했다. 기상청은 주말에 비가 온다고 예보했다.", "utf-8")
    return path


def _run(main: _Command, arguments: list[str], allowed: tuple[int, ...] = (0,)) -> None:
    status = main(arguments)
    if (status or 0) not in allowed:
        raise AssertionError(f"{' '.join(arguments)} ended with status {status}")


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    with io.StringIO() as said, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
