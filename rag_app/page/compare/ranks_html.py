"""How a comparison looks: ranks and moves, the picture of both, and times, as HTML that a screen reader can follow."""

from collections.abc import Mapping, Sequence
from html import escape

from langchain_core.documents import Document

from rag_app.explaining.comparison import Answer, Move, article_id, move
from rag_app.page.words import STAGE_TIMES, language, rank_words, say
from rag_app.rendering.score_table import STAGES
from rag_app.rendering.sources import headline

_LEAST = 0.05  # milliseconds; what takes less is not listed


def title_of(document: Document) -> str:
    """Return what an article is called."""
    return headline(document, language())


def details_of(document: Document) -> str:
    """Return an article's outlet and date."""
    return " · ".join(str(document.metadata[key]) for key in ("source", "date") if document.metadata.get(key))


def move_words(moved: Move) -> str:
    """Return what became of an article, as a sentence for screen readers."""
    return {
        "new": say("앞 방식에는 없던 기사", "not found by the system before"),
        "gone": say("이 방식에는 없는 기사", "not found by this system"),
        "up": say(f"앞 방식보다 {moved.places}계단 위", f"{moved.places} higher than in the system before"),
        "down": say(f"앞 방식보다 {moved.places}계단 아래", f"{moved.places} lower than in the system before"),
        "same": say("앞 방식과 같은 순위", "same rank as in the system before"),
    }[moved.way]


def move_html(moved: Move) -> str:
    """Return a move as a sign to be seen and a sentence to be heard."""
    sign = {
        "new": say("새로", "new"),
        "gone": say("없음", "gone"),
        "up": f"▲{moved.places}",
        "down": f"▼{moved.places}",
        "same": "＝",
    }[moved.way]
    return (
        f'<span class="move {moved.way}" title="{escape(move_words(moved))}"><span aria-hidden="true">{sign}</span>'
        f'<span class="unseen">{escape(move_words(moved))}</span></span>'
    )


def place_html(
    document: Document, rank: int, moved: Move | None, quote: tuple[int, int], *, only: bool, right: bool
) -> str:
    """Return one article of a system's ranking.

    Args:
        document: Its best passage.
        rank: Its rank, from 1.
        moved: What became of it since the system before; None for the first system.
        quote: The sentence of the passage to show.
        only: No other system has it among its first.
        right: It is the article that was looked for.
    """
    badges = [f'<span class="badge right">{say("찾던 기사", "the right one")}</span>'] if right else []
    badges += [f'<span class="badge">{say("여기서만", "only here")}</span>'] if only else []
    return (
        f'<div class="ranked{" right" if right else ""}" lang="ko"><div class="standing"><b>{rank_words(rank)}</b>'
        f"{'' if moved is None else move_html(moved)}{''.join(badges)}</div>"
        f'<div class="heading">{escape(title_of(document))}</div>'
        f'<div class="meta">{escape(details_of(document))}</div>'
        f'<div class="passage">{escape(document.page_content[slice(*quote)])}</div>'
        f'<div class="meta stages">{stages_line(document)}</div></div>'
    )


def stages_line(document: Document) -> str:
    """Return what each stage thought of a passage, on one line."""
    shown = []
    for name, stage in document.metadata.get("stages", {}).items():
        score = f" {stage['score']:.3g}" if "score" in stage else ""
        shown.append(f"{say(*STAGES[name].short)} {rank_words(stage['rank'])}{score}")
    return escape(" → ".join(shown))


def dropped_html(documents: Sequence[tuple[Document, int, int | None]], depth: int) -> str:
    """Return what the system before has among its first and this one has not; empty if there is nothing."""
    lines = []
    for document, before, after in documents:
        now = say(f"{depth}위 밖", f"below #{depth}") if after is None else rank_words(after)
        lines.append(f"<li>{escape(title_of(document))} <span>({rank_words(before)} → {now})</span></li>")
    heading = say("앞 방식에서 빠진 기사", "Dropped since the system before")
    return f'<div class="dropped"><h4>{heading}</h4><ul>{"".join(lines)}</ul></div>' if lines else ""


def stage_seconds(answer: Answer) -> dict[str, float]:
    """Return what each stage of a system took, and ``other`` for all the rest."""
    return {**answer.stages, "other": answer.seconds - sum(answer.stages.values())}


def times_html(answer: Answer, longest: float) -> str:
    """Return what a system took, stage by stage, as bars.

    Args:
        answer: Of the system.
        longest: The seconds that a full bar stands for; the same for all systems that are compared.
    """
    spent = stage_seconds(answer)
    stages = [(say(*words), spent.get(stage, 0.0)) for stage, words in STAGE_TIMES.items()]
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><div class="bar"><i><span style="width:'
        f'{100 * seconds / longest:.1f}%"></span></i>{milliseconds(seconds)}</div></td></tr>'
        for name, seconds in stages
        if 1000 * seconds >= _LEAST
    )
    caption = say(f"걸린 시간 {milliseconds(answer.seconds)}", f"Took {milliseconds(answer.seconds)}")
    return f'<table class="times"><caption>{caption}</caption><tbody>{rows}</tbody></table>'


