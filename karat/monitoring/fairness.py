"""How groups of people fare with a champion: how often it picks them, and how often it is right where labels came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from karat.monitoring.drift_thresholds import Finding

#: A difference of shares of which nothing is said; and how many standard errors a difference must be from none.
DECLARED, ERRORS = 0.1, 3.0
#: A group with fewer rows (positives, negatives) has no share of them.
FEWEST = 30
_NAMES = {"selected": "selection rate", "found": "true positive rate", "wrongly": "false positive rate"}


@dataclass(frozen=True)
class Group:
    """One group of a protected column. Shares are None where they are of fewer than ``FEWEST`` rows: ``selected`` of
    all rows, ``found`` of the positives, ``wrongly`` of the negatives (each: above the model's threshold)."""

    column: str
    value: str
    rows: int
    labelled: int
    selected: float | None
    found: float | None
    wrongly: float | None
    of: dict[str, int]


def audited(rows: pl.DataFrame, columns: Sequence[str]) -> tuple[list[Finding], list[Group]]:
    """``rows``: ``selected`` (bool), ``positive`` (bool, null where no label has come) and the protected ``columns``.

    A finding's statistic is the greatest difference between two groups of a column in their true or false positive
    rates; in their selection rates where too few labels have come. Null is a group, too: those who did not tell.
    """
    groups = [g for column in columns for g in _groups(rows, column)]
    return [_finding(column, [g for g in groups if g.column == column]) for column in columns], groups


def _groups(rows: pl.DataFrame, column: str) -> Iterator[Group]:
    told = pl.col(column).cast(pl.String).fill_null("not told").alias("_group")
    named = rows.with_columns(told, pl.col("positive").cast(pl.Boolean))
    for (value,), part in sorted(named.group_by("_group")):
        sides = {
            "selected": part,
            "found": part.filter(pl.col("positive")),
            "wrongly": part.filter(~pl.col("positive")),
        }
        shares = {name: _share(side["selected"]) for name, side in sides.items()}
        of = {name: side.height for name, side in sides.items()}
        yield Group(column, str(value), part.height, of["found"] + of["wrongly"], **shares, of=of)


def _share(selected: pl.Series) -> float | None:
    return float(selected.sum()) / len(selected) if len(selected) >= FEWEST else None


def _finding(column: str, groups: Sequence[Group]) -> Finding:
    told = {name: _apart(groups, name) for name in _NAMES}
    labelled = [name for name in ("found", "wrongly") if told[name] is not None]
    named = labelled or [name for name in ("selected",) if told[name] is not None]
    if not named:
        return Finding(column, "selection rate", note=f"no two groups of {FEWEST} rows")
    worst = max(named, key=lambda name: told[name].over)  # type: ignore[union-attr]
    apart = told[worst]
    assert apart is not None
    why = "" if labelled else "; too few labels for more"
    note = f"{apart.least} to {apart.most}{why}"
    return Finding(column, _NAMES[worst], apart.by, apart.threshold, apart.by > apart.threshold, None, note)


@dataclass(frozen=True)
class _Apart:
    by: float
    threshold: float
    least: str
    most: str

    @property
    def over(self) -> float:
        return self.by / self.threshold


def _apart(groups: Sequence[Group], name: str) -> _Apart | None:
    """The two groups that are farthest apart in a share, and how far two may be by chance."""
    known = sorted((share, g.of[name], g.value) for g in groups if (share := getattr(g, name)) is not None)
    if len(known) < 2:
        return None
    (low, n, least), (high, m, most) = known[0], known[-1]
    # Of several groups the farthest are chosen; one share of 0 has no spread of its own: the common one is taken.
    common = (low * n + high * m) / (n + m)
    error = float(np.sqrt(common * (1 - common) * (1 / n + 1 / m)))
    threshold = max(DECLARED, ERRORS * error)
    return _Apart(high - low, threshold, f"{low:.2f} ({least})", f"{high:.2f} ({most})")
