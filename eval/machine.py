"""What the times of a benchmark depend on."""

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import faiss

_CPUINFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """Return what the times depend on: processor, cores, device, the libraries' threads, and what else is running."""
    details: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": "CPU",
        "faiss_threads": faiss.omp_get_max_threads(),
    }
    if torch := sys.modules.get("torch"):  # the models that compute on a device have loaded it
        details["torch_threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            details["device"] = torch.cuda.get_device_name()
    return details | load_average("load_average")


def load_average(name: str) -> dict[str, float]:
    """Return under a name how many programs want a core, over the last minute; nothing where it is not known."""
    return {name: round(os.getloadavg()[0], 1)} if hasattr(os, "getloadavg") else {}


def _processor() -> str:
    """Return the processor's name where the system tells it, else its architecture."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text("utf-8"), re.MULTILINE)
    except OSError:
        named = None
    return named[1] if named else platform.processor() or platform.machine()
