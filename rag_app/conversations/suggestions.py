"""Questions that one could ask of some articles, made from the articles' own words."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from langchain_core.documents import Document

from rag_app.filters import matching_ids
from rag_app.korean import Analyzer, Morpheme, normalise
from rag_app.stores.cosines import CosineStore
from rag_app.stores.server import ServerStore

ENOUGH, MOST = 150, 300
"""How many articles are enough to choose from, and how many are read at most."""
_BEGINNING = 600  # characters of an article, in which it says what it is about
_LENGTHS = range(16, 56)  # of a question, in characters
_TITLE_LENGTHS = range(8, 46)

_TIME = re.compile(
    r"(?:(?:지난|올해|작년)\s)?(?:\d{4}년\s?)?(?:\d{1,2}월\s?)?\d{1,2}일(?:\s(?:오전|오후|새벽|밤|저녁|아침|낮))?"
    r"(?:\s\d{1,2}시)?(?:\s?\d{1,2}분)?(?:\s?(?:께|경|쯤))?(?:에)?,?(?=\s)"
)
_NUMBER = re.compile(r"(?<![\d.,~∼만천백여])\d[\d,]*\s?(명|건|곳)(?=이\s)")
_COUNTED = re.compile(r"\d\s?(?:명|건|곳)")
_SENTENCE_END = re.compile(r"(?<=다\.)\s+|\n+")
_ASIDE = re.compile(r"\s?\([^()]*\)")
_BRACKETED = re.compile(r"^(?:\[[^\]]*\]|\([^)]*\))\s*")
_ODD = re.compile(r"요일|[.!?]\s|[\"'“”‘’「」『』<>《》〈〉\[\]{}…·;:=]")
_TOPIC = re.compile(r"^언제\s((?:\S+\s){0,9}?\S*[가-힣](?:은|는|이|가))\s(?=\S)")
_POINTING_WORDS = frozenset(
    ("이", "그", "저", "이런", "그런", "이러하", "그러하", "해당", "동", "본", "같", "자신", "또")
)
_POINTING_TIMES = frozenset(
    ("이날", "이후", "이전", "당시", "이번", "다음", "오늘", "어제", "내일", "지난해", "올해", "지난달", "이달")
)
_POINTING = _POINTING_WORDS | _POINTING_TIMES | {"않", "못하", "오전", "오후", "현지", "시각"}
"""What only the text around a sentence explains, and what makes its question an odd one."""
_NAMES = frozenset({"NNP", "SL"})


class Suggestion(NamedTuple):
    """A question about an article.

    Attributes:
        text: The question; or the article's headline, which searches as well.
        is_question: It is not just the headline.
        names: The names in it.
        section: The article's; empty without one.
    """

    text: str
    is_question: bool
    names: frozenset[str]
    section: str

    def resembles(self, other: "Suggestion") -> bool:
        """Return whether two are about the same, as far as their names tell."""
        return bool(self.names & other.names) or self.text == other.text


def suggest(articles: Iterable[Document], analyzer: Analyzer, count: int) -> list[str]:
    """Return up to ``count`` questions about different things, of different sections where articles have some.

    Questions come before headlines, and otherwise earlier articles before later ones. Nothing is made up: a question
    is a sentence of an article whose date or number is asked for, so that the article answers it.
    """
    chosen: list[Suggestion] = []
    found: list[Suggestion] = []
    for one in filter(None, (suggestion(article, analyzer) for article in articles)):
        if one.is_question and not any(one.resembles(other) or one.section == other.section != "" for other in chosen):
            chosen.append(one)
        else:
            found.append(one)
        if len(chosen) == count:
            break
    found.sort(key=lambda one: (not one.is_question, one.section in {other.section for other in chosen}))
    for one in found:
        if len(chosen) < count and not any(one.resembles(other) for other in chosen):
            chosen.append(one)
    return [one.text for one in chosen]


def suggestion(article: Document, analyzer: Analyzer) -> Suggestion | None:
    """Return a question about an article, else its headline; None if that does not say much either."""
    section = str(article.metadata.get("section") or "")
    for sentence in _SENTENCE_END.split(normalise(article.page_content)[:_BEGINNING]):
        question, names = _question(_ASIDE.sub("", sentence), analyzer)
        if question:
            return Suggestion(question, True, names, section)
    title = _BRACKETED.sub("", normalise(str(article.metadata.get("title") or "")))
    if len(title) not in _TITLE_LENGTHS:
        return None
    names = _names(analyzer.analyse(title))
    return Suggestion(title, False, names, section) if names else None


def _question(sentence: str, analyzer: Analyzer) -> tuple[str, frozenset[str]]:
    """Return the question that a sentence answers and its names; empty where no rule makes one that stands alone."""
    if len(sentence) not in _LENGTHS or not sentence.endswith("다.") or _ODD.search(sentence):
        return "", frozenset()
    asked = _asked(sentence)
    morphemes = analyzer.analyse(asked) if asked else []
    if not _stands_alone(morphemes, asked):
        return "", frozenset()
    return _TOPIC.sub(r"\1 언제 ", asked).removesuffix("다.") + "나요?", _names(morphemes)


def _asked(sentence: str) -> str:
    """Return a sentence with the time, or else the number, that it tells replaced by the word that asks for it."""
    for pattern, every, word in ((_TIME, _TIME, "언제"), (_NUMBER, _COUNTED, r"몇 \1")):
        place = pattern.search(sentence)
        if place and len(every.findall(sentence)) == 1:
            return (sentence[: place.start()] + place.expand(word) + sentence[place.end() :]).strip()
    return ""


def _stands_alone(morphemes: Sequence[Morpheme], sentence: str) -> bool:
    """Return whether it is one plain statement in the past about something named, and points nowhere."""
    told = [(morpheme.form, morpheme.tag.split("-")[0]) for morpheme in morphemes]
    tags = [tag for _, tag in told]
    endings = [(form, tag) for form, tag in told if tag in {"EP", "EF"}]
    return (
        len(endings) >= 2
        and endings[-2][0] in {"었", "았", "였"}
        and endings[-1] == ("다", "EF")
        and tags.count("EF") == 1
        and tags.count("EC") <= 1
        and tags.count("JKS") <= 1
        and bool({"JKS", "JX"} & set(tags))
        and bool(_NAMES & set(tags))
        and not {"NP", "MAJ"} & set(tags)
        and not any(form in _POINTING and not tag.startswith("J") for form, tag in told)
        and not any(tag == "NNP" and len(form) == 1 for form, tag in told)
        and not _modified(morphemes, sentence)
    )


def _modified(morphemes: Sequence[Morpheme], sentence: str) -> bool:
    """Return whether the word that asks for a time belongs to a noun: "언제 열린 토론회", "토요일인 언제"."""
    at = sentence.find("언제")
    after = at + len("언제 ")
    word_end = after + len(sentence[after:].split(" ", 1)[0])
    before = [morpheme.tag for morpheme in morphemes if morpheme.end < at + 1][-1:]
    following = {morpheme.tag for morpheme in morphemes if after <= morpheme.start < word_end}
    return at >= 0 and bool({"ETM", "JKG"} & {*before, *following})


def _names(morphemes: Iterable[Morpheme]) -> frozenset[str]:
    return frozenset(m.form for m in morphemes if m.tag.split("-")[0] in _NAMES and len(m.form) > 1)


def recent_articles(store: CosineStore) -> Iterator[Document]:
    """Yield the beginnings of some articles, the newest first where they have dates; quick in a large index too."""
    days = store.values("date")[::-1]
    passages: list[Document] = []
    few = 1
    while days and len(passages) < ENOUGH and few // 4 < len(days):
        passages, few = _some_passages(store, {"date": {"$in": days[:few]}}), few * 4
    taken = 0
    passages = passages or _some_passages(store)
    passages.sort(key=lambda one: str(one.metadata.get("date") or ""))
    for passage in reversed(passages):
        if taken < MOST and not passage.metadata.get("start"):
            taken += 1
            yield passage


def _some_passages(store: CosineStore, filter: Mapping[str, Any] | None = None) -> list[Document]:
    """Return some passages that a filter keeps, of a server only such as articles begin with."""
    if isinstance(store, ServerStore):
        return list(islice(store.scan({**(filter or {}), "start": 0}), MOST))
    documents = store.documents
    ids = documents if filter is None else matching_ids(documents, filter)
    return [documents[id_] for id_ in islice(ids, MOST * 4)]
