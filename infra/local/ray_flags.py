"""The two values that Ray's library reads from the environment once, when it is loaded: whose worker a process is.

A fork of a process that has loaded the library needs its own. The library keeps them as C++ strings and has no function
that sets them, so the fork server loads it with marks in their place, and each fork writes its values over the marks.
``find_flags`` returns None unless each mark is there exactly once and looks as it should; then no worker is forked.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

#: Variable -> the mark, longer than any value: a job's id has 8 characters, a process' at most 10.
MARKS = {"RAY_JOB_ID": "karat-mark-job", "RAY_RAYLET_PID": "karat-mark-pid"}
#: Before a string's text (in the layout of manylinux2014) lie its length, its capacity, and how many share it, less 1.
_LENGTH, _CAPACITY, _SHARED = 24, 16, 8


def find_flags() -> dict[str, int] | None:
    """Return variable -> address of its text in this process, which must have loaded Ray with ``MARKS`` set."""
    found: dict[str, list[int]] = {name: [] for name in MARKS}
    for start, end in _heap():
        content = ctypes.string_at(start, end - start)
        for name, mark in MARKS.items():
            matches = re.finditer(re.escape(mark.encode() + b"\0"), content)
            found[name] += [start + m.start() for m in matches if _is_string(start + m.start(), len(mark))]
    return {name: places[0] for name, places in found.items()} if all(len(p) == 1 for p in found.values()) else None


def set_flags(addresses: dict[str, int]) -> None:
    """Give Ray's library the values of this process's environment."""
    for name, address in addresses.items():
        value = os.environ.get(name, "").encode()
        if len(value) > len(MARKS[name]):
            raise ValueError(f"{name} is longer than its mark")
        ctypes.memmove(address, value + b"\0", len(value) + 1)
        ctypes.c_size_t.from_address(address - _LENGTH).value = len(value)


def _is_string(address: int, length: int) -> bool:
    known = tuple(ctypes.c_size_t.from_address(address - back).value for back in (_LENGTH, _CAPACITY))
    return known == (length, length) and ctypes.c_int32.from_address(address - _SHARED).value == 0


def _heap() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[heap]"):
            start, _, end = line.split()[0].partition("-")
            yield int(start, 16), int(end, 16)
