"""Promise 1: whatever interrupts a write, an index is as it was before or after it, and what was committed stays.

Writes are interrupted in three ways: by SIGKILL or Ctrl-C at random times, by either at each single system call that
changes a file, and by each of these calls failing as on a full or broken disk, in native code as well. Every time the
index is opened anew, compared with a dictionary, checked, and written to again.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rag_app.index import open_index
from tests.promises.crash_model import SETUPS, State, Write, after, embeddings_of, look, next_write, perform
from tests.promises.crash_stores import check_entries, check_turns
from tests.promises.crashing import Forker, Told
from tests.promises.probing import remove
from tests.promises.system_calls import Call, Fault, why_not
from tests.reliability import Promised

pytestmark = [
    pytest.mark.promise(1),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here"),
]
_PARTS = 2
_SECONDS = 0.25  # that a few writes take
_START = dict.fromkeys(range(0, 66, 3), 0)
_STEPS = {"kill": 1, "fail": 1, "full": 4, "interrupt": 8}
_TRIED = {
    "kill": "kills before a system call",
    "interrupt": "interruptions with Ctrl-C",
    "fail": "failed system calls",
    "full": "failed system calls",
}


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    """What forks the processes that are killed."""
    with Forker() as forker:
        yield forker


@pytest.fixture(scope="module")
def counts() -> dict[str, tuple[int, int]]:
    """How many calls each write makes, and which of them replaces the manifest, as far as that has been seen."""
    return {}


@pytest.fixture(scope="module")
def watching() -> None:
    """Skip the test where system calls cannot be watched."""
    if reason := why_not():
        pytest.skip(reason)


@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("name", SETUPS)
def test_an_index_survives_kills_at_any_time(
    name: str, part: int, forker: Forker, promised: Promised, tmp_path: Path
) -> None:
    wanted = promised.times(int(not part), -(-520 // (_PARTS * len(SETUPS))))
    chance = random.Random(f"{name} {part}")
    kills, folder, state = 0, tmp_path / "0", None
    for attempt in range(20 * wanted):
        if kills == wanted:
            break
        if attempt % 8 == 7:  # a new one, so that building is killed as well
            folder, state = tmp_path / str(attempt), None
        states, writes = planned(state, chance, 12)
        pid = forker.begin("index", str(folder), name, writes, False)
        time.sleep(chance.uniform(0, _SECONDS))
        forker.signal(pid, signal.SIGKILL)
        told = forker.finish()
        assert told.failure is None
        kills += told.status == signal.SIGKILL
        state = look(folder, SETUPS[name], states[told.committed : told.committed + 2])
        state = write_once_more(folder, name, state, chance)
    assert kills == wanted
    promised.tried(kills, "kills at random times")


@pytest.mark.usefixtures("watching")
@pytest.mark.parametrize("kind", _STEPS)
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("exact", Write("build", [(number, 0) for number in range(0, 20, 5)])),
        ("exact", Write("update", [(0, 1), (1, 2)])),
        ("ivf", Write("add", [(70, 0), (71, 0)])),
        ("rabitq", Write("update", [(12, 1), (13, 2)])),
        ("auto", Write("delete", [(number, 0) for number in list(_START)[5:]])),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_an_index_survives_every_call_that_changes_a_file(
    name: str,
    write: Write,
    kind: str,
    forker: Forker,
    counts: dict[str, tuple[int, int]],
    promised: Promised,
    tmp_path: Path,
) -> None:
    before = None if write.kind == "build" else _START
    base, folder = tmp_path / "base", tmp_path / "parent" / "index"
    if before is not None:
        forker.begin("index", str(base), name, [Write("build", list(before.items()))], False)
        assert forker.finish().committed == 1

    def done(fault: Fault | None, *, again: bool) -> Told:
        remove(folder.parent)
        if base.exists():
            shutil.copytree(base, folder)
        return forker.watched(folder.parent, fault, "index", str(folder), name, [write], again)

    chance = random.Random(f"{name} {kind}")
    if (seen := f"{name} {write.kind}") not in counts:
        calls = done(None, again=False).calls
        replaced = next(place for place, call in enumerate(calls) if str(folder / "manifest.json") in call)
        counts[seen] = len(calls) - 1, replaced  # the last tells us that it is done
    count, replaced = counts[seen]
    few = {
        "kill": [replaced, replaced + 1],
        "fail": [replaced - 12, replaced, replaced + 1],  # the first of them as files are flushed
        "full": [chance.randrange(replaced)],
        "interrupt": [replaced],
    }
    places = few[kind] if promised.times(1, 0) else range(0, count, _STEPS[kind])
    for at in places:
        again = kind in ("fail", "full") and chance.random() < 0.5
        told = done(Fault(at, kind), again=again)
        where = f"{kind} at {at}: {' '.join(told.calls[at])}, {told.failure}"
        assert told.status == (signal.SIGKILL if kind == "kill" else 0), where
        check_failure(told, kind, folder, where)
        possible = [after(before, write)] if told.committed else [before, after(before, write)]
        state = look(folder, SETUPS[name], possible)
        if told.failure and kind != "interrupt" and not again and "power failure" not in told.failure["message"]:
            assert state == before, where
            assert set(left_in(folder)) <= {"manifest.json", "write.lock", f"generation-{1:06d}", "spool"}, where
        write_once_more(folder, name, state, chance)
    promised.tried(len(places), _TRIED[kind])


def check_failure(told: Told, kind: str, folder: Path, where: str) -> None:
    """Check that an error of the disk is told as one, with what has become of the index and what to do."""
    if told.failure is None:  # Python forgets a Ctrl-C that comes as it frees something
        return
    if kind == "interrupt":
        assert told.failure["error"] == "KeyboardInterrupt", where
        return
    assert told.failure["error"] == "OSError", where
    assert told.failure["errno"], where
    assert str(folder) in told.failure["message"], where


def planned(state: State | None, chance: random.Random, count: int) -> tuple[list[State | None], list[Write]]:
    """Return random writes one after the other, and the states that the index goes through."""
    states, writes = [state], []
    for _ in range(count):
        writes.append(next_write(states[-1], chance))
        states.append(after(states[-1], writes[-1]))
    return states, writes


def write_once_more(folder: Path, name: str, state: State | None, chance: random.Random) -> State:
    """Write to an index in this process, and check that nothing is left of what was interrupted; return its state."""
    write = next_write(state, chance)
    perform(folder, SETUPS[name], write)
    new = after(state, write)
    assert look(folder, SETUPS[name], [new]) == new
    names = left_in(folder)
    assert names[1:] == ["manifest.json", "write.lock"]
    assert names[0].startswith("generation-")
    return new


def left_in(folder: Path) -> list[str]:
    """Return what is in a folder, if there is one."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("what", ["conversations", "feedback"])
