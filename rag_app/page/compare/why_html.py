"""How the explanation of a match looks: tables of what adds up to each score, with a bar for every part."""

from collections.abc import Iterable, Sequence
from html import escape

from rag_app.explaining.explanation import FIRST_STAGE, Contribution, Explanation, FusionMatch, RerankMatch
from rag_app.explaining.word_matches import Span, Spans, WordMatch
from rag_app.page.words import rank_words, say
from rag_app.rendering.score_table import STAGES

PART_WORDS = {
    "bigrams_passage": ("글자쌍: 단락 전체 (BM25)", "letter pairs, whole passage (BM25)"),
    "bigrams_sentence": ("글자쌍: 제목과 가장 잘 맞는 문장", "letter pairs, title and best sentence"),
    "bigrams_two_sentences": ("글자쌍: 이웃한 두 문장", "letter pairs, two neighbouring sentences"),
    "names_passage": ("이름·숫자: 단락 전체", "names and numbers, whole passage"),
    "names_sentence": ("이름·숫자: 제목과 가장 잘 맞는 문장", "names and numbers, title and best sentence"),
    "title_in_question": ("질문에 제목이 그대로 있음", "the question holds the title"),
    "log_characters": ("단락 길이 (로그)", "length of the passage (logarithm)"),
    "tokens_sentence": ("뜻: 제목과 가장 가까운 문장", "meaning, title and nearest sentence"),
    "tokens_three_sentences": ("뜻: 이웃한 세 문장", "meaning, three neighbouring sentences"),
    "tokens_passage": ("뜻: 단락 전체", "meaning, whole passage"),
    "tokens_exact": ("질문의 말이 그대로 있음", "words of the question as they are"),
    "time": ("때를 묻고, 때가 나옴", "asks when, and names a time"),
    FIRST_STAGE: ("앞 단계의 합산 점수", "fused score of the search"),
    "lexical": ("낱말 점수 (최대치에 대한 비율)", "words, as a share of the most possible"),
    "dense": ("뜻 (코사인)", "meaning (cosine)"),
}
"""What a reader calls each part of a sum."""


def ranks_html(explanation: Explanation) -> str:
    """Return the ranks after each stage, in order."""
    steps = [
        f"<li>{escape(say(*STAGES[stage].name))} <b>{rank_words(rank)}</b></li>"
        for stage, rank in explanation.ranks.items()
    ]
    return f'<ol class="steps">{"".join(steps)}</ol>' if steps else ""


def words_html(words: Sequence[WordMatch], cosines: Sequence[float]) -> str:
    """Return the words of a question with what each adds to BM25 and, where it is known, to the cosine."""
    most, nearest = max((word.score for word in words), default=0.0), max(map(abs, cosines), default=0.0)
    rows = []
    for number, word in enumerate(words):
        cells = f"<td>{_found_html(word)}</td>{_bar_html(word.score, 0.0, most, '.1f')}"
        if cosines:
            cells += _bar_html(cosines[number], min(0.0, *cosines), nearest, ".3f")
        rows.append(f'<tr><th scope="row">{escape(word.word)}</th>{cells}</tr>')
    total = f"<td></td><td>{sum(word.score for word in words):.1f}</td>"
    if cosines:
        total += f"<td>{sum(cosines):.3f}</td>"
    heads = [say("질문의 말", "Word"), say("기사에", "In the article")]
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    head += f'<th scope="col">{say("낱말 (BM25)", "Words (BM25)")}</th>'
    head += f'<th scope="col">{say("뜻 (코사인)", "Meaning (cosine)")}</th>' if cosines else ""
    return (
        f'<table class="parts words"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        f'<tfoot><tr><th scope="row">{say("합", "Sum")}</th>{total}</tr></tfoot></table>'
    )


def fusion_html(fusion: FusionMatch) -> str:
    """Return how the fused score comes about."""
    parts = [*fusion.parts]
    extra = [(say("날짜가 맞아 얻은 점수", "gained by its date"), "", fusion.timely)] if fusion.timely else []
    return _sum_html([*map(_told, parts), *extra], say("합산 점수", "Fused score"), f"{fusion.score:.3f}", ".3f")


def rerank_html(rerank: RerankMatch) -> str:
    """Return what a linear reranker's logit is the sum of, what counts most first."""
    parts = sorted(rerank.parts, key=lambda part: -abs(part.product))
    return _sum_html(map(_told, parts), say("합 (로짓)", "Sum (logit)"), f"{rerank.logit:.2f}", ".2f")


def marked_html(text: str, spans: Spans) -> str:
    """Return a text in which what matches as a morpheme, and otherwise by its letters, is marked."""
    marks = sorted([(span, "mark") for span in spans.morphemes] + [(span, "u") for span in spans.bigrams])
    parts, at = [], 0
    for (start, end), tag in marks:
        parts += [escape(text[at:start]), f"<{tag}>{escape(text[start:end])}</{tag}>"]
        at = end
    return "".join([*parts, escape(text[at:])])


def sentences_html(text: str, sentences: Iterable[tuple[Span, float]]) -> str:
    """Return sentences of a text with their cosines."""
    rows = [
        f'<li><span class="score">{cosine:.3f}</span> {escape(text[start:end])}</li>'
        for (start, end), cosine in sentences
    ]
    return f'<ol class="near" lang="ko">{"".join(rows)}</ol>'


def _found_html(word: WordMatch) -> str:
    """Return which morphemes of a word the article has, in words and signs."""
    told = [f'<span class="has">{escape(unit)} ✓</span>' for unit in word.found]
    told += [f'<span class="lacks">{escape(unit)} {say("없음", "missing")}</span>' for unit in word.missing]
    have, of = word.bigrams
    if not told:
        told = [f'<span class="lacks">{say("셀 말 없음", "nothing to match")}</span>'] if not word.says else []
    pairs = say(f"글자쌍 {have}/{of}", f"letter pairs {have}/{of}")
    return f'{" ".join(told)} <span class="meta">{pairs}</span>'


def _told(part: Contribution) -> tuple[str, str, float]:
    return say(*PART_WORDS[part.name]), f"{part.value:.3f} × {part.weight:.2f}", part.product


def _sum_html(parts: Iterable[tuple[str, str, float]], total: str, result: str, form: str) -> str:
    """Return a table of parts that add up: name, how it comes about, bar from zero to left or right, number."""
    listed = list(parts)
    most = max((abs(product) for *_, product in listed), default=0.0)
    least = min((product for *_, product in listed), default=0.0)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}<span class="meta">{escape(how)}</span></th>'
        f"{_bar_html(product, least, most, form)}</tr>"
        for name, how, product in listed
    )
    foot = f'<tr><th scope="row">{escape(total)}</th><td>{result}</td></tr>'
    return f'<table class="parts"><tbody>{rows}</tbody><tfoot>{foot}</tfoot></table>'


def _bar_html(value: float, least: float, most: float, form: str) -> str:
    """Return a cell with a bar and its number; if any is below zero, all bars begin in the middle."""
    share = 100 * abs(value) / most if most else 0.0
    if least < 0:
        left = 50 - share / 2 if value < 0 else 50
        style = f"width:{share / 2:.1f}%;margin-left:{left:.1f}%"
    else:
        style = f"width:{share:.1f}%"
    sign = "minus" if value < 0 else "plus"
    return f'<td><div class="bar"><i><span class="{sign}" style="{style}"></span></i>{value:{form}}</div></td>'
