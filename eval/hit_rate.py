"""Measure hit rate, MRR, nDCG and time of the retrieval systems on questions with known answers.

    python -m eval.hit_rate
    python -m eval.hit_rate --data klue-mrc-v1.1_dev.json --model models/mrc --reranker models/reranker --protocol both
    python -m eval.hit_rate --data validation.jsonl --distractors train.jsonl --robustness --scaling --report reports/a
    python -m eval.hit_rate --retriever mine=my_module:make_retriever --index news
    python -m eval.hit_rate --compare reports/a reports/b

The systems are `bigrams`, `morphemes` and `lexical` (both), `base` (vectors of the embedded model) and `hybrid`
(lexical and vectors); with --model also `tuned` and `tuned+hybrid`; these again as `+rerank`, unless --reranker is
none. They are built as in serving. Health checks of the data come first. Times are of questions asked one at a time
after a warm-up; loading models and building indexes are reported apart.
"""

import argparse
import signal
import sys
from functools import partial

from eval import options
from eval.benchmarking import Benchmarking
from eval.compare import compare_text
from eval.details import describe_run
from eval.gate import gate, gate_text
from eval.identity import identity
from eval.machine import load_average
from eval.preparing import Say, Setup, possible_systems, prepare
from eval.report.folder import write_output, write_report
from eval.report.screen import text_report
from eval.results import Results
from eval.run_folder import RunFolder
from eval.saved import parse_saved, read_saved, to_json

FELL = 3


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status: 0; 3 when the gate closed; 130 when it was interrupted."""
    # 1. Arguments
    parser = options.parser(__doc__)
    arguments = parser.parse_args(argv)
    say = partial(print, file=sys.stderr if arguments.json == "-" else sys.stdout, flush=True)
    benchmarking: Benchmarking | None = None
    folder: RunFolder | None = None
    interruption: BaseException | None = None
    try:
        # 2. Data and models: whatever is wrong with them shows before anything slow begins
        try:
            if arguments.compare:
                say(compare_text(*map(read_saved, arguments.compare)))
                return 0
            if arguments.systems == ("list",):
                say("\n".join(possible_systems(arguments)))
                return 0
            options.check(arguments)
            baseline = read_saved(arguments.gate) if arguments.gate else None
            setup = prepare(arguments, say)
            folder = _begin_folder(setup, arguments)
        except (ImportError, OSError, ValueError) as error:
            parser.error(str(error))

        # 3. Systems
        details = describe_run(arguments, argv)
        journals = folder.journal if folder else _nowhere
        benchmarking = Benchmarking(setup, arguments, journals=journals, say=say)
        benchmarking.run()
    except (KeyboardInterrupt, Exception) as error:  # what is finished is shown before anything else
        interruption = error
    if benchmarking is None:
        return _stop(interruption, "nothing is measured yet", folder)

    # 4. Report
    try:
        details["machine"] |= load_average("load_average_at_end")
        results = benchmarking.results(details)
        _show(results, arguments, say)
        if folder and interruption is None:
            write_report(results, folder.path)
            folder.finish()
            say(f"\nReport: {folder.path / 'index.html'}")
    except (KeyboardInterrupt, OSError) as error:
        interruption = interruption or error
    if interruption is not None:
        missing = ", ".join(benchmarking.missing())
        return _stop(interruption, f"not measured: {missing}" if missing else "not all of it is written", folder)

    # 5. Gate
    if baseline:
        verdict = gate(baseline, parse_saved(to_json(results)))
        say(f"\n{gate_text(verdict)}")
        return 0 if verdict.ok else FELL
    return 0


def _show(results: Results, arguments: argparse.Namespace, say: Say) -> None:
    """Show what was found, and write it as JSON where that is asked for; nothing if nothing was."""
    if results.protocols:
        say(f"\n{text_report(results)}")
        if arguments.json:
            write_output(arguments.json, to_json(results))


def _begin_folder(setup: Setup, arguments: argparse.Namespace) -> RunFolder | None:
    if not arguments.report:
        return None
    folder = RunFolder.begin(arguments.report, identity(setup, arguments), overwrite=arguments.overwrite)
    if folder.resumed:
        print(f"Going on with the benchmark that was interrupted in {folder.path}", file=sys.stderr)
    return folder


def _stop(interruption: BaseException | None, missing: str, folder: RunFolder | None) -> int:
    """Say what is missing, and return the status of an interruption from outside; raise an error again."""
    if folder:
        folder.release()
    kept = " The same command goes on from there." if folder else ""
    print(f"\nInterrupted: {missing}.{kept}", file=sys.stderr)
    if isinstance(interruption, Exception):
        raise interruption
    return options.INTERRUPTED


def _nowhere(*names: str) -> None:
    return None


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops the program wants what is finished, too
    sys.exit(main())
