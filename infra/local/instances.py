"""The running instance of each part: recorded by its program, found again after the death of the supervisor."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import psutil

from infra.local.platform_parts import parts
from infra.local.processes import HOME_MARK, PART_MARK, is_alive
from karat.settings import Settings

#: A process's start as the kernel tells it, read twice, differs by the resolution of the clock.
_SAME_START_SECONDS = 1.0


def record_instance(settings: Settings, part: str) -> None:
    """Notes this process as the instance of ``part``: its id and its start, which no later process shares."""
    me = psutil.Process()
    path = _record(settings, part)
    new = path.with_suffix(f".{me.pid}")
    new.write_text(json.dumps({"pid": me.pid, "started": me.create_time(), "before": _known(path).get("pid")}))
    new.replace(path)


def instance_before(settings: Settings, part: str) -> int | None:
    """The process id of the instance of ``part`` before the last one; None where nobody has noted it."""
    before = _known(_record(settings, part)).get("before")
    return before if isinstance(before, int) else None


def _known(path: Path) -> dict[str, object]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def running_instance(settings: Settings, part: str) -> psutil.Process | None:
    """The living instance of ``part``; None where its record is missing or broken, or its id has another process."""
    try:
        known = json.loads(_record(settings, part).read_text())
        process = psutil.Process(int(known["pid"]))
        same = abs(process.create_time() - float(known["started"])) < _SAME_START_SECONDS
        marks = process.environ()
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    ours = (marks.get(HOME_MARK), marks.get(PART_MARK)) == (str(settings.home.resolve()), part)
    return process if same and ours and is_alive(process) else None


def instances(settings: Settings) -> dict[str, psutil.Process]:
    """The living instances by the name of their part, whoever watches them."""
    found = {name: running_instance(settings, name) for name in parts(settings)}
    return {name: process for name, process in found.items() if process is not None}


def redirect_output(log: Path) -> None:
    """Lets this process write to its log file itself: a pipe to the supervisor would break with it."""
    with contextlib.suppress(OSError):  # a full disk must not keep a part from starting
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)


def rotate(log: Path, most: int = 20 * 2**20, backups: int = 2) -> bool:
    """Copies a log file that is too long to ``NAME.log.1`` and empties it; its writers append, and so notice nothing.

    Returns:
        Whether it was too long.
    """
    try:
        if log.stat().st_size < most:
            return False
        for number in range(backups, 1, -1):
            older = log.with_name(f"{log.name}.{number - 1}")
            if older.exists():
                older.replace(log.with_name(f"{log.name}.{number}"))
        with log.open("rb") as source, log.with_name(f"{log.name}.1").open("wb") as copy:
            while chunk := source.read(2**20):
                copy.write(chunk)
        os.truncate(log, 0)
    except OSError:
        return False
    return True


def _record(settings: Settings, part: str) -> Path:
    return settings.home / "supervisor" / f"{part}.instance"
