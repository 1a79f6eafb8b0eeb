"""Files of strangers, read in another process: as well as here, and without harm from those that mean it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_app.documents import load_documents
from rag_app.files.parser_process import ParserProcess
from rag_app.files.parsing import PLAIN_SUFFIXES, SUPPORTED_SUFFIXES, FileReader, Limits
from tests.office_files import WRITERS, write_broken, write_txt, write_zip_of

ROOT = Path(__file__).parents[1]
RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다."
VOTE = "국회는 내년 예산안을 의결했다."

HOSTILE = """
    import os, sys, time
    from rag_app.files.loaders import LOADERS as USUAL

    def misbehave(path, columns):
        text = path.read_text()
        if text == "hang":
            path.with_suffix(".hanging").touch()
            time.sleep(60)
        if text == "spin":
            while True: pass
        if text == "eat":
            kept = [bytearray(64 * 1024**2) for _ in range(100)]
        if text == "pour":
            while True: yield {"text": "a" * 1_000_000}
        if text == "die":
            os.abort()
        if text == "raise":
            raise LookupError("what was never foreseen")
        if text == "print":
            print('["item", {"text": "forged"}]', flush=True)
            os.write(1, b'["done", ""]\\n')
        yield {"text": f"{text} {os.getpid()}"}

    LOADERS = {**USUAL, ".txt": misbehave}
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileReader]:
    """A reader whose text files make its child do what they say."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/hostile_loaders.py").write_text(textwrap.dedent(HOSTILE))
    monkeypatch.syspath_prepend(tmp_path / "lib")
    with FileReader(Limits(seconds=2), loaders="hostile_loaders") as reader:
        yield reader


def say(folder: Path, word: str) -> Path:
    path = folder / f"{word}.txt"
    path.write_text(word)
    return path


@pytest.fixture(scope="module")
def reader() -> Iterator[FileReader]:
    with FileReader() as reader:
        yield reader


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_is_read_as_it_is_here(suffix: str, reader: FileReader, tmp_path: Path) -> None:
    path = WRITERS[suffix](tmp_path / f"a{suffix}", "날씨와 국회", [RAIN, VOTE])
    there = [document for result in reader.read_all(path) for document in result.documents]
    assert there == list(load_documents(path)) == list(load_documents(path, reader=reader))
    assert suffix in SUPPORTED_SUFFIXES


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_broken_file_of_every_format_is_told_as_it_is_here(suffix: str, reader: FileReader, tmp_path: Path) -> None:
    path = write_broken(tmp_path / f"a{suffix}")
    (result,) = reader.read_all(path)
    with pytest.raises(ValueError) as raised:
        list(load_documents(path))
    assert (result.name, result.documents, str(result.error)) == (str(path), [], str(raised.value))


def test_an_upload_goes_by_the_name_it_had(reader: FileReader, tmp_path: Path) -> None:
    path = write_txt(tmp_path / "upload-1", "비", [RAIN])
    (document,) = reader.read(path, name="보고서.txt")
    assert document.metadata["path"] == "보고서.txt"
    with pytest.raises(ValueError, match=r"^보고서\.pdf: cannot be read as PDF"):
        reader.read(path, name="보고서.pdf")
    with pytest.raises(ValueError, match=r"^보고서\.exe: its suffix is '\.exe'\. Save it as one of \.txt"):
        reader.read(path, name="보고서.exe")
    archive = write_zip_of(tmp_path / "upload-2", {"글.txt": RAIN.encode(), "b.txt": b""})
    good, empty = reader.read_all(archive, name="자료.zip")
    assert (good.name, good.documents[0].metadata["path"], good.error) == ("자료.zip/글.txt", "자료.zip/글.txt", None)
    assert str(empty.error).startswith("자료.zip/b.txt: holds no text.")


def test_a_file_that_is_not_there_is_told(reader: FileReader, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        reader.read(tmp_path / "nowhere.txt")
    (result,) = reader.read_all(tmp_path / "nowhere.zip")
    assert isinstance(result.error, FileNotFoundError)


def test_formats_that_are_to_be_read_here_are(tmp_path: Path) -> None:
    with FileReader(loaders="no_such_module", local=PLAIN_SUFFIXES) as reader:
        assert reader.read(write_txt(tmp_path / "a.txt", "비", [RAIN]))
        with pytest.raises(RuntimeError):
            reader.read(WRITERS[".docx"](tmp_path / "a.docx", "비", [RAIN]))


def test_one_process_serves_many_files(hostile: FileReader, tmp_path: Path) -> None:
    texts = {hostile.read(say(tmp_path, "again"))[0].page_content for _ in range(3)}
    assert len(texts) == 1
    assert texts != {f"again {os.getpid()}"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hang", r"took more than 2 seconds. Split it, or allow more: Limits\(seconds"),
        ("spin", "took more than 2 seconds"),
        ("die", "crashed the parser. Open it in its program and save it again"),
        ("raise", "LookupError.*never foreseen"),
    ],
)
def test_what_a_file_does_to_its_parser_harms_neither_us_nor_the_next_file(
    word: str, message: str, hostile: FileReader, tmp_path: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match=rf"{word}\.txt: .*{message}"):
        hostile.read(say(tmp_path, word))
    assert time.monotonic() - started < 2 + 15  # and the start of the child, on a busy machine
    assert hostile.read(say(tmp_path, "fine"))[0].page_content.startswith("fine ")


@pytest.mark.parametrize("word", ["eat", "pour"])
def test_a_file_gets_no_more_memory_than_it_may(word: str, hostile: FileReader, tmp_path: Path) -> None:
    with (
        FileReader(Limits(seconds=60, memory=64 * 1024**2), loaders="hostile_loaders") as reader,
        pytest.raises(ValueError, match=r"took more than 64 MiB of memory. Split it, or allow more: Limits\(memory"),
    ):
        reader.read(say(tmp_path, word))


def test_what_a_parser_prints_is_no_answer(hostile: FileReader, tmp_path: Path) -> None:
    (document,) = hostile.read(say(tmp_path, "print"))
    assert document.page_content.startswith("print ")


def test_the_rest_of_a_folder_is_read_when_one_file_crashes_its_parser(hostile: FileReader, tmp_path: Path) -> None:
    (tmp_path / "articles").mkdir()
    for word in ("a", "die", "z"):
        say(tmp_path / "articles", word)
    reported: list[str] = []
    loaded = load_documents(tmp_path / "articles", reader=hostile, on_error=lambda path, _: reported.append(path.name))
    assert [document.page_content.split()[0] for document in loaded] == ["a", "z"]
    assert reported == ["die.txt"]


def test_a_hanging_file_of_an_archive_leaves_the_rest_of_it(
    hostile: FileReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    path = write_zip_of(tmp_path / "a.zip", {"1.txt": b"hang", "2.txt": b"die", "3.txt": b"fine"})
    results = list(hostile.read_all(path))
    assert [bool(result.documents) for result in results] == [False, False, True]
    hostile.close()
    assert list((tmp_path / "tmp").iterdir()) == []  # what was unpacked for a child that was killed


def test_closing_from_another_thread_ends_what_is_being_read(hostile: FileReader, tmp_path: Path) -> None:
    def close() -> None:
        while not (tmp_path / "hang.hanging").exists():
            time.sleep(0.01)
        hostile.close()

    thread = threading.Thread(target=close)
    thread.start()
    with pytest.raises(ValueError, match="reading it was stopped"):
        hostile.read(say(tmp_path, "hang"))
    thread.join()
    assert hostile.read(say(tmp_path, "fine"))


def test_closing_while_the_child_starts_ends_what_would_be_read(
    hostile: FileReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_be_closed(limits: Limits, loaders: str) -> ParserProcess:
        process = ParserProcess(limits, loaders)
        hostile.close()
        return process

    monkeypatch.setattr("rag_app.files.parsing.ParserProcess", start_and_be_closed)
    with pytest.raises(ValueError, match="reading it was stopped"):
        hostile.read(say(tmp_path, "hang"))


def test_closing_leaves_no_process(hostile: FileReader, tmp_path: Path) -> None:
    pid = int(hostile.read(say(tmp_path, "fine"))[0].page_content.split()[1])
    hostile.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    hostile.close()


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal")
def test_ctrl_c_ends_reading_at_once_and_the_child_with_it(tmp_path: Path) -> None:
    (tmp_path / "hostile_loaders.py").write_text(textwrap.dedent(HOSTILE))
    program = """
        import sys; sys.path[:0] = sys.argv[1:3]
        from rag_app.files.parsing import FileReader
        with FileReader(loaders="hostile_loaders") as reader:
            print(reader.read(sys.argv[3])[0].page_content.split()[1], flush=True)
            reader.read(sys.argv[4])
    """
    files = [str(say(tmp_path, "fine")), str(say(tmp_path, "spin"))]
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), str(ROOT), *files]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal sends it, to the child too
        _, errors = parent.communicate(timeout=8)
    assert errors.strip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_module_that_cannot_be_loaded_is_no_fault_of_the_file(tmp_path: Path) -> None:
    with FileReader(loaders="no_such_module") as reader, pytest.raises(RuntimeError, match="does not start"):
        reader.read(say(tmp_path, "fine"))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
def test_a_child_whose_parent_was_killed_ends_itself(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/hostile_loaders.py").write_text(textwrap.dedent(HOSTILE))
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; sys.path[:0] = sys.argv[1:3]; import rag_app.files.parsing_worker as w; w._GRACE = 0.5;"
            "w.main(['hostile_loaders', '.', '0.5', str(2**29)])",
            str(tmp_path / "lib"),
            str(ROOT),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with child:
        assert child.stdin
        columns = [None] * 5
        request = f'["records", "{say(tmp_path, "spin")}", ".txt", {str(columns).replace("None", "null")}, null]\n'
        child.stdin.write(request.encode())
        child.stdin.flush()
        assert child.wait(timeout=30) == -signal.SIGALRM


def test_the_child_loads_neither_models_nor_frameworks() -> None:
    program = (
        "import sys, rag_app.files.parsing_worker; "
        "print(sorted({'numpy', 'kiwipiepy', 'faiss', 'langchain_core', 'pydantic', 'streamlit'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
