"""What catalogues hold, day by day, and a sample world with a planted truth.

THE PLANTED TRUTH. Every catalogue is a pure function of (seed, catalogue, day): a later ``end`` adds days, and the
snapshots that came late, and changes no other row. Two catalogues in five are short-lived. Each has some tens of tables
in schemas; a row is a table as it was at the end of a day. Hidden states of each day:

- ``migration``: for two to six weeks the tables of a catalogue may be rebuilt (one stretch in three): columns are
  dropped or retyped on one table-day in sixty, else one in two thousand, more on a Tuesday, the day of releases.
  Columns that are only added, and ones that are marked as deprecated, tell of it early.
- ``domain``: whose data a catalogue holds now (``customer``, ``finance``, ``operations`` or ``product``), for four to
  eleven weeks. Its tables have the columns of their domain, more or less, and stewards give most of the tags that they
  give by it, one in four by another.
- ``drift``: on about one catalogue-day in 30, for one to three days, what is loaded is not what it was: values go
  missing, rows come twice or not at all, a source sends another distribution. Some are too mild to be seen.
- Rows that real systems have: snapshots that arrive a day late, tables that a snapshot lacks, tables without an owner.

``catalogs_truth`` holds, for every day that a catalogue lives, the states and what they would answer to each model's
question about the days after it: states may end by then, and nobody can know what chance will bring.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from karat_projects.health_monitor.gold._draws import EPOCH, Draws, Slots, sigmoid, slots, stays

from karat.declare import Column, GoldTable, fresh, matches, not_null, volume

DOMAINS = ("customer", "finance", "operations", "product")
DRIFTS = ("missing", "volume", "distribution")

information_schema = GoldTable(
    name="information_schema",
    description="One row a table and day: its columns, rows, changes and tags, as the catalogue has them that night",
    owner="data-governance",
    key=("snapshot_id",),
    event_time="snapshot_date",
    cluster_by=("catalog_name",),
    checks=(
        matches("ingestion_date >= snapshot_date", description="No snapshot arrives before its day"),
        matches("commented_columns <= column_count", on_fail="warn"),
        matches("personal_columns + money_columns + time_columns + code_columns <= column_count", on_fail="warn"),
        not_null("row_count", at_most=0.05),
        fresh("3d"),
        volume(fall=0.6, rise=2, on_fail="warn"),
    ),
    columns={
        "snapshot_id": Column(dtype="string", description="Table and day; unique over all catalogues"),
        "catalog_name": Column(dtype="string", nullable=False, description="Catalogue"),
        "schema_name": Column(dtype="string", nullable=False, description="Schema"),
        "table_name": Column(dtype="string", nullable=False, description="Table"),
        "snapshot_date": Column(dtype="date", nullable=False, description="UTC day at whose end it was so"),
        "ingestion_date": Column(dtype="date", description="UTC day on which the row arrived"),
        "owner": Column(dtype="string", description="Who answers for the table; null where nobody does"),
        "column_count": Column(dtype="int64", minimum=1, description="Columns"),
        "personal_columns": Column(dtype="int64", minimum=0, description="Of these, with names of personal data"),
        "money_columns": Column(dtype="int64", minimum=0, description="Of these, amounts and currencies"),
        "time_columns": Column(dtype="int64", minimum=0, description="Of these, dates and times"),
        "code_columns": Column(dtype="int64", minimum=0, description="Of these, codes and identifiers of things"),
        "commented_columns": Column(dtype="int64", minimum=0, description="Of these, with a comment"),
        "row_count": Column(dtype="float64", minimum=0, description="Rows"),
        "loaded_rows": Column(dtype="float64", minimum=0, description="Rows that came on the day"),
        "null_share": Column(dtype="float64", minimum=0, maximum=1, description="Of the values that came, the missing"),
        "distinct_share": Column(dtype="float64", minimum=0, maximum=1, description="Of those values, the different"),
        "value_shift": Column(dtype="float64", description="Mean of those values, in deviations from last month's"),
        "hours_since_load": Column(dtype="float64", minimum=0, description="Since something was last loaded"),
        "added_columns": Column(dtype="int64", minimum=0, description="Columns that came on the day"),
        "removed_columns": Column(dtype="int64", minimum=0, description="Columns that went on the day"),
        "retyped_columns": Column(dtype="int64", minimum=0, description="Columns that changed their type on the day"),
        "deprecated_columns": Column(dtype="int64", minimum=0, description="Columns that are marked to go"),
        "new_tag": Column(
            dtype="string", allowed=DOMAINS, description="Tag that a steward gave on the day; null: none"
        ),
    },
)

catalogs_truth = GoldTable(
    name="catalogs_truth",
    description="The hidden states behind the sample's information_schema, and what they would answer; samples only",
    owner="data-governance",
    key=("catalog_name", "snapshot_date"),
    event_time="snapshot_date",
    truth=True,
    columns={
        "catalog_name": Column(dtype="string", description="As in information_schema"),
        "snapshot_date": Column(dtype="date", description="As in information_schema"),
        "migration": Column(dtype="bool", nullable=False, description="Whether its tables were being rebuilt"),
        "domain": Column(dtype="string", nullable=False, allowed=DOMAINS, description="Whose data it held"),
        "drift": Column(dtype="bool", nullable=False, description="Whether what was loaded was not what it was"),
        "drift_kind": Column(dtype="string", allowed=DRIFTS, description="Which; null where none"),
        "drift_strength": Column(dtype="float64", nullable=False, description="How much; 0 where none"),
        "p_change_7d": Column(dtype="float64", nullable=False, description="That a column goes or changes in 7 days"),
        **{
            f"p_{domain}": Column(
                dtype="float64", nullable=False, description=f"That most tags of the next 14 days are {domain}"
            )
            for domain in DOMAINS
        },
    },
)

SLOTS, HISTORY, TABLES = 62, 98, 40
MIGRATION_DAYS, MIGRATES, DOMAIN_DAYS = 28.0, 0.33, 55.0
#: Of a table on a day: that a column goes or changes its type, while nothing is rebuilt and while it is.
CHANGES, MIGRATION_CHANGES = 0.0005, 0.016
#: Share of the columns of each sort (personal, money, time, code) by domain.
COLUMNS = np.array([[0.26, 0.06, 0.14, 0.12], [0.07, 0.3, 0.16, 0.14], [0.05, 0.06, 0.3, 0.2], [0.05, 0.1, 0.12, 0.34]])


@dataclass(frozen=True)
class World:
    """Hidden states of catalogues, (s, d) each; ``tables`` is how many a catalogue has."""

    who: Slots
    tables: np.ndarray
    migration: np.ndarray
    lead: np.ndarray
    domain: np.ndarray
    kind: np.ndarray
    strength: np.ndarray


def _world(draws: Draws, who: Slots, days: np.ndarray) -> World:
    slot = who.slot
    at = slot[:, None]
    migration = _migration(draws, slot, days)
    kind, strength = _drifts(draws, who, days)
    block = draws.blocks("domain", slot, days, low=30, high=80)
    return World(
        who=who,
        tables=np.round(TABLES * np.exp(0.4 * draws.normal("tables", who.number)) + 4).astype(int) * who.alive,
        migration=migration,
        # Who is about to begin deprecates columns in the days before.
        lead=np.maximum.reduce([_migration(draws, slot, days + k) for k in range(5)]),
        domain=np.floor(4 * draws.uniform("of domain", at, block)).astype(int),
        kind=kind,
        strength=strength,
    )


def _migration(draws: Draws, slot: np.ndarray, days: np.ndarray) -> np.ndarray:
    block = draws.blocks("migration", slot, days, low=14, high=42)
    return draws.uniform("migrates", slot[:, None], block) < MIGRATES


def _drifts(draws: Draws, who: Slots, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kind (0 none, else 1 + its place in DRIFTS) and strength."""
    kind, strength = np.zeros(who.number.shape, int), np.zeros(who.number.shape)
    for back in (2, 1, 0):
        at = (who.slot[:, None], days[None, :] - back)
        begins = (draws.uniform("drifts", *at) < 0.018) & (draws.uniform("lasts", *at) * 3 > back)
        kind = np.where(begins, 1 + np.floor(3 * draws.uniform("drift kind", *at)).astype(int), kind)
        strength = np.where(begins, draws.between(0.2, 1.6, "drift strength", *at), strength)
    return np.where(who.alive, kind, 0), np.where(who.alive, strength, 0.0)


