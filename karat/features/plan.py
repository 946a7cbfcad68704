"""What brings a feature table to gold as it is: nothing, some days, or all of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import polars as pl

from karat.declare import FeatureTable, Project
from karat.features.affected import affected_days
from karat.features.engine import event_time
from karat.lake import Lake, Work
from karat.names import TableName
from karat.quality.gold import contract_of

#: The kind of work under which the lake keeps what a feature table was computed from.
KIND = "features"


@dataclass(frozen=True)
class Computed:
    """What a feature table's rows stand for; kept in the detail of its last commit of features.

    ``last_day`` is gold's last day (ISO): up to it rows are made for idle entities too. ``gold_id`` tells a gold table
    from another one that was made anew in its place, whose versions begin at 0 again. ``contract`` says which rules
    leave gold rows out.
    """

    gold_id: str
    gold_version: int
    definition: str
    origin: str
    last_day: str | None
    contract: str = ""

    def as_detail(self, *, full: bool) -> dict[str, Any]:
        return {**asdict(self), "full": full}

    @classmethod
    def from_detail(cls, detail: dict[str, Any]) -> Computed:
        return cls(
            detail["gold_id"],
            detail["gold_version"],
            detail["definition"],
            detail["origin"],
            detail["last_day"],
            detail.get("contract", ""),
        )


@dataclass(frozen=True)
class Plan:
    """What is to be computed. ``days`` None: the whole table. ``base`` is the work on which it builds."""

    target: Computed
    base: Work | None
    days: tuple[date, ...] | None
    first: date | None
    last: date | None

    @property
    def full(self) -> bool:
        return self.days is None

    @property
    def key(self) -> str:
        text = json.dumps([self.target.as_detail(full=self.full), [str(d) for d in self.days or ()]])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def make_plan(project: Project, table: FeatureTable, lake: Lake, version: int, *, forced: bool = False) -> Plan | None:
    """What brings the table to gold's ``version``; None where it is there already."""
    name, gold = project.table_name(table.name), project.gold_name(table.source)
    base = lake.last_work(name, KIND) if lake.exists(name) else None
    info = lake.info(gold, version)
    origin = info.properties.get("karat.origin", "")
    before = Computed.from_detail(base.detail) if base else None
    contract = contract_of(project.gold[table.source])
    source = (info.id, table.definition_hash, origin, contract)
    known = before and (before.gold_id, before.definition, before.origin, before.contract)
    current = known == source and not forced
    if before and current and before.gold_version == version:
        return None
    time = event_time(table, project.gold[table.source])
    first, last = _extent(lake, gold, version, time) if time else (None, None)
    target = Computed(info.id, version, table.definition_hash, origin, last.isoformat() if last else None, contract)
    if not before or not current or time is None:
        return Plan(target, base, None, first, last)
    changed = lake.changed_days(gold, time, before.gold_version, version)
    ended = date.fromisoformat(before.last_day) if before.last_day else None
    days = affected_days(table, changed, ended, last)
    return Plan(target, base, tuple(days), first, last) if days else None


def _extent(lake: Lake, gold: TableName, version: int, time: str) -> tuple[date | None, date | None]:
    """Gold's first and last UTC day."""
    column = pl.col(time)
    low, high = (
        lake.scan(gold, version)
        .select(column.min().dt.date().alias("low"), column.max().dt.date().alias("high"))
        .collect()
        .row(0)
    )
    return low, high
