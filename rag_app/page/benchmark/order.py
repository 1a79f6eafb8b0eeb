"""What is to be measured: data, protocol, systems, models, and how many questions."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from rag_app.benchmark.order import Order, index_label
from rag_app.benchmark.runs import Run, Runs, list_systems
from rag_app.models import EMBEDDED
from rag_app.page.library import known_indexes
from rag_app.page.limits import check_benchmarks
from rag_app.page.powers import are_guests
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.system_names import system_name
from rag_app.page.words import duration_words, say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings, name_or_none

USUAL = ("lexical", "base", "hybrid", "hybrid+rerank")
"""The systems that are measured unless others are chosen."""
TYPES = ("jsonl", "csv", "tsv", "json")

_SOURCES = {
    "sample": (
        ("예제 뉴스", "Sample news"),
        ("함께 들어 있는 가상 기사 168건과 질문 177개", "168 made-up articles and 177 questions that come with it"),
    ),
    "path": (
        ("이 컴퓨터의 파일이나 폴더", "A file or folder on this machine"),
        (
            "jsonl·csv·tsv(question, context 열), KLUE-MRC·KorQuAD json, BEIR 폴더",
            "jsonl, csv, tsv (columns question and context), KLUE-MRC or KorQuAD json, a BEIR folder",
        ),
    ),
    "upload": (("파일 올리기", "Upload a file"), ("같은 형식의 파일 하나", "One file of these formats")),
    "klue": (
        ("KLUE-MRC", "KLUE-MRC"),
        ("Hugging Face Hub에서 받습니다. 네트워크가 필요합니다", "From the Hugging Face Hub; needs a network"),
    ),
}
_PROTOCOLS = {
    "clean": (
        ("정확한 방식", "Clean"),
        (
            "모든 기사를 한 번씩만 놓고 그 안에서 찾습니다. 방식을 고를 때 쓰세요",
            "Searches all passages, every text once. Use it to choose a system",
        ),
    ),
    "tutorial": (
        ("튜토리얼 방식", "Tutorial"),
        (
            "튜토리얼이 발표한 절차 그대로, 물어본 기사들 안에서만 찾아 더 쉽습니다",
            "As a tutorial published it: searches only the passages asked about, which is easier",
        ),
    ),
    "both": (("둘 다", "Both"), ("두 방식을 차례로 잽니다", "One after the other")),
}


def ask_order(runs: Runs, ordered: Sequence[Run], settings: Settings) -> Run | None:
    """Ask what is to be measured; return the benchmark once it has been started."""
    data, upload = _ask_data(settings)
    protocol = st.radio(
        say("재는 방식", "Protocol"),
        list(_PROTOCOLS),
        format_func=lambda name: say(*_PROTOCOLS[name][0]),
        captions=[say(*captions) for _, captions in _PROTOCOLS.values()],
        horizontal=True,
    )
    order = _ask_models(Order(data, protocol=protocol), settings)
    try:
        with st.spinner(say("잴 수 있는 검색 방식을 알아보는 중입니다…", "Looking up what can be measured…")):
            possible = _possible(order)
    except ERRORS as error:
        show_explained(error)
        return None
    order = order._replace(systems=_ask_systems(possible, protocol), limit=_ask_limit())
    _tell_last_time(order, ordered)
    return _start(order, upload, runs)


@st.cache_data(show_spinner=False, max_entries=50)
def _possible(order: Order) -> list[str]:
    return list_systems(order)


def _ask_data(settings: Settings) -> tuple[str, tuple[str, bytes] | None]:
    """Return where the questions are, empty while that is not said, and the file that was uploaded."""
    source = st.radio(
        say("자료", "Data"),
        sources := [name for name in _SOURCES if name != "path" or not are_guests(settings)],
        format_func=lambda name: say(*_SOURCES[name][0]),
        captions=[say(*_SOURCES[name][1]) for name in sources],
    )
    if source == "path":
        typed = st.text_input(
            say("파일이나 폴더의 경로", "Path of the file or folder"),
            placeholder=say("예: data/questions.jsonl", "such as data/questions.jsonl"),
        ).strip()
        return (str(Path(typed).expanduser().absolute()) if typed else ""), None
    if source == "upload":
        file = st.file_uploader(say("질문 파일", "File of questions"), type=TYPES)
        return (file.name, (file.name, file.getvalue())) if file else ("", None)
    return source, None


def _ask_models(order: Order, settings: Settings) -> Order:
    if are_guests(settings):
        return order._replace(reranker=settings.reranker)
    with st.expander(say("모델과 내 색인", "Models and own indexes")):
        base = st.text_input(
            say("기준 임베딩 모델", "Embedding model of the base"),
            EMBEDDED,
            help=say(
                "`base`와 `hybrid`가 쓰는 모델입니다. `embedded`는 함께 들어 있는 모델이고, 폴더나 Hub 이름도 됩니다.",
                "What `base` and `hybrid` search with: `embedded` comes with the package; or a folder, or a Hub name.",
            ),
        )
        models = st.text_area(
            say("견줄 임베딩 모델 (한 줄에 하나)", "Embedding models to compare (one per line)"),
            placeholder=say("models/mrc\n내모델=폴더 또는 Hub 이름", "models/mrc\nmine=a folder or Hub name"),
            height=80,
            help=say(
                "첫째는 `tuned`라는 이름으로 나오고, `이름=모델`로 적으면 그 이름으로 나옵니다.",
                "The first is called `tuned`; `NAME=MODEL` gives it another name.",
            ),
        )
        reranker = st.text_input(
            say("재순위 모델", "Reranker"),
            settings.reranker or "",
            placeholder=say("비우면 재순위 없이", "empty for none"),
            help=say("`+rerank`가 붙은 방식이 쓰는 모델입니다.", "What the systems with `+rerank` read again with."),
        )
        # Not those on servers: the address with its password would stand in the command and in the report.
        known = {index_label(n): path for n, path in known_indexes(settings).items() if isinstance(path, Path)}
        indexes = st.multiselect(
            say("내 색인도 재기", "Measure own indexes"),
            list(known),
            disabled=order.protocol == "tutorial",
            placeholder=say("고르지 않음", "None"),
            help=say(
                "그 색인의 기사 안에서 찾습니다. 이 자료의 기사가 들어 있어야 합니다.",
                "Searches that index's own articles, which have to include those of these data.",
            ),
        )
    return order._replace(
        base=base.strip() or EMBEDDED,
        models=tuple(line.strip() for line in models.splitlines() if line.strip()),
        reranker=name_or_none(reranker),
        indexes=tuple(f"{label}={known[label].absolute()}" for label in indexes),
    )


def _ask_systems(possible: Sequence[str], protocol: str) -> tuple[str, ...]:
    wanted = USUAL if protocol == "clean" else (*USUAL, "base+rerank")  # the tutorial's has vectors alone
    usual = [name for name in possible if name in wanted or not _comes_with_it(name)]
    chosen = st.multiselect(
        say("견줄 검색 방식", "Systems to compare"),
        possible,
        usual,
        format_func=system_name,
        # Another choice of models is another choice of systems: it begins with the usual ones.
        key=f"systems {protocol} {' '.join(possible)}",
        placeholder=say("하나 이상 고르세요", "Choose at least one"),
        help=say(
            "`lexical`: 낱말(BM25), 그 절반인 `bigrams`와 `morphemes` · `base`: 뜻(임베딩) · `hybrid`: 둘을 합침 · "
            "`tuned`: 견줄 모델 · `+rerank`: 재순위 모델로 다시 읽음",
            "`lexical`: words (BM25), and its halves `bigrams` and `morphemes` · `base`: meaning (embeddings) · "
            "`hybrid`: both · `tuned`: the model to compare · `+rerank`: read again by the reranker",
        ),
    )
    return tuple(name for name in possible if name in chosen)


def _comes_with_it(name: str) -> bool:
    return name.removesuffix("+rerank") in ("bigrams", "morphemes", "lexical", "base", "hybrid")


def _ask_limit() -> int | None:
    return st.number_input(
        say("물어볼 질문 수", "Questions to ask"),
        min_value=1,
        value=None,
        step=50,
        placeholder=say("전부", "all"),
        help=say(
            "무작위로 고릅니다. 적게 물으면 빨리 끝나지만, 작은 차이는 가려내지 못합니다.",
            "Drawn at random. Fewer take less time, but cannot tell small differences.",
        ),
    )


def _tell_last_time(order: Order, ordered: Sequence[Run]) -> None:
    """Say what the last benchmark of the same data took: the only estimate that is not a guess."""
    same = (run for run in ordered if run.order.data == order.data and run.order.protocol == order.protocol)
    last = next(((run, spent) for run in same if (spent := run.seconds()) is not None), None)
    if last is None:
        return
    run, seconds = last
    asked = say("모든 질문", "all questions") if run.order.limit is None else f"{run.order.limit}"
    st.caption(
        say(
            f"지난번에는 같은 자료에서 방식 {len(run.order.systems)}가지(질문: {asked})를 재는 데 "
            f"{duration_words(seconds)} 걸렸습니다.",
            f"The last time {len(run.order.systems)} systems on these data (questions: {asked}) took "
            f"{duration_words(seconds)}.",
        )
    )


def _start(order: Order, upload: tuple[str, bytes] | None, runs: Runs) -> Run | None:
    busy = runs.running()
    if busy is not None:
        name = escape_markdown(busy.order.name)
        st.info(
            say(
                f"지금 {name} 자료로 재고 있습니다. 서로 시간을 빼앗지 않도록 한 번에 하나만 잽니다.",
                f"{name} is being measured. Only one runs at a time, so that none takes the time of another.",
            )
        )
    missing = not order.data or not order.systems
    if not st.button(
        say("재기 시작", "Start"), type="primary", icon=":material/play_arrow:", disabled=missing or bool(busy)
    ):
        return None
    try:
        check_benchmarks(len(runs.all()), len(upload[1]) if upload else 0)
        return runs.start(order, upload)
    except BlockingIOError:  # started by somebody else meanwhile
        st.rerun()
    except ERRORS as error:
        show_explained(error)
        return None
