"""Fairness of a model on the test rows: rates of each group, and the gaps between groups with confidence bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from scipy import sparse

from karat.declare.fairness import FAIRNESS_RATES, Fairness
from karat.training.bootstrap import ResampledMetric, resample
from karat.training.bootstrap_clusters import BootstrapClusters, bootstrap_clusters
from karat.training.fitted_evaluation import TrainingResult
from karat.training_sets.protected_columns import groups_of

#: A group with fewer rows (or positives, or negatives) has no such rate.
MIN_GROUP_ROWS = 30
#: The tasks that select some rows and reject others.
SELECTION_TASKS = ("binary", "anomaly")
#: The group of rows whose protected column is null.
NOT_GIVEN = "not given"
RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")
_RESAMPLES, _LEVEL = 1000, 0.95
#: Fewer clusters allow no bounds.
_MIN_CLUSTERS = 5


@dataclass(frozen=True)
class GroupMetrics:
    """Rates of one group of a protected column on the test rows.

    Attributes:
        column: The protected column.
        group: The group.
        rows: Number of rows.
        rates: Rate -> its value; a rate over fewer than ``MIN_GROUP_ROWS`` rows is left out.
        counts: Rate -> number of rows behind it.
    """

    column: str
    group: str
    rows: int
    rates: dict[str, float]
    counts: dict[str, int]


@dataclass(frozen=True)
class FairnessGap:
    """The widest difference of a rate between two groups of a protected column.

    Attributes:
        column: The protected column.
        rate: The rate that is compared.
        gap: The difference on the test rows.
        low: Lower bound of the difference, with 95 % confidence; None if the rows allow none.
        high: Upper bound.
        lowest: The group with the lowest rate, with its rate.
        highest: The group with the highest rate, with its rate.
    """

    column: str
    rate: str
    gap: float
    low: float | None
    high: float | None
    lowest: str
    highest: str

    def __str__(self) -> str:
        bounds = "" if self.low is None else f" (95 % interval {self.low:.2f} to {self.high:.2f})"
        return (
            f"the {self.rate.replace('_', ' ')} differs by {self.gap:.2f}{bounds} between the groups of {self.column}: "
            f"{self.lowest}, {self.highest}"
        )


@dataclass(frozen=True)
class FairnessReport:
    """Rates of every group of the protected columns, and the widest gap of each rate.

    Attributes:
        groups: The rates, by column and group.
        gaps: The widest gaps, by column and rate; none for a column with fewer than two groups that have the rate.
        clusters: Number of clusters that the bootstrap draws from.
        cluster_unit: What a cluster is, in the plural.
    """

    groups: list[GroupMetrics]
    gaps: list[FairnessGap]
    clusters: int = 0
    cluster_unit: str = "rows"

    def of(self, fairness: Fairness, column: str) -> FairnessGap | None:
        """Return the widest gap of a column among the rates that the metric compares; None if none was measured."""
        compared = [g for g in self.gaps if g.column == column and g.rate in FAIRNESS_RATES[fairness.metric]]
        return max(compared, key=lambda g: (g.low or 0.0, g.gap), default=None)

    def as_metrics(self) -> dict[str, float]:
        """Return the gaps under the names that are logged, as ``fairness_age_group_true_positive_rate_gap``."""
        named = {f"fairness_{g.column}_{g.rate}": g for g in self.gaps}
        bounds = {f"{name}_gap_low": g.low for name, g in named.items() if g.low is not None}
        bounds |= {f"{name}_gap_high": g.high for name, g in named.items() if g.high is not None}
        return {f"{name}_gap": g.gap for name, g in named.items()} | bounds


def measure_fairness(
    trained: TrainingResult, *, entity: Sequence[str] = (), time: str | None = None
) -> FairnessReport | None:
    """Measure the fairness of a trained model on its test rows.

    Args:
        trained: The trained model.
        entity: The entity's columns.
        time: The time column.

    Returns:
        The report. None without protected columns among the test rows, for a task that selects nobody, and for an
        anomaly model without known anomalies.
    """
    spec, rows = trained.spec, trained.test_rows
    groups = groups_of(rows, spec.protected)
    if groups is None or spec.task not in SELECTION_TASKS or trained.planted:
        return None
    labels = trained.test_labels
    positive = (labels == (trained.model.classes[1] if trained.model.classes else 1)).to_numpy()
    clusters = bootstrap_clusters(rows, entity=entity, time=time, horizon=spec.horizon_end)
    selected = trained.test_predictions >= trained.test_thresholds
    return fairness_report(selected, positive, groups, clusters, seed=spec.seed)


def fairness_report(
    selected: np.ndarray, positive: np.ndarray, groups: pl.DataFrame, clusters: BootstrapClusters, *, seed: int = 0
) -> FairnessReport:
    """Compare how often a model selects the groups of each protected column, and how often it is right.

    The rates are fairlearn's. The bounds of the gaps hold for all pairs of groups, all rates and all columns at once:
    they are the single-step max-t bounds (Hothorn, Bretz and Westfall, Biometrical Journal 50, 2008) with the bootstrap
    of whole clusters. Without that, the widest of many small groups' differences would seldom be near 0. A group's
    standard error is at least that of Agresti and Caffo (The American Statistician 54, 2000), because the bootstrap
    gives a rate of 0 or 1 none.

    Args:
        selected: Whether the model selects each row, ``(rows,)``.
        positive: Whether the row's label is positive, ``(rows,)``.
        groups: The protected columns as text, ``(rows, columns)``; null is a group, too.
        clusters: Rows that depend on each other.
        seed: Seed of the resamples.

    Returns:
        The rates and gaps.
    """
    groups = groups.with_columns(pl.all().fill_null(NOT_GIVEN))
    rates = [rate for column in groups.columns for rate in _group_rates(selected, positive, groups[column])]
    compared = [(rate, g) for g in rates for rate in g.rates]
    if not compared:
        return FairnessReport(rates, [], clusters.number, clusters.unit)
    sums = [_rate_sums(rate, selected, positive, groups[g.column].to_numpy() == g.group) for rate, g in compared]
    found = _Compared(compared, resample(sums, clusters.codes, resamples=_RESAMPLES, seed=seed))
    critical = np.inf if clusters.number < _MIN_CLUSTERS else found.critical_value()
    return FairnessReport(
        rates, [found.widest_gap(key, critical) for key in found.families], clusters.number, clusters.unit
    )


def _group_rates(selected: np.ndarray, positive: np.ndarray, groups: pl.Series) -> Iterator[GroupMetrics]:
    # fairlearn brings a quarter of a second of imports, for models with protected columns alone
    from fairlearn import metrics as fair

    frame = fair.MetricFrame(
        metrics={name: getattr(fair, name) for name in RATES},
        y_true=positive.astype(int),
        y_pred=selected.astype(int),
        sensitive_features=groups.to_pandas(),
    )
    for group, found in frame.by_group.sort_index().iterrows():
        member = groups.to_numpy() == group
        counts = {name: int((member & _population(name, positive)).sum()) for name in RATES}
        rates = {name: float(found[name]) for name in RATES if counts[name] >= MIN_GROUP_ROWS}
        yield GroupMetrics(groups.name, str(group), int(member.sum()), rates, counts)


def _population(rate: str, positive: np.ndarray) -> np.ndarray:
    """The rows over which a rate is computed."""
    everyone = np.ones(len(positive), dtype=bool)
    return {"selection_rate": everyone, "true_positive_rate": positive, "false_positive_rate": ~positive}[rate]


def _rate_sums(rate: str, selected: np.ndarray, positive: np.ndarray, member: np.ndarray) -> ResampledMetric:
    base = member & _population(rate, positive)

    def finish(sums: np.ndarray) -> np.ndarray:
        return np.asarray(np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0))

    columns = np.column_stack([base & selected, base]).astype(float)
    return ResampledMetric(sparse.csr_array(columns), finish)


class _Compared:
    """The rates of all groups, with their standard errors.

    Attributes:
        values: The rates, ``(rates,)``.
        errors: Their standard errors, ``(rates,)``.
        families: Column and rate -> places of the groups that have it, two or more.
    """

    def __init__(self, compared: Sequence[tuple[str, GroupMetrics]], drawn: np.ndarray) -> None:
        self._compared, self._drawn = compared, drawn
        self.values = np.array([g.rates[rate] for rate, g in compared])
        self.errors = np.array([_standard_error(g, rate, drawn[:, k]) for k, (rate, g) in enumerate(compared)])
        families: dict[tuple[str, str], list[int]] = {}
        for k, (rate, g) in enumerate(compared):
            families.setdefault((g.column, rate), []).append(k)
        self.families = {key: np.array(members) for key, members in families.items() if len(members) > 1}

    def critical_value(self) -> float:
        """The 95 % quantile over the resamples of the greatest standardised error of any difference of two groups."""
        off, errors = np.nan_to_num(self._drawn - self.values), self.errors
        greatest = np.zeros(len(off))
        for members in self.families.values():
            for place, one in enumerate(members[:-1]):
                others = members[place + 1 :]
                scaled = np.abs(off[:, [one]] - off[:, others]) / np.hypot(errors[one], errors[others])
                np.maximum(greatest, scaled.max(axis=1), out=greatest)
        return float(np.quantile(greatest, _LEVEL))

    def widest_gap(self, key: tuple[str, str], critical: float) -> FairnessGap:
        """The widest difference of a rate between two groups of a column."""
        members = self.families[key]
        values, errors = self.values[members], self.errors[members]
        gaps = np.abs(values[:, None] - values[None, :])
        widths = critical * np.hypot(errors[:, None], errors[None, :])
        known = np.isfinite(critical)
        # The greatest of the lower bounds: another pair's, where the extreme groups are small.
        low = max(float((gaps - widths).max()), 0.0) if known else None
        high = min(float((gaps + widths).max()), 1.0) if known else None
        ends = [f"{self.values[k]:.2f} ({self._compared[k][1].group})" for k in members[values.argsort()[[0, -1]]]]
        return FairnessGap(*key, float(values.max() - values.min()), low, high, *ends)


def _standard_error(group: GroupMetrics, rate: str, drawn: np.ndarray) -> float:
    rows = group.counts[rate] + 2
    share = (group.rates[rate] * group.counts[rate] + 1) / rows
    return max(float(np.nanstd(drawn)), float(np.sqrt(share * (1 - share) / rows)))


@dataclass(frozen=True)
class FairnessRecord:
    """The gaps that a version keeps as a tag, from which the promotion gate decides by today's limits.

    Attributes:
        gaps: Protected column -> rate -> the gap and its lower bound, which may be None.
    """

    gaps: Mapping[str, Mapping[str, tuple[float, float | None]]] = field(default_factory=dict)

    @classmethod
    def of(cls, report: FairnessReport, columns: Sequence[str]) -> FairnessRecord:
        """Keep the gaps of a report; a column without a gap stays, as one that was measured."""
        return cls({c: {g.rate: (g.gap, g.low) for g in report.gaps if g.column == c} for c in columns})

    def exceeded(self, fairness: Fairness, columns: Sequence[str]) -> list[str]:
        """Return the protected columns whose gap is over its limit with 95 % confidence, in words."""
        found = []
        for column in columns:
            limit, gaps = fairness.limit(column), self.gaps.get(column, {})
            for rate in FAIRNESS_RATES[fairness.metric]:
                gap, low = gaps.get(rate, (0.0, None))
                if limit is not None and low is not None and low > limit:
                    found.append(
                        f"the {rate.replace('_', ' ')} differs by {gap:.2f} between groups of {column}, at least "
                        f"{low:.2f} with 95 % confidence, over the limit of {limit:g}"
                    )
        return found