def test_what_the_page_keeps_survives_kills(what: str, forker: Forker, promised: Promised, tmp_path: Path) -> None:
    chance = random.Random(what)
    check = check_turns if what == "conversations" else check_entries
    kills = promised.times(8, 30)
    for kill in range(kills):
        path = tmp_path / f"{kill % 3}" / f"{what}.sqlite"
        pid = forker.begin(what, str(path), kill, 10_000)
        time.sleep(chance.uniform(0, 0.1))
        forker.signal(pid, signal.SIGKILL)
        told = forker.finish()
        assert told.status == signal.SIGKILL
        check(path, kill, len(told.lines))
    promised.tried(kills, "kills while conversations and feedback were saved")


@pytest.mark.fault(1, "A power failure just after feedback was acknowledged could undo it.")
@pytest.mark.usefixtures("watching")
@pytest.mark.parametrize("what", ["conversations", "feedback"])
def test_what_the_page_keeps_is_on_the_disk_before_it_is_told(
    what: str, forker: Forker, promised: Promised, tmp_path: Path
) -> None:
    count = promised.times(3, 30)
    told = forker.watched(tmp_path, None, what, str(tmp_path / "new" / f"{what}.sqlite"), 1, count)
    unsure: set[str] = set()
    for name, path, _ in told.calls:
        if name == "tell":
            assert not unsure
        elif name == "fsync":
            unsure.discard(path)
        elif name == "remove" and path.endswith("-journal"):  # if it comes back, it undoes what was committed
            unsure = unsure - {path} | {str(Path(path).parent)}
        elif name == "remove":  # of a log that has been taken over into the file
            unsure.discard(path)
        elif not path.endswith("-shm"):  # made anew after a crash
            unsure |= {path} if name == "write" else {path, str(Path(path).parent)}
    assert len(told.lines) == count
    promised.tried(count, "writes whose flushing was followed")


@pytest.mark.usefixtures("watching")
@pytest.mark.parametrize("name", SETUPS)
def test_what_is_committed_is_on_the_disk_before_it_is_reported(
    name: str, forker: Forker, promised: Promised, tmp_path: Path
) -> None:
    """The order of writes and flushes tells what a power failure could take."""
    folder, chance, state = tmp_path / "new" / "deep" / "index", random.Random(name), None
    writes = promised.times(2 if name in ("exact", "rabitq") else 1, 40)
    flushed = 0
    for _ in range(writes):
        write = next_write(state, chance)
        told = forker.watched(tmp_path, None, "index", str(folder), name, [write], False)
        assert told.committed == 1
        state = after(state, write)
        flushed += check_flushed(told.calls, folder)
    assert look(folder, SETUPS[name], [state]) == state
    promised.tried(writes, "writes whose flushing was followed")


