import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from rag_app.generations import new_generation, open_generation, read_generation, read_manifest, writing
from tests.promises.probing import edit_manifest

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


@pytest.mark.fault(
    4,
    "A large index that was opened at the moment at which it was replaced could come without some of its segments, "
    "and nothing said so.",
)
def test_what_was_replaced_while_it_was_read_is_read_again(tmp_path: Path) -> None:
    _commit(tmp_path, "처음")

    def load(generation: Path, manifest: dict[str, Any]) -> list[str]:
        if manifest["generation"] == 1:
            _commit(tmp_path, "다음")
        return [path.read_text(encoding="utf-8") for path in generation.glob("part/*.txt")]

    assert read_generation(tmp_path, load, format=FORMAT) == ["다음"]


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


@pytest.mark.fault(1, "What a killed build had left on the disk was removed only once the next one had succeeded.")
def test_what_a_kill_left_behind_is_gone_before_the_next_write_needs_the_space(tmp_path: Path) -> None:
    _commit(tmp_path, "처음")
    (tmp_path / "generation-000002").mkdir()
    with writing(tmp_path), new_generation(tmp_path, {"format": FORMAT}) as generation:
        generations = {path.name for path in tmp_path.iterdir() if path.is_dir()}
        assert generations == {"generation-000001", generation.name}
        (generation / "part").mkdir()
        (generation / "part" / "data.txt").write_text("다음", encoding="utf-8")
    assert _read(tmp_path) == "다음"


@pytest.mark.fault(1, "When the disk was full at the last step, the files of the failed write stayed there.")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_manifest_that_cannot_be_replaced_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    _commit(tmp_path, "처음")

    def fail(path: Path, target: Path) -> Path:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match=rf"{re.escape(str(tmp_path))} is as it was\. .* and do it again") as raised:
        _commit(tmp_path, "다음")
    assert raised.value.errno == code
    assert _read(tmp_path) == "처음"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generation-000001", "manifest.json", "write.lock"]


def test_a_commit_that_could_not_be_flushed_keeps_both_generations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _commit(tmp_path, "처음")
    flushed: list[Path] = []

    def fail(path: Path) -> None:
        if path == tmp_path and flushed.count(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flushed.append(path)

    monkeypatch.setattr("rag_app.generations.sync", fail)
    with pytest.raises(OSError, match="was changed, but a power failure may undo that"):
        _commit(tmp_path, "다음")
    assert _read(tmp_path) == "다음"
    assert {path.name for path in tmp_path.glob("generation-*")} == {"generation-000001", "generation-000002"}


def test_ctrl_c_just_after_the_manifest_was_replaced_keeps_the_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _commit(tmp_path, "처음")
    replace = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        replace(path, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _commit(tmp_path, "다음")
    assert _read(tmp_path) == "다음"


@pytest.mark.fault(
    1, "The folder of a new index was not flushed into its parent, so a power failure could take it all."
)
def test_a_new_folder_is_flushed_into_its_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    fsync = os.fsync

    def note(handle: int) -> None:
        flushed.append(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    _commit(tmp_path / "new" / "index", "처음")
    assert {tmp_path.stat().st_ino, (tmp_path / "new").stat().st_ino} < set(flushed)


@pytest.mark.fault(1, "An old version stayed on the disk when somebody was just opening it as it was removed.")
def test_a_lock_that_is_made_while_a_generation_is_removed_does_not_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _commit(tmp_path, "처음")
    lock = tmp_path / "generation-000001" / "part" / ".tantivy-meta.lock"
    made: list[str] = []
    rmdir = os.rmdir

    def late(path: str, *arguments: object, **options: Any) -> None:
        if not made and lock.parent.exists():
            lock.touch()
            made.append(path)
        rmdir(path, *arguments, **options)

    monkeypatch.setattr(os, "rmdir", late)
    _commit(tmp_path, "다음")
    assert made
    assert not lock.parent.parent.exists()


def test_old_generations_that_cannot_be_removed_do_not_fail_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _commit(tmp_path, "처음")
    monkeypatch.setattr(os, "unlink", _refuse)
    monkeypatch.setattr(os, "rmdir", _refuse)
    _commit(tmp_path, "다음")
    assert _read(tmp_path) == "다음"


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError


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


@pytest.mark.fault(2, "Blanks added to the manifest of an index were not found, nor an empty folder added to it.")
def test_what_is_added_is_found(tmp_path: Path) -> None:
    _commit(tmp_path, "내용")
    path = tmp_path / "manifest.json"
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    with pytest.raises(ValueError, match="is damaged"):
        _read(tmp_path)
    path.write_bytes(content)
    (tmp_path / "generation-000001" / "part" / "more").mkdir()
    with pytest.raises(ValueError, match=r"Damaged in .*: part/more"):
        _read(tmp_path)


@pytest.mark.fault(2, "A file of an index replaced by a link to an endless device was read without end.")
def test_unchecked_files_are_files(tmp_path: Path) -> None:
    _commit(tmp_path, "내용")
    path = tmp_path / "generation-000001" / "part" / "data.txt"
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"Damaged in .*: part/data\.txt"):
        open_generation(tmp_path, lambda generation, _: pytest.fail("read"), format=FORMAT, check=False)


@pytest.mark.fault(2, "A manifest with right checksums and a text for a number was refused with words of Python's.")
@pytest.mark.parametrize("change", [{"generation": "1"}, {"generation": -1}, {"files": []}, {"files": {"a": 1}}])
def test_a_forged_manifest_is_damaged(change: dict[str, Any], tmp_path: Path) -> None:
    _commit(tmp_path, "내용")
    edit_manifest(tmp_path, lambda manifest: manifest.update(change))
    with pytest.raises(ValueError, match="is damaged"):
        _read(tmp_path)
