"""Distributions of drift-checked columns: Evidently plots them, with our own statistics."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import polars as pl

from karat.extras import optional_imports
from karat.monitoring.drift_thresholds import Finding

with optional_imports():
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.metrics import ValueDrift

_TEST = "karat_psi"


def plot_distributions(reference: pl.DataFrame, current: pl.DataFrame, findings: Sequence[Finding]) -> str:
    """Render a page with the two distributions of each column.

    Args:
        reference: Reference columns.
        current: Current columns.
        findings: The columns to plot, in this order; each has values on both sides.

    Returns:
        HTML, whose body is Evidently's.
    """
    _register_statistics(findings)
    names = [f.column for f in findings]
    numbers = [n for n in names if reference.schema[n] == pl.Float64]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=[n for n in names if n not in numbers])
    sides = (Dataset.from_pandas(_pandas(f.select(names)), data_definition=definition) for f in (current, reference))
    # Evidently's preset measures each column three times for a table of its own; the page starts with ours.
    drawn = [ValueDrift(column=f.column, method=_TEST, threshold=f.threshold) for f in findings]
    snapshot = Report(drawn).run(*sides)
    return str(snapshot.get_html_str(as_iframe=False))


def _register_statistics(findings: Sequence[Finding]) -> None:
    """Make Evidently show our statistics: it drops nulls before a test, and the index counts them."""
    found = {f.column: f for f in findings}

    def test(reference: pd.Series, current: pd.Series, kind: ColumnType, threshold: float) -> tuple[float, bool]:
        one = found[str(reference.name)]
        assert one.statistic is not None
        return one.statistic, one.drifted

    register_stattest(
        StatTest(_TEST, "PSI by deciles", [ColumnType.Numerical, ColumnType.Categorical], default_threshold=0.2), test
    )


def _pandas(frame: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({c.name: c.to_numpy() if c.dtype == pl.Float64 else c.to_list() for c in frame})
