"""Why a question has no answer, and what one can do about it, as HTML."""

from collections.abc import Sequence
from html import escape

from rag_app.language import KOREAN, Say
from rag_app.rendering.text import shortened

_MISSING = 8  # words, of a question that goes on and on
_WORD = 40  # characters of one


def refusal_html(
    evidence: float | None, threshold: float, missing: Sequence[str], filtered: str, *, found: bool, say: Say = KOREAN
) -> str:
    """Return why there is no answer, and what one can do, as HTML.

    Args:
        evidence: How likely the articles answer, by `rag_app.evidence.evidence_score`; None if that is not known.
        threshold: From how likely on there is an answer.
        missing: The words of the question that no article has.
        filtered: The filter in words, empty without one.
        found: There are articles that come near.
        say: The language.
    """
    if not found:
        why = say("찾은 기사가 없어 답을 만들지 않았습니다.", "No article was found, so no answer was made up.")
    elif evidence is not None and evidence >= threshold:  # then it was the chat model that refused
        why = say(
            "채팅 모델이 찾은 기사를 읽었지만 질문에 대한 답이 없다고 했습니다.",
            "The chat model read the articles found and says that they do not answer the question.",
        )
    else:
        why = say(
            "찾은 기사로는 답할 근거가 약해 답을 만들지 않았습니다.",
            "The evidence found is weak, so no answer was made up.",
        )
    lines = [f'<p class="why-not">{why}</p>']
    if evidence is not None and found:
        lines.append(_evidence_html(evidence, threshold, say))
    if missing and found:
        words = ", ".join(f'<b lang="ko">{escape(shortened(word, _WORD))}</b>' for word in missing[:_MISSING])
        lines.append(f"<p>{say('찾은 기사 어디에도 없는 말', 'In none of the articles found')}: {words}</p>")
    advice = [
        say(
            "기사에 나올 법한 이름, 장소, 날짜를 넣어 다시 물어보세요.",
            "Ask again with names, places or dates as an article would have them.",
        )
    ]
    if filtered:
        advice.insert(
            0,
            say(
                f"지금은 ‘{escape(filtered)}’에서만 찾았습니다. 찾을 범위를 넓혀 보세요.",
                f"Only ‘{escape(filtered)}’ was searched. Widen where to search.",
            ),
        )
    if found:
        advice.append(
            say("아래 가까운 기사를 열어 직접 확인해 보세요.", "Open the nearest articles below and see for yourself.")
        )
    items = "".join(f"<li>{item}</li>" for item in advice)
    label = say("답이 없는 까닭", "Why there is no answer")
    return f'<section class="refusal" aria-label="{label}">{"".join(lines)}<ul>{items}</ul></section>'


def _evidence_html(evidence: float, threshold: float, say: Say) -> str:
    words = say(
        f"기사에 답이 있을 가능성 {evidence:.0%} (어림값). {threshold:.0%}부터 답합니다.",
        f"Estimated probability that the articles answer it: {evidence:.0%}. From {threshold:.0%} on, it is answered.",
    )
    return (
        f'<div class="evidence"><div class="scale" aria-hidden="true"><i style="width:{evidence:.0%}"></i>'
        f'<b style="left:{threshold:.0%}"></b></div><span>{words}</span></div>'
    )
