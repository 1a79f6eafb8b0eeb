"""The results of a benchmark as tables, from which the screen, the Markdown and the page are written alike."""

from collections.abc import Iterable, Mapping, Sequence

from eval.report.cells import (
    Cell,
    Table,
    bytes_cell,
    change_cell,
    count_cell,
    mean_cell,
    ms,
    number_cell,
    p_text,
    percent_cell,
)
from eval.report.verdict import best_system, best_systems, difference, level_systems, main_measure, measures_of
from eval.results import Pair, ProtocolResult, Results, Times
from eval.statistics import LEVEL, holm
from rag_app.significance import Comparison

_STAGES = ("encode", "lexical", "dense", "fusion", "rerank", "other")


def score_table(result: ProtocolResult) -> Table:
    """Return each system's measures with their intervals, and its times."""
    measures = measures_of(result)
    best = {measure: best_systems(result, measure) for measure in measures}
    level = {measure: level_systems(result, measure) - best[measure] for measure in measures}
    rows = [
        [
            Cell(name),
            *(
                mean_cell(system.intervals[measure], best=name in best[measure], level=name in level[measure])
                for measure in measures
            ),
            *_time_cells(system.times),
            Cell("–")
            if system.throughput is None
            else number_cell(system.throughput.questions / max(system.throughput.seconds, 1e-9), digits=0),
        ]
        for name, system in result.systems.items()
    ]
    return Table(
        "Quality and time",
        ["system", *measures, "p50 ms", "p95 ms", "p99 ms", "questions/s"],
        rows,
        "Means over the questions with 95% intervals. The best of a column stands out; those marked ≈ cannot "
        "be told apart from it (paired randomisation test, p ≥ 0.05 after Holm's correction). Milliseconds of "
        "questions asked one at a time (– where they were not); questions per second when many are asked at once. "
        "Times hold for this machine only.",
    )


def stage_table(result: ProtocolResult) -> Table:
    """Return the mean milliseconds that each stage takes; no row for a system whose stages are not known."""
    known = {name: system.times for name, system in result.systems.items() if system.times and system.times.stages}
    names = stage_names(known.values())
    rows = [
        [
            Cell(name),
            *(number_cell(1000 * times.stages[stage]) if stage in times.stages else Cell("–", 0.0) for stage in names),
            number_cell(1000 * times.mean),
        ]
        for name, times in known.items()
    ]
    note = "Mean milliseconds of single questions."
    return Table("Time by stage (ms per question)", ["system", *names, "all"], rows, note)


def stage_names(times: Iterable[Times]) -> list[str]:
    """Return the stages that any of them has, in the order in which they happen."""
    there = dict.fromkeys(stage for one in times for stage in one.stages)
    known = [stage for stage in _STAGES[:-1] if stage in there]
    return [*known, *(stage for stage in there if stage not in _STAGES), *(["other"] if "other" in there else [])]


def pairs_table(result: ProtocolResult, measure: str = "") -> Table:
    """Return every system compared with the best one.

    Args:
        result: Of one protocol.
        measure: The main one if empty.
    """
    measure = measure or main_measure(measures_of(result))
    best = best_system(result, measure) if result.systems else ""
    pairs = [pair for name in result.systems if (pair := difference(result, measure, name, best))]
    rows = [
        [
            Cell(pair.after),
            Cell(f"{pair.comparison.after:.3f}", pair.comparison.after),
            change_cell(pair.comparison),
            *(count_cell(count) for count in (pair.comparison.wins, pair.comparison.ties, pair.comparison.losses)),
            Cell(p_text(pair.comparison.p), pair.comparison.p),
            Cell(p_text(pair.corrected_p), pair.corrected_p, level=pair.corrected_p >= LEVEL),
        ]
        for pair in sorted(pairs, key=lambda pair: -pair.comparison.after)
    ]
    compared = len(result.pairs.get(measure, ()))
    return Table(
        f"Compared with {best} by {measure}",
        ["system", measure, "difference", "wins", "ties", "losses", "p", "corrected p"],
        rows,
        "Wins and losses count questions. Two-sided paired randomisation test, corrected for "
        f"{compared:,} comparison{'s' * (compared != 1)} (Holm); ≈ where the difference may well be chance.",
    )


def pair_matrix(result: ProtocolResult, measure: str) -> Table:
    """Return every system (row) compared with every other (column)."""
    names = list(result.systems)
    rows = [[Cell(name), *(_pair_cell(difference(result, measure, name, other)) for other in names)] for name in names]
    return Table(
        f"Row less column, {measure}",
        ["system", *names],
        rows,
        "The difference; wins/ties/losses in questions; p corrected for the number of comparisons (Holm). Bold where "
        "it is below 0.05.",
    )


def side_by_side(protocols: Mapping[str, ProtocolResult]) -> Table:
    """Return the hit rate of the systems that were measured under every protocol."""
    names = [
        name
        for name in next(iter(protocols.values())).systems
        if all(name in result.systems for result in protocols.values())
    ]
    measures = measures_of(next(iter(protocols.values())))
    measure = next((m for m in reversed(measures) if m.startswith("hit_rate@")), main_measure(measures))
    rows = [
        [Cell(name), *(mean_cell(result.systems[name].intervals[measure]) for result in protocols.values())]
        for name in names
    ]
    sizes = "; ".join(
        f"{protocol}: {len(result.benchmark.questions):,} questions over {len(result.benchmark.corpus):,} passages"
        for protocol, result in protocols.items()
    )
    return Table(
        f"{measure} under each protocol",
        ["system", *protocols],
        rows,
        f"{sizes}. The protocols ask of different corpora; only the systems within one compare.",
    )


