"""What each stage of a search thought of a source, as HTML that explains itself."""

from html import escape
from typing import Any, NamedTuple

from rag_app.language import KOREAN, Say

Wording = tuple[str, str]
"""Korean and English."""


class Stage(NamedTuple):
    """What a reader calls a stage of a search, and what its score says, in both languages."""

    name: Wording
    short: Wording
    meaning: Wording


STAGES = {
    "lexical": Stage(
        ("낱말 (BM25)", "Words (BM25)"),
        ("낱말", "words"),
        (
            "질문의 낱말이 이 단락에 얼마나 나오는지. 드문 낱말일수록 크게 셉니다.",
            "How much of the question's words the passage has; rare words count more.",
        ),
    ),
    "dense": Stage(
        ("뜻 (코사인)", "Meaning (cosine)"),
        ("뜻", "meaning"),
        (
            "낱말이 달라도 질문과 뜻이 얼마나 가까운지. 1이 가장 가깝습니다.",
            "How close the passage is in meaning, whatever its words; 1 is closest.",
        ),
    ),
    "fusion": Stage(
        ("합산", "Combined"),
        ("합산", "combined"),
        ("낱말과 뜻의 점수를 합친 값입니다.", "The scores of words and meaning put together."),
    ),
    "rerank": Stage(
        ("재순위", "Reranked"),
        ("재순위", "reranked"),
        (
            "모델이 질문과 단락을 나란히 읽고 다시 매긴 점수입니다.",
            "A model read question and passage side by side and scored them anew.",
        ),
    ),
}
"""In the order in which they run."""

_STOPPED: dict[str, Wording] = {
    "budget": (", 정한 시간이 다 되어 멈췄습니다", ", and stopped as the time set for it was up"),
    "pairs": (", 정한 개수까지만 읽었습니다", ", as many as it was set to"),
    "bound": (", 더 읽어도 순서가 바뀌지 않아 멈췄습니다", ", and stopped as the order could not change any more"),
}


def standings_html(stages: dict[str, dict[str, Any]], say: Say) -> str:
    """Return the rank that each stage gave, in a few words."""
    ranks = [
        f"{say(*STAGES[name].short)} {_rank(stages[name]['rank'], say)}"
        for name in STAGES
        if name in stages and name != "fusion" and stages[name].get("scored", True)
    ]
    return f' <span class="standings">{" · ".join(map(escape, ranks))}</span>' if ranks else ""


def scores_html(stages: dict[str, dict[str, Any]], *, say: Say = KOREAN, passages: int = 1) -> str:
    """Return a table of each stage's rank and score, in the order in which they ran; empty without stages.

    Args:
        stages: As `rag_app.stages` keeps them.
        say: The language to explain them in.
        passages: How many passages of the article were found; the scores are those of the best.
    """
    rows = [_stage_html(name, stage, say) for name, stage in stages.items()]
    if not rows:
        return ""
    head = "".join(
        f'<th scope="col">{word}</th>' for word in (say("단계", "Stage"), say("순위", "Rank"), say("점수", "Score"))
    )
    notes = _notes(stages, passages, say)
    below = f'<p class="meta">{" ".join(map(escape, notes))}</p>' if notes else ""
    return f'<table class="scores"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>{below}'


def _stage_html(name: str, stage: dict[str, Any], say: Say) -> str:
    known = STAGES.get(name)
    meaning = [say(*known.meaning)] if known else []
    if timely := stage.get("timely"):
        meaning.append(
            say(
                f"질문이 말하는 때에 나온 기사라 {timely:.3f}을 더했습니다.",
                f"{timely:.3f} more, as it appeared at the time that the question names.",
            )
        )
    if stage.get("calibrated") is False:
        meaning.append(
            say("순서를 정하는 값이며 확률이 아닙니다.", "It serves to put passages in order and is no probability.")
        )
    if stage.get("scored") is False:
        meaning = [
            say(
                "정한 한도까지만 읽어서 이 단락은 읽지 않았습니다. 찾은 순서대로 뒤에 놓았습니다.",
                "Not read, as the limit set for reading was reached; it follows in the order of the search.",
            )
        ]
    explained = f"<small>{escape(' '.join(meaning))}</small>" if meaning else ""
    title = escape(say(*known.name) if known else name)
    return (
        f'<tr><th scope="row">{title}{explained}</th><td>{_rank(stage["rank"], say)}</td>'
        f"<td>{_score(stage, say)}</td></tr>"
    )


def _rank(rank: int, say: Say) -> str:
    return say(f"{rank}위", f"#{rank}")


def _score(stage: dict[str, Any], say: Say) -> str:
    if "score" not in stage:  # the reranker's limits left it unread
        return "–"
    if "coverage" not in stage:
        return f"{stage['score']:.3f}"
    share = say(f"최대치의 {stage['coverage']:.0%}", f"{stage['coverage']:.0%} of the most")
    return f"{stage['score']:.3f} <small>{share}</small>"


def _notes(stages: dict[str, dict[str, Any]], passages: int, say: Say) -> list[str]:
    """Return what else there is to say of how a source was found, in sentences."""
    notes = []
    if passages > 1:
        notes.append(
            say(
                f"이 기사에서 단락 {passages}개를 찾았습니다. 점수는 그중 가장 앞선 단락의 것입니다.",
                f"{passages} passages of this article were found. The scores are those of the best one.",
            )
        )
    rerank = stages.get("rerank", {})
    if windows := rerank.get("windows"):
        read = sum(end - start for start, end in windows)
        notes.append(
            say(
                f"단락이 길어서 재순위 모델은 질문과 가장 가까운 {read:,}자만 읽었습니다.",
                f"The passage is long: the reranker read the {read:,} characters of it closest to the question.",
            )
        )
    if spent := rerank.get("spent"):
        notes.append(_spent(spent, say))
    return notes


def _spent(spent: dict[str, Any], say: Say) -> str:
    pairs, cached, ms = spent["pairs"], spent.get("cached") or 0, f"{spent['ms']:.0f} ms"
    why = say(*_STOPPED[spent["stopped_by"]]) if spent.get("stopped_by") in _STOPPED else ""
    if not pairs:
        return say(
            f"재순위 모델이 전에 매긴 점수 {cached}개를 그대로 썼습니다{why}.",
            f"The reranker's {cached} scores were known from before{why}.",
        )
    kept = say(f", {cached}개는 전에 매긴 점수를 썼습니다", f"; {cached} more were known from before") if cached else ""
    return say(
        f"재순위 모델은 단락 {pairs}개를 {ms}에 읽었습니다{kept}{why}.",
        f"The reranker read {pairs} passages in {ms}{kept}{why}.",
    )
