"""Promise 5: whatever a file, a question or a document is, it is read, or refused with a reason and a remedy."""

import json
import random
import re
import resource
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage

from rag_app.chain import build_chain
from rag_app.check import check_index
from rag_app.cli import OK, PARTLY, main
from rag_app.compressors import load_reranker
from rag_app.data import sample_documents
from rag_app.documents import FileResult, load_documents, make_document
from rag_app.embeddings import load_embeddings
from rag_app.files.encodings import text_encoding
from rag_app.files.parsing import FileReader, Limits
from rag_app.index import Index, build_index, open_index
from rag_app.korean import QUESTION_CHARS
from rag_app.news import NewsSense
from rag_app.passages import split_documents
from rag_app.retrieval import build_retriever
from tests.office_files import WRITERS
from tests.promises.bombs import ONE_OF_EACH, REFUSED, SECRET, bombs
from tests.promises.fuzzing import FORMATS, fuzzed
from tests.promises.strict_loaders import ACCIDENT
from tests.reliability import Promised

pytestmark = pytest.mark.promise(5)

RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다."
STRICT = "tests.promises.strict_loaders"
REMEDY = re.compile(r"[.:] [A-Z][a-z]+ ")
"""The beginning of a sentence that says what to do, behind one that says what is wrong."""
LOST = ("took more than", "crashed the parser")
"""What is said of a file that ended its parser."""


def told(result: FileResult) -> str:
    """Return what became of a file; an error of a wrong kind, or one that says nothing to do, fails the test."""
    if result.error is None:
        for document in result.documents:
            assert document.page_content
            json.dumps([document.page_content, document.metadata], ensure_ascii=False, allow_nan=False).encode()
        return "read"
    message = str(result.error)
    assert type(result.error) is ValueError, repr(result.error)
    assert ACCIDENT not in message
    assert REMEDY.search(message), message
    return "over" if any(words in message for words in LOST) else "refused"


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_fuzzed_file_does_more_than_be_refused(suffix: str, promised: Promised, tmp_path: Path) -> None:
    path = tmp_path / f"fuzzed{suffix}"
    count = promised.times(40, 5000)
    found: Counter[str] = Counter()
    with FileReader(loaders=STRICT) as reader:
        for seed in range(count):
            path.write_bytes(fuzzed(suffix, seed))
            try:
                found.update({told(result) for result in reader.read_all(path)})
            except Exception as error:
                error.add_note(f"fuzzed({suffix!r}, {seed})")
                raise
    assert found["read"] > count / 50  # not all so broken that no parser sees the inside
    assert found["refused"] > count / 50
    promised.tried(count, "fuzzed files")
    promised.tried(found["over"], "fuzzed files given up for what they took")


@pytest.fixture(scope="module")
def embeddings() -> Any:
    return load_embeddings("embedded")


