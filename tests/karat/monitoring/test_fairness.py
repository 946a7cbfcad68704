"""Differences between groups: told where there are enough rows, and not where chance explains them."""

from __future__ import annotations

import numpy as np
import polars as pl

from karat.monitoring.fairness import audit_fairness

RANDOM = np.random.default_rng(0)


def rows(found: dict[str, float], n: int = 2000, labels: bool = True) -> pl.DataFrame:
    """``n`` rows a group, half of them positive; ``found``: which share of its positives a group's model picks."""
    group = np.repeat(list(found), n)
    positive = np.tile(np.arange(n) % 2 == 0, len(found))
    chance = np.where(positive, np.repeat(list(found.values()), n), 0.1)
    known = positive.tolist() if labels else [None] * len(group)
    return pl.DataFrame({"selected": RANDOM.random(len(group)) < chance, "positive": known, "group": group})


def test_a_group_whose_positives_are_missed_is_found() -> None:
    (one,), groups = audit_fairness(rows({"a": 0.8, "b": 0.5}), ["group"])
    assert (one.method, one.drifted) == ("true positive rate", True)
    assert one.statistic is not None
    assert abs(one.statistic - 0.3) < 0.05
    assert "(b)" in one.note.split(" to ")[0]
    assert [g.rows for g in groups] == [2000, 2000]


def test_equal_groups_and_small_ones_are_no_news() -> None:
    (one,), _ = audit_fairness(rows({"a": 0.7, "b": 0.7}), ["group"])
    assert not one.drifted
    small = rows({"a": 0.7, "b": 0.5}, n=70)
    (one,), _ = audit_fairness(small, ["group"])
    assert not one.drifted
    assert one.threshold is not None
    assert one.threshold > 0.1
    (one,), groups = audit_fairness(rows({"a": 0.7, "b": 0.7}, n=20), ["group"])
    assert (one.statistic, one.drifted, groups[0].selection_rate) == (None, False, None)


def test_without_labels_the_rates_at_which_groups_are_picked_are_compared() -> None:
    (one,), _ = audit_fairness(rows({"a": 0.9, "b": 0.3}, labels=False), ["group"])
    assert (one.method, one.drifted) == ("selection rate", True)
    assert "too few labels" in one.note


def test_those_who_did_not_tell_are_a_group() -> None:
    told = rows({"a": 0.7, "b": 0.7}).with_columns(group=pl.when(pl.col("group") == "a").then(pl.col("group")))
    _, groups = audit_fairness(told, ["group"])
    assert [g.value for g in groups] == ["a", "not given"]
