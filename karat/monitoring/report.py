"""A report as a page: Evidently draws the columns, with the statistics and thresholds that were found."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd
import polars as pl

from karat.extras import optional_imports
from karat.monitoring.drift_thresholds import Finding
from karat.monitoring.fairness import Group

with optional_imports():
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.metrics import ValueDrift

_TEST = "karat_psi"
_COLUMNS = ("column", "statistic is", "statistic", "threshold", "usual", "", "of the threshold")
_STYLE = """.karat {font-family: sans-serif; max-width: 1100px; margin: 1em auto}
.karat td, .karat th {text-align: left; padding: 0.1em 1em 0.1em 0; font-variant-numeric: tabular-nums}"""


def draw(
    reference: pl.DataFrame, current: pl.DataFrame, findings: Sequence[Finding], about: Sequence[str], title: str
) -> str:
    """An HTML page: ``about`` line by line, a table of what was found with the farthest first, each column's
    distributions.

    The frames are ``plain``. A column that is null throughout on one side has nothing to draw: the table has it.
    """
    shown = [f for f in findings if _drawable(reference[f.column]) and _drawable(current[f.column])]
    head = _head(title, about, _table(_COLUMNS, [_cells(f) for f in _ordered(findings)]))
    return _page(reference, current, shown).replace("<body>", f"<body>{head}", 1) if shown else _alone(head)


def draw_groups(findings: Sequence[Finding], groups: Sequence[Group], about: Sequence[str], title: str) -> str:
    """An HTML page of how groups fare: what was found of each protected column, then every group."""
    found = _table(_COLUMNS, [_cells(f) for f in _ordered(findings)])
    shares = [
        (g.column, g.value, f"{g.rows:,}", f"{g.labelled:,}", *(_figure(s) for s in (g.selected, g.found, g.wrongly)))
        for g in groups
    ]
    names = ("column", "group", "rows", "labelled", "selection rate", "true positive rate", "false positive rate")
    return _alone(_head(title, about, found, _table(names, shares)))


def _drawable(column: pl.Series) -> bool:
    return column.null_count() < len(column) and (column.dtype != pl.Float64 or bool(column.is_finite().any()))


def _page(reference: pl.DataFrame, current: pl.DataFrame, shown: Sequence[Finding]) -> str:
    _use(shown)
    names = [f.column for f in shown]
    numbers = [n for n in names if reference.schema[n] == pl.Float64]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=[n for n in names if n not in numbers])
    sides = (Dataset.from_pandas(_pandas(f.select(names)), data_definition=definition) for f in (current, reference))
    # Its preset measures each column three times, for a table of its own: ours is at the head of the page.
    drawn = [ValueDrift(column=f.column, method=_TEST, threshold=f.threshold) for f in _ordered(shown)]
    snapshot = Report(drawn).run(*sides)
    return str(snapshot.get_html_str(as_iframe=False))


def _use(findings: Sequence[Finding]) -> None:
    """Evidently leaves nulls out before it calls a test; the index counts them. So its test gives what was found."""
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


def _ordered(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (not f.drifted, -(f.statistic or 0)))


def _cells(finding: Finding) -> tuple[str, ...]:
    figures = (finding.statistic, finding.threshold, finding.usual)
    over = "over" if finding.drifted else ""
    return (finding.column, finding.method, *(_figure(f) for f in figures), over, finding.note)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _head(title: str, about: Sequence[str], *tables: str) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in about)
    return f'<style>{_STYLE}</style><div class="karat"><h1>{escape(title)}</h1>{lines}{"".join(tables)}</div>'


def _alone(body: str) -> str:
    return f'<!doctype html><html><head><meta charset="utf-8"></head><body>{body}</body></html>'
