"""Train all three models, one after the other, and run the benchmark on them.

    python -m finetune.all --recipe tutorial --output models
    python -m finetune.all --model embedded --sts-train korsts/ --train train.jsonl --validation validation.jsonl

The steps are finetune.sts, finetune.mrc (on the result of the first), finetune.cross_encoder (on what the second finds)
and eval.hit_rate; their folders in --output are sts, mrc and reranker. The same command again goes on where the last
one was interrupted: finished steps are left alone. Instead of a reranker that the gate rejects the benchmark has the
embedded one.

Without --sts-train a static model skips the first step. Without --reranker-model it skips the third, as the embedded
reranker serves it as it is; `--reranker-model embedded` fits that anew. Without --validation the benchmark asks the
questions that 'klue' and 'sample' set aside; those of a file have been trained on.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from finetune.cross_encoder import REJECTED_STATUS
from finetune.processes import refuse_processes
from finetune.run import CHECKPOINTS, RECORD, REJECTED
from rag_app.data.sources import NAMED
from rag_app.models import EMBEDDED, resolve_model

BENCHMARK = "eval.hit_rate"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps and return the exit status: that of the first that failed, 130 when interrupted, else 0."""
    # 1. Arguments
    parser = _parser()
    args = parser.parse_args(argv)
    refuse_processes(parser, "All steps are run")
    try:
        static = args.recipe != "tutorial" and resolve_model(args.model).kind == "static"
    except (OSError, ValueError) as error:
        parser.error(str(error))
    shared = [f"--recipe={args.recipe}", f"--seed={args.seed}", *([f"--device={args.device}"] if args.device else [])]
    sts, mrc, reranker = (args.output / name for name in ("sts", "mrc", "reranker"))

    # 2. Training
    model = args.model
    if args.sts_train or not static:
        data = _options("train", args.sts_train) + _options("validation", args.sts_validation)
        if status := _train("finetune.sts", sts, [f"--model={model}", *data, *shared]):
            return status
        model = str(sts)
    data = _options("train", args.train) + _options("validation", args.validation)
    if status := _train("finetune.mrc", mrc, [f"--model={model}", *data, *shared]):
        return status
    if base := args.reranker_model or (None if static else "klue/roberta-small"):
        # A linear reranker learns how far to trust the search, and this one knows its own training questions too well.
        apart = args.recipe == "tutorial" or base == EMBEDDED
        retriever = [] if apart else [f"--retriever={mrc}"]
        status = _train("finetune.cross_encoder", reranker, [f"--model={base}", *retriever, *data, *shared])
        if status not in (0, REJECTED_STATUS):
            return status

    # 3. Benchmark
    models = [f"--model={mrc}", f"--reranker={reranker if (reranker / RECORD).exists() else EMBEDDED}"]
    sources = args.validation or [source for source in args.train or ["klue"] if source in NAMED]
    if not sources:
        print("\nNo benchmark: give questions that were not trained on with --validation.")
    if args.recipe == "tutorial":
        models += [f"--base={sts}", "--protocol=both"]
    for number, source in enumerate(sources, start=1):
        others = _options("distractors", [*(args.train or ["klue"]), *(args.validation or [])])
        report = args.output / ("benchmark" if len(sources) == 1 else f"benchmark-{number}")
        if status := _run([BENCHMARK, f"--data={source}", *others, *models, f"--report={report}", "--overwrite"]):
            return status
    print(f"\nAll of it is in {args.output}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m finetune.all",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--recipe", choices=("default", "tutorial"), default="default", help="see the programs' --help")
    parser.add_argument(
        "--model", default="klue/roberta-base", metavar="NAME", help="to begin with (default: %(default)s)"
    )
    parser.add_argument(
        "--reranker-model", metavar="NAME", help="to begin with (default: klue/roberta-small; none with a static model)"
    )
    parser.add_argument("--sts-train", action="append", metavar="SOURCE", help="--train of finetune.sts; repeatable")
    parser.add_argument("--sts-validation", action="append", metavar="SOURCE", help="its --validation; repeatable")
    parser.add_argument("--train", action="append", metavar="SOURCE", help="--train of the other two; repeatable")
    parser.add_argument("--validation", action="append", metavar="SOURCE", help="their --validation; repeatable")
    parser.add_argument("--output", type=Path, default=Path("models"), metavar="DIR", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="(default: %(default)s)")
    parser.add_argument("--device", metavar="NAME", help="cpu or cuda; chosen if not given")
    return parser


def _options(name: str, values: Sequence[str] | None) -> list[str]:
    return [f"--{name}={value}" for value in values or ()]


def _train(program: str, output: Path, options: Sequence[str]) -> int:
    """Run a program, go on with its interrupted run, or leave a finished one alone; return the exit status."""
    if (output / CHECKPOINTS / RECORD).exists():
        return _run([program, f"--output={output}", "--resume"])
    if (output / RECORD).exists() or (output / REJECTED / RECORD).exists():
        print(f"{output} is finished and stays as it is.")
        return 0
    return _run([program, f"--output={output}", *options])


def _run(command: Sequence[str]) -> int:
    """Run a program to its end and return its exit status; Ctrl-C and SIGTERM are for the program to answer."""
    print(f"\n$ python -m {' '.join(command)}", flush=True)
    with subprocess.Popen([sys.executable, "-m", *command]) as process:  # noqa: S603
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while True:
                try:
                    status = process.wait()
                except KeyboardInterrupt:  # the terminal told the program too, and it may need time for a checkpoint
                    continue
                return status if status >= 0 else 128 - status
        finally:
            signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
