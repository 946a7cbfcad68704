"""The catalogue as pages: Markdown of the declarations, to be committed; HTML with what stands in the lake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from karat.catalogue.features import FIGURES, declared
from karat.declare import FeatureTable, Project
from karat.declare.base import parse_duration

_TEMPLATE = Path(__file__).with_name("catalogue.html.j2")
_WIDTH, _HEIGHT = 96, 24
#: What is drawn of a feature -> by which measure.
_COURSES = {"mean": "mean", "null": "null_rate"}


def markdown(projects: Sequence[Project]) -> str:
    """What the declarations say, the same for the same declarations."""
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
    for row in declared(project, table):
        told = row["description"] + (f" **Deprecated:** {row['deprecated']}" if row["deprecated"] else "")
        cells = (f"`{row['feature']}`", row["type"], row["window"] or "", f"`{row['version'][:8]}`", told)
        yield "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def html(rows: Sequence[Mapping[str, Any]], days: pl.DataFrame, *, title: str = "Features") -> str:
    """A page of its own: the tables, and one line a feature (``catalogued``), to be searched and sorted, with the
    course of its mean and of its null rate by day from ``days`` (``daily_statistics``)."""
    by_feature = days.partition_by("table_name", "feature", as_dict=True, maintain_order=True)
    engine = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    engine.filters["shown"] = _shown
    template = engine.from_string(_TEMPLATE.read_text())
    lines = [_line(row, by_feature.get((row["table"], row["feature"]))) for row in rows]
    return template.render(
        title=title, rows=lines, tables=_tables(rows), nothing=dict.fromkeys(FIGURES), width=_WIDTH, height=_HEIGHT
    )


def _line(row: Mapping[str, Any], days: pl.DataFrame | None) -> dict[str, Any]:
    window = parse_duration(row["window"]) if row["window"] else None
    seconds = window.total_seconds() if isinstance(window, timedelta) else ""
    courses = {f"{name}_course": None if days is None else _course(days, m) for name, m in _COURSES.items()}
    return dict(row) | courses | {"window_seconds": seconds}


def _tables(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What rows of one table have in common, once."""
    counted, one_of = Counter(row["table"] for row in rows), {row["table"]: row for row in rows}
    return [dict(row) | {"features": counted[name]} for name, row in one_of.items()]


def _shown(value: float | None) -> str:
    """Four digits, or all before the point."""
    if value is None:
        return ""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _course(days: pl.DataFrame, measure: str) -> dict[str, Any] | None:
    """A line through the days, as the points of an SVG; None for fewer than two days, or where nothing is ever null."""
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
