"""The version of the code: commit and digest of the sources, compared on every node before a job starts."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from karat.errors import CodeMismatch
from karat.settings import Settings

#: The folder that holds the rooms: the checkout, or site-packages where Karat is installed.
ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("karat", "infra", "ray_jobs", "tasks", "flows", "serve")
SUFFIXES = (".py", ".yaml", ".yml")


class CodeVersion(BaseModel):
    """``commit`` is "" outside a git checkout; ``digest`` is BLAKE2 over the sources of Karat and of the projects."""

    model_config = ConfigDict(frozen=True)

    commit: str
    digest: str

    def __str__(self) -> str:
        return f"{self.commit[:12] or 'no commit'} ({self.digest[:12]})"


def code_version(settings: Settings, root: Path = ROOT) -> CodeVersion:
    """The code that this process would load now, read from disk at every call."""
    return CodeVersion(commit=_commit(root), digest=_digest(root, settings.projects))


def check_code(expected: CodeVersion, settings: Settings, *, where: str, root: Path = ROOT) -> None:
    """Raises CodeMismatch where the sources on this node are not those the flow was started with."""
    found = code_version(settings, root)
    # A node without git (a container image) has no commit to show: the digest alone decides there.
    same_commit = not (found.commit and expected.commit) or found.commit == expected.commit
    if found.digest == expected.digest and same_commit:
        return
    raise CodeMismatch(
        f"the code on {where} is {found}, the flow runs {expected}",
        where=str(root),
        remedy="bring every node to the same commit (or wait until an edit of the sources is complete), then run again",
    )


def _sources(folder: Path) -> Iterator[Path]:
    return (p for p in folder.rglob("*") if p.suffix in SUFFIXES and "__pycache__" not in p.parts)


def _digest(root: Path, projects: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, folder in [*((room, root / room) for room in ROOMS), ("projects", projects)]:
        for path in sorted(_sources(folder)):
            # Names relative to the room: the same code may lie in another folder on another node.
            digest.update(f"{name}/{path.relative_to(folder)}\0".encode())
            digest.update(hashlib.blake2b(path.read_bytes(), digest_size=16).digest())
    return digest.hexdigest()


def _commit(root: Path) -> str:
    if not (root / ".git").exists():
        return ""
    try:
        # safe.directory: in a container the checkout often belongs to another user than the process.
        done = subprocess.run(
            ["git", "-c", f"safe.directory={root}", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
