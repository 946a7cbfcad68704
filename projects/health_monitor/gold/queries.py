"""Queries of SQL warehouses, and a sample world with a planted truth.

THE PLANTED TRUTH. Every warehouse is a pure function of (seed, warehouse, day): a later ``end`` adds days, and the
queries that came late, and changes no other row. Two warehouses in five are short-lived. Hidden states of each day:

- ``volume``: how many queries are expected: the warehouse's own, its week (each has its own weekdays; weekends are
  quiet), a level that jumps every three to eight weeks, a drift that reverts within a week, closing at a month's end.
- Three problems, each a stretch of two to six weeks in about one of three: ``spill`` (too little memory), ``scan``
  (files are no longer pruned) and ``cold`` (the cache misses). While one lasts three queries in ten suffer from it,
  else fewer than one in ten; a drift blurs both. A query that spills or scans takes longer.
- ``slowness``: how long queries take: the warehouse's own, a level of three to eight weeks, a drift.
- ``pressure``: load over capacity; it jumps when a warehouse is given another size, every four to ten weeks, and
  drifts. Queries queue where it comes near to 1.
- ``efficiency``: the share of the clusters' time in which something is done, with a level of three to eight weeks and
  a drift. ``memory``: what queries need, with the same. ``crowd``: queries at a time, with the volume's week.
- Rows that real systems have: queries that arrive one to three days late, lost ones, failed and cancelled ones, nulls.

``queries_truth`` holds, for every day that a warehouse lives, the states and what they would answer to each model's
question about the days after it: states may end by then, and nobody can know what noise there will be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from karat_projects.health_monitor.gold._draws import EPOCH, Draws, Slots, sigmoid, slots, stays

from karat.declare import Column, GoldTable, fresh, matches, not_null, volume

SIZES = ("Small", "Medium", "Large", "X-Large")
STATEMENTS = ("SELECT", "MERGE", "INSERT", "COPY")
STATES = ("FINISHED", "FAILED", "CANCELED")
PROBLEMS = ("spill", "scan", "cold")
ADVICE = ("add_memory", "cluster_tables", "warm_cache")

fact_query_history = GoldTable(
    name="fact_query_history",
    description="One row a query of a SQL warehouse: what it read, how long it took, what it waited for",
    owner="data-platform",
    key=("query_id",),
    event_time="query_date",
    cluster_by=("warehouse_id",),
    checks=(
        matches("ingestion_date >= query_date", description="No query arrives before it was"),
        matches("task_seconds <= cluster_seconds + 1e-6", on_fail="warn", description="No more is done than there is"),
        not_null("duration_ms", at_most=0.05),
        fresh("3d"),
        volume(fall=0.9, rise=5, on_fail="warn"),
    ),
    columns={
        "query_id": Column(dtype="string", description="Query; unique over all warehouses"),
        "warehouse_id": Column(dtype="string", nullable=False, description="SQL warehouse"),
        "query_date": Column(dtype="date", nullable=False, description="UTC day on which it began"),
        "start_time": Column(dtype="timestamp", nullable=False, description="When it began"),
        "ingestion_date": Column(dtype="date", description="UTC day on which the row arrived"),
        "user_id": Column(dtype="string", description="Who asked"),
        "statement_type": Column(dtype="string", allowed=STATEMENTS, description="What kind of statement"),
        "status": Column(dtype="string", nullable=False, allowed=STATES, description="How it ended"),
        "warehouse_size": Column(dtype="string", allowed=SIZES, description="Size of the warehouse then"),
        "duration_ms": Column(dtype="float64", minimum=0, description="From its begin to its end"),
        "queue_ms": Column(dtype="float64", minimum=0, description="Waited for a place"),
        "read_bytes": Column(dtype="float64", minimum=0, description="Read from storage"),
        "spilled_bytes": Column(dtype="float64", minimum=0, description="Written to disk for want of memory"),
        "pruned_share": Column(dtype="float64", minimum=0, maximum=1, description="Of the files, those not read"),
        "cache_share": Column(dtype="float64", minimum=0, maximum=1, description="Of the bytes, those from the cache"),
        "load_share": Column(dtype="float64", minimum=0, description="Load of the warehouse then, over its capacity"),
        "memory_gb": Column(dtype="float64", minimum=0, description="Most memory that it used"),
        "running_queries": Column(dtype="int64", minimum=0, description="Others that ran at the time"),
        "task_seconds": Column(dtype="float64", minimum=0, description="Cluster time in which something was done"),
        "cluster_seconds": Column(dtype="float64", minimum=0, description="Cluster time that was paid"),
    },
)

_ANSWERS = {
    "expected_volume": "Queries of the next day",
    "expected_seconds": "Mean length of the next day's queries",
    "expected_efficiency": "Share of the cluster time of the next 7 days in which something will be done",
    "expected_memory": "95th percentile of the memory of the next 7 days' queries, GB",
    "expected_crowd": "95th percentile of the queries that run at a time on the next day",
    **{f"p_{name}": f"That {name} will pay: three days in which a fifth suffers" for name in ADVICE},
    **{f"p_{size}": f"That the right size of the next 7 days is: {size}" for size in ("down", "keep", "up")},
}

queries_truth = GoldTable(
    name="queries_truth",
    description="The hidden states behind the sample's fact_query_history, and what they would answer; samples only",
    owner="data-platform",
    key=("warehouse_id", "query_date"),
    event_time="query_date",
    truth=True,
    columns={
        "warehouse_id": Column(dtype="string", description="As in fact_query_history"),
        "query_date": Column(dtype="date", description="As in fact_query_history"),
        **{p: Column(dtype="bool", nullable=False, description=f"Whether the problem {p} was there") for p in PROBLEMS},
        "pressure": Column(dtype="float64", nullable=False, description="Load over capacity"),
        **{name: Column(dtype="float64", nullable=False, description=text) for name, text in _ANSWERS.items()},
    },
)

SLOTS, HISTORY, PER_DAY = 110, 98, 60
PROBLEM_DAYS, LEVEL_DAYS, SIZE_DAYS = 28.0, 38.5, 49.0
#: What an AR(1) keeps of itself a day: of the volume, of problems, of everything else.
FAST, SLOW = 0.8, 0.9


@dataclass(frozen=True)
class Level:
    """A quantity on a scale without bounds: ``own`` of the warehouse, ``level`` that jumps, ``drift``; (s, d) each."""

    own: np.ndarray
    level: np.ndarray
    drift: np.ndarray

    @property
    def now(self) -> np.ndarray:
        return self.own + self.level + self.drift

    def ahead(self, days: int, memory: float, length: float = LEVEL_DAYS) -> np.ndarray:
        """Its mean, as far as it can be known, over the next ``days``."""
        kept = float(np.mean(memory ** np.arange(1, days + 1)))
        return self.own + self.level * stays(length, days) + self.drift * kept


@dataclass(frozen=True)
class World:
    """Hidden states, (s, d); ``week`` (s, d + 1) reaches to the day after the last."""

    who: Slots
    week: np.ndarray
    volume: Level
    slowness: Level
    pressure: Level
    efficiency: Level
    memory: Level
    crowd: Level
    problems: dict[str, np.ndarray]
    blur: dict[str, np.ndarray]

    def share(self, problem: str) -> np.ndarray:
        """Of the queries of a day, those that suffer from a problem."""
        return suffering(self.problems[problem], self.blur[problem])


def suffering(there: np.ndarray | bool, blur: np.ndarray) -> np.ndarray:
    return sigmoid(np.where(there, -0.85, -2.6) + blur)


def _level(draws: Draws, name: str, who: Slots, days: np.ndarray, *, own: float, level: float, drift: float) -> Level:
    low, high = (28, 70) if name == "pressure" else (21, 56)
    block = draws.blocks(name, who.slot, days, low=low, high=high)
    return Level(
        own * draws.normal(f"{name} own", who.number),
        level * draws.normal(f"{name} level", who.slot[:, None], block),
        drift * draws.drift(f"{name} drift", len(who), days, FAST if name == "volume" else SLOW),
    )


def _week(draws: Draws, who: Slots, days: np.ndarray) -> np.ndarray:
    """Logarithm of what a weekday and a month's end do to the volume: (s, d + 1)."""
    ahead = np.append(days, days[-1] + 1)
    weekday = (ahead + EPOCH.weekday()) % 7
    slot = who.slot[:, None]
    quiet = np.log(draws.between(0.15, 0.7, "weekend", slot)) * (weekday >= 5)
    dates = np.datetime64(EPOCH) + ahead
    month = dates.astype("datetime64[M]")
    closing = ((dates + 2).astype("datetime64[M]") != month) | ((dates - 1).astype("datetime64[M]") != month)
    return quiet + 0.15 * draws.normal("own weekday", slot, weekday) + 0.35 * closing


