"""The command ``rag-app``: build an index, add to it, search it, ask it, check it."""

import argparse
import errno
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rag_app.language import Say, choose_language, language_of
from rag_app.models import OnnxBackend, TorchBackend
from rag_app.observability.logs import log_event, milliseconds, set_up_logging
from rag_app.observability.secret_words import without_secrets
from rag_app.observability.tracing import capture_content
from rag_app.settings import NONE, Settings, load_settings, name_or_none
from rag_app.stores.address import Address, index_place
from rag_app.timing import stage_times

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever

    from rag_app.files.tables import Columns
    from rag_app.index import Index

_log = logging.getLogger("rag_app.cli")  # also when run as a script
OK, FAILED, PARTLY, INTERRUPTED = 0, 1, 3, 130
_MOST = 1_000_000  # results, days and so on: tantivy stops the process when it is asked for very many
_COLUMNS = {"text": "본문", "title": "제목", "date": "날짜", "section": "분야", "source": "출처"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 usage, 3 done but some files skipped."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    locale = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    say = choose_language(_asked_language(arguments), os.environ.get("RAG_LANG"), *locale)
    options, before = argparse.Namespace(command=None), b""
    try:
        settings = load_settings()
        set_up_logging(settings.log, settings.log_level)
        capture_content(settings.trace_content)
        options = _parser(settings, say).parse_args(arguments)
        before = _manifest(options)
        return _run(options, say)
    except KeyboardInterrupt:
        print(say("멈췄습니다.", "Stopped."), _fate(options, before, say), file=sys.stderr)
        if options.command in ("index", "add") and _has_spool(options.index):
            kept = say(
                "만든 벡터는 남아 있어, 같은 명령이 이어서 합니다.", "The vectors are kept: the same command goes on."
            )
            print(kept, file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            print(say("디스크가 가득 찼습니다.", "The disk is full."), _fate(options, before, say), file=sys.stderr)
        if isinstance(error, ConnectionError | TimeoutError) and _writes_on_server(options):
            print(_fate(options, before, say), file=sys.stderr)
        print(f"rag-app: {without_secrets(str(error))}", file=sys.stderr)
        return FAILED


def _run(options: argparse.Namespace, say: Say) -> int:
    started = time.perf_counter()
    with stage_times() as seconds:
        status = int(options.run(options, say))
    spent = round((time.perf_counter() - started) * 1000, 1)
    log_event(_log, f"rag-app {options.command}", status=status, ms=spent, **milliseconds(seconds))
    return status


def _manifest(options: argparse.Namespace) -> bytes:
    """Return what every change of the index that a command is about changes."""
    from rag_app.generations import MANIFEST

    try:
        return bytes((options.index / MANIFEST).read_bytes())
    except (OSError, AttributeError, TypeError):  # no index yet, or a command about none, or one on a server
        return b""


def _fate(options: argparse.Namespace, before: bytes, say: Say) -> str:
    """Say what has become of the index in a command that did not end well."""
    if _writes_on_server(options):
        return say(
            "그때까지 쓴 것은 남아 있어, 같은 명령이 이어서 합니다.",
            "What was written by then is kept: the same command goes on.",
        )
    if _manifest(options) == before:
        return say("색인은 그대로입니다.", "The index is as it was.")
    return say("그 전에 색인은 이미 바뀌었습니다.", "The index had been changed by then.")


def _writes_on_server(options: argparse.Namespace) -> bool:
    return options.command in ("index", "add", "delete") and isinstance(options.index, Address)


def _has_spool(place: Path | Address) -> bool:
    return isinstance(place, Path) and (place / "spool").is_dir()


def _asked_language(arguments: Sequence[str]) -> str | None:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--lang")
    return str(first.parse_known_args(arguments)[0].lang or "") or None


def _parser(settings: Settings, say: Say) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rag-app",
        description=say(
            "한국어 문서를 색인하고, 찾고, 출처를 밝혀 답합니다.",
            "Index Korean documents, search them, and get answers with their sources.",
        ),
        epilog=say(
            "종료 상태: 0 완료, 1 실패, 2 사용법 오류, 3 완료했으나 건너뛴 파일 있음, 130 중단.",
            "Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but some files were skipped, 130 interrupted.",
        ),
    )
    parser.add_argument("--version", action="version", version=f"rag-app {version('korean-rag')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--index",
        type=_place,
        default=settings.index,
        metavar="PLACE",
        help=say(
            "색인 폴더, 또는 벡터 데이터베이스의 주소: milvus://호스트:19530/이름, "
            "postgresql://사용자@호스트:5432/데이터베이스/이름 (기본 %(default)s, RAG_INDEX)",
            "the index's folder, or its address in a vector database: milvus://HOST:19530/NAME, "
            "postgresql://USER@HOST:5432/DATABASE/NAME (default %(default)s, or RAG_INDEX)",
        ),
    )
    common.add_argument(
        "--backend",
        choices=get_args(TorchBackend) + get_args(OnnxBackend),
        default=settings.backend,
        help=say(
            "트랜스포머 모델을 돌릴 방식 (RAG_BACKEND); embedded 모델에는 쓰이지 않음",
            "what transformer models run on (RAG_BACKEND); the embedded models need none of it",
        ),
    )
    common.add_argument("--lang", choices=["ko", "en"], help=say("메시지 언어", "language of the messages"))

    def command(name: str, run: Callable[..., int], korean: str, english: str) -> argparse.ArgumentParser:
        text = say(korean, english)
        child: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, parents=[common])
        child.set_defaults(run=run)
        return child

    index = command("index", _index, "새 색인을 만듭니다.", "Build a new index.")
    _add_sources(index, say)
    index.add_argument(
        "--model",
        default=settings.model,
        help=say(
            "임베딩 모델: embedded, 폴더, 또는 Hub 이름 (기본 %(default)s)",
            "embedding model: embedded, a folder, or a Hub id (default %(default)s)",
        ),
    )
    index.add_argument(
        "--replace",
        action="store_true",
        help=say("이미 있는 색인을 바꿉니다", "replace an index that is there already"),
    )
    index.add_argument(
        "--passage-chars",
        type=_positive,
        metavar="N",
        help=say(
            "이보다 긴 글은 문장 단위로 나눕니다",
            "split longer texts on sentences into passages of at most N characters",
        ),
    )
    index.add_argument(
        "--vectors",
        choices=["auto", "exact", "ivf", "rabitq"],
        default="auto",
        help=say(
            "벡터를 찾는 방식; auto는 글의 수에 따라 고릅니다 (기본 %(default)s)",
            "how vectors are searched; auto chooses by the number of passages (default %(default)s)",
        ),
    )
    index.add_argument(
        "--user-dictionary",
        type=Path,
        metavar="FILE",
        help=say(
            "형태소 분석 사용자 사전 (단어<탭>품사<탭>점수); 폴더 색인에만",
            "words for the morpheme analysis (word<TAB>tag<TAB>score); for an index in a folder",
        ),
    )
    _add_engine(index, say)

    add = command("add", _add, "색인에 문서를 더합니다.", "Add documents to an index.")
    _add_sources(add, say)
    add.add_argument(
        "--update",
        action="store_true",
        help=say("같은 파일에서 사라진 글은 색인에서도 지웁니다", "also drop what the same files no longer hold"),
    )

    delete = command("delete", _delete, "색인에서 문서를 지웁니다.", "Delete documents from an index.")
    delete.add_argument("doc_ids", nargs="+", metavar="DOC_ID", help=say("지울 문서의 id", "ids of the documents"))

    search = command("search", _search, "질문에 맞는 글을 찾습니다.", "Find passages for a question.")
    _add_question(search, settings, say)
    search.add_argument(
        "-k",
        type=_positive,
        default=settings.top_n,
        help=say("결과 수 (기본 %(default)s)", "results (default %(default)s)"),
    )

    ask = command("ask", _ask, "질문에 출처를 밝혀 답합니다.", "Answer a question, with sources.")
    _add_question(ask, settings, say)
    ask.add_argument(
        "--chat-model",
        default=settings.chat_model,
        metavar="NAME",
        help=say(
            "언어 모델: openai:..., ollama:..., http://주소/v1#모델 (없으면 기사 문장을 인용)",
            "chat model: openai:..., ollama:..., http://host/v1#model (none: sentences are quoted)",
        ),
    )
    ask.add_argument(
        "--sources",
        type=_positive,
        default=settings.sources,
        metavar="N",
        help=say("답에 쓸 기사의 수 (기본 %(default)s)", "articles to answer from (default %(default)s)"),
    )

    check = command("check", _check, "색인이 온전한지 검사합니다.", "Check that an index is sound.")
    check.add_argument("--json", action="store_true", help=say("JSON으로 출력", "print JSON"))

    feedback = command(
        "feedback", _feedback, "페이지에서 받은 피드백을 다룹니다.", "Handle the feedback that the page got."
    )
    feedback.add_argument(
        "action",
        choices=["list", "export"],
        help=say(
            "list: 모두 보기, export: 승인한 것을 학습 자료로", "list: show all, export: the accepted as training data"
        ),
    )
    feedback.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help=say("export가 쓸 jsonl 파일", "the jsonl file that export writes"),
    )
    feedback.set_defaults(home=settings.home)
    return parser


