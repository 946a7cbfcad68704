"""The code version says when a node runs other sources."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.code import ROOT, CodeVersion, check_code, code_version
from karat.errors import CodeMismatch
from karat.settings import Settings


@pytest.fixture
def checkout(tmp_path: Path, settings: Settings) -> tuple[Path, Settings]:
    """A small copy of the rooms, with a project, outside any git checkout."""
    root = tmp_path / "code"
    shutil.copytree(ROOT / "infra", root / "infra", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "projects" / "p").mkdir(parents=True)
    (root / "projects" / "p" / "project.yaml").write_text("description: p\n")
    return root, settings.model_copy(update={"projects": root / "projects"})


def test_the_same_sources_in_another_folder_are_the_same_code(checkout, tmp_path: Path):
    root, settings = checkout
    copy = tmp_path / "elsewhere"
    shutil.copytree(root, copy)
    there = settings.model_copy(update={"projects": copy / "projects"})
    assert code_version(settings, root) == code_version(there, copy)
    check_code(code_version(settings, root), there, where="node b", root=copy)


@pytest.mark.parametrize("changed", ["infra/jobs.py", "projects/p/project.yaml"])
def test_a_changed_byte_is_another_code(checkout, changed: str):
    root, settings = checkout
    before = code_version(settings, root)
    (root / changed).write_text((root / changed).read_text() + "\n# edited\n")
    with pytest.raises(CodeMismatch, match="node b") as raised:
        check_code(before, settings, where="node b", root=root)
    assert "same commit" in raised.value.remedy


def test_renaming_and_removing_count_and_compiled_files_do_not(checkout):
    root, settings = checkout
    before = code_version(settings, root)
    (root / "infra" / "__pycache__").mkdir()
    (root / "infra" / "__pycache__" / "jobs.py").write_text("x")
    assert code_version(settings, root) == before
    (root / "infra" / "jobs.py").rename(root / "infra" / "job.py")
    assert code_version(settings, root).digest != before.digest


def test_the_commit_of_a_checkout_is_known_and_must_agree(checkout):
    root, settings = checkout
    assert code_version(settings, root).commit == ""
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    version = code_version(settings, root)
    assert len(version.commit) == 40
    with pytest.raises(CodeMismatch):
        check_code(CodeVersion(commit="0" * 40, digest=version.digest), settings, where="b", root=root)
    # A node without git is judged by its sources alone.
    check_code(CodeVersion(commit="", digest=version.digest), settings, where="b", root=root)