def _changes(world: World, days: np.ndarray) -> np.ndarray:
    """Of a table on a day, the chance that a column goes or changes its type."""
    tuesday = np.where((days + EPOCH.weekday()) % 7 == 1, 3.0, 0.67)[None, :]
    return np.where(world.migration, MIGRATION_CHANGES, CHANGES) * tuesday


def _day(draws: Draws, world: World, j: int, day: int, chance: np.ndarray) -> pl.DataFrame:
    """One day's tables in the numbers of the contract, with slot, ``nth`` and ``late`` (days)."""
    random = np.random.default_rng([draws.seed, 74, day])
    count = world.tables[:, j]
    s = np.repeat(np.arange(len(count)), count)
    nth = np.arange(len(s)) - np.repeat(np.cumsum(count) - count, count)
    m = len(s)
    number = world.who.number[s, j]
    own = (number, nth)
    columns = np.round(8 + 24 * draws.uniform("columns", *own)).astype(int)
    # Three tables in four are of the catalogue's domain, the others of any.
    of = np.where(
        draws.uniform("stray", *own) < 0.25, np.floor(4 * draws.uniform("own", *own)), world.domain[s, j]
    ).astype(int)
    # As long as a table serves the same domain, it keeps its columns.
    share = [COLUMNS[of, i] * (0.4 + 0.9 * draws.uniform(f"sort {i}", *own, of)) for i in range(4)]
    sorts = [np.floor(columns * part).astype(int) for part in share]
    drift = [np.where(world.kind[s, j] == 1 + i, world.strength[s, j], 0.0) for i in range(3)]
    touched = random.random(m) < 0.5
    whole = random.standard_normal((3, len(count)))[:, s]  # every load of a catalogue has something of its own
    rows = np.exp(9 + 1.5 * draws.normal("rows", *own))
    falls = draws.uniform("falls", world.who.slot, day)[s] < 0.5
    many = np.where(falls, -1.2, 0.9) * drift[1] * touched
    changed = random.random(m) < chance[s, j]
    steward = random.random(m) < 0.004
    tag = np.where(random.random(m) < 0.25, random.integers(0, 4, m), world.domain[s, j])
    numbers = {
        "slot": s,
        "number": number,
        "nth": nth,
        "column_count": columns,
        **dict(zip(("personal_columns", "money_columns", "time_columns", "code_columns"), sorts, strict=True)),
        "commented_columns": np.minimum(random.binomial(columns, sigmoid(draws.normal("comments", number))), columns),
        "row_count": (rows * (1 + 0.001 * (day % 1000))).round(0),
        "loaded_rows": (rows * 0.01 * np.exp(0.3 * random.standard_normal(m) + 0.2 * whole[2] + many)).round(0),
        "null_share": sigmoid(
            -3
            + 0.5 * draws.normal("nulls", *own)
            + 0.25 * random.standard_normal(m)
            + 0.12 * whole[0]
            + 1.1 * drift[0] * touched
        ).round(5),
        "distinct_share": sigmoid(
            0.5 * draws.normal("distinct", *own)
            + 0.2 * random.standard_normal(m)
            + 0.08 * whole[1]
            - 0.7 * drift[2] * touched
        ).round(5),
        "value_shift": (0.3 * random.standard_normal(m) + 0.9 * drift[2] * touched * np.where(falls, -1, 1)).round(5),
        "hours_since_load": (24 * random.random(m) + 20 * (many < -0.3)).round(2),
        "added_columns": random.poisson(np.where(world.lead[s, j], 0.05, 0.01)),
        "removed_columns": changed * random.integers(0, 3, m),
        "retyped_columns": changed.astype(int),
        "deprecated_columns": random.poisson(np.where(world.lead[s, j], 0.06, 0.015)),
        "tag": np.where(steward, tag, 4),
        "nobody": draws.uniform("owned", *own) < 0.1,
        "late": (random.random(m) < 0.003).astype(int),
        "lost": random.random(m) < 0.003,
    }
    return pl.DataFrame(numbers).with_columns(day=pl.lit(day, pl.Int64))