def _add_engine(parser: argparse.ArgumentParser, say: Say) -> None:
    group = parser.add_argument_group(
        say("여러 기기에서 색인하기", "indexing on many machines"),
        say(
            "--engine ray를 주면 Ray Data가 jsonl, parquet, csv, tsv, json을 폴더나 객체 저장소(s3://버킷/폴더)에서 "
            "읽어 벡터 데이터베이스에 씁니다. 멈추면 같은 명령이 이어서 합니다.",
            "With --engine ray, Ray Data reads jsonl, parquet, csv, tsv and json from a folder or an object store "
            "(s3://BUCKET/FOLDER) and writes to a vector database. The same command goes on after a stop.",
        ),
    )
    group.add_argument("--engine", choices=["ray"], help=say("없으면 이 프로세스에서", "in this process if left out"))
    group.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help=say(
            "Ray 클러스터, 예: 호스트:6379 (기본 RAY_ADDRESS, 없으면 이 기기에서 시작)",
            "the Ray cluster, such as HOST:6379 (default RAY_ADDRESS, else one is started on this machine)",
        ),
    )
    group.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help=say(
            "임베딩할 액터 수 (기본 코어마다 하나, GPU를 쓰면 GPU 수만큼)",
            "actors that embed at once (default one on each core, or as many as the GPUs take)",
        ),
    )
    group.add_argument(
        "--gpus-per-actor",
        type=_share,
        metavar="G",
        help=say("액터마다 쓸 GPU, 예: 1 또는 0.5 (기본 0)", "GPUs of each actor, such as 1 or 0.5 (default 0)"),
    )
    group.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help=say(
            "끝난 글을 적어 둘, 모든 기기가 보는 폴더 (기본 읽는 폴더 안의 .rag-app-checkpoints)",
            "where all machines note what is done (default .rag-app-checkpoints in the folder that is read)",
        ),
    )


