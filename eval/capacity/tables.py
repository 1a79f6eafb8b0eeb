"""A plan as Markdown: what it comes to, and the rows that it was computed from."""

from collections.abc import Iterable, Sequence

from eval.capacity.figures import Figure, Figures
from eval.capacity.plan import (
    INDEXES,
    MILLION,
    MODELS,
    RERANKERS,
    cheapest,
    core_price,
    indexing,
    reranking,
    serving,
    sizes,
    widths,
    workers,
)

_FORMS = {"flat": "all compared", "hnsw": "HNSW32", "ivf_sq8": "IVF, SQ8", "ivf_rabitq": "IVF, RaBitQ, best 400 exact"}
_QUESTIONS = {
    "embedded model": "question_embedded_ms",
    "klue/roberta-base, float32": "question_base_float32_ms",
    "klue/roberta-base, int8": "question_base_int8_ms",
}
_SHOWN_ELSEWHERE = (*(f"{form}_" for form in _FORMS), "lexical_", "folder_")
_WHAT_IF: tuple[dict[str, float], ...] = (
    {},
    {"questions_per_second": 10},
    {"searched_share": 0.1},
    {"questions_per_second": 10, "searched_share": 0.1},
    {"replicas": 3},
    {"segment_bytes": 17.18e9},
)


