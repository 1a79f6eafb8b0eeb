"""What was measured, as tables of text."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from eval.report.cells import ms, signed
from eval.speed_corpus import PASSAGE_CHARS
from eval.timing.defaults import DEFAULT, ENCODING, FEWER, FULL
from eval.timing.setup import Found
from rag_app.text_tables import aligned

Columns = Mapping[str, tuple[str, Callable[[Any], str]]]
"""By header, where a row's figure is (``build.seconds``) and how it is written."""


def text_report(report: Mapping[str, Any]) -> str:
    """Return all that there is, the figures that count last."""
    parts = [table for name, tables in _TABLES.items() if report.get(name) for table in tables(report[name])]
    figures = [
        [name, "–" if report[name] is None else text(report[name]), report["definitions"][name]]
        for name, text in _FIGURES.items()
    ]
    return "\n\n".join([*parts, aligned(figures)])


def _same_weights(found: Found) -> Iterator[str]:
    for name, own in found.items():
        for kind in ("unreranked", "reranked"):
            if measured := own.get(kind):
                passages = own["passages"]
                yield _table(
                    f"{name}, {kind}: {measured['questions']} questions in {measured['rounds']} rounds, "
                    f"{passages['count']:,} passages of {passages['mean_tokens']:.0f} tokens",
                    measured["rows"],
                    _SAME_WEIGHTS,
                )
        if indexing := own.get("indexing"):
            rates = ", ".join(f"{way} {one['passages_per_second']:.1f}" for way, one in indexing.items())
            yield f"{name}, passages indexed per second: {rates}"


def _quality(found: Found) -> Iterator[str]:
    rows = {name: found[name] for name in (FULL, DEFAULT, FEWER) if name in found}
    columns = {one: (f"{one}.mean", _MEAN) for one in ("hit_rate@1", "hit_rate@10", "mrr@10")}
    yield _table("Embedded models, hybrid search of 30 and reranking to 10", rows, columns)


def _default_speed(found: Found) -> Iterator[str]:
    if "rows" in found:
        yield _table(
            f"The default (embedded, hybrid, reranked) over {found['passages']:,} passages against {ENCODING} of "
            f"klue/roberta-{found['model_size']} size, {found['questions']:,} questions",
            found["rows"],
            _DEFAULT_SPEED,
        )


def _cold_starts(found: Found) -> Iterator[str]:
    steps = next(iter(found.values()))["seconds"]
    columns: Columns = {step: (f"seconds.{step}.median", _TWO) for step in steps}
    torch: Columns = {"torch": ("imports_torch", lambda imports: "yes" if imports else "no")}
    yield _table("From the start of a process to its first answer, in seconds", found, {**columns, **torch})


def _peers(found: Found) -> Iterator[str]:
    rows = found.get("rows", {})
    if rows:
        yield _table(
            "Beside langchain_community on the embedded models: quality and ms/question over "
            f"{found.get('passages', 0):,} passages, the rest over {found.get('life_passages', 0):,}",
            rows,
            PEERS,
        )
    for name, row in rows.items():
        if row["against"] and (ahead := _ahead(row, rows[row["against"]])):
            yield (
                f"{name} is ahead of {row['against']} in {', '.join(ahead)}. "
                f"What it does otherwise (its share in that is not measured): {row['differs']}"
            )
    yield from (f"Left out: {name} ({remedy})" for name, remedy in found.get("left_out", {}).items())


def _ahead(peer: Found, ours: Found) -> list[str]:
    """Return the headers under which a peer is better, by as much as is shown."""
    ahead = []
    for header, (place, text) in PEERS.items():
        figures = [_figure(row, place) for row in (peer, ours)]
        told_apart = None not in figures and len(set(map(text, figures))) == 2
        if told_apart and (figures[0] > figures[1]) == place.startswith("quality."):
            ahead.append(header)
    return ahead


def _sizes(found: Found) -> Iterator[str]:
    rows = {f"{int(size):,}": own for size, own in found.items()}
    yield _table(f"Embedded models by number of passages of {PASSAGE_CHARS} characters", rows, SIZES, "passages")


