"""Freshness of a feature table: whether it matches gold as it is now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from karat.declare import Project
from karat.errors import TableNotFound, did_you_mean
from karat.features.materialization_plan import KIND, MaterializedState, make_plan
from karat.lake import Lake
from karat.names import TableName


@dataclass(frozen=True)
class Freshness:
    """Whether a feature table matches gold as it is now.

    Attributes:
        fresh: Whether computing the table now would change nothing.
        reason: What it would change; empty if fresh.
        last_day: Gold's last day when the table was computed; None without time, or before the first time.
    """

    table: TableName
    fresh: bool
    reason: str
    gold_version: int | None
    computed_gold_version: int | None
    last_day: date | None


def redefined(project: Project, tables: Sequence[str], lake: Lake) -> list[str]:
    """Find computed tables whose features mean something else than declared now, or that nobody declares any more."""
    there = {n.table: n for n in lake.tables(project.catalog, "features")}
    known = {t: lake.info(n).properties.get("karat.meanings") for t, n in there.items()}
    changed = [t for t in tables if known.get(t) and known[t] != json.dumps(project.tables[t].meanings)]
    return changed + [t for t, meanings in known.items() if meanings and t not in project.tables]


def is_fresh(project: Project, table: str, lake: Lake) -> Freshness:
    """Compare gold with what a feature table was computed from, without reading its rows.

    Raises:
        TableNotFound: The project declares no such table. A table or gold that is not computed yet is an answer.
    """
    if table not in project.tables:
        raise TableNotFound(
            f"project {project.name!r} declares no feature table {table!r}",
            where=str(project.path / "features"),
            remedy=did_you_mean(table, project.tables),
        )
    declared, name = project.tables[table], project.table_name(table)
    gold = project.gold_name(declared.source)
    work = lake.last_work(name, KIND) if lake.exists(name) else None
    before = MaterializedState.from_detail(work.detail) if work else None
    last = date.fromisoformat(before.last_day) if before and before.last_day else None
    version = lake.version(gold) if lake.exists(gold) else None
    plan = make_plan(project, declared, lake, version) if version is not None else None
    if version is None:
        reason = f"there is no gold table {gold}"
    elif before is None:
        reason = f"{name} has never been computed"
    elif plan is None:
        reason = ""
    elif not before.complete:
        reason = "only some of its days have been backfilled"
    elif before.definition != plan.target.definition:
        reason = "its definition has changed"
    elif before.origin != plan.target.origin:
        reason = f"gold was {before.origin or 'unknown'} and is {plan.target.origin or 'unknown'}"
    elif before.contract != plan.target.contract:
        reason = "the contract of gold has changed"
    elif before.gold_id != plan.target.gold_id:
        reason = "gold was made anew"
    else:
        reason = f"gold changed for {len(plan.days)} days" if plan.days else "gold changed"
    computed = before.gold_version if before else None
    return Freshness(name, not reason, reason, version, computed, last)
