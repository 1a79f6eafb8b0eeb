"""The most memory that this process has had, and since when."""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def forget_peak() -> bool:
    """Begin anew to look for the most memory; return whether the system lets one, as Linux does."""
    try:
        _CLEAR.write_text("5")  # see proc(5): resets the peak resident set size
    except OSError:
        return False
    return True


def peak_memory() -> int:
    """Return the most bytes of memory (resident set size) since the last `forget_peak`, or since the process began."""
    try:
        [line] = [line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