def plan_tables(measured: Figures, assumed: Figures, passages: Sequence[int]) -> str:
    """Return all tables.

    Args:
        measured: The first table of figures.
        assumed: The second; its names are others.
        passages: For how many.
    """
    figures = Figures([*measured.rows(), *assumed.rows()])
    parts = [
        ("Embedding", _embedding(figures, passages)),
        *((f"Serving {_count(many)} passages", _serving(figures, many)) for many in passages),
        (f"What matters for {_count(max(passages))} passages", _what_if(figures, max(passages))),
        ("A question", _question(figures)),
        ("Recall against time, measured", _recall(figures)),
        ("The index in a folder, measured", _folder(figures)),
        ("Measured", _rows(row for row in measured.rows() if not row.name.startswith(_SHOWN_ELSEWHERE))),
        ("Assumed", _rows(assumed.rows())),
    ]
    return "\n".join(f"### {title}\n\n{text}\n" for title, text in parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """Return a Markdown table whose first columns, so many, are text and the others numbers."""
    line = [" --- " if place < texts else " ---: " for place in range(len(head))]
    return "\n".join(
        ["| " + " | ".join(head) + " |", "|" + "|".join(line) + "|", *("| " + " | ".join(row) + " |" for row in rows)]
    )


def _embedding(figures: Figures, passages: Sequence[int]) -> str:
    hours = _short(figures["deadline_hours"])
    head = ["model", "a million: core hours", "GPU hours", "$"]
    head += [f"{_count(many)}: $, machines for {hours} h" for many in passages]
    rows = []
    for name, model in MODELS.items():
        one = indexing(figures, model, MILLION)
        row = [name, _short(one.core_hours), _short(one.gpu_hours) if one.gpu_hours else "", _short(one.dollars)]
        for many in passages:
            spent = indexing(figures, model, many)
            machines, gpus = workers(figures, spent)
            row.append(f"{_short(spent.dollars)}, {machines:,}" + (f" and {gpus:,} GPUs" if gpus else ""))
        rows.append(row)
    lengths = f"{figures['passage_chars']:.0f} characters, {figures['passage_tokens']:.0f} tokens of klue/roberta"
    return f"{_table(head, rows)}\n\nA passage has {lengths}."


def _serving(figures: Figures, passages: int) -> str:
    head = ["index", "dimensions", "memory", "disk", "stored", "machines for memory", "for vectors", "for words"]
    head += ["in all", "$ a month", "ms", "recall"]
    rows = []
    for dimension in (figures["dimension_embedded"], figures["dimension_base"]):
        best = cheapest(figures, dimension, passages)
        for name, index in INDEXES.items():
            plan = serving(figures, index, dimension, passages)
            mark = "**" if name == best else ""
            row = [f"{mark}{name}{mark}", f"{dimension:.0f}", _bytes(plan.memory), _bytes(plan.disk)]
            row += [_bytes(plan.stored), *(f"{plan.needed[what]:,}" for what in ("memory", "vectors", "words"))]
            row += [f"{plan.machines:,}", _short(plan.dollars), _short(plan.ms), f"{plan.recall:.3f}"]
            rows.append(row)
    return _table(head, rows)


def _what_if(figures: Figures, passages: int) -> str:
    rows = []
    for changes in _WHAT_IF:
        changed = figures.replaced(changes, "")
        dimension = changed["dimension_embedded"]
        name = cheapest(changed, dimension, passages)
        plan = serving(changed, INDEXES[name], dimension, passages)
        options = " ".join(f"`--set {key}={value:.10g}`" for key, value in changes.items()) or "as assumed below"
        rows.append([options, name, f"{plan.machines:,}", _short(plan.dollars), _short(plan.ms)])
    return _table(
        [f"{figures['dimension_embedded']:.0f} dimensions", "index", "machines", "$ a month", "ms"], rows, texts=2
    )


def _question(figures: Figures) -> str:
    rows = [
        [f"embedding: {name}, CPU", _short(spent := figures[ms]), _short(_dollars(figures, spent))]
        for name, ms in _QUESTIONS.items()
    ]
    for name, milliseconds in RERANKERS.items():
        spent, dollars = reranking(figures, milliseconds)
        rows.append([f"reranking: {name}", _short(spent), _short(dollars)])
    return _table(["", "ms on one core or GPU", "$ a million questions"], rows)


def _dollars(figures: Figures, milliseconds: float) -> float:
    return milliseconds / 3_600_000 * MILLION * core_price(figures)


def _recall(figures: Figures) -> str:
    rows = []
    for form, name in _FORMS.items():
        size, build = _short(figures[f"{form}_bytes"]), _short(figures[f"{form}_build_ms"])
        found = widths(figures, form) or {0: (figures[f"{form}_recall"], figures[f"{form}_ms"])}
        rows += [
            [name, str(width or ""), f"{recall:.3f}", _short(ms), size, build] for width, (recall, ms) in found.items()
        ]
    head = ["form of FAISS", "width", "recall@10", "CPU ms a question", "bytes a vector", "CPU ms to add one"]
    return _table(head, rows) + f"\n\n{figures.rows(['hnsw_bytes'])[0].source.replace('; HNSW32', '')}."


def _folder(figures: Figures) -> str:
    rows = [[f"{size:,}", *(_short(figures[f"{name}_at_{size}"]) for name in _FOLDER)] for size in sizes(figures)]
    head = ["passages", *_FOLDER.values()]
    source = figures.rows([f"folder_build_ms_at_{sizes(figures)[0]}"])[0].source
    return _table(head, rows, texts=0) + f"\n\n{source.partition(' ')[2].capitalize()}."


_FOLDER = {
    "folder_build_ms": "CPU ms to index one",
    "folder_bytes": "bytes a passage",
    "lexical_bytes": "of which words",
    "lexical_ms": "CPU ms of a question's words",
}


def _rows(figures: Iterable[Figure]) -> str:
    rows = [[f"`{row.name}`", row.unit, row.source, f"{row.value:,.10g}"] for row in figures]
    return _table(["name", "unit", "where from", "value"], rows, texts=3)


def _count(number: float) -> str:
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= size:
            return f"{number / size:g} {name}"
    return f"{number:g}"


def _bytes(number: float) -> str:
    for size, name in ((1e15, "PB"), (1e12, "TB")):
        if number >= size:
            return f"{_short(number / size)} {name}"
    return f"{_short(number / 1e9)} GB"


def _short(number: float) -> str:
    """Return a number with three digits that count."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
