"""What people see of a run: the table of scores, the plot of its evaluations and the model's card."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rag_app.text_tables import aligned


class Score(NamedTuple):
    """One measurement before and after training.

    Attributes:
        data: What it was measured on, with the number of questions or pairs.
        metric: What was measured.
        before: Of the model that training began with; None where that means nothing.
        after: Of the model that was saved.
        published: What the tutorial published for the same protocol, before and after; None where it did not.
    """

    data: str
    metric: str
    before: float | None
    after: float
    published: tuple[float, float] | None = None


def score_table(scores: Sequence[Score], *, markdown: bool = False) -> str:
    """Return the scores as a table, of plain text or in Markdown."""
    header = ["measured on", "metric", "before", "after"]
    if any(score.published for score in scores):
        header.append("published (another machine)")
    rows = [
        [score.data, score.metric, _number(score.before), _number(score.after), _published(score)][: len(header)]
        for score in scores
    ]
    if markdown:
        return markdown_table(header, rows, numbers=len(header) - 2)
    return aligned([header, *rows])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: int = 0) -> str:
    """Return a Markdown table, with so many columns at its right end aligned as numbers."""
    lines = [header, [*["---"] * (len(header) - numbers), *["---:"] * numbers], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def plot_curve(path: Path, record: Mapping[str, Any]) -> None:
    """Draw the evaluations of a run, whose record has a ``curve`` of ``metric``, ``data`` and ``points``."""
    from matplotlib.figure import Figure

    curve = record["curve"]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps, values = zip(*curve["points"], strict=True)
    axes.plot(steps, values, marker="o", color="tab:blue")
    middle, span = (max(values) + min(values)) / 2, max(1.2 * (max(values) - min(values)), 0.1)
    axes.set_ylim(middle - span / 2, middle + span / 2)  # so that noise does not look like a slope
    axes.set(title=f"{record['program']}: {curve['data']}", xlabel="step", ylabel=curve["metric"])
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def write_card(path: Path, record: Mapping[str, Any]) -> None:
    """Write a model card for the Hub: what it is, what it was trained on, what was measured, how to use it."""
    arguments = record["arguments"]
    base = arguments["model"]
    library = record["card"].get("library", "sentence-transformers")
    front = ["---", "language: ko", f"library_name: {library}", *record["card"]["front"]]
    if "/" in base and not Path(base).exists():
        front.append(f"base_model: {base.partition('@')[0]}")
    given = json.dumps({name: value for name, value in arguments.items() if value is not None}, ensure_ascii=False)
    data = "\n".join(f"- {line}" for line in record["card"]["data"])
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    notes = "".join(f"\n{note}\n" for note in record["card"].get("notes", ()))
    scores = score_table([Score(**score) for score in record["scores"]], markdown=True)
    plot = "\n![Evaluations during training](curve.png)\n" if "curve" in record else ""
    text = f"""{chr(10).join(front)}
---

# {record["card"]["title"]}

{record["card"]["summary"]} Trained from `{base}` with `python -m {record["program"]}`.

## Measured

{scores}
{plot}{notes}
## Data

{data}

## Use

```python
{record["card"]["use"]}
```

## How it was trained

`{given}`

{record["seconds"]:.0f} s on {record["device"]}; {versions}; commit {record["commit"] or "unknown"}. The rest is in
`run.json`.
"""
    path.write_text(text, "utf-8")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _published(score: Score) -> str:
    return "" if score.published is None else f"{score.published[0]:.3f} to {score.published[1]:.3f}"
