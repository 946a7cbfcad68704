"""Every program in ``../shared/cases`` ends with 0: small inputs from public bug reports, each with its right value.

A program says what it checks, what it got and what is right. They call ``karat`` some hundred times, so the command is
one that hands its words to a process with the imports of seconds (``tests.warm_karat``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.code import ROOT
from tests import warm
from tests.warm_karat import karat_command

FOLDER = ROOT.parent / "shared" / "cases"
CASES = sorted(FOLDER.glob("[0-9]*.py"))

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not CASES, reason="needs ../shared/cases, which is not there"),
]

PROGRAM = "import runpy, sys; sys.path.insert(0, {folder!r}); runpy.run_path({case!r}, run_name='__main__')"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a case takes for the project's root: a folder with the command."""
    folder = tmp_path_factory.mktemp("root")
    with karat_command(folder / ".venv" / "bin" / "karat"):
        yield folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_it_says_what_is_right(case: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARAT_ROOT", str(root))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = warm.run(
        [sys.executable, "-c", PROGRAM.format(folder=str(FOLDER), case=str(case))],
        cwd=ROOT,
        stdout=warm.PIPE,
        stderr=warm.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
