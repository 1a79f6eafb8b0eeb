"""Writes to an index on a small file system until it is full, in a process that has mounted it for itself alone.

    unshare --map-root-user --mount python -m tests.promises.full_disk FOLDER TIMES

Prints how many times the disk was full. Everything that is not as it should be is an AssertionError.
"""

import contextlib
import errno
import io
import random
import shutil
import subprocess
import sys
from pathlib import Path

from rag_app import cli
from tests.promises.crash_model import SETUPS, State, Write, after, look, next_write, perform

CANNOT_MOUNT = 77
_KILOBYTES = 1600


def main(folder: Path, times: int) -> int:
    """Fill the disk over and over; return the exit status."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_KILOBYTES}k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return CANNOT_MOUNT
    chance = random.Random(1)
    full = 0
    for name in SETUPS:
        for _ in range(times):
            full += _fill(folder / name, folder / "ballast", name, chance)
    sys.stdout.write(f"{full}\n")
    return 0


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
    return failed


def _check_told(error: OSError, index: Path) -> None:
    """Check that an error says what to do, from the command line as well."""
    assert error.errno == errno.ENOSPC
    assert f"{index} is as it was. Free some space and do it again" in str(error)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert cli.main(["index", "sample", "--index", str(index), "--replace", "--quiet"]) == cli.FAILED
    assert len(said.getvalue().splitlines()) == 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
