"""Materialization plan: what brings a feature table up to date with gold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from typing import Any, NamedTuple

import polars as pl

from karat.declare import FeatureTable, Project
from karat.errors import DefinitionChanged
from karat.features.engine import Days
from karat.features.invalidation import affected_days
from karat.fingerprint import fingerprint, fingerprint_bytes
from karat.lake import Lake, Work
from karat.names import TableName
from karat.quality.gold_check import contract_hash

#: The kind of work under which the lake keeps what a feature table was computed from.
KIND = "features"


#: Backfills that a table remembers, so that the same one again finds itself done.
_REMEMBERED = 200


class GoldSource(NamedTuple):
    """What all rows of one table have in common; where it differs, the whole table is computed anew."""

    gold_id: str
    definition: str
    origin: str
    contract: str


@dataclass(frozen=True)
class MaterializedState:
    """What a feature table's rows stand for; kept in the detail of its last commit of features.

    ``last_day`` is gold's last day (ISO): up to it rows are made for idle entities too. ``gold_id`` tells a gold table
    from another one that was made anew in its place, whose versions begin at 0 again. ``contract`` says which rules
    leave gold rows out. ``complete`` is False while nothing but some days were backfilled.
    """

    gold_id: str
    gold_version: int
    definition: str
    origin: str
    last_day: str | None
    contract: str = ""
    complete: bool = True

    @property
    def source(self) -> GoldSource:
        """The part that all rows of the table share."""
        return GoldSource(self.gold_id, self.definition, self.origin, self.contract)

    def as_detail(self, *, full: bool) -> dict[str, Any]:
        """The state as the detail of a commit."""
        return {**asdict(self), "full": full}

    @classmethod
    def from_detail(cls, detail: dict[str, Any]) -> MaterializedState:
        """Read the state from the detail of a commit."""
        return cls(
            detail["gold_id"],
            detail["gold_version"],
            detail["definition"],
            detail["origin"],
            detail["last_day"],
            detail["contract"],
            detail["complete"],
        )


@dataclass(frozen=True)
class MaterializationPlan:
    """What is to be computed. ``days`` None: the whole table. ``base`` is the work on which it builds.

    ``target`` is what the table stands for afterwards. A backfill reads a later version of gold than that: ``version``,
    and may be of some ``entities`` alone; ``told`` is what it keeps of itself.
    """

    target: MaterializedState
    base: Work | None
    days: tuple[date, ...] | None
    first: date | None
    last: date | None
    version: int | None = None
    entities: pl.DataFrame | None = None
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> int:
        """The version of gold that is read."""
        return self.target.gold_version if self.version is None else self.version

    @property
    def detail(self) -> dict[str, Any]:
        """The detail of the commit that carries the plan out."""
        return {**self.target.as_detail(full=self.full), **self.told}

    @property
    def full(self) -> bool:
        """Whether the whole table is computed."""
        return self.days is None

    @property
    def key(self) -> str:
        """A hash of the plan: equal plans are one work."""
        return fingerprint([self.detail, [str(d) for d in self.days or ()]])


def make_plan(
    project: Project, table: FeatureTable, lake: Lake, version: int, *, forced: bool = False
) -> MaterializationPlan | None:
    """Plan what brings a feature table to gold's ``version``.

    Returns:
        The plan; None if the table is there already.
    """
    base, before = standing(project, table, lake)
    time, gold = table.gold_time(project.gold[table.source]), project.gold_name(table.source)
    source = source_of(project, table, lake, version)
    current = before and before.complete and before.source == source and not forced
    if before and current and before.gold_version == version:
        return None
    first, last = _extent(lake, gold, version, time) if time else (None, None)
    target = target_of(source, version, last)
    if not before or not current or time is None:
        return MaterializationPlan(target, base, None, first, last)
    changed = lake.changed_days(gold, time, before.gold_version, version)
    ended = date.fromisoformat(before.last_day) if before.last_day else None
    days = affected_days(table, changed, ended, last)
    return MaterializationPlan(target, base, tuple(days), first, last) if days else None


def plan_days(
    project: Project,
    table: FeatureTable,
    lake: Lake,
    days: Days,
    *,
    version: int,
    entities: pl.DataFrame | None = None,
    forced: bool = False,
) -> MaterializationPlan | None:
    """The rows of ``days`` (of ``entities`` alone, if given) as gold has them now; None where they stand so already.

    What the table stands for as a whole remains as it is: days that gold has changed besides are still to be computed.
    Raises DefinitionChanged where its other rows are of another definition, or of another gold.
    """
    (base, before), name = standing(project, table, lake), project.table_name(table.name)
    gold, time = project.gold_name(table.source), table.gold_time(project.gold[table.source])
    source = source_of(project, table, lake, version)
    if before and before.source != source:
        raise DefinitionChanged(
            f"{name} holds rows of another definition, or of another gold, than the one to be backfilled",
            where=str(lake.path(name)),
            remedy=f"compute it whole, so that all of its rows mean the same: karat run {project.name}",
        )
    assert time is not None
    first, last = _extent(lake, gold, version, time)
    wanted = _each_day(max(days[0], first), min(days[1], last)) if first and last else []
    said = [table.name, source, version, [str(d) for d in days], None if entities is None else _digest(entities)]
    key = fingerprint(said)
    done = list(base.detail.get("backfills", [])) if base else []
    stands = before is not None and before.complete and before.gold_version == version
    if not wanted or (not forced and (stands or key in done)):
        return None
    target = before or replace(target_of(source, version, None), complete=False)
    told = {"backfills": [*(k for k in done if k != key), key][-_REMEMBERED:]}
    return MaterializationPlan(target, base, tuple(wanted), first, last, version, entities, told)


def standing(project: Project, table: FeatureTable, lake: Lake) -> tuple[Work | None, MaterializedState | None]:
    """The last work that made the table's rows, and the state they are in; None for a table without any."""
    name = project.table_name(table.name)
    base = lake.last_work(name, KIND) if lake.exists(name) else None
    return base, MaterializedState.from_detail(base.detail) if base else None


def source_of(project: Project, table: FeatureTable, lake: Lake, version: int) -> GoldSource:
    """What all rows computed from gold's ``version`` have in common."""
    info = lake.info(project.gold_name(table.source), version)
    origin = info.properties.get("karat.origin", "")
    return GoldSource(info.id, table.definition_hash, origin, contract_hash(project.gold[table.source]))


def target_of(source: GoldSource, version: int, last: date | None) -> MaterializedState:
    """The state of a table that is computed from gold's ``version``."""
    day = last.isoformat() if last else None
    return MaterializedState(source.gold_id, version, source.definition, source.origin, day, source.contract)


def _digest(entities: pl.DataFrame) -> str:
    return fingerprint_bytes(entities.sort(entities.columns).write_json().encode())


def _each_day(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _extent(lake: Lake, gold: TableName, version: int, time: str) -> tuple[date | None, date | None]:
    """Gold's first and last UTC day."""
    if lake.info(gold, version).timeseries == time:
        days = list(lake.rows_by_day(gold, version))  # of the files' statistics: no file is opened
        return (days[0], days[-1]) if days else (None, None)
    column = pl.col(time)
    low, high = (
        lake.scan(gold, version)
        .select(column.min().dt.date().alias("low"), column.max().dt.date().alias("high"))
        .collect()
        .row(0)
    )
    return low, high
