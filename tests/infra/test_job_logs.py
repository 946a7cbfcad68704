"""Chunks cut anywhere become whole lines, each at its level."""

from __future__ import annotations

import itertools
import logging

from hypothesis import given
from hypothesis import strategies as st

from infra.job_logs import FORMAT, Lines, parse_level

INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR

LOG = (
    "2026-11-20 23:03:45,666\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    "INFO karat.jobs: cost_features: shards 1/4\r\n"
    "\x1b[36m(train pid=12, ip=10.0.0.2)\x1b[0m WARNING karat.jobs: few rows\n"
    "(train pid=12) Traceback (most recent call last):\n"
    '  File "x.py", line 1\n'
    "\n"
    "ValueError: wrong\n"
    "INFO karat.jobs: done"
)
LINES = [
    (INFO, "job_manager.py:581 -- Runtime env is setting up."),
    (INFO, "jobs: cost_features: shards 1/4"),
    (WARNING, "jobs: few rows"),
    (ERROR, "Traceback (most recent call last):"),
    (ERROR, '  File "x.py", line 1'),
    (ERROR, "ValueError: wrong"),
    (INFO, "jobs: done"),
]


@given(st.lists(st.integers(0, len(LOG)), max_size=40))
def test_lines_are_the_same_however_the_log_is_cut(cuts: list[int]):
    got: list[tuple[int, str]] = []
    lines = Lines(lambda level, line: got.append((level, line)))
    edges = [0, *sorted(cuts), len(LOG)]
    for begin, end in itertools.pairwise(edges):
        lines.feed(LOG[begin:end])
    lines.close()
    assert got == LINES
    assert lines.seen == len(LOG)


def test_a_line_is_passed_on_as_soon_as_it_is_whole():
    got: list[str] = []
    lines = Lines(lambda level, line: got.append(line))
    lines.feed("first\nsec")
    assert got == ["first"]
    lines.feed("ond\n")
    assert got == ["first", "second"]


def test_what_programs_write_is_read_back_at_its_level():
    record = logging.LogRecord("karat.jobs.features", ERROR, "f.py", 1, "table %s: lost", ("cost",), None)
    assert parse_level(logging.Formatter(FORMAT).format(record)) == (ERROR, "jobs.features: table cost: lost")


def test_a_line_that_only_looks_like_a_level_keeps_its_text():
    assert parse_level("INFORMATION karat: x") == (None, "INFORMATION karat: x")
    assert parse_level("(no process here) INFO karat.x: y") == (None, "(no process here) INFO karat.x: y")