def catalog_names() -> pl.Expr:
    """``cat_001``, and ``cat_004_26`` for the 26th that lives in a slot."""
    name = pl.format("cat_{}", (pl.col("slot") + 1).cast(pl.String).str.zfill(3))
    life = pl.col("number") - pl.col("slot") * 4096
    return pl.when(life > 0).then(pl.format("{}_{}", name, life)).otherwise(name)


def _described(tables: pl.DataFrame) -> pl.DataFrame:
    """Indices -> the columns of the contract."""
    day = pl.lit(EPOCH) + pl.duration(days="day")
    tags = dict(enumerate((*DOMAINS, None)))
    return tables.with_columns(
        catalog_name=catalog_names(),
        schema_name=pl.format("schema_{}", pl.col("nth") % 5),
        table_name=pl.format("table_{}", "nth"),
        snapshot_date=day,
        ingestion_date=day + pl.duration(days="late"),
        owner=pl.when(~pl.col("nobody")).then(pl.format("team-{}@example.com", (pl.col("slot") + pl.col("nth")) % 12)),
        new_tag=pl.col("tag").replace_strict(tags, return_dtype=pl.String),
    ).select(
        pl.format("{}:{}:{}", "catalog_name", "table_name", pl.col("snapshot_date").dt.strftime("%Y%m%d")).alias(
            "snapshot_id"
        ),
        *(c for c in information_schema.columns if c != "snapshot_id"),
    )


