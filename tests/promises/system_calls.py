"""A forked process watched system call by system call, native code included: killed, or made to fail, at any of them.

Only those calls count that change files: what is written, created, linked, renamed, removed or flushed below a folder.
Linux on x86-64 alone; see `why_not`.
"""

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

_TRACEME, _CONTINUE, _SETOPTIONS, _GETREGS, _SETREGS = 0, 7, 0x4200, 12, 13
_OPTIONS = 0x8 | 0x80 | 0x100000  # follow threads, stop at the calls of the filter, kill if we end
_STOPPED_BY_FILTER = signal.SIGTRAP | 7 << 8
_WALL = 0x40000000
_NO_NEW_PRIVILEGES, _SET_FILTER = 38, 22
_REGISTERS = struct.Struct("27Q")
_RAX, _RSI, _RDX, _R10, _RDI, _ORIG_RAX = 10, 13, 12, 7, 14, 15  # places in user_regs_struct
_CREATE, _TRUNCATE = os.O_CREAT, os.O_TRUNC
_AT_CWD = 2**32 - 100
_SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT}


class Kind(NamedTuple):
    """A system call.

    Attributes:
        name: What it does.
        handle: Place of the register with the handle of the file, or of the folder that the path is relative to.
        path: Place of the register with the path, if it has one.
        handle2: Likewise for the second path.
        path2: Likewise.
        flags: Place of the register with the flags of opening.
        error: What it fails with; 0 for none.
    """

    name: str
    handle: int | None = None
    path: int | None = None
    handle2: int | None = None
    path2: int | None = None
    flags: int | None = None
    error: int = errno.ENOSPC


CALLS = {
    1: Kind("write", _RDI),
    18: Kind("write", _RDI),
    20: Kind("write", _RDI),
    296: Kind("write", _RDI),
    40: Kind("write", _RDI),
    326: Kind("write", _RDX),
    77: Kind("write", _RDI),
    285: Kind("write", _RDI),
    74: Kind("fsync", _RDI, error=errno.EIO),
    75: Kind("fsync", _RDI, error=errno.EIO),
    2: Kind("open", path=_RDI, flags=_RSI),
    257: Kind("open", _RDI, _RSI, flags=_RDX),
    82: Kind("rename", path=_RDI, path2=_RSI, error=errno.EIO),
    264: Kind("rename", _RDI, _RSI, _RDX, _R10, error=errno.EIO),
    316: Kind("rename", _RDI, _RSI, _RDX, _R10, error=errno.EIO),
    83: Kind("mkdir", path=_RDI),
    258: Kind("mkdir", _RDI, _RSI),
    86: Kind("link", path=_RDI, path2=_RSI),
    265: Kind("link", _RDI, _RSI, _RDX, _R10),
    84: Kind("remove", path=_RDI, error=0),
    87: Kind("remove", path=_RDI, error=0),
    263: Kind("remove", _RDI, _RSI, error=0),
}


class Call(NamedTuple):
    """A call that changes files.

    Attributes:
        name: What it does; ``tell`` if it tells us something.
        path: To what.
        path2: The new name, of a link or renaming.
    """

    name: str
    path: str
    path2: str = ""


class Fault(NamedTuple):
    """What is to happen.

    Attributes:
        at: Which of the calls, from 0; what comes before is done.
        kind: ``kill``; ``interrupt``, as Ctrl-C does; ``fail``, once; ``full``, also every later one that needs space,
            until the process says so.
    """

    at: int
    kind: str


