"""Rates of groups and the bounds of their gaps: fairlearn's numbers, and no alarm where chance explains a gap."""

from __future__ import annotations

from math import isclose

import numpy as np
import polars as pl
from fairlearn.metrics import equal_opportunity_difference, equalized_odds_difference

from karat.declare.fairness import Fairness
from karat.training.bootstrap_clusters import BootstrapClusters
from karat.training.fairness import FairnessRecord, FairnessReport, fairness_report

ODDS = Fairness()


def rows(clusters: np.ndarray) -> BootstrapClusters:
    return BootstrapClusters(clusters, int(clusters.max()) + 1, "rows")


def measured(chances: dict[str, float], n: int, seed: int = 0, repeat: int = 1) -> tuple[FairnessReport, np.ndarray]:
    """``n`` rows a group, half of them positive, of which a group's share is selected; each row ``repeat`` times."""
    random = np.random.default_rng(seed)
    group = np.repeat(list(chances), n)
    positive = np.tile(np.arange(n) % 2 == 0, len(chances))
    chance = np.where(positive, np.repeat(list(chances.values()), n), 0.2)
    selected = random.random(len(group)) < chance
    clusters = np.repeat(np.arange(len(group)), repeat)
    parts = [np.repeat(a, repeat) for a in (selected, positive, group)]
    report = fairness_report(parts[0], parts[1], pl.DataFrame({"group": parts[2]}), rows(clusters))
    return report, np.array(parts[:2])


def test_gaps_are_fairlearns() -> None:
    report, (selected, positive) = measured({"a": 0.8, "b": 0.5, "c": 0.6}, 400)
    groups = np.repeat(["a", "b", "c"], 400)
    told = {"y_true": positive, "y_pred": selected, "sensitive_features": groups}
    gaps = {gap.rate: gap for gap in report.gaps}
    assert isclose(gaps["true_positive_rate"].gap, equal_opportunity_difference(**told))
    worst = report.of(ODDS, "group")
    assert worst is not None
    assert isclose(worst.gap, equalized_odds_difference(**told))
    assert worst.low is not None
    assert 0.15 < worst.low < worst.gap < worst.high
    assert worst.lowest.endswith("(b)")
    assert report.as_metrics()["fairness_group_true_positive_rate_gap_low"] == worst.low


def test_small_equal_groups_seldom_exceed_a_limit() -> None:
    """Twelve groups of seventy rows: their widest gap is large by chance, and its lower bound is not."""
    reports = [measured(dict.fromkeys("abcdefghijkl", 0.6), 70, seed)[0] for seed in range(30)]
    worst = [report.of(ODDS, "group") for report in reports]
    assert np.mean([gap.gap for gap in worst]) > 0.25
    assert not any(gap.low > ODDS.max_gap for gap in worst)
    assert sum(gap.low > 0 for gap in worst) <= 5


def test_rows_that_depend_on_each_other_widen_the_bounds() -> None:
    once, _ = measured({"a": 0.7, "b": 0.4}, 150)
    tenfold, _ = measured({"a": 0.7, "b": 0.4}, 150, repeat=10)
    gap, same = once.of(ODDS, "group"), tenfold.of(ODDS, "group")
    assert isclose(gap.gap, same.gap)
    assert abs(gap.low - same.low) < 0.05  # ten copies of a row say what one says


def test_a_group_without_any_selected_row_has_an_error_of_its_own() -> None:
    report, _ = measured({"a": 0.0, "b": 0.12}, 62)
    gap = next(g for g in report.gaps if g.rate == "true_positive_rate")
    assert gap.low == 0


def test_small_groups_and_few_clusters_have_no_bounds() -> None:
    small, _ = measured({"a": 0.9, "b": 0.1}, 28)
    assert (small.gaps, small.of(ODDS, "group")) == ([], None)
    assert [sorted(g.rates) for g in small.groups] == [[], []]
    n = 200
    few = BootstrapClusters(np.arange(2 * n) % 3, 3, "days")
    selected, positive = np.arange(2 * n) < n, np.ones(2 * n, dtype=bool)
    report = fairness_report(selected, positive, pl.DataFrame({"g": ["a"] * n + [None] * n}), few)
    (gap, *_) = report.gaps
    assert (gap.gap, gap.low) == (1.0, None)
    assert {g.group for g in report.groups} == {"a", "not given"}
    assert FairnessRecord.of(report, ["g"]).exceeded(ODDS, ["g"]) == []


def test_the_declared_metric_and_limit_decide() -> None:
    report, _ = measured({"a": 0.9, "b": 0.5}, 600)
    record = FairnessRecord.of(report, ["group"])
    (reason,) = record.exceeded(ODDS, ["group"])
    assert "true positive rate differs by 0.4" in reason
    assert "over the limit of 0.1" in reason
    assert record.exceeded(Fairness(max_gap=0.45), ["group"]) == []
    assert record.exceeded(Fairness(max_gaps={"group": 0.45}), ["group"]) == []
    assert record.exceeded(Fairness(max_gap=None), ["group"]) == []
    assert "selection rate" in record.exceeded(Fairness(metric="demographic_parity"), ["group"])[0]
    assert record.exceeded(Fairness(metric="demographic_parity", max_gap=0.3), ["group"]) == []
