"""Blocks of ids that would take more memory than there is."""

from pathlib import Path

import pytest

from rag_app.disk.id_blocks import check_id_blocks
from rag_app.lexical import LexicalIndex


def _index(folder: Path, count: int) -> Path:
    index = LexicalIndex.create({"words": lambda texts: [text.split() for text in texts]}, folder)
    index.add((f"{number:032}" for number in range(count)), (f"글 {number}" for number in range(count)))
    index.commit()
    [path] = folder.glob("*.store")
    return path


@pytest.mark.parametrize("count", [1, 2000])
def test_blocks_that_were_written_are_sound(count: int, tmp_path: Path) -> None:
    _index(tmp_path / "index", count)
    check_id_blocks(tmp_path / "index")


@pytest.mark.fault(2, "A damaged byte in the lexical index ended the process, which could not get the memory it named.")
def test_a_block_of_gigabytes_is_found(tmp_path: Path) -> None:
    path = _index(tmp_path / "index", 10)
    path.write_bytes(b"\xff\xff\xff\x7f" + path.read_bytes()[4:])
    with pytest.raises(ValueError, match=r"\.store is damaged"):
        LexicalIndex.open({"words": lambda texts: [text.split() for text in texts]}, tmp_path / "index")


@pytest.mark.parametrize("size", [0, 1, 8, 30, 100])
def test_a_file_that_ends_too_early_is_found(size: int, tmp_path: Path) -> None:
    path = _index(tmp_path / "index", 10)
    path.write_bytes(path.read_bytes()[-size:] if size else b"")
    with pytest.raises(ValueError, match=r"\.store is damaged"):
        check_id_blocks(tmp_path / "index")


@pytest.mark.fault(2, "A damaged lexical index ended a program with an exception of Rust that nothing catches.")
def test_a_panic_is_an_error(tmp_path: Path) -> None:
    _index(tmp_path / "index", 200)
    analyses = {"words": lambda texts: [text.split() for text in texts]}
    [path] = (tmp_path / "index").glob("*.idx")
    content = path.read_bytes()
    found = []
    for start in range(0, len(content) - 200, 40):
        path.unlink()  # the one before may still be mapped
        path.write_bytes(content[:start] + b"\xff" * 40 + content[start + 40 :])
        try:
            LexicalIndex.open(analyses, tmp_path / "index").search("글 7", 10)
        except ValueError as error:
            found.append(str(error))
    assert any("The lexical index is damaged" in message for message in found)
