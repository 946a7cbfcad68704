"""Whole log lines with levels from the chunks of text that Ray's Jobs API returns."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

#: ``log(level, line)``; levels are those of ``logging``.
Log = Callable[[int, str], None]

#: How programs write their records; ``parse_level`` reads it back.
FORMAT = "%(levelname)s %(name)s: %(message)s"

_LEVELS = logging.getLevelNamesMapping()
_NAMES = "DEBUG|INFO|WARNING|ERROR|CRITICAL"
_OURS = re.compile(rf"^({_NAMES}) ([\w.]+): (.*)$")
# Ray's own lines: 2026-11-20 23:03:45,666<TAB>INFO job_manager.py:581 -- text
_RAYS = re.compile(rf"^\d{{4}}-\d\d-\d\d \S+\s+({_NAMES}) (\S+:\d+ -- .*)$")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A line that a worker wrote bears its task's name and process: (train_one pid=123, ip=10.0.0.2) text
_WORKER = re.compile(r"^\([^()]*\bpid=\d+[^()]*\) ")


class Lines:
    """Assembles chunks into whole lines and logs them. A line without a level keeps the level before it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rest = ""
        self._level = logging.INFO
        self.seen = 0

    def feed(self, chunk: str) -> None:
        """Take the next chunk, cut anywhere."""
        self.seen += len(chunk)
        *whole, self._rest = (self._rest + chunk).split("\n")
        for line in whole:
            self._pass_on(line)

    def close(self) -> None:
        """Log the last line, which may lack a newline."""
        if self._rest:
            self._pass_on(self._rest)
        self._rest = ""

    def _pass_on(self, raw: str) -> None:
        level, line = parse_level(raw)
        self._level = self._level if level is None else level
        if line.strip():
            self._log(self._level, line)


def parse_level(raw: str) -> tuple[int | None, str]:
    """Read the level of a log line.

    Args:
        raw: A line of a job's log.

    Returns:
        The level (None if the line states none), and the line without colours and worker prefix.
    """
    line = _WORKER.sub("", _COLOUR.sub("", raw.rstrip("\r")))
    if match := _OURS.match(line):
        return _LEVELS[match[1]], f"{match[2].removeprefix('karat.')}: {match[3]}"
    if match := _RAYS.match(line):
        return _LEVELS[match[1]], match[2]
    # What follows a traceback's head belongs to the record before it, at that record's level or worse.
    if line.startswith("Traceback (most recent call last)"):
        return logging.ERROR, line
    return None, line