def check_flushed(calls: Sequence[Call], folder: Path) -> int:
    """Check what is on the disk for sure when the manifest is renamed, and when that is told; return how often.

    Raises:
        AssertionError: A file of the generation, a name of one, or of a folder above it may be lost.
    """
    manifest = str(folder / "manifest.json")
    unsure: set[str] = set()  # files whose content, and folders whose names, are not flushed
    renamed = 0
    for name, path, path2 in calls:
        if name == "fsync":
            unsure.discard(path)
        elif name == "write":
            unsure.add(path)
        elif name == "tell":
            assert not {one for one in unsure if not is_of_no_matter(one, folder)}
        elif name == "remove":
            unsure = {one for one in unsure if one != path and not one.startswith(f"{path}/")}
            if not renamed:  # what goes afterwards may stay
                unsure.add(str(Path(path).parent))
        elif name == "rename":
            if path2 == manifest:
                assert not {one for one in unsure if not is_of_no_matter(one, folder)}
                renamed += 1
            unsure = {path2 + one.removeprefix(path) if one.startswith(path) else one for one in unsure}
            unsure |= {str(Path(path).parent), str(Path(path2).parent)}
        else:
            if path != f"{manifest}.new":  # its name is gone with the renaming
                unsure.add(str(Path(path2 or path).parent))
            if name == "open":
                unsure.add(path)
    assert renamed == 1
    return renamed


def is_of_no_matter(path: str, folder: Path) -> bool:
    """Return whether a file or folder may be lost: locks, and vectors that are put by until a build is over."""
    return path.endswith(".lock") or path.startswith(str(folder / "spool"))


def test_an_index_survives_ctrl_c_at_any_time(forker: Forker, promised: Promised, tmp_path: Path) -> None:
    chance = random.Random(3)
    state, interrupted, wanted = None, 0, promised.times(1, 60)
    for _ in range(20 * wanted):
        if interrupted == wanted:
            break
        states, writes = planned(state, chance, 12)
        pid = forker.begin("index", str(tmp_path / "index"), "auto", writes, False)
        time.sleep(chance.uniform(0, _SECONDS))
        forker.signal(pid, signal.SIGINT)
        told = forker.finish()
        if told.failure is None:  # it came before the first write, or after the last
            state = look(tmp_path / "index", SETUPS["auto"], [states[told.committed]])
            continue
        interrupted += 1
        assert told.failure["error"] == "KeyboardInterrupt"
        state = look(tmp_path / "index", SETUPS["auto"], states[told.committed : told.committed + 2])
        assert sum(name.startswith("generation-") for name in left_in(tmp_path / "index")) <= 2
        state = write_once_more(tmp_path / "index", "auto", state, chance)
    assert interrupted == wanted
    promised.tried(interrupted, "interruptions with Ctrl-C")


@pytest.mark.parametrize("name", SETUPS)
def test_who_has_opened_an_index_keeps_its_version_while_others_replace_it(name: str, tmp_path: Path) -> None:
    folder, setup = tmp_path / "index", SETUPS[name]
    perform(folder, setup, Write("build", list(_START.items())))
    opened = open_index(folder, embeddings_of(setup))
    before = {id_: passage.page_content for id_, passage in opened.snapshot.store.documents.items()}
    question = "국회 예산 의결"
    answers = (
        opened.snapshot.lexical.search(question, 9),
        opened.snapshot.store.similarity_search_with_score(question),
    )
    for write in (Write("delete", list(_START.items())[3:]), Write("replace", [(2, 0)])):
        perform(folder, setup, write)
        assert [path.name for path in folder.glob("generation-*")] != []
        assert {id_: passage.page_content for id_, passage in opened.snapshot.store.documents.items()} == before
        store, lexical = opened.snapshot.store, opened.snapshot.lexical
        assert (lexical.search(question, 9), store.similarity_search_with_score(question)) == answers
    assert opened.refresh()
    assert len(opened.document_ids()) == 1


def test_a_full_file_system_is_told_and_survived(forker: Forker, promised: Promised, tmp_path: Path) -> None:
    forker.begin("full disk", str(tmp_path), promised.times(1, 25))
    told = forker.finish()
    if reason := next((line["cannot"] for line in told.lines if "cannot" in line), None):
        pytest.skip(f"this machine does not let us mount a file system: {reason}")
    assert told.status == 0
    [times] = (line["full"] for line in told.lines)
    assert times
    promised.tried(times, "full file systems")
