import os
from pathlib import Path
from typing import Any

import pytest

from rag_app.generations import new_generation, open_generation, read_manifest, writing

FORMAT = "test-1"


def _commit(folder: Path, content: str) -> None:
    with writing(folder), new_generation(folder, {"format": FORMAT}) as generation:
        (generation / "part").mkdir()
        (generation / "part" / "data.txt").write_text(content, encoding="utf-8")


def _read(folder: Path) -> str:
    def load(generation: Path, manifest: dict[str, Any]) -> str:
        return (generation / "part" / "data.txt").read_text(encoding="utf-8")

    return open_generation(folder, load, format=FORMAT)


def test_the_newest_generation_is_read_and_the_old_one_goes(tmp_path: Path) -> None:
    _commit(tmp_path, "처음")
    _commit(tmp_path, "다음")
    assert _read(tmp_path) == "다음"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["generation-000002"]


def test_an_interruption_leaves_the_old_generation(tmp_path: Path) -> None:
    _commit(tmp_path, "처음")

    def interrupted() -> None:
        with writing(tmp_path), new_generation(tmp_path, {"format": FORMAT}) as generation:
            (generation / "half").write_text("반", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert _read(tmp_path) == "처음"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["generation-000001"]


def test_what_a_kill_left_behind_is_ignored_and_cleared(tmp_path: Path) -> None:
    _commit(tmp_path, "처음")
    (tmp_path / "generation-000002").mkdir()
    (tmp_path / "generation-000002" / "half").write_text("반", encoding="utf-8")
    (tmp_path / "manifest.json.new").write_text("{", encoding="utf-8")
    assert _read(tmp_path) == "처음"
    _commit(tmp_path, "다음")
    assert _read(tmp_path) == "다음"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["generation-000003"]


@pytest.mark.parametrize("name", ["manifest.json", "generation-000001/part/data.txt"])
def test_a_changed_byte_is_found(tmp_path: Path, name: str) -> None:
    _commit(tmp_path, "내용이 여기 있다")
    path = tmp_path / name
    for position in range(len(path.read_bytes())):
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"[Dd]amaged|format"):
            _read(tmp_path)
        content[position] ^= 1
        path.write_bytes(content)
    assert _read(tmp_path) == "내용이 여기 있다"


def test_missing_and_superfluous_files_are_found(tmp_path: Path) -> None:
    _commit(tmp_path, "내용")
    extra = tmp_path / "generation-000001" / "extra"
    extra.write_text("남의 것", encoding="utf-8")
    with pytest.raises(ValueError, match="extra"):
        _read(tmp_path)
    extra.unlink()
    (tmp_path / "generation-000001" / "part" / "data.txt").unlink()
    with pytest.raises(ValueError, match=r"data\.txt"):
        _read(tmp_path)


def test_a_second_writer_is_told_at_once(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(BlockingIOError, match="another process"), writing(tmp_path):
        pass


def test_an_empty_folder_says_how_to_build(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="rag-app index"):
        read_manifest(tmp_path, format=FORMAT)


def test_another_format_is_refused(tmp_path: Path) -> None:
    _commit(tmp_path, "내용")
    with pytest.raises(ValueError, match="'test-1'; this version reads 'test-2'"):
        read_manifest(tmp_path, format="test-2")


def test_folders_of_the_user_s_own_are_left_alone(tmp_path: Path) -> None:
    for name in ("202401", "000001", "generation-x"):
        (tmp_path / name).mkdir()
    _commit(tmp_path, "처음")
    _commit(tmp_path, "다음")
    assert {"202401", "000001", "generation-x"} < {path.name for path in tmp_path.iterdir()}


def test_a_generation_replaced_while_it_is_read_is_read_anew(tmp_path: Path) -> None:
    _commit(tmp_path, "처음")
    seen = []

    def load(generation: Path, manifest: dict[str, Any]) -> str:
        seen.append(generation.name)
        if len(seen) == 1:
            _commit(tmp_path, "다음")
            raise RuntimeError("a library's own way to say that the file is gone")
        return (generation / "part" / "data.txt").read_text(encoding="utf-8")

    assert open_generation(tmp_path, load, format=FORMAT) == "다음"
    assert len(seen) == 2


def test_a_linked_file_keeps_its_checksum_so_that_rot_does_not_pass_for_new(tmp_path: Path) -> None:
    _commit(tmp_path, "내용")
    old = tmp_path / "generation-000001" / "part" / "data.txt"
    with writing(tmp_path), new_generation(tmp_path, {"format": FORMAT}) as generation:
        (generation / "part").mkdir()
        os.link(old, generation / "part" / "data.txt")
        (generation / "part" / "more.txt").write_text("더", encoding="utf-8")
        old.write_text("썩음", encoding="utf-8")
    with pytest.raises(ValueError, match=r"Damaged in .*: part/data\.txt\."):
        _read(tmp_path)


def test_a_copied_file_of_the_same_name_gets_a_checksum_of_its_own(tmp_path: Path) -> None:
    _commit(tmp_path, "처음")
    _commit(tmp_path, "다음")
    before = read_manifest(tmp_path, format=FORMAT)["files"]
    _commit(tmp_path, "끝")
    assert before.keys() == read_manifest(tmp_path, format=FORMAT)["files"].keys()
    assert before != read_manifest(tmp_path, format=FORMAT)["files"]
    assert _read(tmp_path) == "끝"


def test_several_formats_may_be_known(tmp_path: Path) -> None:
    _commit(tmp_path, "내용")
    assert read_manifest(tmp_path, format=("test-0", FORMAT))["format"] == FORMAT
    with pytest.raises(ValueError, match=r"'test-1'; this version reads \('test-2', 'test-3'\)"):
        read_manifest(tmp_path, format=("test-2", "test-3"))
