"""Running a benchmark from its setup to its results, and what there is of them when it is interrupted."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eval.asking import WORKERS, ask_at_once
from eval.health.checking import check_search, check_setup
from eval.health.questions import text
from eval.measuring import Journals, compare_systems, intervals, measure_flat, measure_system, score
from eval.preparing import Say, Setup, timing
from eval.protocols import Benchmark, corpus_sizes, needed_passages, shrink
from eval.results import Finding, Interval, ProtocolResult, Results, Scaling, Scores, Slice, SystemResult
from eval.room import Room
from eval.slices.asked_otherwise import asked_otherwise
from eval.slices.scores import changed_slices, property_slices
from eval.systems import RERANK, System, build_indexes, build_system, needed_models
from eval.tutorial import FlatRetriever, build_flat


class Benchmarking:
    """A benchmark that runs; what is finished can be had at any time.

    Args:
        setup: See `eval.preparing.prepare`.
        arguments: Those of ``python -m eval.hit_rate``.
        journals: Where answers are kept.
        say: Shows a line to whoever waits.
    """

    def __init__(self, setup: Setup, arguments: argparse.Namespace, *, journals: Journals, say: Say) -> None:
        self._setup = setup
        self._arguments = arguments
        self._k: int = arguments.k
        self._journals = journals
        self._say = say
        self._seconds = dict(setup.seconds)
        self._systems: dict[str, dict[str, SystemResult]] = {protocol: {} for protocol in setup.benchmarks}
        self._health: list[Finding] = []
        self._slices: list[Slice] = []
        self._scaling: Scaling | None = None
        self._asked_otherwise = False
        self._complete = False

    def run(self) -> None:
        """Measure everything."""
        self._report_health(check_setup(self._setup, self._arguments))
        if "clean" in self._setup.benchmarks:
            store = self._arguments.store
            with TemporaryDirectory(prefix="hit_rate-") if store is None else Room(store) as place:
                self._run_clean(self._setup.benchmarks["clean"], Path(place) if isinstance(place, str) else place)
        if "tutorial" in self._setup.benchmarks:
            self._run_tutorial(self._setup.benchmarks["tutorial"])
        self._complete = True

    def results(self, details: dict[str, Any]) -> Results:
        """Return what was measured until now; protocols of which no system is finished are left out.

        Args:
            details: See `eval.results.Results`; the seconds of loading and building are added.
        """
        protocols = {
            protocol: ProtocolResult(self._setup.benchmarks[protocol], systems, compare_systems(systems))
            for protocol, systems in self._systems.items()
            if systems
        }
        details = {**details, "seconds": self._seconds}
        return Results(protocols, self._health, self._slices, self._scaling, details, self._complete)

    def missing(self) -> list[str]:
        """Return what was not measured, by name."""
        systems = [
            name if protocol == "clean" else f"{name} ({protocol})"
            for protocol, finished in self._systems.items()
            for name in self._names(protocol)
            if name not in finished
        ]
        ways = ["robustness"] if self._setup.robust and not self._asked_otherwise else []
        return systems + ways + (["scaling"] if self._setup.scaled and self._scaling is None else [])

    def _names(self, protocol: str) -> list[str]:
        return self._setup.names if protocol == "clean" else self._setup.flat

    def _run_clean(self, benchmark: Benchmark, place: Path | Room) -> None:
        with timing(self._seconds, "indexes"):
            models = needed_models(self._setup.names, self._setup.models)
            indexes = build_indexes(benchmark.corpus, models, place)
        self._say(f"Indexes built in {self._seconds['indexes']:.1f} s")
        stock = self._setup.stock._replace(indexes=indexes)
        self._report_health(check_search(build_system("lexical", stock), benchmark, k=self._k))
        systems = {name: build_system(name, stock) for name in self._setup.names}
        finished = self._systems["clean"]
        for name, system in systems.items():
            finished[name] = measure_system(
                name, system, benchmark, k=self._k, protocol="clean", journals=self._journals
            )
        self._slices = property_slices(benchmark, {name: _main(result.scores) for name, result in finished.items()})
        if self._setup.robust:
            self._ask_otherwise(benchmark, {name: systems[name] for name in self._setup.robust})
        if self._setup.scaled:
            self._scale(benchmark, place)

    def _ask_otherwise(self, benchmark: Benchmark, systems: Mapping[str, System]) -> None:
        ways = asked_otherwise(
            benchmark.questions, seed=self._arguments.seed, paraphrase_column=self._arguments.paraphrases
        )
        for way, questions in ways.items():
            asked = benchmark._replace(questions=questions)
            scores = {}
            for name, system in systems.items():
                journal = self._journals("clean", way, name)
                answers = ask_at_once(
                    system.retriever, questions, k=self._k, name=f"{name}, {way}", workers=WORKERS, journal=journal
                ).answers
                scores[name] = _main(score(asked, answers, self._k))
            as_asked = {name: _main(self._systems["clean"][name].scores) for name in systems}
            self._slices += changed_slices(as_asked, {way: scores})
        self._asked_otherwise = True

    def _scale(self, benchmark: Benchmark, place: Path | Room) -> None:
        """Measure on smaller corpora; that of the whole corpus is known."""
        sizes = corpus_sizes(max(1, len(needed_passages(benchmark))), len(benchmark.corpus))
        found: dict[str, dict[str, list[Interval]]] = {name: {} for name in self._setup.scaled}
        models = needed_models(self._setup.scaled, self._setup.models)
        for size in sizes[:-1]:
            smaller = shrink(benchmark, size, seed=self._arguments.seed)
            there = place / f"{size} passages" if isinstance(place, Path) else place
            indexes = build_indexes(smaller.corpus, models, there)
            stock = self._setup.stock._replace(indexes=indexes)
            for name in self._setup.scaled:
                journal = self._journals("clean", f"{size} passages", name)
                retriever = build_system(name, stock).retriever
                what = f"{name}, {size:,} passages"
                answers = ask_at_once(
                    retriever, benchmark.questions, k=self._k, name=what, workers=WORKERS, journal=journal
                ).answers
                for measure, values in intervals(_main(score(smaller, answers, self._k))).items():
                    found[name].setdefault(measure, []).append(values)
        for name, measures in found.items():
            for measure in measures:
                measures[measure].append(self._systems["clean"][name].intervals[measure])
        self._scaling = Scaling(sizes, found)

    def _run_tutorial(self, benchmark: Benchmark) -> None:
        with timing(self._seconds, "tutorial vectors"):
            flat = {label: build_flat(benchmark.corpus, model) for label, model in self._setup.models.items()}
        for name in self._setup.flat:
            index = flat[name.removesuffix(RERANK)]
            compressor = self._setup.stock.reranker if name.endswith(RERANK) else None
            system = System(
                FlatRetriever(index=index, compressor=compressor), len(benchmark.corpus), index.size_bytes, compressor
            )
            self._systems["tutorial"][name] = measure_flat(
                name,
                system,
                benchmark,
                k=self._k,
                one_at_a_time=self._arguments.one_at_a_time,
                journal=self._journals("tutorial", name),
            )

    def _report_health(self, findings: list[Finding]) -> None:
        self._health += findings
        self._say(text(findings))


def _main(scores: Mapping[str, Scores]) -> dict[str, Scores]:
    """Return the measures that parts of the questions and smaller corpora are judged by; all would take long."""
    return {measure: values for measure, values in scores.items() if measure.startswith(("hit_rate@", "mrr@"))}
