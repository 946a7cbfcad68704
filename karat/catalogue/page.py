"""Catalogue pages: Markdown of the declarations, to be committed, and HTML with what the lake holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import jinja2
import polars as pl

from karat.catalogue.features import STATISTICS, CatalogueRow, declared_features
from karat.declare import FeatureTable, Project
from karat.declare.base import parse_duration

_TEMPLATE = Path(__file__).with_name("catalogue.html.j2")
_WIDTH, _HEIGHT = 96, 24
#: Maps a feature's trend lines to their measures.
_TRENDS = {"mean": "mean", "null": "null_rate"}


def markdown(projects: Sequence[Project]) -> str:
    """Render the declarations as Markdown; equal declarations give equal text."""
    lines = [
        "# Catalogue of features",
        "",
        "`karat features --markdown docs/catalogue.md` writes this page from the declarations. A test fails if it is",
        "outdated. `karat features --html FILE` adds the state of the lake: freshness, statistics by day, and the",
        "importance of a feature in the models that use it.",
    ]
    for project in projects:
        lines += ["", f"## {project.name}", "", project.spec.description]
        for table in project.tables.values():
            lines += ["", *_table(project, table)]
    return "\n".join(lines) + "\n"


def _table(project: Project, table: FeatureTable) -> Iterator[str]:
    yield f"### {project.name}.{table.name}"
    yield ""
    yield f"{table.description}. A row per {table.row_unit}; key: {', '.join(f'`{k}`' for k in table.primary_key)}; "
    yield f"from gold table `{table.source}`; owner: {table.owner or project.spec.owner}."
    yield ""
    yield "| feature | type | window | version | description |"
    yield "|---|---|---|---|---|"
    for row in declared_features(project, table):
        told = row["description"] + (f" **Deprecated:** {row['deprecated']}" if row["deprecated"] else "")
        cells = (f"`{row['feature']}`", row["type"], row["window"] or "", f"`{row['version'][:8]}`", told)
        yield "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def html(rows: Sequence[CatalogueRow], days: pl.DataFrame, *, title: str = "Features") -> str:
    """Render a page with tables and features to search and sort.

    Args:
        rows: The features (``catalogue_rows``).
        days: Statistics by day (``daily_statistics``), for the trend of mean and null rate.
        title: The title.

    Returns:
        The HTML page.
    """
    by_feature = days.partition_by("table_name", "feature", as_dict=True, maintain_order=True)
    engine = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    engine.filters["shown"] = _format_number
    template = engine.from_string(_TEMPLATE.read_text())
    lines = [_feature_line(row, by_feature.get((row["table"], row["feature"]))) for row in rows]
    return template.render(
        title=title, rows=lines, tables=_tables(rows), nothing=dict.fromkeys(STATISTICS), width=_WIDTH, height=_HEIGHT
    )


def _feature_line(row: CatalogueRow, days: pl.DataFrame | None) -> dict[str, object]:
    window = parse_duration(row["window"]) if row["window"] else None
    seconds = window.total_seconds() if isinstance(window, timedelta) else ""
    courses = {f"{name}_trend": None if days is None else _trend(days, m) for name, m in _TRENDS.items()}
    return dict(row) | courses | {"window_seconds": seconds}


def _tables(rows: Sequence[CatalogueRow]) -> list[dict[str, object]]:
    """Return what the rows of one table share, once."""
    counted, one_of = Counter(row["table"] for row in rows), {row["table"]: row for row in rows}
    return [dict(row) | {"features": counted[name]} for name, row in one_of.items()]


def _format_number(value: float | None) -> str:
    """Format with four digits, or all before the point."""
    if value is None:
        return ""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _trend(days: pl.DataFrame, measure: str) -> dict[str, str] | None:
    """Return the points of an SVG line through the days; None for fewer than two days, or a null rate of 0."""
    known = days.select("day", measure).drop_nulls().sort("day")
    if known.height < 2 or (measure == "null_rate" and not known[measure].max()):
        return None
    values, days_ = known[measure].to_list(), known["day"].to_list()
    low, high = min(values), max(values)
    first, span = days_[0], (days_[-1] - days_[0]).days
    points = [
        ((d - first).days / span * _WIDTH, _HEIGHT / 2 if high == low else (1 - (v - low) / (high - low)) * _HEIGHT)
        for d, v in zip(days_, values, strict=True)
    ]
    return {
        "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        "title": f"{measure.replace('_', ' ')} by day, {first} to {days_[-1]}: {low:.4g} to {high:.4g}",
    }
