"""What a check found, wherever it looked; the parts of many workers add up to one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from karat.declare import Check
from karat.declare.checks import RowCheck
from karat.errors import QualityBlocked

#: Rows that a message shows.
EXAMPLES = 3
State = Literal["passed", "warned", "set_aside", "blocked"]
_STATES: dict[str, State] = {"warn": "warned", "set_aside": "set_aside", "block": "blocked"}


@dataclass(frozen=True)
class CheckResult:
    """``failed`` of ``rows`` (days, for volume) break ``check``; ``examples`` are at most three of them, as JSON."""

    check: Check
    rows: int
    failed: int
    examples: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        allowed = self.check.at_most if isinstance(self.check, RowCheck) else 0.0
        broken = self.failed > allowed * self.rows
        return _STATES[self.check.on_fail or "block"] if broken else "passed"

    @property
    def said(self) -> str:
        """``amount is at least 0: 5 of 100, for example {...}``"""
        shown = f", for example {', '.join(e[:300] for e in self.examples)}" if self.examples else ""
        return f"{self.check.name}: broken by {self.failed:,} of {self.rows:,}{shown}"

    def as_row(self) -> dict[str, Any]:
        return {
            "check_name": self.check.name,
            "on_fail": self.check.on_fail,
            "state": self.state,
            "rows": self.rows,
            "failed": self.failed,
            "examples": json.dumps(list(self.examples)),
        }


def as_rows(found: Iterable[CheckResult]) -> list[dict[str, Any]]:
    return [f.as_row() for f in found]


def added(parts: Iterable[Sequence[CheckResult]]) -> list[CheckResult]:
    """One CheckResult a check, of the same checks on different rows."""
    out: dict[str, CheckResult] = {}
    for found in (f for part in parts for f in part):
        before = out.get(found.check.name, CheckResult(found.check, 0, 0))
        examples = (*before.examples, *found.examples)[:EXAMPLES]
        out[found.check.name] = CheckResult(
            found.check, before.rows + found.rows, before.failed + found.failed, examples
        )
    return list(out.values())


def warnings(found: Iterable[CheckResult], table: object) -> tuple[str, ...]:
    """A line for each check that warns or has set rows aside."""
    words = {"warned": "", "set_aside": " (left out)"}
    return tuple(f"{table}: {f.said}{words[f.state]}" for f in found if f.state in words)


def refuse(found: Iterable[CheckResult], table: object, *, where: str, remedy: str) -> None:
    """Raises QualityBlocked with every check that blocks; nothing where none does."""
    broken = [f for f in found if f.state == "blocked"]
    if broken:
        listed = "".join(f"\n  - {f.said}" for f in broken)
        raise QualityBlocked(
            f"{table} breaks {len(broken)} check{'s' if len(broken) != 1 else ''} that block{listed}",
            where=where,
            remedy=remedy,
        )
