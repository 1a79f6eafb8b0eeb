import zipfile
from pathlib import Path

import pytest

from rag_app.documents import Columns, Source, load_documents, read_files
from rag_app.files import archives
from rag_app.files.loaders.records import Record
from rag_app.files.parsing import FileReader
from rag_app.files.unreadable import OverLimitError
from tests.office_files import write_broken, write_hwpx, write_zip, write_zip_of

RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다."
VOTE = "국회는 내년 예산안을 의결했다."


@pytest.mark.parametrize("limited", [False, True])
def test_the_files_of_an_archive_are_read_under_their_korean_names(limited: bool, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "자료.zip", "비", [RAIN])
    with FileReader() as reader:
        documents = list(load_documents(path, reader=reader if limited else None))
    assert [document.page_content.splitlines()[-1] for document in documents] == [RAIN, f"{RAIN} (한글 문서)"]
    assert [document.metadata["path"] for document in documents] == [f"{path}/글.txt", f"{path}/문서/한글.hwpx"]


@pytest.mark.parametrize("encoding", ["cp949", "euc-kr", "utf-8"])
def test_names_are_read_in_the_encodings_of_korean_programs(encoding: str, tmp_path: Path) -> None:
    path = write_zip_of(tmp_path / "a.zip", {"문서/글.txt": RAIN.encode()}, encoding=encoding)
    (document,) = load_documents(path)
    assert document.metadata["path"] == f"{path}/문서/글.txt"


def test_a_name_that_says_it_is_utf_8_is_read_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("똠방각하 ①.txt", RAIN)
    (document,) = load_documents(path)
    assert document.metadata["path"] == f"{path}/똠방각하 ①.txt"


def test_hidden_files_and_foreign_ones_are_passed_over(tmp_path: Path) -> None:
    names = ["글.txt", "__MACOSX/._글.txt", ".숨김.txt", "가/.git/나.txt", "~$글.docx", "사진.jpg", "Thumbs.db"]
    path = write_zip_of(tmp_path / "a.zip", {name: RAIN.encode() for name in names})
    assert len(list(load_documents(path))) == 1
    path = write_zip_of(tmp_path / "b.zip", {"사진.jpg": b""})
    with pytest.raises(ValueError, match=r"b\.zip: holds no file of a known format"):
        list(load_documents(path))


def test_a_file_of_an_archive_that_cannot_be_read_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    inner = write_zip_of(tmp_path / "inner", {"a.txt": VOTE.encode()}).read_bytes()
    files = {
        "broken.pdf": write_broken(tmp_path / "a.pdf").read_bytes(),
        "nested.zip": inner,
        "../outside.txt": VOTE.encode(),
        "/root.txt": VOTE.encode(),
        "empty.txt": b"",
        "last.txt": RAIN.encode(),
    }
    path = write_zip_of(tmp_path / "a.zip", files)
    reported: dict[str, str] = {}
    loaded = load_documents(path, on_error=lambda name, error: reported.update({str(name): str(error)}))
    assert [document.page_content for document in loaded] == [RAIN]
    wanted = {
        "broken.pdf": "cannot be read as PDF",
        "nested.zip": "an archive in an archive is not read. Unpack it first",
        "../outside.txt": "leads out of the archive",
        "/root.txt": "leads out of the archive",
        "empty.txt": "holds no text. Leave it out",
    }
    assert reported.keys() == {str(Path(f"{path}/{name}")) for name in wanted}
    for name, message in wanted.items():
        assert message in reported[str(Path(f"{path}/{name}"))]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pdf", "a.zip", "inner"]


def test_nothing_is_left_of_what_was_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    path = write_zip(tmp_path / "a.zip", "비", [RAIN])
    reading = load_documents(path)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip_of(tmp_path / "a.zip", {"zeros.txt": bytes(archives._SMALL + 1)})
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match="unpacked it has 1 files with 104,857,601 bytes, which is more than is read"):
        list(load_documents(path))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    path = write_zip_of(tmp_path / "b.zip", {f"{number}.txt": b"" for number in range(3)})
    with pytest.raises(ValueError, match=r"b\.zip: .*3 files.*Unpack it if you trust it"):
        list(load_documents(path))


def test_a_bomb_that_calls_itself_a_document_is_refused_too(tmp_path: Path) -> None:
    for name in ("a.hwpx", "a.docx"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("Contents/section0.xml", bytes(archives._SMALL + 1))
        with pytest.raises(ValueError, match="which is more than is read"):
            list(load_documents(tmp_path / name))


def test_a_file_that_holds_more_than_it_declares_is_cut_there_and_told(tmp_path: Path) -> None:
    path = write_zip_of(tmp_path / "a.zip", {"a.txt": RAIN.encode() * 100})
    content = path.read_bytes()
    size = (len(RAIN.encode()) * 100).to_bytes(4, "little")
    assert content.count(size) == 2  # beside the file and in the directory
    path.write_bytes(content.replace(size, (100).to_bytes(4, "little")))
    with pytest.raises(ValueError, match=r"a\.zip/a\.txt: this file is damaged in its archive"):
        list(load_documents(path))


def test_encrypted_files_and_unusual_methods_are_refused(tmp_path: Path) -> None:
    path = write_zip_of(tmp_path / "a.zip", {"a.txt": RAIN.encode()})
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"encrypted\. Pack it again without a password"):
        list(load_documents(path))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.txt", RAIN)
    with pytest.raises(ValueError, match=r"packed in an unusual way\. Pack it again"):
        list(load_documents(tmp_path / "b.zip"))


