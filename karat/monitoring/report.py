"""HTML pages of drift and fairness checks: notes, tables, and Evidently's plots of the distributions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import polars as pl

from karat.monitoring.drift_thresholds import Finding
from karat.monitoring.fairness import GroupRates

_COLUMNS = ("column", "method", "statistic", "threshold", "usual", "", "note")
_STYLE = """.karat {font-family: sans-serif; max-width: 1100px; margin: 1em auto}
.karat td, .karat th {text-align: left; padding: 0.1em 1em 0.1em 0; font-variant-numeric: tabular-nums}"""


def drift_page(
    reference: pl.DataFrame, current: pl.DataFrame, findings: Sequence[Finding], about: Sequence[str], title: str
) -> str:
    """Render a drift check: notes, a table of findings (the farthest first), each column's distributions.

    Args:
        reference: Reference columns, as ``comparable_columns`` returns them.
        current: Current columns.
        findings: One finding per column.
        about: Notes, one per line.
        title: The title.

    Returns:
        HTML. A column that is null throughout on one side is in the table alone.
    """
    shown = [f for f in findings if _has_values(reference[f.column]) and _has_values(current[f.column])]
    head = _page_head(title, about, _table(_COLUMNS, [_finding_cells(f) for f in _sort_findings(findings)]))
    if not shown:
        return _bare_page(head)
    from karat.monitoring.distribution_plots import plot_distributions  # Evidently: four seconds, for this page alone

    return plot_distributions(reference, current, _sort_findings(shown)).replace("<body>", f"<body>{head}", 1)


def fairness_page(findings: Sequence[Finding], groups: Sequence[GroupRates], about: Sequence[str], title: str) -> str:
    """Render a fairness check: notes, a table of findings, a table of groups."""
    found = _table(_COLUMNS, [_finding_cells(f) for f in _sort_findings(findings)])
    shares = [
        (
            g.column,
            g.value,
            f"{g.rows:,}",
            f"{g.labelled:,}",
            *(_number_text(s) for s in (g.selection_rate, g.true_positive_rate, g.false_positive_rate)),
        )
        for g in groups
    ]
    names = ("column", "group", "rows", "labelled", "selection rate", "true positive rate", "false positive rate")
    return _bare_page(_page_head(title, about, found, _table(names, shares)))


def _has_values(column: pl.Series) -> bool:
    return column.null_count() < len(column) and (column.dtype != pl.Float64 or bool(column.is_finite().any()))


def _sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (not f.drifted, -(f.statistic or 0)))


def _finding_cells(finding: Finding) -> tuple[str, ...]:
    figures = (finding.statistic, finding.threshold, finding.usual)
    over = "over" if finding.drifted else ""
    return (finding.column, finding.method, *(_number_text(f) for f in figures), over, finding.note)


def _number_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _page_head(title: str, about: Sequence[str], *tables: str) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in about)
    return f'<style>{_STYLE}</style><div class="karat"><h1>{escape(title)}</h1>{lines}{"".join(tables)}</div>'


def _bare_page(body: str) -> str:
    return f'<!doctype html><html><head><meta charset="utf-8"></head><body>{body}</body></html>'
