"""The catalogue as pages: Markdown of the declarations, to be committed; HTML with what stands in the lake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from karat.catalogue.features import declared
from karat.declare import FeatureTable, Project

_TEMPLATE = Path(__file__).with_name("catalogue.html.j2")
_WIDTH, _HEIGHT = 120, 24


def markdown(projects: Sequence[Project]) -> str:
    """What the declarations say, the same for the same declarations."""
    lines = [
        "# The catalogue of features",
        "",
        "Written by `karat features --markdown docs/catalogue.md` from the declarations; a test fails when it falls",
        "behind. `karat features --html FILE` adds what stands in the lake: freshness, figures and their course by",
        "day, and the importance in the models that use a feature.",
    ]
    for project in projects:
        lines += ["", f"## {project.name}", "", project.spec.description]
        for table in project.tables.values():
            lines += ["", *_table(project, table)]
    return "\n".join(lines) + "\n"


def _table(project: Project, table: FeatureTable) -> Iterator[str]:
    grain = "event" if table.by_event else "day" if table.time else "entity, without time"
    yield f"### {project.name}.{table.name}"
    yield ""
    yield f"{table.description}. A row per {grain}; key: {', '.join(f'`{k}`' for k in table.primary_key)}; "
    yield f"from gold table `{table.source}`; owner: {table.owner or project.spec.owner}."
    yield ""
    yield "| feature | type | window | version | description |"
    yield "|---|---|---|---|---|"
    for row in declared(project, table):
        told = row["description"] + (f" **Deprecated:** {row['deprecated']}" if row["deprecated"] else "")
        cells = (f"`{row['feature']}`", row["type"], row["window"] or "", f"`{row['version'][:8]}`", told)
        yield "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def html(rows: Sequence[Mapping[str, Any]], days: pl.DataFrame, *, title: str = "Features") -> str:
    """A page of its own: one line a feature (``catalogued``), to be searched and sorted, with the course of its mean
    (of its null rate, for texts) from ``days`` (``daily_statistics``)."""
    courses = {
        key: _course(group)
        for key, group in days.partition_by("table_name", "feature", as_dict=True, maintain_order=True).items()
    }
    template = jinja2.Environment(autoescape=True).from_string(_TEMPLATE.read_text())
    lines = [dict(row) | {"course": courses.get((row["table"], row["feature"]))} for row in rows]
    return template.render(title=title, rows=lines, width=_WIDTH, height=_HEIGHT)


def _course(group: pl.DataFrame) -> dict[str, Any] | None:
    """A line through the days, as the points of an SVG; None for fewer than two days."""
    measure = "mean" if group["mean"].null_count() < group.height else "null_rate"
    known = group.select("day", measure).drop_nulls().sort("day")
    if known.height < 2:
        return None
    values, days = known[measure].to_list(), known["day"].to_list()
    low, high = min(values), max(values)
    first, span = days[0], (days[-1] - days[0]).days
    points = [
        ((d - first).days / span * _WIDTH, _HEIGHT / 2 if high == low else (1 - (v - low) / (high - low)) * _HEIGHT)
        for d, v in zip(days, values, strict=True)
    ]
    return {
        "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        "title": f"{measure.replace('_', ' ')} by day, {days[0]} to {days[-1]}: {low:.4g} to {high:.4g}",
    }