def test_archives_in_a_folder_are_read_with_its_files(tmp_path: Path) -> None:
    write_zip_of(tmp_path / "a.zip", {"a.txt": RAIN.encode(), "b.txt": VOTE.encode()})
    write_hwpx(tmp_path / "b.hwpx", "", [RAIN])
    assert [document.page_content for document in load_documents(tmp_path)] == [RAIN, VOTE]


@pytest.mark.fault(5, "A zip archive with a file without a name ended the reading with an IndexError.")
def test_a_file_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = write_zip_of(tmp_path / "a.zip", {"a.txt": RAIN.encode(), "x": VOTE.encode()})
    content = path.read_bytes()
    for signature, at in ((b"PK\3\4", 26), (b"PK\1\2", 28)):
        place = content.rindex(signature)
        name = place + (30 if at == 26 else 46)
        content = content[: place + at] + b"\0\0" + content[place + at + 2 : name] + content[name + 1 :]
    end = content.rindex(b"PK\5\6")
    directory = content.index(b"PK\1\2")
    content = content[: end + 12] + (end - directory).to_bytes(4, "little") + directory.to_bytes(4, "little") + b"\0\0"
    path.write_bytes(content)
    assert [document.page_content for document in load_documents(path)] == [RAIN]


@pytest.mark.fault(5, "A damaged zip archive was told as 'Invalid argument', without what to do about it.")
def test_a_file_whose_place_is_not_in_the_archive_is_told(tmp_path: Path) -> None:
    path = write_zip_of(tmp_path / "a.zip", {"a.txt": RAIN.encode(), "b.txt": VOTE.encode()})
    content = path.read_bytes()
    end = content.rindex(b"PK\5\6")
    offset = int.from_bytes(content[end + 16 : end + 20], "little") + 50  # so that all seems to begin before the file
    path.write_bytes(content[: end + 16] + offset.to_bytes(4, "little") + content[end + 20 :])
    with pytest.raises(ValueError, match=r"damaged in its archive\. Pack it again"):
        list(load_documents(path))


@pytest.mark.fault(5, "A zip archive of a thousand files that each take all the time they may was read to its end.")
def test_an_archive_whose_files_take_too_much_is_given_up(tmp_path: Path) -> None:
    class Slow:
        def members(self, path: Path) -> list[archives.Member]:
            return [archives.Member(number, f"{number}.txt") for number in range(100)]

        def records(self, path: Path, suffix: str, columns: Columns, member: int | None = None) -> list[Record]:
            asked.append(member)
            raise OverLimitError("reading it took more than 10 seconds. Split it")

    asked: list[int | None] = []
    results = list(read_files(Source(tmp_path, "a.zip", "a.zip"), Columns(), Slow()))
    assert (len(results), asked) == (100, [0, 1, 2, 3, 4])
    assert str(results[-1].error) == "a.zip/99.txt: 5 files before it took too much. Pack it anew without those"


@pytest.mark.fault(5, "A link to a file in a zip archive was read as a text that holds the name of that file.")
def test_a_link_in_an_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/hostname")
    with pytest.raises(ValueError, match=r"a\.zip/link\.txt: this is a link to another file\. Pack the file itself"):
        list(load_documents(path))


@pytest.mark.fault(5, "A file in a zip archive that claimed to be packed into 2 GB took as much memory.")
def test_a_file_that_claims_to_be_longer_than_its_archive_is_refused(tmp_path: Path) -> None:
    path = write_zip_of(tmp_path / "a.zip", {"a.txt": RAIN.encode()})
    content = bytearray(path.read_bytes())
    size = content.index(b"PK\1\2") + 20
    content[size : size + 4] = (0x7FFFFFFF).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a file in it is longer than the archive.*Pack the files again"):
        list(load_documents(path))


@pytest.mark.fault(5, "Why a zip archive without files of a known format is refused was told, but not what to do.")
def test_an_archive_of_other_files_is_told_with_a_remedy(tmp_path: Path) -> None:
    path = write_zip_of(tmp_path / "a.zip", {"사진.jpg": b"", "자료.xls": b""})
    with pytest.raises(ValueError, match=r"a\.zip: holds no file of a known format \(.*\.hwp.*\)\. Pack some of these"):
        list(load_documents(path))
