import subprocess
from pathlib import Path

import pytest

from rag_app import provenance


def git(folder: Path, *command: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    run = subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True, text=True)
    return run.stdout.strip()


def test_packages_that_are_missing_are_left_out() -> None:
    found = provenance.versions(["numpy", "no-such-package"])
    assert set(found) == {"python", "numpy"}


def test_the_commit_is_marked_when_the_checkout_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "package" / "provenance.py"
    code.parent.mkdir()
    code.write_text("")
    monkeypatch.setattr(provenance, "__file__", str(code))
    assert provenance.commit() is None
    git(tmp_path, "init", "--quiet")
    assert provenance.commit() is None  # a checkout that the code is no part of
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    assert provenance.commit() == git(tmp_path, "rev-parse", "HEAD")
    code.write_text("changed")
    assert provenance.commit() == git(tmp_path, "rev-parse", "HEAD") + "+"