def why_not() -> str:
    """Return why processes cannot be watched here; nothing if they can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "watching system calls is written for Linux on x86-64"
    pid = fork_traced(lambda: os._exit(0))
    try:
        watch(pid, Path("/nowhere"), None, lift=-1)
    except OSError as error:
        return f"this machine does not let one process watch another: {error}"
    return ""


def fork_traced(work: Callable[[], None]) -> int:
    """Fork a process that waits to be watched before it works; return its id."""
    pid = os.fork()
    if not pid:
        try:
            _ptrace(_TRACEME, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            _stop_at(CALLS)
            work()
        finally:
            os._exit(70)
    return pid


def watch(pid: int, below: Path, fault: Fault | None, *, lift: int) -> tuple[int, list[Call]]:
    """Let a forked process run; return how it ended, as `os.waitpid` says, and the calls that it made.

    Args:
        pid: See `fork_traced`.
        below: Only calls on what is in this folder count, and on the folder itself.
        fault: What to do to it.
        lift: The handle of the file that it tells us something by, which ends the fault.
    """
    calls: list[Call] = []
    fails = fault is not None and fault.kind in ("fail", "full")
    os.waitpid(pid, _WALL)
    _ptrace(_SETOPTIONS, pid, 0, _OPTIONS)
    _ptrace(_CONTINUE, pid, 0, 0)
    while True:
        thread, status = os.waitpid(-1, _WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if thread == pid:
                return status, calls
            continue
        deliver = 0
        stop = os.WSTOPSIG(status)
        try:
            if status >> 8 == _STOPPED_BY_FILTER:
                registers = _registers(thread)
                kind = CALLS[registers[_ORIG_RAX]]
                if kind.name == "write" and registers[_RDI] == lift:
                    fails = False
                    call: Call | None = Call("tell", "")
                else:
                    call = _read_call(thread, kind, registers, str(below))
                if call:
                    here = len(calls)
                    calls.append(call)
                    if fault is not None and fault.kind in _SIGNALS and here == fault.at:
                        os.kill(pid, _SIGNALS[fault.kind])
                    elif fails and fault is not None and kind.error and _is_due(fault, here, kind):
                        registers[_ORIG_RAX] = 2**64 - 1  # no call at all
                        registers[_RAX] = 2**64 - (errno.ENOSPC if fault.kind == "full" else kind.error)
                        _set_registers(thread, registers)
            elif stop not in (signal.SIGTRAP, signal.SIGSTOP):
                deliver = stop
            _ptrace(_CONTINUE, thread, 0, deliver)
        except ProcessLookupError:  # killed meanwhile, or its process has ended while it was stopped
            continue


def _is_due(fault: Fault, here: int, kind: Kind) -> bool:
    return here == fault.at or (fault.kind == "full" and here > fault.at and kind.error == errno.ENOSPC)


def _read_call(thread: int, kind: Kind, registers: list[int], below: str) -> Call | None:
    """Return a call if it changes something below a folder."""
    if kind.flags is not None and not registers[kind.flags] & (_CREATE | _TRUNCATE):
        return None
    try:
        path = _path(thread, registers, kind.handle, kind.path)
        path2 = _path(thread, registers, kind.handle2, kind.path2) if kind.path2 is not None else ""
    except OSError:  # a handle that is not open, an address that is none
        return None
    if not any(one == below or one.startswith(f"{below}/") for one in (path, path2)):
        return None
    name = kind.name
    if name == "mkdir" and os.path.lexists(path):
        return None
    if kind.flags is not None and os.path.lexists(path):
        if not registers[kind.flags] & _TRUNCATE:
            return None
        name = "write"
    return Call(name, path, path2)


def _path(thread: int, registers: list[int], handle: int | None, path: int | None) -> str:
    folder = ""
    if handle is not None and (path is None or registers[handle] & 0xFFFFFFFF != _AT_CWD):
        folder = str(Path(f"/proc/{thread}/fd/{registers[handle] & 0xFFFFFFFF}").readlink())
    if path is None:
        return folder
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        found = b""
        address = registers[path]
        while b"\0" not in found:
            memory.seek(address + len(found))
            found += memory.read(4096 - (address + len(found)) % 4096)
    return os.path.normpath(Path(folder, os.fsdecode(found.partition(b"\0")[0])))


def _stop_at(numbers: Iterable[int]) -> None:
    """Have this process stop at some system calls, and at no others, which would take a while."""
    wanted = list(numbers)
    program = [(0x20, 0, 0, 0)]  # load the call's number
    program += [(0x15, len(wanted) - place, 0, number) for place, number in enumerate(wanted)]  # is it this one?
    program += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x7FF00000)]  # go on, or stop
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    if _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or _libc.prctl(_SET_FILTER, 2, ctypes.addressof(filter_), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _registers(thread: int) -> list[int]:
    buffer = ctypes.create_string_buffer(_REGISTERS.size)
    _ptrace(_GETREGS, thread, 0, ctypes.addressof(buffer))
    return list(_REGISTERS.unpack(buffer.raw))


def _set_registers(thread: int, registers: list[int]) -> None:
    buffer = ctypes.create_string_buffer(_REGISTERS.pack(*registers), _REGISTERS.size)
    _ptrace(_SETREGS, thread, 0, ctypes.addressof(buffer))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]


def _ptrace(request: int, pid: int, address: int, data: int) -> None:
    if _libc.ptrace(request, pid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