def _world(draws: Draws, who: Slots, days: np.ndarray) -> World:
    problems, blur = {}, {}
    for name in PROBLEMS:
        block = draws.blocks(name, who.slot, days, low=14, high=42)
        problems[name] = draws.uniform(f"{name} there", who.slot[:, None], block) < 0.33
        blur[name] = 0.25 * draws.drift(f"{name} blur", len(who), days, SLOW) + 0.2 * draws.normal(name, who.number)
    volume = _level(draws, "volume", who, days, own=0.5, level=0.3, drift=0.22)
    return World(
        who=who,
        week=_week(draws, who, days),
        volume=Level(volume.own + np.log(PER_DAY), volume.level, volume.drift),
        slowness=_level(draws, "slowness", who, days, own=0.5, level=0.35, drift=0.3),
        pressure=_level(draws, "pressure", who, days, own=0.2, level=0.4, drift=0.15),
        efficiency=_level(draws, "efficiency", who, days, own=0.4, level=0.5, drift=0.45),
        memory=_level(draws, "memory", who, days, own=0.12, level=0.12, drift=0.36),
        crowd=_level(draws, "crowd", who, days, own=0.3, level=0.25, drift=0.2),
        problems=problems,
        blur=blur,
    )


def _day(random: np.random.Generator, world: World, j: int, day: int) -> pl.DataFrame:
    """One day's queries in the numbers of the contract, with slot, ``nth`` and ``late`` (days)."""
    rate = np.exp(world.volume.now[:, j] + world.week[:, j] + 0.1 * random.standard_normal(len(world.who)))
    count = random.poisson(rate * world.who.alive[:, j])
    s = np.repeat(np.arange(len(count)), count)
    m = len(s)
    spilled, scanned, cold = (random.random(m) < world.share(p)[s, j] for p in PROBLEMS)
    state = np.searchsorted([0.965, 0.99], random.random(m))
    slow = world.slowness.now[s, j] + 0.6 * spilled + 0.5 * scanned + 0.7 * random.standard_normal(m)
    load = np.exp(np.log(0.62) + world.pressure.now[s, j] + 0.3 * random.standard_normal(m))
    waits = random.random(m) < sigmoid(5 * (load - 1.0))
    milliseconds = np.exp(slow) * 4000
    paid = milliseconds / 1000 * random.uniform(1, 3, m)
    done = sigmoid(0.3 + world.efficiency.now[s, j] + 0.5 * random.standard_normal(m))
    crowd = np.exp(1.6 + world.crowd.now[s, j] + world.week[s, j])
    read = np.exp(19 + world.slowness.now[s, j] + 1.0 * scanned + 1.2 * random.standard_normal(m))
    numbers = {
        "slot": s,
        "number": world.who.number[s, j],
        "nth": np.arange(m) - np.repeat(np.cumsum(count) - count, count),
        "second": (random.beta(4, 4, m) * 86_399).astype(np.int64),
        "person": random.integers(1, 900, m),
        "statement": np.searchsorted([0.8, 0.9, 0.97], random.random(m)),
        "state": state,
        "size": (np.abs(np.floor(world.pressure.level[s, j] * 10)).astype(np.int64)) % len(SIZES),
        "duration_ms": (milliseconds * np.where(state > 0, random.uniform(0.1, 1, m), 1)).round(1),
        "queue_ms": np.where(waits, np.exp(8 + 0.8 * random.standard_normal(m)), 0.0).round(1),
        "read_bytes": read.round(0),
        "spilled_bytes": np.where(spilled, read * random.uniform(0.1, 2, m), 0.0).round(0),
        "pruned_share": np.where(scanned, random.uniform(0, 0.3, m), random.uniform(0.4, 1, m)).round(4),
        "cache_share": np.where(cold, random.uniform(0, 0.2, m), random.uniform(0.4, 1, m)).round(4),
        "load_share": load.round(4),
        "memory_gb": np.exp(1.5 + world.memory.now[s, j] + 0.5 * random.standard_normal(m)).round(4),
        "running_queries": random.poisson(crowd),
        "task_seconds": (paid * done).round(4),
        "cluster_seconds": paid.round(4),
        "late": np.searchsorted([0.985, 0.992, 0.996], random.random(m)),
        "lost": random.random(m) < 0.004,
        "blind": random.random(m) < 0.01,
    }
    return pl.DataFrame(numbers).with_columns(day=pl.lit(day, pl.Int64))


