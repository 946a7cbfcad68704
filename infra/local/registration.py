"""What Prefect was told last of the projects: where nothing has changed since, ``karat up`` need not tell it again."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.code import ROOT, code_version
from infra.local.probes import NoAnswer, call_prefect
from karat.fingerprint import fingerprint
from karat.settings import Settings

#: Deployments that bear it are ours to change and to remove.
TAG = "karat"


def registered(settings: Settings) -> list[str] | None:
    """The deployments, ``flow/project``, that were registered from the files and settings of now; None if others."""
    try:
        known = json.loads(_record(settings).read_text())
    except (OSError, ValueError):
        return None
    return list(known["deployments"]) if known.get("from") == _origin(settings) else None


def has_deployments(settings: Settings, deployments: Sequence[str]) -> bool:
    """Whether the server still has as many deployments of ours."""
    try:
        count = call_prefect(settings, "/deployments/count", {"deployments": {"tags": {"all_": [TAG]}}})
    except NoAnswer:
        return False
    return bool(count == len(deployments))


def note_registered(settings: Settings, deployments: Sequence[str]) -> None:
    """Record that the server has these deployments, from the files and settings of now."""
    path = _record(settings)
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"from": _origin(settings), "deployments": list(deployments)}))
    new.replace(path)


def forget_registered(settings: Settings) -> None:
    """Record nothing: the server is about to be told of the projects."""
    _record(settings).unlink(missing_ok=True)


def _origin(settings: Settings) -> str:
    return fingerprint([code_version(settings).digest, settings.as_environment(), str(ROOT), sys.executable], size=16)


def _record(settings: Settings) -> Path:
    return settings.home / "prefect" / "registered.json"
