"""The folder of a report: the page, Markdown, JSON, and TREC's files."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from eval.report.explorer import explorer_data
from eval.report.markdown import markdown_report
from eval.report.page import page
from eval.report.trec import qrels_lines, question_lines, run_lines
from eval.results import Results
from eval.saved import FILE, to_json
from rag_app.durable_files import write_text

_LONGEST = 100  # of a file's name


def write_report(results: Results, folder: Path) -> None:
    """Write a folder with everything that was found.

    In it are ``index.html``, ``report.md``, ``results.json`` and ``explorer.json`` with what the page shows of each
    question (see `eval.report.explorer`); and by protocol ``questions/NAME.jsonl``, ``qrels/NAME.txt`` and
    ``runs/NAME/SYSTEM.txt`` in TREC's format (see `eval.report.trec`). Each file is replaced in one step; what an
    earlier report has of other systems and protocols is removed.

    Args:
        results: Everything.
        folder: Made when missing.

    Raises:
        OSError: It cannot be written, as when the disk is full; what was there before is whole, file by file.
        ImportError: Jinja2 is not installed.
    """
    written = set()
    for name, text in _files(results):
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        except OSError as error:
            reason = f"{error.strerror}; the report is not complete. Free some space or allow writing"
            raise OSError(error.errno, reason, str(path)) from error
        written.add(path)
    for path in (*folder.glob("runs/*/*.txt"), *folder.glob("qrels/*.txt"), *folder.glob("questions/*.jsonl")):
        if path not in written:
            path.unlink()


def write_output(name: str, text: str) -> None:
    """Write a file, or to stdout where its name is ``-``."""
    if name == "-":
        sys.stdout.write(text)
    else:
        write_text(Path(name), text)


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name for each name, without its suffix: safe everywhere, readable and not twice the same."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        wanted = re.sub(r"[^\w.+-]+", "_", name)[:_LONGEST].strip(".") or "_"
        number, safe = 1, wanted
        while safe.casefold() in taken:  # some file systems take A for a
            number += 1
            safe = f"{wanted}-{number}"
        taken.add(safe.casefold())
        found[name] = safe
    return found


def _files(results: Results) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file, the page last: it is made from all that is there."""
    html = _writable(page(results))
    for protocol, result in results.protocols.items():
        yield f"questions/{protocol}.jsonl", _writable(question_lines(result.benchmark))
        yield f"qrels/{protocol}.txt", _writable(qrels_lines(result.benchmark))
        for name, file in file_names(result.systems).items():
            yield f"runs/{protocol}/{file}.txt", _writable(run_lines(result.systems[name].answers, name))
    yield "explorer.json", _writable(json.dumps(explorer_data(results), ensure_ascii=False, allow_nan=False))
    yield FILE, to_json(results)
    yield "report.md", _writable(markdown_report(results))
    yield "index.html", html


def _writable(text: str) -> str:
    """Return a text that UTF-8 can hold: half of a surrogate pair, as a text cut short may end in, becomes ``?``."""
    return text.encode("utf-8", "replace").decode("utf-8")
