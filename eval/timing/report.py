"""What was measured, as tables of text."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from eval.report.cells import ms, signed
from eval.timing.defaults import DEFAULT, ENCODING, FEWER, FULL
from eval.timing.setup import Found
from eval.timing.variants import LOOP
from rag_app.text_tables import aligned

_MEASURES = ("hit_rate@1", "hit_rate@10", "mrr@10")


def text_report(report: Mapping[str, Any]) -> str:
    """Return all that there is, the figures that count last."""
    parts = (_TABLES[name](report[name]) for name in _TABLES if report.get(name))
    return "\n\n".join([*filter(None, parts), _summary(report)])


def _same_weights(found: Found) -> str:
    return "\n\n".join(text for name, own in found.items() for text in _one_pair(name, own))


def _one_pair(name: str, found: Found) -> Iterable[str]:
    for kind in ("unreranked", "reranked"):
        if not (own := found.get(kind)):
            continue
        trained = "hit_rate@1" in own["rows"][LOOP]
        header = [
            "",
            "ms/question",
            "times faster",
            "score difference",
            "same passages",
            *(["hit@1"] if trained else []),
        ]
        rows = [header]
        for row, figures in own["rows"].items():
            rows.append(
                [
                    row,
                    _ms_spread(figures["seconds_per_question"]),
                    _spread(figures["times_faster"]),
                    "–" if (difference := figures["max_score_difference"]) is None else f"{difference:.1e}",
                    f"{figures['same_passages']:.0%}",
                    *([f"{figures['hit_rate@1']:.3f}"] if trained else []),
                ]
            )
        passages = found["passages"]
        yield (
            f"{name}, {kind}: {own['questions']} questions in {own['rounds']} rounds, {passages['count']:,} passages "
            f"of {passages['mean_tokens']:.0f} tokens\n{aligned(rows, labels=1)}"
        )
    if indexing := found.get("indexing"):
        rates = ", ".join(f"{way} {one['passages_per_second']:.1f}" for way, one in indexing.items())
        yield f"{name}, passages indexed per second: {rates}"


def _quality(found: Found) -> str:
    rows = [["", *_MEASURES]]
    rows += [
        [name, *(f"{found[name][one]['mean']:.3f}" for one in _MEASURES)]
        for name in (FULL, DEFAULT, FEWER)
        if name in found
    ]
    return f"Embedded models, hybrid search of 30 and reranking to 10\n{aligned(rows, labels=1)}"


def _default_speed(found: Found) -> str:
    if "rows" not in found:
        return ""
    rows = [["", "ms/question", "s/1,000 questions", "times faster"]]
    for name, figures in found["rows"].items():
        seconds = figures["seconds_per_question"]
        rows.append([name, _ms_spread(seconds), f"{figures['seconds_per_1000']:.1f}", _spread(figures["times_faster"])])
    return (
        f"The default (embedded, hybrid, reranked) over {found['passages']:,} passages against {ENCODING} of "
        f"klue/roberta-{found['model_size']} size, {found['questions']:,} questions\n{aligned(rows, labels=1)}"
    )


def _sizes(found: Found) -> str:
    header = ["passages", "indexed/s", "s", "GB to build", "GB to serve", "GB on disk", "open s"]
    rows = [
        [*header, "dense p95 ms", "hybrid p50 ms", "p95 ms", "reranked p95 ms", "recall@10", "add 1 s", "delete 1 s"]
    ]
    for size, own in found.items():
        build, serve = own.get("build"), own.get("serve")
        if build is None or serve is None:
            continue
        search = serve["search"]
        rows.append(
            [
                f"{int(size):,}",
                f"{build['passages_per_second']:,.0f}",
                f"{build['seconds']:,.1f}",
                *(_gb(count) for count in (build["memory_bytes"], serve["memory_bytes"], build["index_bytes"])),
                f"{serve['open_seconds']:.2f}",
                ms(search["dense"]["p95"]),
                ms(search["hybrid"]["p50"]),
                ms(search["hybrid"]["p95"]),
                ms(search["hybrid + rerank"]["p95"]),
                f"{serve['recall@10']:.3f}",
                f"{serve['add_one_seconds']:.2f}",
                f"{serve['delete_one_seconds']:.2f}",
            ]
        )
    return f"Embedded models by number of passages of 450 characters\n{aligned(rows)}" if len(rows) > 1 else ""


def _cold_starts(found: Found) -> str:
    steps = list(next(iter(found.values()))["seconds"])
    rows = [["seconds", *steps, "torch"]]
    for name, own in found.items():
        times = [f"{own['seconds'][step]['median']:.2f}" for step in steps]
        rows.append([name, *times, "yes" if own["imports_torch"] else "no"])
    return f"From the start of a process to its first answer\n{aligned(rows, labels=1)}"


def _peers(found: Found) -> str:
    rows = [
        [
            "",
            "hit@1",
            "hit@10",
            "MRR@10",
            "ms/question",
            "build s",
            "open s",
            "p95 ms",
            "delete 1 s",
            "GB build",
            "serve",
        ]
    ]
    for name, own in found.get("rows", {}).items():
        quality = [f"{own['quality'][one]['mean']:.3f}" for one in _MEASURES] if "quality" in own else ["–"] * 3
        time = ms(own["seconds_per_question"]["median"]) if "seconds_per_question" in own else "–"
        rows.append([name, *quality, time, *_life(own.get("life"))])
    left_out = "".join(f"\nLeft out: {name} ({remedy})" for name, remedy in found.get("left_out", {}).items())
    notes = "".join(f"\n{name}: {own['note']}" for name, own in found.get("rows", {}).items() if own["note"])
    passages, more = found.get("passages", 0), found.get("life_passages", 0)
    return (
        f"Beside langchain_community on the embedded models: quality and ms/question over {passages:,} passages, the "
        f"rest over {more:,}\n{aligned(rows, labels=1)}{notes}{left_out}"
    )


def _life(own: Found | None) -> list[str]:
    if own is None:
        return ["–"] * 6
    seconds = [f"{own[f'{step}_seconds']:.2f}" for step in ("build", "open")]
    memory = [_gb(own[f"{step}_memory_bytes"]) for step in ("build", "serve")]
    return [*seconds, ms(own["p95_seconds"]), f"{own['delete_one_seconds']:.2f}", *memory]


def _summary(report: Mapping[str, Any]) -> str:
    rows = [
        [name, "–" if report[name] is None else form(report[name]), report["definitions"][name]]
        for name, form in _FIGURES.items()
    ]
    return aligned(rows)


_FIGURES: dict[str, Callable[[float], str]] = {
    "reranked_ratio": "{:.1f}".format,
    "unreranked_ratio": "{:.1f}".format,
    "max_score_difference": "{:.1e}".format,
    "hit1_difference": signed,
}

_TABLES: dict[str, Callable[[Found], str]] = {
    "same_weights": _same_weights,
    "quality": _quality,
    "default": _default_speed,
    "cold_start": _cold_starts,
    "peers": _peers,
    "sizes": _sizes,
}
"""By part, in the order in which they are shown."""


def _ms_spread(seconds: Mapping[str, float]) -> str:
    return f"{ms(seconds['median'])} ({ms(seconds['low'])}–{ms(seconds['high'])})"


def _spread(values: Mapping[str, float]) -> str:
    return f"{values['median']:.1f} ({values['low']:.1f}–{values['high']:.1f})"


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f}"
