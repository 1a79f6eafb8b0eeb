"""Writes to an index on a small file system until it is full, in a process that has mounted it for itself alone."""

import ctypes
import errno
import os
import random
import shutil
from pathlib import Path

from tests.promises.crash_model import SETUPS, State, Write, after, look, next_write, perform

_KILOBYTES = 1600
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000


def mount_small_disk(folder: Path) -> None:
    """Mount an empty file system that only this process sees, which must have but one thread.

    Raises:
        OSError: This machine does not let us.
    """
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(_NEW_MOUNTS | _NEW_USERS))
    for name, ours in {"setgroups": "deny", "uid_map": f"0 {user} 1", "gid_map": f"0 {group} 1"}.items():
        Path("/proc/self", name).write_text(ours, "ascii")
    _check(_libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, f"size={_KILOBYTES}k".encode()))


def fill(folder: Path, times: int) -> int:
    """Fill the disk over and over; return how often it was full.

    Raises:
        AssertionError: Something is not as it should be.
    """
    chance = random.Random(1)
    return sum(_fill(folder / name, folder / "ballast", name, chance) for name in SETUPS for _ in range(times))


def _fill(index: Path, ballast: Path, name: str, chance: random.Random) -> int:
    """Let the disk be full at some point of a write; return whether it was."""
    first = Write("replace", next_write(None, chance).articles)
    perform(index, SETUPS[name], first)
    state: State = after(None, first)
    ballast.write_bytes(bytes(max(0, shutil.disk_usage(index).free - 1000 * chance.randint(4, 80))))
    write = next_write(state, chance)
    failed = False
    try:
        perform(index, SETUPS[name], write)
        state = after(state, write)
    except OSError as error:
        _check_told(error, index)
        failed = True
    assert look(index, SETUPS[name], [state]) == state
    ballast.unlink()
    perform(index, SETUPS[name], write := next_write(state, chance))
    assert look(index, SETUPS[name], [after(state, write)])
    shutil.rmtree(index)
    return failed


def _check_told(error: OSError, index: Path) -> None:
    assert error.errno == errno.ENOSPC
    assert f"{index} is as it was. Free some space and do it again" in str(error)


_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