def warehouse_ids() -> pl.Expr:
    """``wh_001``, and ``wh_004_26`` for the 26th that lives in a slot."""
    name = pl.format("wh_{}", (pl.col("slot") + 1).cast(pl.String).str.zfill(3))
    life = pl.col("number") - pl.col("slot") * 4096
    return pl.when(life > 0).then(pl.format("{}_{}", name, life)).otherwise(name)


def _described(queries: pl.DataFrame) -> pl.DataFrame:
    """Indices -> the columns of the contract."""

    def named(column: str, names: tuple[str, ...]) -> pl.Expr:
        return pl.col(column).replace_strict(dict(enumerate(names)), return_dtype=pl.String)

    day = pl.lit(EPOCH) + pl.duration(days="day")
    measured = ("load_share", "memory_gb", "cache_share")
    return queries.with_columns(
        warehouse_id=warehouse_ids(),
        query_date=day,
        start_time=day.cast(pl.Datetime("us", "UTC")) + pl.duration(seconds="second"),
        ingestion_date=day + pl.duration(days="late"),
        user_id=pl.format("user_{}", "person"),
        statement_type=named("statement", STATEMENTS),
        status=named("state", STATES),
        warehouse_size=named("size", SIZES),
        **{c: pl.when(~pl.col("blind")).then(c) for c in measured},
    ).select(
        pl.format("{}:{}:{}", "warehouse_id", pl.col("query_date").dt.strftime("%Y%m%d"), "nth").alias("query_id"),
        *(c for c in fact_query_history.columns if c != "query_id"),
    )