def _add_sources(parser: argparse.ArgumentParser, say: Say) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help=say(
            "파일, 폴더, sample(예제 뉴스), klue(KLUE-MRC 기사)",
            "a file, a folder, sample (the bundled news), or klue (the articles of KLUE-MRC)",
        ),
    )
    for field, korean in [
        ("text", "본문"),
        ("title", "제목"),
        ("date", "날짜"),
        ("section", "분야"),
        ("source", "출처"),
    ]:
        parser.add_argument(
            f"--{field}-column",
            metavar="NAME",
            help=say(f"csv와 jsonl에서 {korean} 열의 이름", f"column of csv and jsonl files that holds the {field}"),
        )
    parser.add_argument("--quiet", action="store_true", help=say("진행 막대 없이", "no progress bar"))


def _add_question(parser: argparse.ArgumentParser, settings: Settings, say: Say) -> None:
    parser.add_argument("question", metavar="QUESTION", help=say("질문", "the question"))
    parser.add_argument("--json", action="store_true", help=say("JSON으로 출력", "print JSON"))
    parser.add_argument(
        "--reranker",
        default=settings.reranker or NONE,
        metavar="NAME",
        help=say(
            "재순위 모델: embedded, 폴더, Hub 이름, 또는 none(쓰지 않음) (기본 %(default)s)",
            "model that reranks: embedded, a folder, a Hub id, or none for no reranking (default %(default)s)",
        ),
    )
    parser.add_argument(
        "--candidates",
        type=_positive,
        default=settings.k,
        metavar="N",
        help=say("재순위할 글의 수 (기본 %(default)s)", "passages handed to the reranker (default %(default)s)"),
    )
    parser.add_argument(
        "--rerank-budget-ms",
        type=_milliseconds,
        default=settings.rerank_budget_ms,
        metavar="MS",
        help=say(
            "재순위에 쓸 시간(밀리초, RAG_RERANK_BUDGET_MS); 다 쓰면 나머지는 찾은 순서대로 둡니다",
            "milliseconds for reranking (RAG_RERANK_BUDGET_MS); what is left then stays in the order of the search",
        ),
    )
    parser.add_argument(
        "--collapse",
        action="store_true",
        default=settings.collapse,
        help=say(
            "거의 같은 기사는 하나로 묶습니다 (RAG_COLLAPSE)",
            "let one article stand for those that nearly repeat it (RAG_COLLAPSE)",
        ),
    )
    parser.add_argument(
        "--max-per-source",
        type=_positive,
        default=settings.max_per_source,
        metavar="N",
        help=say(
            "한 매체(없으면 한 파일)의 결과는 N개까지만 (RAG_MAX_PER_SOURCE)",
            "at most N results of one outlet, or of one file that names none (RAG_MAX_PER_SOURCE)",
        ),
    )
    parser.add_argument(
        "--infer-filters",
        action="store_true",
        help=say(
            "질문이 분야나 언론사를 밝히면(경제 기사, 한빛일보 보도) 그 기사만",
            "search only the section or outlet that a question names as such (경제 기사, 한빛일보 보도)",
        ),
    )
    parser.add_argument(
        "--recency",
        type=_positive,
        metavar="DAYS",
        help=say(
            "새 기사를 앞에 둡니다; 이만큼 지나면 그 이점이 절반이 됩니다",
            "prefer newer articles; after so many days half of that advantage is left",
        ),
    )
    parser.add_argument("--section", action="append", help=say("이 분야의 기사만", "only articles of this section"))
    parser.add_argument(
        "--since", type=_date, metavar="DATE", help=say("이 날짜부터 (2025-01-31)", "from this date (2025-01-31)")
    )
    parser.add_argument("--until", type=_date, metavar="DATE", help=say("이 날짜까지", "up to this date"))