def _table(title: str, rows: Mapping[str, Found], columns: Columns, name: str = "") -> str:
    """Return a table without the columns for which there is no figure; a figure that is missing is a dash."""
    figures = {header: [_figure(row, place) for row in rows.values()] for header, (place, _) in columns.items()}
    shown = {header: values for header, values in figures.items() if values.count(None) < len(values)}
    texts = [
        [header, *("–" if value is None else columns[header][1](value) for value in values)]
        for header, values in shown.items()
    ]
    return f"{title}\n{aligned(list(zip([name, *rows], *texts, strict=True)), labels=1)}"


def _figure(row: Any, place: str) -> Any:
    for name in place.split("."):
        row = row.get(name) if row else None
    return row


def _ms_spread(seconds: Mapping[str, float]) -> str:
    return f"{ms(seconds['median'])} ({ms(seconds['low'])}–{ms(seconds['high'])})"


def _spread(values: Mapping[str, float]) -> str:
    return f"{values['median']:.1f} ({values['low']:.1f}–{values['high']:.1f})"


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f}"


_MEAN = "{:.3f}".format
_TWO = "{:.2f}".format

_SAME_WEIGHTS: Columns = {
    "ms/question": ("seconds_per_question", _ms_spread),
    "times faster": ("times_faster", _spread),
    "score difference": ("max_score_difference", "{:.1e}".format),
    "same passages": ("same_passages", "{:.0%}".format),
    "hit@1": ("hit_rate@1", _MEAN),
}
_DEFAULT_SPEED: Columns = {
    "ms/question": ("seconds_per_question", _ms_spread),
    "s/1,000 questions": ("seconds_per_1000", "{:.1f}".format),
    "times faster": ("times_faster", _spread),
}
PEERS: Columns = {
    "hit@1": ("quality.hit_rate@1.mean", _MEAN),
    "hit@10": ("quality.hit_rate@10.mean", _MEAN),
    "MRR@10": ("quality.mrr@10.mean", _MEAN),
    "ms/question": ("seconds_per_question.median", ms),
    "build s": ("life.build_seconds", _TWO),
    "open s": ("life.open_seconds", _TWO),
    "p95 ms": ("life.p95_seconds", ms),
    "delete 1 s": ("life.delete_one_seconds", _TWO),
    "GB build": ("life.build_memory_bytes", _gb),
    "GB serve": ("life.serve_memory_bytes", _gb),
}
SIZES: Columns = {
    "indexed/s": ("build.passages_per_second", "{:,.0f}".format),
    "s": ("build.seconds", "{:,.1f}".format),
    "GB to build": ("build.memory_bytes", _gb),
    "GB to serve": ("serve.memory_bytes", _gb),
    "GB on disk": ("build.index_bytes", _gb),
    "open s": ("serve.open_seconds", _TWO),
    "dense p95 ms": ("serve.search.dense.p95", ms),
    "hybrid p50 ms": ("serve.search.hybrid.p50", ms),
    "p95 ms": ("serve.search.hybrid.p95", ms),
    "reranked p95 ms": ("serve.search.hybrid + rerank.p95", ms),
    "recall@10": ("serve.recall@10", _MEAN),
    "add 1 s": ("serve.add_one_seconds", _TWO),
    "delete 1 s": ("serve.delete_one_seconds", _TWO),
}
_FIGURES: dict[str, Callable[[float], str]] = {
    "reranked_ratio": "{:.1f}".format,
    "unreranked_ratio": "{:.1f}".format,
    "max_score_difference": "{:.1e}".format,
    "hit1_difference": signed,
}
_TABLES: dict[str, Callable[[Found], Iterator[str]]] = {
    "same_weights": _same_weights,
    "quality": _quality,
    "default": _default_speed,
    "cold_start": _cold_starts,
    "peers": _peers,
    "sizes": _sizes,
}
"""By part, in the order in which they are shown."""