def _above(mean: np.ndarray, limit: float, spread: np.ndarray | float) -> np.ndarray:
    """That a normal value lies above ``limit`` (a logistic function stands in for the normal one)."""
    return sigmoid(1.702 * (mean - limit) / spread)


def _answers(world: World) -> dict[str, np.ndarray]:
    """What the states of a day would answer about the days after it: (s, d) each."""
    tomorrow = world.week[:, 1:]
    count = np.exp(world.volume.ahead(1, FAST) + tomorrow)
    hurt = 0.6 * world.share("spill") + 0.5 * world.share("scan")
    up, not_down = (_loaded(world, np.log(limit / np.exp(0.045))) for limit in (0.85, 0.5))
    return {
        "expected_volume": count,
        # exp(0.7 ** 2 / 2) makes the median the mean.
        "expected_seconds": 4 * np.exp(world.slowness.ahead(1, SLOW) + hurt * 1.15 + 0.245),
        "expected_efficiency": sigmoid(0.3 + world.efficiency.ahead(7, SLOW)),
        "expected_memory": np.exp(1.5 + world.memory.ahead(7, SLOW) + 1.645 * 0.52),
        "expected_crowd": (lam := np.exp(1.6 + world.crowd.ahead(1, SLOW) + tomorrow)) + 1.645 * np.sqrt(lam),
        **{f"p_{name}": _advised(world, p, count) for name, p in zip(ADVICE, PROBLEMS, strict=True)},
        "p_down": 1 - not_down,
        "p_keep": not_down - up,
        "p_up": up,
    }


def _loaded(world: World, limit: float) -> np.ndarray:
    """That the mean load of the next seven days lies above ``limit`` (a logarithm, less what makes the mean of a
    log-normal value more than its median): under the same size, or under another one from somewhen on."""
    still, mean = stays(SIZE_DAYS, 7), np.log(0.62) + world.pressure.ahead(7, SLOW)
    same = _above(mean + (1 - stays(LEVEL_DAYS, 7)) * world.pressure.level, limit, 0.1)
    return still * same + (1 - still) * _above(mean, limit, 0.3)


def _advised(world: World, problem: str, count: np.ndarray) -> np.ndarray:
    """That of the queries of the next three days at least a fifth suffer."""
    blur = world.blur[problem]
    spread = np.sqrt(0.16 / np.maximum(3 * count, 1) + 0.025**2)
    still = stays(PROBLEM_DAYS, 3)
    there, gone = (_above(suffering(state, 0.85 * blur), 0.2, spread) for state in (True, False))
    of_any = 0.33 * there + 0.67 * gone
    return still * np.where(world.problems[problem], there, gone) + (1 - still) * of_any


def _truth(world: World, days: np.ndarray) -> pl.DataFrame:
    s, d = np.nonzero(world.who.alive)
    states = {"slot": s, "number": world.who.number[s, d], "day": days[d]} | {
        p: world.problems[p][s, d] for p in PROBLEMS
    }
    answers = _answers(world) | {"pressure": 0.62 * np.exp(world.pressure.now)}
    return (
        pl.DataFrame(states | {name: values[s, d].round(6) for name, values in answers.items()})
        .with_columns(warehouse_id=warehouse_ids(), query_date=pl.lit(EPOCH) + pl.duration(days="day"))
        .select(*queries_truth.columns)
    )


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``fact_query_history`` and ``queries_truth`` of the ``HISTORY`` days up to ``end`` (yesterday, UTC, by default).

    At scale 1 about 600,000 queries of some 105 warehouses a day, of which performance_features makes 10,300 rows.
    """
    end = end or datetime.now(UTC).date() - timedelta(days=1)
    last = (end - EPOCH).days
    days = np.arange(last - HISTORY + 1, last + 1)
    draws = Draws(seed)
    world = _world(draws, slots(draws, "warehouse", max(10, round(SLOTS * scale)), days), days)
    queries = pl.concat(
        _day(np.random.default_rng([seed, 72, int(day)]), world, j, int(day)) for j, day in enumerate(days)
    ).filter((pl.col("day") + pl.col("late") <= last) & ~pl.col("lost"))
    return {
        "fact_query_history": _described(queries).sort("query_date", "query_id"),
        "queries_truth": _truth(world, days),
    }