def _place(text: str) -> Path | Address:
    try:
        return index_place(text)
    except ValueError as error:  # argparse would print the address, with its password
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"want a number from 1 to {_MOST}, got {text}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (0 < value < 1 or value in range(1, 1001)):  # of several GPUs Ray gives only whole ones
        raise argparse.ArgumentTypeError(f"want a share of one GPU such as 0.5, or 1, 2 and so on, got {text}")
    return value


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"want milliseconds above 0, got {text}")
    return value


def _date(text: str) -> str:
    from rag_app.documents import iso_date

    try:
        return date.fromisoformat(iso_date(text)).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"want a date such as 2025-01-31, got {text}") from None


def _index(options: argparse.Namespace, say: Say) -> int:
    _check_engine(options, say)
    if options.engine:
        from rag_app.bulk.command import run_bulk

        closing, whole = run_bulk(
            options.paths,
            options.index,
            options.model,
            say,
            columns=_columns(options),
            passage_chars=options.passage_chars,
            vectors=options.vectors,
            replace=options.replace,
            quiet=options.quiet,
            checkpoint=options.checkpoint,
            ray_address=options.ray_address,
            actors=options.workers,
            gpus_per_actor=options.gpus_per_actor or 0.0,
            backend=options.backend,
        )
        print(closing)
        return OK if whole else PARTLY
    from rag_app.embeddings import load_embeddings
    from rag_app.index import build_index
    from rag_app.models import serving_backend
    from rag_app.passages import PASSAGE_CHARS

    started = time.perf_counter()
    skipped: list[str] = []
    index = build_index(
        options.index,
        _read_sources(options, skipped, say),
        load_embeddings(options.model, backend=serving_backend(options.model, options.backend)),
        passage_chars=options.passage_chars or PASSAGE_CHARS,
        vectors=options.vectors,
        user_dictionary=options.user_dictionary,
        replace=options.replace,
        progress=not options.quiet,
    )
    documents, passages = (index.snapshot.manifest[key] for key in ("documents", "passages"))
    seconds = time.perf_counter() - started
    print(
        say(
            f"{options.index}: 문서 {documents:,}건, 단락 {passages:,}개를 색인했습니다 ({seconds:.1f}초).",
            f"{options.index}: {documents:,} documents in {passages:,} passages indexed ({seconds:.1f} s).",
        )
    )
    return _report_skipped(skipped, say)


