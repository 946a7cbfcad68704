"""Fairness: how often a champion selects each group of people, and how often it is right where labels are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from karat.monitoring.drift_thresholds import Finding
from karat.training.fairness import MIN_GROUP_ROWS

#: A difference of rates counts from this size where no limit is declared, and from this many standard errors.
MIN_GAP, STANDARD_ERRORS = 0.1, 3.0
#: A group with fewer rows (or positives, or negatives) has no such rate.
MIN_ROWS = MIN_GROUP_ROWS
_RATE_NAMES = {
    "selection_rate": "selection rate",
    "true_positive_rate": "true positive rate",
    "false_positive_rate": "false positive rate",
}


@dataclass(frozen=True)
class GroupRates:
    """Rates of one group of a protected column.

    Attributes:
        column: The protected column.
        value: The group.
        rows: Number of rows.
        labelled: Number of rows with a label.
        selection_rate: Share of rows above the model's threshold.
        true_positive_rate: The same share among positives.
        false_positive_rate: The same share among negatives.
        counts: Number of rows behind each rate. A rate of fewer than ``MIN_ROWS`` rows is None.
    """

    column: str
    value: str
    rows: int
    labelled: int
    selection_rate: float | None
    true_positive_rate: float | None
    false_positive_rate: float | None
    counts: dict[str, int]


def audit_fairness(
    rows: pl.DataFrame, columns: Sequence[str], limits: Mapping[str, float] | None = None
) -> tuple[list[Finding], list[GroupRates]]:
    """Compare the groups of each protected column.

    A finding's statistic is the widest gap between two groups in true or false positive rate, or in selection rate if
    too few labels are known. Null is a group, too.

    Args:
        rows: ``selected`` (bool), ``positive`` (bool, null without a label) and the protected columns.
        columns: The protected columns.
        limits: Protected column -> the greatest difference that is declared; ``MIN_GAP`` for the others.

    Returns:
        One finding per column, and the rates of every group.
    """
    groups = [g for column in columns for g in _group_rates(rows, column)]
    declared = {column: (limits or {}).get(column, MIN_GAP) for column in columns}
    found = [_fairness_finding(c, [g for g in groups if g.column == c], limit) for c, limit in declared.items()]
    return found, groups


def _group_rates(rows: pl.DataFrame, column: str) -> Iterator[GroupRates]:
    value = pl.col(column).cast(pl.String).fill_null("not given").alias("_group")
    named = rows.with_columns(value, pl.col("positive").cast(pl.Boolean))
    for (group,), part in sorted(named.group_by("_group")):
        populations = {
            "selection_rate": part,
            "true_positive_rate": part.filter(pl.col("positive")),
            "false_positive_rate": part.filter(~pl.col("positive")),
        }
        rates = {name: _selection_rate(population["selected"]) for name, population in populations.items()}
        counts = {name: population.height for name, population in populations.items()}
        labelled = counts["true_positive_rate"] + counts["false_positive_rate"]
        yield GroupRates(column, str(group), part.height, labelled, **rates, counts=counts)


def _selection_rate(selected: pl.Series) -> float | None:
    return float(selected.sum()) / len(selected) if len(selected) >= MIN_ROWS else None


def _fairness_finding(column: str, groups: Sequence[GroupRates], limit: float) -> Finding:
    gaps = {name: gap for name in _RATE_NAMES if (gap := _widest_gap(groups, name, limit)) is not None}
    labelled = [name for name in ("true_positive_rate", "false_positive_rate") if name in gaps]
    if not gaps:
        return Finding(column, "selection rate", note=f"fewer than two groups have {MIN_ROWS} rows")
    worst = max(labelled or gaps, key=lambda name: gaps[name].relative)
    gap = gaps[worst]
    unlabelled = "" if labelled else "; too few labels for true and false positive rates"
    note = f"{gap.lowest} to {gap.highest}{unlabelled}"
    return Finding(column, _RATE_NAMES[worst], gap.width, gap.threshold, gap.width > gap.threshold, None, note)


@dataclass(frozen=True)
class _RateGap:
    """The widest difference of a rate between two groups, with both in words."""

    width: float
    threshold: float
    lowest: str
    highest: str

    @property
    def relative(self) -> float:
        """The width as a multiple of the threshold."""
        return self.width / self.threshold


def _widest_gap(groups: Sequence[GroupRates], name: str, limit: float) -> _RateGap | None:
    """Return the two groups that differ most in a rate, and the difference that chance explains."""
    known = sorted((rate, g.counts[name], g.value) for g in groups if (rate := getattr(g, name)) is not None)
    if len(known) < 2:
        return None
    (low, n, lowest), (high, m, highest) = known[0], known[-1]
    # The pooled rate: a rate of 0 has no standard error of its own.
    common = (low * n + high * m) / (n + m)
    error = float(np.sqrt(common * (1 - common) * (1 / n + 1 / m)))
    threshold = max(limit, STANDARD_ERRORS * error)
    return _RateGap(high - low, threshold, f"{low:.2f} ({lowest})", f"{high:.2f} ({highest})")
