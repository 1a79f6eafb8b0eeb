"""Measure how quick search is, against the tutorial's loop and against others, on this machine.

    python -m eval.speed
    python -m eval.speed --data odqa_ko --json speed.json
    python -m eval.speed --embedding models/mrc --reranker models/reranker --data validation.jsonl
    python -m eval.speed --parts sizes --sizes 10000,100000,1000000 --plot speed.svg
    taskset -c 0-3 python -m eval.speed    (on four cores only)

Parts:
  same_weights  the tutorial's loop (one question at a time: encode, flat L2 search, 30 pairs, predict; float32)
                against ours, with the same transformer weights, machine, questions and passages. The weights are
                random unless named: they take the time of real ones. Exactness is then judged on the scores
  quality       the embedded models with the default reranking against scoring all 30 in full
  default       the embedded models answering questions against the loop encoding them alone
  cold_start    from the start of a process to its first answer
  peers         beside FAISS, EnsembleRetriever and CrossEncoderReranker of LangChain, on the same models; needs
                pip install 'korean-rag[community]', and without it shows ours alone
  sizes         indexing, memory, time and recall as the corpus grows

What is compared is measured in turns, round by round; figures are medians, with the lowest and highest round. Times
hold for this machine only. Ctrl-C stops it: what is measured until then is shown and written.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eval.options import INTERRUPTED
from eval.preparing import timing
from eval.report.folder import write_output
from eval.timing.beside_peers import measure_peers
from eval.timing.cold import measure_cold_starts
from eval.timing.curve import cost_curve
from eval.timing.defaults import measure_default_quality, measure_default_speed
from eval.timing.options import check, parser
from eval.timing.record import begin, finish
from eval.timing.report import text_report
from eval.timing.same_weights import measure_same_weights
from eval.timing.setup import Found, Setup, load_setup
from eval.timing.sizes import measure_sizes

PARTS: dict[str, Callable[[Setup, Found], None]] = {
    "same_weights": measure_same_weights,
    "quality": measure_default_quality,
    "default": measure_default_speed,
    "cold_start": measure_cold_starts,
    "peers": measure_peers,
    "sizes": measure_sizes,
}
"""By name, in the order in which they are measured."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement and return the exit status: 0, or 130 when it was interrupted."""
    # 1. Arguments and data: whatever is wrong with them shows before anything slow begins
    given = sys.argv[1:] if argv is None else list(argv)
    program = parser(__doc__, PARTS, quick="--quick" in given)
    arguments = program.parse_args(given)
    say = partial(print, file=sys.stderr if arguments.json == "-" else sys.stdout, flush=True)
    report: dict[str, Any] = {}
    interruption: BaseException | None = None
    with TemporaryDirectory(prefix="speed-") as folder:
        try:
            try:
                check(arguments)
                setup = load_setup(arguments, Path(folder))
            except (ImportError, OSError, ValueError) as error:
                program.error(str(error))
            report = begin(arguments, given)

            # 2. Parts
            for name in arguments.parts:
                print(f"Measuring {name}", file=sys.stderr)
                with timing(report["seconds"], name):
                    PARTS[name](setup, report.setdefault(name, {}))
        except (KeyboardInterrupt, Exception) as error:  # what is finished is shown before anything else
            interruption = error

    # 3. Report
    if report:
        finish(report, complete=interruption is None)
        _write(report, arguments)
        say(text_report(report))
    if interruption is not None:
        missing = [name for name in arguments.parts if name not in report.get("seconds", {})]
        print(f"\nInterrupted. Not finished: {', '.join(missing)}.", file=sys.stderr)
        if isinstance(interruption, Exception):
            raise interruption
        return INTERRUPTED
    return 0


def _write(report: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        write_output(arguments.json, json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    if arguments.plot and (curve := cost_curve(report.get("sizes", {}))):
        write_output(arguments.plot, curve)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops the program wants what is finished, too
    sys.exit(main())
