"""Promise 2: whatever happens to the files of an index is found, and crashes nobody who reads on."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from rag_app.cli import main
from rag_app.documents import make_document
from rag_app.generations import MANIFEST
from rag_app.index import build_index
from tests.promises.index_probe import DIMENSION
from tests.promises.probing import Outcome, Prober, copied, edit_manifest, index_files, replace, seal
from tests.reliability import Promised

pytestmark = pytest.mark.promise(2)

FORMS = ("memory", "ivf", "rabitq")
_KINDS = "IxF2 IxFI IxFl IxSQ IxM2 IxMp IwSq Iwrq IwFl IHNf IxPT IxPq IwPQ IxHe".split()  # noqa: SIM905
_SIZES = (0, 1, 2**31 - 1, 2**32 - 1, 2**36, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
_DEEP = "[" * 100_000


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Share a long run between processes; a short one takes longer to begin than to run."""
    if "part" in metafunc.fixturenames:
        metafunc.parametrize("part", range(8 if metafunc.config.getoption("--torture") else 1))


def _article(number: int) -> Document:
    section, day = ("정치", "경제", "날씨")[number % 3], f"2025-01-{number % 28 + 1:02}"
    text = f"{number}번째 소식이다. 지진이 있었다."
    return make_document(text, section=section, date=day, n=number, title=f"소식 {number}")


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """An index of each form; those on disk with several segments, and with passages that are deleted."""
    folder, embeddings = tmp_path_factory.mktemp("indexes"), DeterministicFakeEmbedding(size=DIMENSION)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rag_app.generation_writer.EXACT_MOST", 40)
        build_index(folder / "memory", map(_article, range(30)), embeddings)
        for form in FORMS[1:]:
            index = build_index(folder / form, map(_article, range(150)), embeddings, vectors=form)
            index.add(map(_article, range(150, 200)))
            index.delete(sorted(index.document_ids())[:7])
            index.add(map(_article, range(200, 215)))
        yield {form: folder / form for form in FORMS}


@pytest.fixture(scope="module")
def prober(indexes: dict[str, Path]) -> Iterator[Prober]:
    with Prober(indexes["memory"]) as prober:
        yield prober


# Accidents


def _place(rng: random.Random, size: int) -> int:
    """Return a place in a file, often in its first or last bytes, where it says what it holds."""
    near = rng.choice((1, 16, 200, size))
    place = rng.randrange(min(near, size))
    return place if rng.random() < 0.7 else size - 1 - place


