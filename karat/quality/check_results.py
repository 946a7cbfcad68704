"""Results of checks, and how the results of many workers merge."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from karat.declare import Check
from karat.declare.checks import RowCheck
from karat.errors import QualityBlocked

#: Example rows in a message.
EXAMPLES = 3
State = Literal["passed", "warned", "set_aside", "blocked"]
_STATES: dict[str, State] = {"warn": "warned", "set_aside": "set_aside", "null": "set_aside", "block": "blocked"}


@dataclass(frozen=True)
class CheckResult:
    """The result of one check on some rows.

    Attributes:
        check: The check.
        rows: Rows checked; days, for a volume check.
        failed: How many of them fail.
        examples: At most ``EXAMPLES`` of the failed, as JSON.
    """

    check: Check
    rows: int
    failed: int
    examples: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """What follows: ``passed``, ``warned``, ``set_aside`` or ``blocked``."""
        allowed = self.check.at_most if isinstance(self.check, RowCheck) else 0.0
        broken = self.failed > allowed * self.rows
        return _STATES[self.check.on_fail or "block"] if broken else "passed"

    @property
    def summary(self) -> str:
        """The result in words: ``amount is at least 0: 5 of 100 fail, for example {...}``."""
        shown = f", for example {', '.join(e[:300] for e in self.examples)}" if self.examples else ""
        return f"{self.check.name}: {self.failed:,} of {self.rows:,} fail{shown}"

    def as_row(self) -> dict[str, Any]:
        """The result as a row of the table of results."""
        return {
            "check_name": self.check.name,
            "on_fail": self.check.on_fail,
            "state": self.state,
            "rows": self.rows,
            "failed": self.failed,
            "examples": json.dumps(list(self.examples)),
        }


def as_rows(found: Iterable[CheckResult]) -> list[dict[str, Any]]:
    """Results as rows of the table of results."""
    return [f.as_row() for f in found]


def merge_results(parts: Iterable[Sequence[CheckResult]]) -> list[CheckResult]:
    """Merge the results of the same checks on different rows.

    Args:
        parts: The results of each part.

    Returns:
        One result per check.
    """
    out: dict[str, CheckResult] = {}
    for result in (r for part in parts for r in part):
        before = out.get(result.check.name, CheckResult(result.check, 0, 0))
        examples = (*before.examples, *result.examples)[:EXAMPLES]
        out[result.check.name] = CheckResult(
            result.check, before.rows + result.rows, before.failed + result.failed, examples
        )
    return list(out.values())


def warning_lines(found: Iterable[CheckResult], table: object) -> tuple[str, ...]:
    """One line for each check that warns or sets rows aside."""
    words = {"warned": "", "set_aside": " (left out)"}
    return tuple(f"{table}: {f.summary}{words[f.state]}" for f in found if f.state in words)


def raise_if_blocked(found: Iterable[CheckResult], table: object, *, where: str, remedy: str) -> None:
    """Refuse rows that break a blocking check.

    Args:
        found: The results.
        table: What was checked, for the message.
        where: As in KaratError.
        remedy: As in KaratError.

    Raises:
        QualityBlocked: At least one check blocks; the message lists all that do.
    """
    broken = [f for f in found if f.state == "blocked"]
    if broken:
        listed = "".join(f"\n  - {f.summary}" for f in broken)
        raise QualityBlocked(
            f"{table} breaks {len(broken)} blocking check{'s' if len(broken) != 1 else ''}{listed}",
            where=where,
            remedy=remedy,
        )