@pytest.mark.parametrize("part", range(2))
def test_a_folder_of_good_and_bad_files_gives_the_good_ones_and_names_the_bad(
    part: int, promised: Promised, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for turn in range(promised.times(1, 5)):
        folder = tmp_path / f"files{turn}"
        folder.mkdir()
        for suffix, write in WRITERS.items():
            write(folder / f"good{suffix}", "비", [f"{RAIN} {suffix} {part} {turn}"])
            for number in range(promised.times(1, 40)):
                seed = 1_000_000 + 1000 * (2 * turn + part) + number
                (folder / f"bad{number}{suffix}").write_bytes(fuzzed(suffix, seed))
        with FileReader() as reader:
            files = [result for path in sorted(folder.iterdir()) for result in reader.read_all(path)]
        good = {document.id for result in files for document in result.documents}
        bad = sorted(result.name for result in files if result.error)
        index = tmp_path / f"index{turn}"
        status = main(["index", str(folder), "--index", str(index), "--quiet", "--lang", "en"])
        errors = capsys.readouterr().err
        assert status == PARTLY
        skipped = re.findall(r"^  (.+)$", errors.split("files skipped:")[1], re.MULTILINE)
        assert sorted(skipped) == sorted(str(Path(name)) for name in bad)  # a.zip//etc/x.txt is a.zip/etc/x.txt
        assert all(f"skipped: {name}: " in errors for name in bad)
        assert "Traceback" not in errors
        assert "Warning" not in errors
        assert not check_index(index)
        assert open_index(index).document_ids() == good
        promised.tried(len(files), "files of mixed folders")


def test_documents_that_break_off_leave_an_index_as_it_was(tmp_path: Path, embeddings: Any) -> None:
    index = build_index(tmp_path / "index", [make_document(RAIN)], embeddings)
    before = index.document_ids(), index.snapshot.manifest["generation"]

    def documents(bad: Document) -> Iterator[Document]:
        yield from (make_document(f"{RAIN} {number}") for number in range(3000))
        yield bad

    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    endless: list[Any] = []
    endless.append(endless)
    for bad in (
        Document(" \u200b"),
        Document(""),
        Document(RAIN, metadata={"a": deep}),
        Document(RAIN, metadata={"a": endless}),
    ):
        for write in (index.add, index.update):
            with pytest.raises(ValueError, match=r"Document 3001 .*Leave it out|Flatten it"):
                write(documents(bad))
            assert (index.document_ids(), index.snapshot.manifest["generation"]) == before
            assert not check_index(tmp_path / "index")
    with pytest.raises(ValueError, match="no document to index"):
        build_index(tmp_path / "none", [], embeddings)
    assert not list((tmp_path / "none").glob("**/documents*"))


HOSTILE_ROWS: dict[str, tuple[bytes, str | None]] = {
    "twice.csv": (f"본문,본문\n{RAIN},둘째\n".encode(), None),
    "formula.csv": (f"본문,제목\n{RAIN},=cmd()\n".encode(), None),
    "nul.csv": (f"본문\n{RAIN}\0\n".encode(), None),
    "marks.csv": (f"\ufeff\ufeff본문\n{RAIN}".encode(), None),
    "breaks.csv": (f"본문\r{RAIN}\r\n{RAIN}\n".encode(), None),
    "open.csv": (f'본문\n"{RAIN}\n'.encode(), "Close its quotes"),
    "wide.csv": (b"a," * 1_000_000 + "본문\n".encode() + RAIN.encode(), "1,000,001 columns.* Leave out"),
    "row.csv": (f'본문\n"{"a" * (17 << 20)}"'.encode(), "its row has more than 16,777,216 characters"),
    "endless.csv": (('본문\n"' + "a\n" * (9 << 20)).encode(), "its row has more than 16,777,216 characters"),
    "none.csv": (b",,\n1,2,3\n4,5,6\n", "no column for the text"),
    "blank.csv": ("\n\n\n본문\n\u200b\n".encode(), "holds no text"),
    "mark.csv": (b"\xef\xbb\xbf", "holds no text"),
    "empty.csv": (b"", "holds no text"),
    "deep.jsonl": (b'{"text":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1: not JSON"),
    "nested.jsonl": (f'{{"text": "{RAIN}", "a": {"[" * 900}{"]" * 900}}}'.encode(), "50 deep. Flatten it"),
    "digits.jsonl": (f'{{"text": "{RAIN}", "n": {"9" * 1_000_000}}}'.encode(), "not JSON: Exceeds the limit"),
    "nan.jsonl": (f'{{"text": "{RAIN}", "n": [NaN, Infinity, -Infinity, 1e999]}}'.encode(), None),
    "keys.jsonl": (f'{{"text": "a", "text": "{RAIN}"}}'.encode(), None),
    "halves.jsonl": (f'{{"text": "{RAIN}", "\\udfff": "\\ud83d", "title": "\\ud800"}}'.encode(), None),
    "list.jsonl": (b"[1, 2]", "want a JSON object, got a list. Write one"),
    "number.jsonl": (b'{"text": 5}', "holds a int, not text. Correct it"),
    "kinds.jsonl": (
        f'{{"text": "{RAIN}", "title": {{"a": 1}}, "date": [1], "section": {{"a": 1}}, "source": 5}}'.encode(),
        None,
    ),
    "reserved.jsonl": (f'{{"text": "{RAIN}", "doc_id": "x", "start": -1, "places": [[1, "x"]]}}'.encode(), None),
    "metadata.jsonl": (
        f'{{"text": "{RAIN}", "a": "{"가 " * 100_000}"}}'.encode(),
        "characters of metadata.* Leave out",
    ),
    "fields.jsonl": (
        json.dumps({"text": RAIN, **dict.fromkeys(map(str, range(20_000)), 1)}).encode(),
        "20,001 columns",
    ),
    "long.jsonl": (f'{{"text": "{"a" * (17 << 20)}"}}'.encode(), "its row has more than 16,777,216 characters"),
    "object.json": (b'{"a": 1}', "neither a list .* Write it as one"),
    "numbers.json": (b"5", "neither a list"),
    "none.json": (b"[]", "holds no text"),
    "lists.json": (b"[[1]]", "want a JSON object"),
    "paragraphs.json": (b'{"data": [{"paragraphs": 5}]}', "Give each of its paragraphs a 'context'"),
    "questions.json": (b'{"data": [{"paragraphs": [{"context": 5, "qas": "abc"}]}]}', "Give each"),
    "width.txt": ("\u200b\u200d\ufeff\u3164".encode(), "holds no text"),
    "control.txt": (b"\x01\x02\x1b", "holds no text"),
    "binary.txt": (bytes(range(256)) * 100, "Save it as UTF-8"),
    "headings.md": (b"#" + b" \t" * 50_000 + b"x" + b" #\t" * 50_000 + b"y\n" + RAIN.encode(), None),
}


@pytest.mark.parametrize("name", HOSTILE_ROWS)
def test_a_hostile_table_or_text_is_read_or_refused_at_once(name: str, promised: Promised, tmp_path: Path) -> None:
    content, message = HOSTILE_ROWS[name]
    path = tmp_path / name
    path.write_bytes(content)
    started = time.monotonic()
    if message is None:
        documents = list(load_documents(path))
        assert documents
        told(FileResult(name, documents, None))
        assert any(RAIN in document.page_content for document in documents)
    else:
        with pytest.raises(ValueError, match=message) as raised:
            list(load_documents(path))
        assert REMEDY.search(str(raised.value))
    assert time.monotonic() - started < 10
    promised.tried(1, "hostile tables and texts")


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is told by Linux")
@pytest.mark.parametrize(
    ("name", "begins", "message"),
    [
        ("line.txt", b"", "and a text is read up to"),
        ("line.jsonl", b'{"text": "', "its row has more than 16,777,216 characters"),
        ("quote.csv", '본문\n"'.encode(), "its row has more than 16,777,216 characters"),
        ("list.json", b'[{"text": "', "json is read up to"),
    ],
)
def test_a_line_of_half_a_gigabyte_does_not_fill_the_memory(
    name: str, begins: bytes, message: str, promised: Promised, tmp_path: Path
) -> None:
    path = tmp_path / name
    suffix = path.suffix
    with path.open("wb") as file:
        file.write(begins)
        for _ in range(promised.times(65 if suffix != ".json" else 257, 512)):
            file.write(b"a" * (1 << 20))
    program = (
        "import sys; from rag_app.documents import load_documents\n"
        "try: list(load_documents(sys.argv[1]))\n"
        "except ValueError as error: print(error)\n"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    why, kilobytes = done.stdout.splitlines()
    assert re.search(message, why)
    assert int(kilobytes) < 400_000
    promised.tried(1, "hostile tables and texts")


KOREAN_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949", "euc-kr", "iso2022_kr", "johab")
FOREIGN = {
    "gb18030": "今天北京天气晴朗，气温二十五度。中国政府宣布新的经济政策，以促进国内消费和投资增长。",
    "big5": "今天台北天氣晴朗，氣溫二十五度。政府宣布新的經濟政策，以促進國內消費和投資增長。",
    "euc_jp": "今日の東京は晴れで、気温は二十五度です。政府は新しい経済政策を発表し、投資を促進する方針を示しました。",
    "shift_jis": "今日の東京は晴れで、気温は二十五度です。政府は新しい経済政策を発表しました。",
    "iso2022_jp": "今日の東京は晴れで、気温は二十五度です。政府は新しい経済政策を発表しました。",
    "cp1251": "Сегодня в Москве ясная погода. Правительство объявило о новой экономической политике.",
    "koi8-r": "Сегодня в Москве ясная погода. Правительство объявило о новой экономической политике.",
    "cp1252": "L'été dernier, à Besançon, les élèves ont été reçus à l'école, où “naïve” coûte déjà très cher.",
    "utf-16-le": "Plain English without a mark at the beginning of the file.",
}


def decoded(path: Path) -> str | None:
    try:
        return path.read_text(text_encoding(path))
    except UnicodeError:
        raise
    except ValueError:
        return None


def test_no_text_is_read_in_another_encoding_than_its_own(promised: Promised, tmp_path: Path) -> None:
    text = " ".join(" ".join(document.page_content.split()) for document in sample_documents())
    rng = random.Random(5)
    path = tmp_path / "a.txt"
    found: Counter[tuple[str, str]] = Counter()
    for turn in range(promised.times(150, 3000)):
        size = rng.choice((20, 50, 200, 2000))
        start = rng.randrange(len(text) - size)
        piece = text[start : start + size].strip()
        if len(re.findall("[가-힣]", piece)) < 10:
            continue
        encoding = KOREAN_ENCODINGS[turn % len(KOREAN_ENCODINGS)]
        try:
            content = piece.encode(encoding)
        except UnicodeEncodeError:
            continue
        path.write_bytes(content)
        got = decoded(path)
        outcome = "right" if got == piece else "refused" if got is None else "wrong"
        assert outcome != "wrong", (encoding, piece, got)
        found[encoding, outcome] += 1
        path.write_bytes(content[:-1])  # breaks off, perhaps inside a character
        got = decoded(path)
        assert got is None or piece.startswith(got), (encoding, piece, got)
        path.write_bytes(piece.encode() + content)  # two encodings in one file
        got = decoded(path)
        assert got is None or got in (piece + piece, f"{piece}\ufeff{piece}"), (encoding, piece, got)
    for encoding in KOREAN_ENCODINGS:
        right, refused = found[encoding, "right"], found[encoding, "refused"]
        assert right + refused >= 10
        assert right == 0 if encoding == "johab" else right >= 0.98 * (right + refused)
    for encoding, foreign in FOREIGN.items():
        for size in (20, len(foreign)):
            for start in range(len(foreign) - size + 1):
                path.write_bytes(foreign[start : start + size].encode(encoding))
                assert decoded(path) in (None, foreign[start : start + size]), (encoding, start)
                found[encoding, "foreign"] += 1
    promised.tried(3 * found.total(), "encoded texts")
    read, all_ = (
        sum(n for (name, what), n in found.items() if name in ("cp949", "euc-kr") and what in kinds)
        for kinds in (("right",), ("right", "refused"))
    )
    promised.measured("Korean texts in CP949 and EUC-KR read, the rest refused, none misread", f"{read:,} of {all_:,}")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp949", "iso2022_kr"])
@pytest.mark.parametrize("suffix", [".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".html"])
def test_every_text_format_is_read_in_every_encoding(suffix: str, encoding: str, tmp_path: Path) -> None:
    contents = {
        ".csv": f"제목,본문\n비,{RAIN}\n",
        ".tsv": f"제목\t본문\n비\t{RAIN}\n",
        ".json": json.dumps([{"text": RAIN}], ensure_ascii=False),
        ".jsonl": json.dumps({"text": RAIN}, ensure_ascii=False) + "\n",
        ".html": f'<meta charset="shift_jis"><p>{RAIN}</p>',  # which is wrong, and no matter
    }
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = tmp_path / f"a{suffix}"
    path.write_bytes((mark + contents.get(suffix, RAIN)).encode(encoding))
    (document,) = load_documents(path)
    assert document.page_content == RAIN


@pytest.mark.parametrize("part", range(4))
def test_bombs_harm_neither_us_nor_what_comes_after_them(
    part: int, promised: Promised, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("rag_app.files.parser_process.scratch_folder", TemporaryDirectory)  # which lies there
    (tmp_path / "secret").write_text(SECRET, "utf-8")
    good = WRITERS[".txt"](tmp_path / "good.txt", "비", [RAIN])
    limits = Limits(seconds=promised.times(2, 10))
    writers = bombs(tmp_path / "secret")
    names = [*ONE_OF_EACH, *sorted(writers.keys() - set(ONE_OF_EACH))]
    with FileReader(limits, loaders=STRICT) as reader:
        for name in names[: promised.times(len(ONE_OF_EACH), len(names))][part::4]:
            path = tmp_path / name
            writers[name](path)
            reader.read(good)  # the child has started
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            started = time.monotonic()
            results = list(reader.read_all(path))
            seconds = time.monotonic() - started
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            path.unlink()
            assert seconds < (limits.seconds + 1) * max(1, len(results)) + 5, name
            assert grown < 400_000, name  # kilobytes; its answer may be long
            for result in results:
                told(result)
                assert SECRET not in str(result), name
                assert "/etc/passwd" not in [document.page_content for document in result.documents]
            assert REFUSED.get(name, "") in " ".join(str(result.error) for result in results), name
            promised.tried(1, "bombs")
        assert reader.read(good)[0].page_content.endswith(RAIN)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep a process to its memory")
def test_a_file_that_takes_too_much_memory_is_given_up(promised: Promised, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a" * (60 << 20))
    with FileReader(Limits(seconds=60, memory=200 * 1024**2)) as reader:
        (result,) = reader.read_all(path)
    assert "reading it took more than 200 MiB of memory" in str(result.error)
    promised.tried(1, "bombs")


def test_an_archive_of_files_that_hang_is_given_up(promised: Promised, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"{number}.html", "</" * 300_000)
    started = time.monotonic()
    with FileReader(Limits(seconds=0.5)) as reader:
        results = list(reader.read_all(path))
        assert Counter(map(told, results)) == {"over": 5, "refused": 15}
    assert time.monotonic() - started < 60


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, embeddings: Any) -> Index:
    return build_index(tmp_path_factory.mktemp("bad") / "index", sample_documents(), embeddings)


def questions(text: str) -> dict[str, str]:
    """Return questions that nobody should ask."""
    rng = random.Random(7)
    hangul = [chr(code) for code in range(0xAC00, 0xD7A4)]
    words = list(dict.fromkeys(text.split()))
    return {
        "a long article": (text * 20)[:100_000],
        "a library": (text * 200)[:1_000_000],
        "one syllable over and over": "가" * 100_000,
        "a million syllables": "가" * 1_000_000,
        "one letter over and over": "a" * 100_000,
        "no space": "".join(rng.choice(hangul) for _ in range(100_000)),
        "ten thousand words": " ".join((words * 10)[:10_000]),
        "digits": "1" * 100_000,
        "dates": "2024년 3월 " * 10_000,
        "spaces": f"국회{' ' * 1_000_000}예산",
        "quotes": '"' * 100_000,
        "question words": "언제?" * 20_000,
        "emoji": "😀" * 100_000,
        "a few emoji": "😀🎉",
        "letters": "ㄱ" * 100_000,
        "accents": "e" + "\u0301" * 100_000,
        "decomposed": "\u1100\u1161" * 50_000,
        "lines": "국회\n" * 20_000,
        "punctuation": "?!...,;:-()[]{}",
        "control characters": "국회\x00\x01\x07\x1b[31m예산",
        "right to left": "\u202e국회 예산\u202c",
        "half a character": "국회 \ud800 예산",
        "nothing but half": "\ud83d",
        "a query": '국회 + - : " ( [ TO ~ ^ * AND OR NOT title:foo id:"x" every:every',
        "a range": "title:[* TO *] {a TO b} /.*/ a~2^99999",
        "a statement": "'; DROP TABLE documents; --",
        "a template": "{question} {0} %s ${PATH} {{7*7}}",
    }


EMPTY = ("", " \n\t ", "\u200b\u200d\ufeff", "\u3164", "\x00\x01")
SLOWEST = 5.0
"""Seconds of all cores for the worst question."""


def test_no_question_takes_long_or_fails_in_an_odd_way(index: Index, embeddings: Any, promised: Promised) -> None:
    text = " ".join(document.page_content for document in sample_documents())
    reranked = build_retriever(index, compressor=load_reranker("embedded", top_n=10))
    news = build_retriever(index, news=NewsSense(infer_filters=True, recency=0.3), collapse=True)
    chain = build_chain(reranked, embeddings=embeddings)

    def told_before(question: str) -> list[Any]:
        return [HumanMessage(question), AIMessage("네"), HumanMessage("그럼 어디서요?"), AIMessage("네")]

    ways: dict[str, Callable[[str], Any]] = {
        "embedded": lambda question: embeddings.embed_query(question),
        "found": lambda question: build_retriever(index).invoke(question),
        "reranked": reranked.invoke,
        "found as news": news.invoke,
        "answered": lambda question: chain.invoke({"question": question}),
        "leant on": lambda question: chain.invoke({"question": "그럼 언제요?", "history": told_before(question)}),
    }
    ways["found"](RAIN)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest = 0.0
    for question in list(questions(text).values())[:: promised.times(9, 1)]:
        for way in ways.values():
            started = time.process_time()
            answer = way(question)
            slowest = max(slowest, time.process_time() - started)
            if isinstance(answer, dict):
                assert len(answer["standalone_question"]) <= QUESTION_CHARS
                answer["answer"].encode()
            promised.tried(1, "odd questions")
    assert slowest < SLOWEST
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    promised.measured("slowest answer to an odd question", f"{slowest:.1f} s of CPU")
    for question in EMPTY:
        assert not any(embeddings.embed_query(question))
        for name in ("found", "reranked", "found as news", "answered"):
            with pytest.raises(ValueError, match=r"The question is empty\..*누리호"):
                ways[name](question)
        promised.tried(1, "odd questions")


@pytest.mark.parametrize("question", ["", "\u200b", "가" * 100_000, '+-:"([TO~^*', "-h"])
def test_the_command_line_answers_or_says_what_is_wrong(
    question: str, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("search", "ask"):
        status = main([command, "--index", str(index.path), "--lang", "en", "--", question])
        captured = capsys.readouterr()
        if question in ("", "\u200b"):
            assert status == 1
            assert "The question is empty" in captured.err
        else:
            assert status == OK
            assert captured.out.strip()
            assert ("first 2,000 characters are read" in captured.err) == (len(question) > QUESTION_CHARS)


def test_a_count_beyond_the_corpus_gives_all_there_is_and_none_below_one(index: Index, embeddings: Any) -> None:
    for k in (len(index), len(index) + 1, 10**6, 10**9, 2**63):
        for found in (
            build_retriever(index, k=k, top_n=k).invoke(RAIN),
            index.snapshot.store.similarity_search(RAIN, k=k),
            index.snapshot.store.max_marginal_relevance_search(RAIN, k=len(index) + 1, fetch_k=k),
        ):
            assert len(found) == len({passage.id for passage in found}) == len(index)
        assert len(index.snapshot.lexical.search(RAIN, k)) <= len(index)
    assert len(build_retriever(index, compressor=load_reranker("embedded", top_n=10**9)).invoke(RAIN)) == 30
    for k in (0, -1):
        with pytest.raises(ValueError, match="greater than or equal to 1"):
            build_retriever(index, k=k, top_n=k)
        with pytest.raises(ValueError, match=r"greater than or equal to 1|at least 1"):
            load_reranker("embedded", top_n=k)
        assert index.snapshot.lexical.search(RAIN, k) == []
        assert index.snapshot.store.similarity_search(RAIN, k=k) == []


def test_filters_of_odd_values_keep_nothing_or_are_refused(index: Index) -> None:
    value: Any
    for value in (float("nan"), None, "", "\ud800", 10**30, -1, True, b"x", 1j, {"$in": []}, {"$in": ["x"] * 10_000}):
        assert build_retriever(index, filter={"section": value}).invoke(RAIN) == []
    for filter in ({"section": {"$regex": ".*"}}, {"section": {"$in": 5}}, {"$where": "1"}):
        with suppress(ValueError):
            assert build_retriever(index, filter=filter).invoke(RAIN) == []


def test_an_index_of_which_all_is_deleted_finds_nothing_and_refuses(tmp_path: Path, embeddings: Any) -> None:
    index = build_index(tmp_path / "index", [make_document(RAIN), make_document("국회가 열렸다.")], embeddings)
    index.delete(index.document_ids())
    assert not check_index(tmp_path / "index")
    for compressor in (None, load_reranker("embedded", top_n=10)):
        for news in (None, NewsSense(infer_filters=True, recency=0.3)):
            retriever = build_retriever(index, compressor=compressor, news=news, collapse=True)
            assert retriever.invoke("비가 오나요?") == []
            answer = build_chain(retriever, embeddings=embeddings).invoke({"question": "비가 오나요?"})
            assert (answer["refused"], answer["documents"]) == (True, [])
    assert index.snapshot.store.similarity_search(RAIN) == []
    assert index.add([make_document(RAIN)]).added == 1
    assert len(build_retriever(index).invoke("비가 오나요?")) == 1


def test_documents_of_any_length_and_kind_are_indexed_and_found(
    promised: Promised, tmp_path: Path, embeddings: Any
) -> None:
    rng = random.Random(11)
    size = promised.times(20_000, 1_000_000)
    hangul = [chr(code) for code in range(0xAC00, 0xD7A4)]

    class Odd:
        def __str__(self) -> str:
            return "홀"

    documents = [
        Document("국회는 예산을 논의하고 " * (promised.times(100_000, 10_000_000) // 13)),
        Document("".join(rng.choice(hangul) for _ in range(size))),
        Document("가" * size),
        Document("a" * size),
        Document("\n" * size + "비"),
        Document("😀" * (size // 10)),
        Document("." * size),
        Document(f"{RAIN} 제목 없음", metadata={"title": ""}),
        Document(f"{RAIN} 긴 제목", metadata={"title": "가" * 1_000_000}),
        Document(f"{RAIN} 갖가지", metadata={"a": Odd(), "b": {1: {2}}, "c": b"\xff", "d": 10**400, "e": float("nan")}),
        Document(f"{RAIN} 반쪽 \ud800", metadata={"\udfff": "\ud800", "path": "\udcff"}),
    ]
    started = time.monotonic()
    index = build_index(tmp_path / "index", documents, embeddings)
    seconds = time.monotonic() - started
    assert not check_index(tmp_path / "index")
    assert len(index.document_ids()) == len(documents)
    assert max(len(passage.page_content) for passage in index.snapshot.store.documents.values()) <= 1200
    assert max(len(str(p.metadata.get("title", ""))) for p in index.snapshot.store.documents.values()) <= 1000
    found = build_retriever(index).invoke("기상청 비 예보")
    assert RAIN in found[0].page_content
    promised.tried(sum(len(document.page_content) for document in documents) // 1000, "thousand characters of odd text")
    promised.measured("characters of odd text indexed in a second", f"{sum(map(len_of, documents)) / seconds:,.0f}")


def len_of(document: Document) -> int:
    return len(document.page_content)


def test_very_many_very_small_documents_are_indexed(promised: Promised, tmp_path: Path, embeddings: Any) -> None:
    count = promised.times(2000, 100_000)
    index = build_index(tmp_path / "index", (Document(f"글 {number}") for number in range(count)), embeddings)
    assert len(index) == count
    assert not check_index(tmp_path / "index")
    promised.tried(count, "tiny documents")


def test_a_text_without_end_is_cut_into_passages_in_time_that_grows_with_it(promised: Promised) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        assert list(split_documents([make_document("가나다라 " * size)]))
        return time.process_time() - started

    seconds(100)
    size = promised.times(3_000, 100_000)
    assert seconds(4 * size) < 4 * 4 * max(seconds(size), 0.05)