def _flip(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[_place(rng, len(content))] ^= 1 << rng.randrange(8)
    replace(path, bytes(content))


def _set(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = _place(rng, len(content))
    content[place] = (content[place] + rng.randrange(1, 256)) % 256
    replace(path, bytes(content))


def _truncate(rng: random.Random, path: Path) -> None:
    content = path.read_bytes()
    replace(path, content[: _place(rng, len(content))])


def _extend(rng: random.Random, path: Path) -> None:
    replace(path, path.read_bytes() + rng.choice((b"\n", b" ", b"\0", rng.randbytes(100))))


def _delete(rng: random.Random, path: Path) -> None:
    path.unlink()


def _folder(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", path.parent, "nowhere", path)))


def _swap(rng: random.Random, path: Path) -> None:
    content = path.read_bytes()
    others = [other for other in index_files(path.parent) if other.read_bytes() != content]
    if not others:
        return _flip(rng, path)
    other = rng.choice(others)
    replace(path, other.read_bytes())
    return replace(other, content)


_ACCIDENTS = (_flip, _flip, _flip, _set, _set, _truncate, _truncate, _extend, _delete, _folder, _link, _swap)


def test_what_befalls_a_file_is_found_and_served_to_nobody(
    indexes: dict[str, Path], prober: Prober, tmp_path: Path, promised: Promised, part: int
) -> None:
    tried = promised.times(70, 300)
    for number in range(part * tried, (part + 1) * tried):
        rng = random.Random(number)
        index = indexes[FORMS[number % 3]]
        files = index_files(index)
        name = files[number // 3 % len(files)].relative_to(index)
        accident = _ACCIDENTS[number // 3 // len(files) % len(_ACCIDENTS)] if number % 2 else rng.choice(_ACCIDENTS)
        with copied(index, tmp_path) as copy:
            accident(rng, copy / name)
            found = prober.probe(copy)
        what = f"{number}: {accident.__name__} {name}: {found}"
        assert not isinstance(found, str), what
        assert found["check"].errors or found["check"].result, what
        assert {"ValueError", "FileNotFoundError"} & set(found["open"].errors), what
        assert name.name in found["open"].result or name.name == MANIFEST, what
        assert "uild" in found["open"].result, what
        assert all(outcome.is_typed for outcome in found.values()), what
    promised.tried(tried, "places changed in files of an index, each found")


@pytest.mark.parametrize("where", ["", "lexical", "segments", "segments/000001"])
def test_what_does_not_belong_there_is_found(
    where: str, indexes: dict[str, Path], prober: Prober, tmp_path: Path
) -> None:
    with copied(indexes["ivf"], tmp_path) as copy:
        [generation] = copy.glob("generation-*")
        (generation / where / "more").mkdir()
        found = prober.probe(copy)
    assert not isinstance(found, str)
    assert found["check"].result == [f"{Path(where, 'more')} is missing, changed or does not belong there."]
    assert "more" in found["open"].result
    assert found["search"].is_typed


def test_the_program_finds_it_too(indexes: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--index", str(indexes["rabitq"])]) == 0
    for accident in dict.fromkeys(_ACCIDENTS):
        for file in ("clusters.faiss", MANIFEST):
            with copied(indexes["rabitq"], tmp_path) as copy:
                [path] = copy.rglob(file)
                accident(random.Random(1), path)
                capsys.readouterr()
                assert main(["check", "--index", str(copy)]) == 1, accident
                said = capsys.readouterr()
                assert file in said.out + said.err or "no index" in said.err, accident


# Attacks: the checksums are right


def _bytes(rng: random.Random, index: Path) -> None:
    """Change bytes anywhere, above all where a file says how much it holds."""
    path = rng.choice([path for path in index_files(index) if path.name != MANIFEST])
    content = bytearray(path.read_bytes() or b"\0")
    for _ in range(rng.choice((1, 1, 3, 10))):
        kind, place = rng.random(), _place(rng, len(content))
        if kind < 0.4:
            content[place] ^= 1 << rng.randrange(8)
        elif kind < 0.6:
            content[place] = rng.choice((0, 1, 127, 128, 255))
        elif kind < 0.9:
            content[place : place + 8] = rng.choice(_SIZES).to_bytes(8, "little")[: len(content) - place]
        else:
            del content[place : place + rng.randrange(1, 100)]
            content = content or bytearray(1)
    replace(path, bytes(content))


def _faiss(rng: random.Random, index: Path) -> None:
    """Let a FAISS file be of another kind, or of other sizes."""
    path = rng.choice(sorted(index.rglob("*.faiss")))
    content = path.read_bytes()
    kind = rng.random()
    if kind < 0.3:
        content = rng.choice(_KINDS).encode() + content[4:]
    elif kind < 0.4:
        content = content.replace(rng.choice((b"IxFI", b"IxSQ", b"full", b"ilar")), rng.choice(_KINDS).encode(), 1)
    else:
        size = rng.choice((4, 8))
        place = rng.choice((4, 8, 8 + 8 * rng.randrange(12), 37 + rng.randrange(80), rng.randrange(len(content))))
        number = rng.choice(_SIZES) % 256**size
        content = content[:place] + number.to_bytes(size, "little") + content[place + size :]
    replace(path, content)


def _array(rng: random.Random, index: Path) -> None:
    """Let an array's header tell of other numbers, or a great many."""
    paths = sorted(index.rglob("*.npy"))
    if not paths:
        return _bytes(rng, index)
    path = rng.choice(paths)
    content = path.read_bytes()
    kind = rng.choice(("'|O'", "'<i8'", "'|S99999999'", "[('a', '<i8')]", "'<f8'", "'|b1'", "(" * 3000, "9**9**9"))
    shape = rng.choice(("(5,)", "(1099511627776,)", "(-1,)", "(2, 2)", "()", "(0,)", "[" * 3000))
    header = f"{{'descr': {kind}, 'fortran_order': {rng.choice(('False', 'True'))}, 'shape': {shape}, }}\n".encode()
    start = rng.choice((b"\x93NUMPY\1\0", b"\x93NUMPY\2\0", b"PK\3\4", b"\x80\4"))
    size = len(header).to_bytes(4 if start[6:7] == b"\2" else 2, "little")
    return replace(path, start + size + header + rng.choice((b"", content[128:], b"\x80\4N.")))


def _nasty(rng: random.Random) -> Any:
    numbers = (True, -1, 0, 0.5, 2**31, 2**63, 10**30, 1e308, float("nan"))
    texts = ("", "../../../etc/passwd", "/", "가" * 10_000, "(a+)+$")
    more: tuple[Any, ...] = (None, [], {}, [[]], {"a": 1}, ["x"] * 1000)
    return rng.choice((*numbers, *texts, *more))


def _changed(rng: random.Random, value: Any) -> Any:
    """Return a JSON value with something else in one place."""
    if rng.random() < 0.25 or not value or not isinstance(value, dict | list):
        return _nasty(rng)
    copy: Any = value.copy()
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    if rng.random() < 0.1:
        del copy[key]
    else:
        copy[key] = _changed(rng, copy[key])
    return copy


def _json(rng: random.Random, index: Path) -> None:
    """Change a value in a JSON file, or nest one deep."""
    path = rng.choice([path for path in sorted(index.rglob("*.json")) if path.name != MANIFEST])
    text = path.read_text("utf-8")
    changed = json.dumps(_changed(rng, json.loads(text)), ensure_ascii=False)
    replace(path, rng.choice((changed, changed, changed, changed, _DEEP, text.replace("{", _DEEP + "{", 1))).encode())


def _document(rng: random.Random, index: Path) -> None:
    """Change a document, or which there are."""
    path = rng.choice(sorted(index.rglob("documents.jsonl")))
    lines = path.read_text("utf-8").splitlines()
    place = rng.randrange(len(lines))
    record = json.loads(lines[place])
    changed = [json.dumps(_changed(rng, record)), _DEEP, lines[place - 1], "", '{"a":' * 9999, "null", '"', "NaN"]
    weights = (20, 1, 2, 1, 1, 1, 1, 1)
    [lines[place]] = rng.choices(changed, weights)
    replace(path, ("\n".join(lines) + "\n").encode())
    if (offsets := path.parent / "offsets.npy").exists():
        import numpy as np

        ends = np.cumsum([0, *(len(line.encode()) + 1 for line in lines)], dtype=np.int64)
        offsets.unlink()
        np.save(offsets, ends)


def _manifest(rng: random.Random, index: Path) -> None:
    """Change what the manifest says."""

    def change(manifest: dict[str, Any]) -> None:
        key = rng.choice([*manifest, "vectors", "model", "files", "generation"])
        value = _nasty(rng) if key in ("generation", "format") else _changed(rng, manifest.get(key))
        if key == "files" and isinstance(value, dict):
            value[rng.choice(("../../../../etc/passwd", "/etc/passwd", "\0", "a" * 5000))] = "0" * 64
        manifest[key] = value

    edit_manifest(index, change)


def _parts(rng: random.Random, index: Path) -> None:
    """Take a file away, or put one in the place of another, or have a folder twice."""
    files = [path for path in index_files(index) if path.name != MANIFEST]
    path, other = rng.sample(files, 2)
    kind = rng.random()
    if kind < 0.3:
        path.unlink()
    elif kind < 0.7:
        replace(path, other.read_bytes())
    elif kind < 0.85:
        replace(path, rng.randbytes(rng.choice((0, 1, 1000))))
    else:
        folder = rng.choice([path.parent for path in files])
        shutil.copytree(folder, folder.parent / f"{folder.name}1", copy_function=os.link)


_ATTACKS: tuple[Callable[[random.Random, Path], None], ...] = (
    *(_bytes, _bytes, _bytes, _faiss, _faiss, _array, _json, _json, _document, _document, _manifest, _manifest, _parts),
)


def test_an_index_forged_with_right_checksums_crashes_nobody(
    indexes: dict[str, Path], prober: Prober, tmp_path: Path, promised: Promised, part: int
) -> None:
    tried, harmless = promised.times(70, 400), 0
    for number in range(part * tried, (part + 1) * tried):
        rng = random.Random(f"attack {number}")
        index, attack = indexes[FORMS[number % 3]], _ATTACKS[number % len(_ATTACKS)]
        with copied(index, tmp_path) as copy:
            attack(rng, copy)
            if attack is not _manifest:
                seal(copy)
            found = prober.probe(copy)
        what = f"{number}: {attack.__name__} of {index.name}: {found}"
        assert not isinstance(found, str), what
        assert all(outcome.is_typed for outcome in found.values()), what
        harmless += not any(outcome.errors for outcome in found.values())
    promised.tried(tried, "forged indexes opened and searched without a crash, a hang or 512 MB")
    assert 0 < harmless < tried  # else nothing was forged, or nothing sound enough to be read to the end


def test_a_forged_user_dictionary_crashes_nobody(indexes: dict[str, Path], tmp_path: Path, promised: Promised) -> None:
    lines = ("\0" * 100, "x\tNNP", "가" * 100_000 + "\tNNP\t1", "가\tXX\t9", "가\tNNP\tnan\n" * 9999, "\t\t")
    dictionary = tmp_path / "words.txt"
    dictionary.write_text("똠방각하\tNNP\n", "utf-8")
    index = build_index(
        tmp_path / "index", [_article(1)], DeterministicFakeEmbedding(size=DIMENSION), user_dictionary=dictionary
    )
    [path] = index.path.rglob("user_dictionary.txt")
    tried = lines[: promised.times(1, len(lines))]
    for line in tried:  # each loads the words of the language anew, for which one process has not the room
        path.write_text(line, "utf-8")
        seal(index.path)
        with Prober(indexes["memory"]) as prober:
            found = prober.probe(index.path)
        assert not isinstance(found, str), found
        assert all(outcome.is_typed for outcome in found.values()), found
    promised.tried(len(tried), "forged user dictionaries")


def test_an_outcome_that_a_caller_does_not_expect_is_told_apart() -> None:
    assert Outcome([], None).is_typed
    assert Outcome(["JSONDecodeError", "ValueError", "Exception"], "").is_typed
    assert not Outcome(["PanicException", "BaseException"], "").is_typed
    assert not Outcome(["MemoryError", "Exception"], "").is_typed
    assert not Outcome(["KeyError", "LookupError"], "").is_typed
