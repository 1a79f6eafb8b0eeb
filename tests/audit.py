"""Asks the advisory databases about every pinned dependency: ``python -m tests.audit [--requirement FILE]``.

Exit status: 0 when nothing is known, 1 when something is, 2 when the databases could not be asked about everything.
pip-audit alone ends with 0 for packages that it was not told about.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CLEAN, VULNERABLE, UNKNOWN = 0, 1, 2
SERVICES = ("pypi", "osv")
_OPTIONS = ("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off")


class Answer(NamedTuple):
    """What a database said.

    Attributes:
        asked: How many packages it answered for.
        unknown: Those it did not.
        known: Weaknesses, a line each.
    """

    asked: int
    unknown: list[str]
    known: list[str]


def main(argv: Sequence[str] | None = None) -> int:
    """Ask and tell; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.audit", description=__doc__)
    parser.add_argument("--requirement", type=Path, default=Path("constraints.txt"), metavar="FILE")
    requirement: Path = parser.parse_args(argv).requirement
    program = Path(sys.executable).with_name("pip-audit")
    command = str(program) if program.exists() else shutil.which("pip-audit")
    if command is None:
        return _say("pip-audit is missing. Install it with: pip install pip-audit", UNKNOWN)
    for service in SERVICES:
        done = subprocess.run(
            [command, "--requirement", str(requirement), *_OPTIONS, "--vulnerability-service", service],
            capture_output=True,
            text=True,
        )
        answer = read_answer(done.stdout)
        if answer is not None and answer.asked:
            return _tell(answer, service)
    return _say(
        f"Nobody could be asked about {requirement}: neither PyPI nor osv.dev answers from here. "
        "Nothing is known about the pinned versions but what tests/advisories.toml says.",
        UNKNOWN,
    )


def read_answer(text: str) -> Answer | None:
    """Return what pip-audit printed as JSON, None if it failed."""
    try:
        packages = json.loads(text)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return None
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    known = [
        f"{package['name']} {package['version']}: {weakness['id']} {' '.join(weakness.get('aliases', []))}, "
        f"fixed in {', '.join(weakness['fix_versions']) or 'no version yet'}"
        for package in packages
        for weakness in package.get("vulns", [])
    ]
    return Answer(len(packages) - len(unknown), unknown, known)


def _tell(answer: Answer, service: str) -> int:
    for line in answer.known:
        _say(line, VULNERABLE)
    _say(f"{service}: {answer.asked} packages asked about, {len(answer.known)} weaknesses known.", CLEAN)
    if answer.unknown:
        _say(f"Not known there: {', '.join(answer.unknown)}", UNKNOWN)
    return VULNERABLE if answer.known else UNKNOWN if answer.unknown else CLEAN


def _say(line: str, status: int) -> int:
    (sys.stdout if status == CLEAN else sys.stderr).write(line + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