def _check_engine(options: argparse.Namespace, say: Say) -> None:
    names = ("ray_address", "workers", "gpus_per_actor", "checkpoint")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]
    if given and not options.engine:
        given_names = ", ".join(given)
        raise ValueError(
            say(
                f"{given_names}: --engine ray와 함께만 씁니다. 그것을 더하거나 이것을 빼세요.",
                f"{given_names}: only with --engine ray. Add that, or leave this out.",
            )
        )
    if options.user_dictionary and (options.engine or isinstance(options.index, Address)):
        raise ValueError(
            say(
                "사용자 사전은 폴더 색인에만 쓰이고, 벡터 데이터베이스에는 두지 않습니다. --user-dictionary를 빼세요.",
                "A user dictionary goes with an index in a folder; a vector database keeps none. "
                "Leave out --user-dictionary.",
            )
        )


def _add(options: argparse.Namespace, say: Say) -> int:
    skipped: list[str] = []
    index = _open(options)
    documents = _read_sources(options, skipped, say)
    changes = (index.update if options.update else index.add)(documents, progress=not options.quiet)
    print(
        say(
            f"더함 {changes.added:,}, 이미 있음 {changes.skipped:,}, 지움 {changes.removed:,}.",
            f"Added {changes.added:,}, there already {changes.skipped:,}, removed {changes.removed:,}.",
        )
    )
    return _report_skipped(skipped, say)


def _delete(options: argparse.Namespace, say: Say) -> int:
    index = _open(options)
    unknown = [doc_id for doc_id in options.doc_ids if not index.passages(doc_id)]
    changes = index.delete(options.doc_ids)
    print(say(f"지움 {changes.removed:,}.", f"Removed {changes.removed:,}."))
    if unknown:
        print(say("색인에 없는 id:", "Not in the index:"), *unknown, file=sys.stderr)
    return PARTLY if unknown else OK


def _note_long_question(question: str, say: Say) -> None:
    from rag_app.korean import QUESTION_CHARS

    if len(question) > QUESTION_CHARS:
        note = say(
            f"질문은 앞 {QUESTION_CHARS:,}자까지만 읽습니다.",
            f"Only the question's first {QUESTION_CHARS:,} characters are read.",
        )
        print(note, file=sys.stderr)


def _search(options: argparse.Namespace, say: Say) -> int:
    _note_long_question(options.question, say)
    retriever = _retriever(options, _open(options), top_n=options.k)
    results = [_as_record(document) for document in retriever.invoke(options.question)]
    if options.json:
        print(json.dumps(results, ensure_ascii=False, indent=2))
    elif not results:
        print(say("찾은 글이 없습니다.", "Nothing was found."))
    else:
        for rank, result in enumerate(results, start=1):
            print(f"{rank:>2}. {_headline(result['metadata'])}  ({result['score']:.3f}, {result['doc_id']})")
            print(f"    {_shorten(result['text'])}")
    return OK


def _ask(options: argparse.Namespace, say: Say) -> int:
    from rag_app.chain import build_chain

    _note_long_question(options.question, say)
    index = _open(options)
    chat_model = None
    if options.chat_model:
        from rag_app.chat_models.loading import load_chat_model

        chat_model = load_chat_model(options.chat_model, **load_settings().chat_options(options.chat_model))
    retriever = _retriever(options, index, top_n=max(10, options.sources))
    lang = language_of(options.question, say.lang)
    chain = build_chain(
        retriever, embeddings=index.embeddings, chat_model=chat_model, max_sources=options.sources, lang=lang
    )
    answer: dict[str, Any] = {"question": options.question, "answer": "", "refused": False, "documents": []}
    for chunk in chain.stream({"question": options.question}):
        answer = {**answer, **chunk, "answer": answer["answer"] + chunk.get("answer", "")}
        if not options.json:
            print(chunk.get("answer", ""), end="", flush=True)
    if options.json:
        sources = [_as_record(document) for document in answer.pop("documents")]
        print(json.dumps({**answer, "sources": sources}, ensure_ascii=False, indent=2))
        return OK
    print()
    cited = [document for document in answer["documents"] if document.metadata["cited"]]
    others = [document for document in answer["documents"] if not document.metadata["cited"]]
    for heading, documents in [(say("출처:", "Sources:"), cited), (say("가까운 기사:", "Nearest articles:"), others)]:
        if documents:
            print(f"\n{heading}")
        for document in documents:
            print(f"[{document.metadata['citation']}] {_headline(document.metadata)}")
    return OK