def robustness_table(results: Results, measure: str) -> Table:
    """Return what each way of asking otherwise costs each system."""
    slices = [one for one in results.slices if one.changes]
    names = _systems(one.changes for one in slices)
    found = {(one.name, name): own[measure] for one in slices for name, own in one.changes.items() if measure in own}
    corrected = dict(zip(found, holm([comparison.p for comparison in found.values()]), strict=True))
    cells = {place: _otherwise_cell(comparison, corrected[place]) for place, comparison in found.items()}
    rows = [
        [Cell(one.name), count_cell(one.questions), *(cells.get((one.name, name), Cell("–")) for name in names)]
        for one in slices
    ]
    return Table(
        f"What asking otherwise changes, {measure}",
        ["asked with", "questions", *names],
        rows,
        "The difference to the same questions as they are. Bold where p < 0.05 (paired randomisation test, corrected "
        "for all differences in the table, Holm). Colour in steps of 0.04.",
    )


def slice_table(results: Results, measure: str) -> Table:
    """Return each system's mean for the questions of each kind."""
    slices = [one for one in results.slices if not one.changes]
    names = _systems(one.intervals for one in slices)
    rows = [
        [
            Cell(one.kind),
            Cell(one.name),
            count_cell(one.questions),
            *(
                mean_cell(one.intervals[name][measure]) if measure in one.intervals.get(name, {}) else Cell("–")
                for name in names
            ),
        ]
        for one in slices
    ]
    note = "Means with 95% intervals. Few questions make wide intervals."
    return Table(f"Kinds of questions, {measure}", ["by", "kind", "questions", *names], rows, note, labels=2)


def scaling_table(results: Results, measure: str) -> Table:
    """Return each system's mean for each size of corpus; no row where that was not measured."""
    scaling = results.scaling
    sizes = scaling.passages if scaling else []
    intervals = scaling.intervals if scaling else {}
    rows = [
        [Cell(name), *(mean_cell(one) for one in by_measure[measure])]
        for name, by_measure in intervals.items()
        if measure in by_measure
    ]
    note = "The passages that answer a question are in every corpus; the others are drawn at random."
    return Table(f"{measure} by number of passages", ["system", *(f"{size:,}" for size in sizes)], rows, note)


def abstention_table(result: ProtocolResult) -> Table:
    """Return how well each system's evidence tells what the corpus does not answer."""
    rows = [
        [
            Cell(name),
            Cell(f"{test.threshold:.2f}", test.threshold),
            count_cell(test.unanswerable),
            percent_cell(test.false_answers),
            count_cell(test.answerable),
            percent_cell(test.false_refusals),
            Cell(f"{test.auc:.3f}", test.auc),
        ]
        for name, system in result.systems.items()
        if (test := system.abstention)
    ]
    header = ["system", "threshold", "unanswerable", "false answers", "answerable", "false refusals", "AUC"]
    note = (
        "An answer is refused below the threshold. False answers: the share of the unanswerable questions that is not "
        "refused. False refusals: the share of the answerable ones that is. AUC: how often an answerable question has "
        "more evidence than an unanswerable one; 0.5 is chance."
    )
    return Table("Knowing when there is no answer", header, rows, note)


def size_table(result: ProtocolResult) -> Table:
    """Return how much is searched and what it takes."""
    rows = [
        [Cell(name), count_cell(system.passages), bytes_cell(system.index_bytes), bytes_cell(system.memory_bytes)]
        for name, system in result.systems.items()
    ]
    note = (
        "Passages are what is searched: long texts are cut into several. Memory is the most that the whole process had "
        "while the system was asked, other systems' models included."
    )
    return Table("Index and memory", ["system", "passages", "index on disk", "memory peak"], rows, note)


def _time_cells(times: Times | None) -> list[Cell]:
    if times is None:
        return [Cell("–")] * 3
    return [Cell(ms(seconds), 1000 * seconds) for seconds in (times.p50, times.p95, times.p99)]


def _pair_cell(pair: Pair | None) -> Cell:
    if pair is None:
        return Cell("")
    wins, losses, ties = pair.comparison[2:5]
    detail = f"{wins}/{ties}/{losses} · p {p_text(pair.corrected_p)}"
    return change_cell(pair.comparison, significant=pair.corrected_p < LEVEL)._replace(detail=detail)


def _otherwise_cell(comparison: Comparison, corrected_p: float) -> Cell:
    detail = f"{comparison.before:.3f} → {comparison.after:.3f}"
    return change_cell(comparison, 0.04, significant=corrected_p < LEVEL)._replace(detail=detail)


def _systems(by_system: Iterable[Mapping[str, object]]) -> Sequence[str]:
    return list(dict.fromkeys(name for one in by_system for name in one))
