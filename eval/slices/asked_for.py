"""What a Korean question asks for, by its interrogative or, where it has none, by the noun it ends in."""

import re

OTHER = "other"

_START = r"(?:^|\s)"
_END = r"(?:들?[은는이가]?요?|들?이?(?:었|였)?(?:는가|나|나요|인가|인가요))\W*$"
_CLOCK = r"몇 ?(?:년|월|일|시)(?!간| ?동안|이나)"  # 몇 년 asks when, 몇 년간 and 몇 시간 how many
_PATTERNS: dict[str, re.Pattern[str]] = {
    "why": re.compile(
        rf"{_START}왜(?=\W|요|$)|어째서|(?:어떤|무슨) ?(?:이유|까닭|원인|계기)|"  # not 왜군, 임진왜란
        rf"(?:이유|까닭|계기|사연|(?:{_START}|사망|발생)원인){_END}"  # not 회원인가
    ),
    "how many": re.compile(
        rf"얼마|(?!{_CLOCK})몇|(?:나이|연세)가 어떻게|(?:{_START}|[개갯건횟표])수{_END}|"  # not 선수, 교수
        r"(?:\w율|비중|규모|금액|액수|가격|나이|인원|길이|높이|고도|무게|크기|면적|점수|기간)" + _END
    ),
    "when": re.compile(
        rf"언제|{_CLOCK}|며칠|{_START}[해날때]{_END}|"
        rf"(?:시기|시점|시각|시대|연도|년도|날짜|일자|(?:사망|출생|생|기념)일){_END}"
    ),
    "who": re.compile(
        rf"누구|누가|누굴|{_START}[이자]{_END}|"
        rf"(?:사람|인물|왕|황제|감독|작가|선수|장군|아버지|어머니|\w자){_END}"
    ),
    "where": re.compile(
        r"어디|어느 ?(?:나라|국가|지역|도시|곳)|"
        rf"(?:곳|장소|나라|국가|지역|도시|마을|(?:소재|출생|근무|목적|행선|근거|서식)지){_END}"
    ),
    "how": re.compile(rf"어떻게|어쩌다|(?:어떤|무슨|어떠한) ?(?:방법|방식|수단|식으로)|(?:방법|방식|수단){_END}"),
    "what": re.compile(rf"무엇|무얼|뭐|뭘|뭔|무슨|어떤|어떠|어느|[은는]요?\W*$|{_START}[건게]\W*$"),
}
"""In this order: a question goes by the first that it matches."""


def asked_for(question: str) -> str:
    """Return what a normalised question asks for: why, how many, when, who, where, how, what, or `OTHER`.

    Words decide, so some questions go astray: 누구 때문에 is taken for who.
    """
    return next((name for name, pattern in _PATTERNS.items() if pattern.search(question)), OTHER)