def _answers(world: World) -> dict[str, np.ndarray]:
    """What the states of a day would answer about the days after it: (s, d) each."""
    kept, still = stays(DOMAIN_DAYS, 14), stays(MIGRATION_DAYS, 7)
    # Of the next seven days, those in a migration: a planned one begins within four, another hardly within three.
    days_of = {"now": 7, "planned": 5, "none": 0}
    goes = {name: _goes(world.tables, days) for name, days in days_of.items()}
    ends = 0.5 * (goes["now"] + _goes(world.tables, 3))
    begins = 3 / MIGRATION_DAYS * MIGRATES
    change = np.where(
        world.migration,
        still * goes["now"] + (1 - still) * ends,
        np.where(world.lead, goes["planned"], begins * _goes(world.tables, 2) + (1 - begins) * goes["none"]),
    )
    return {
        "drift_strength": world.strength,
        "p_change_7d": change,
        **{
            f"p_{name}": kept * np.where(world.domain == i, 0.8125, 0.0625) + (1 - kept) / 4
            for i, name in enumerate(DOMAINS)
        },
    }


def _goes(tables: np.ndarray, days: int) -> np.ndarray:
    """That in a week, of which so many days are of a migration, a column goes or changes its type."""
    return 1 - (1 - MIGRATION_CHANGES) ** (days * tables) * (1 - CHANGES) ** ((7 - days) * tables)


def _truth(world: World, days: np.ndarray) -> pl.DataFrame:
    s, d = np.nonzero(world.who.alive)
    states = {
        "slot": s,
        "number": world.who.number[s, d],
        "day": days[d],
        "migration": world.migration[s, d],
        "domain": pl.Series(DOMAINS)[world.domain[s, d]],
        "drift": world.kind[s, d] > 0,
        "drift_kind": pl.Series((None, *DRIFTS))[world.kind[s, d]],
    }
    return (
        pl.DataFrame(states | {name: values[s, d].round(6) for name, values in _answers(world).items()})
        .with_columns(catalog_name=catalog_names(), snapshot_date=pl.lit(EPOCH) + pl.duration(days="day"))
        .select(*catalogs_truth.columns)
    )


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``information_schema`` and ``catalogs_truth`` of the ``HISTORY`` days up to ``end`` (yesterday, UTC, by default).

    At scale 1 some 59 catalogues of 45 tables: about 270,000 rows, of which quality_features makes 5,700.
    """
    end = end or datetime.now(UTC).date() - timedelta(days=1)
    last = (end - EPOCH).days
    days = np.arange(last - HISTORY + 1, last + 1)
    draws = Draws(seed)
    world = _world(draws, slots(draws, "catalog", max(8, round(SLOTS * scale)), days), days)
    chance = _changes(world, days)
    tables = pl.concat(_day(draws, world, j, int(day), chance) for j, day in enumerate(days)).filter(
        (pl.col("day") + pl.col("late") <= last) & ~pl.col("lost")
    )
    return {
        "information_schema": _described(tables).sort("snapshot_date", "snapshot_id"),
        "catalogs_truth": _truth(world, days),
    }