def _check(options: argparse.Namespace, say: Say) -> int:
    from rag_app.check import check_index

    problems = check_index(options.index)
    if options.json:
        report = {"index": str(options.index), "sound": not problems, "problems": problems}
        print(json.dumps(report, ensure_ascii=False))
    elif problems:
        print(*problems, sep="\n")
    else:
        print(say(f"{options.index}: 이상 없습니다.", f"{options.index} is sound."))
    return FAILED if problems else OK


def _feedback(options: argparse.Namespace, say: Say) -> int:
    from rag_app.feedback.export import write_training_data
    from rag_app.feedback.store import FILE_NAME, Feedback

    feedback = Feedback(options.home / FILE_NAME)
    if options.action == "list":
        for entry in feedback.entries():
            fields = (entry.state, entry.thumb, entry.created, entry.right or "-", " ".join(entry.asks.split()))
            print(*fields, sep="\t")
        return OK
    if options.file is None:
        raise ValueError(say("내보낼 파일을 적으세요", "Name the file to write") + ": rag-app feedback export FILE")
    count = write_training_data(feedback, options.file)
    print(say(f"{options.file}: 질문 {count}개를 썼습니다.", f"{options.file}: {count} questions written."))
    return OK


def _read_sources(options: argparse.Namespace, skipped: list[str], say: Say) -> "Iterator[Document]":
    """Yield the documents of all named sources; broken files are named on stderr and noted in ``skipped``."""
    from rag_app.data import load_passages
    from rag_app.data.sources import NAMED
    from rag_app.documents import load_documents
    from rag_app.files.parsing import FileReader, Limits
    from rag_app.files.reading import PLAIN_SUFFIXES

    def skip(path: Path, error: Exception) -> None:
        skipped.append(str(path))
        print(say(f"건너뜀: {error}", f"skipped: {error}"), file=sys.stderr)

    columns = _columns(options)
    with FileReader(Limits(seconds=60, memory=2 * 1024**3), local=PLAIN_SUFFIXES) as reader:
        for path in options.paths:
            if path in NAMED:
                yield from load_passages(path)
            else:
                yield from load_documents(path, columns=columns, on_error=skip, reader=reader)


def _columns(options: argparse.Namespace) -> "Columns":
    from rag_app.files.tables import Columns

    return Columns(**{field: getattr(options, f"{field}_column") for field in _COLUMNS})


def _report_skipped(skipped: Sequence[str], say: Say) -> int:
    if not skipped:
        return OK
    print(
        say(f"건너뛴 파일 {len(skipped)}개:", f"{len(skipped)} files skipped:"), *skipped, sep="\n  ", file=sys.stderr
    )
    return PARTLY


def _open(options: argparse.Namespace) -> "Index":
    from rag_app.index import open_index

    index: Index = open_index(options.index, backend=options.backend)
    return index


def _retriever(options: argparse.Namespace, index: "Index", *, top_n: int) -> "BaseRetriever":
    from rag_app.filters import article_filter
    from rag_app.models import serving_backend
    from rag_app.news import RECENCY, NewsSense
    from rag_app.retrieval import build_retriever

    compressor = None
    if reranker := name_or_none(options.reranker):
        from rag_app.compressors import load_reranker

        compressor = load_reranker(
            reranker,
            top_n=top_n,
            budget_ms=options.rerank_budget_ms,
            backend=serving_backend(reranker, options.backend, role="reranker"),
        )
    news = NewsSense(infer_filters=options.infer_filters)
    if options.recency:
        news = news.model_copy(update={"recency": RECENCY, "half_life": float(options.recency)})
    filter = article_filter(options.section or (), options.since, options.until)
    return build_retriever(
        index,
        compressor=compressor,
        k=max(options.candidates, top_n),
        top_n=top_n,
        filter=filter,
        news=news,
        collapse=options.collapse,
        max_per_source=options.max_per_source,
    )


def _as_record(document: "Document") -> dict[str, Any]:
    metadata = dict(document.metadata)
    return {
        "doc_id": metadata["doc_id"],
        "score": metadata.get("score"),
        "text": document.page_content,
        "metadata": metadata,
    }


def _headline(metadata: dict[str, Any]) -> str:
    details = ", ".join(str(metadata[key]) for key in ("source", "date", "section") if metadata.get(key))
    title = metadata.get("title") or Path(metadata.get("path", "")).name or metadata["doc_id"]
    return f"{title} ({details})" if details else str(title)


def _shorten(text: str, width: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


if __name__ == "__main__":
    sys.exit(main())
