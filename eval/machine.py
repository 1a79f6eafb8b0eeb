"""What the times of a benchmark depend on."""

import os
import platform
import sys
from typing import Any

import faiss


def machine() -> dict[str, Any]:
    """Return what the times depend on: processor, cores, the libraries' threads, and what else is running."""
    details: dict[str, Any] = {
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "faiss_threads": faiss.omp_get_max_threads(),
    }
    if "torch" in sys.modules:
        details["torch_threads"] = sys.modules["torch"].get_num_threads()
    if hasattr(os, "getloadavg"):
        details["load_average"] = round(os.getloadavg()[0], 1)
    return details