def milliseconds(seconds: float) -> str:
    """Return a time, in milliseconds below a second."""
    if seconds >= 1:
        return say(f"{seconds:.1f}초", f"{seconds:.1f} s")
    return f"{1000 * seconds:.1f} ms"


def slope_html(
    names: Sequence[str], answers: Sequence[Answer], articles: Mapping[str, Document], top: int, right: str
) -> str:
    """Return the picture of all ranks: a column for each system, and a line for each article from one to the next.

    Args:
        names: Of the systems.
        answers: Theirs.
        articles: What any of them has among its first, by id.
        top: How many ranks are shown; what is behind them is in a row below.
        right: The id of the article that was looked for; empty if none was named.
    """
    ranks = [{id_: min(rank, top + 1) for id_, rank in answer.ranks.items()} for answer in answers]
    columns = [_labels_html(answers[0], top, right, "first")]
    for number in range(len(answers)):
        if number:
            columns.append(_lines_html(ranks[number - 1], ranks[number], articles, top, right))
        columns.append(_dots_html(answers[number], top, right))
    columns.append(_labels_html(answers[-1], top, right, "last"))
    heads = "<s></s>".join(f"<b><span>{escape(name)}</span></b>" for name in names)
    words = say(
        f"{' · '.join(names)}의 순위를 이은 그림. 같은 내용이 아래 순위표에 있습니다.",
        f"A picture of the ranks in {' · '.join(names)}. The table below says the same.",
    )
    return (
        f'<div class="slope" role="img" aria-label="{escape(words)}" style="--rows:{top + 1}">'
        f'<div class="heads" aria-hidden="true"><i></i>{heads}<i class="last"></i></div>'
        f'<div class="columns" aria-hidden="true">{"".join(columns)}</div></div>'
    )


def ranks_table_html(
    names: Sequence[str], answers: Sequence[Answer], articles: Mapping[str, Document], right: str
) -> str:
    """Return the ranks of all articles in all systems, with their moves, as a table; see `slope_html`."""
    ranks = [answer.ranks for answer in answers]
    rows = []
    for id_, document in articles.items():
        cells = []
        for number, own in enumerate(ranks):
            rank = own.get(id_)
            before = ranks[number - 1].get(id_) if number else None
            told = number and (rank is not None or before is not None)
            moved = move_html(move(before, rank)) if told and rank is not None else ""
            text = say("없음", "–") if rank is None else rank_words(rank)
            cells.append(f"<td>{text} {moved}</td>")
        found = f' <span class="badge right">{say("찾던 기사", "the right one")}</span>' if id_ == right else ""
        rows.append(f'<tr><th scope="row">{escape(title_of(document))}{found}</th>{"".join(cells)}</tr>')
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    first = f'<th scope="col">{say("기사", "Article")}</th>'
    return f'<table class="ranks"><thead><tr>{first}{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _labels_html(answer: Answer, top: int, right: str, side: str) -> str:
    rows = [f"<li{_marked(document, right)}>{escape(title_of(document))}</li>" for document in answer.articles[:top]]
    return f'<ol class="labels {side}">{"".join(rows)}</ol>'


def _dots_html(answer: Answer, top: int, right: str) -> str:
    dots = [f"<li{_marked(document, right)}><b>{n}</b></li>" for n, document in enumerate(answer.articles[:top], 1)]
    dots += ["<li></li>"] * (top - len(dots)) + ["<li><b>+</b></li>"]
    return f'<ol class="dots">{"".join(dots)}</ol>'


def _marked(document: Document, right: str) -> str:
    return ' class="right"' if article_id(document) == right else ""


def _lines_html(
    before: Mapping[str, int], after: Mapping[str, int], articles: Mapping[str, Document], top: int, right: str
) -> str:
    lines = []
    for id_ in articles:
        start, end = before.get(id_, top + 1), after.get(id_, top + 1)
        if start == end == top + 1:
            continue
        kind = "right" if id_ == right else "up" if end < start else "down" if end > start else "same"
        edge = " edge" if top + 1 in (start, end) else ""
        lines.append(f'<i class="{kind}{edge}" style="{_line(start, end)}"></i>')
    return f'<div class="lines">{"".join(lines)}</div>'


def _line(start: int, end: int) -> str:
    """Return the style that cuts a line out of a box as high as all rows: Streamlit lets no SVG pass in HTML."""
    first, last = (f"calc(var(--row)*{rank - 0.5}" for rank in (start, end))
    wide = "var(--line)"
    return f"clip-path:polygon(0 {first} - {wide}),100% {last} - {wide}),100% {last} + {wide}),0 {first} + {wide}))"
