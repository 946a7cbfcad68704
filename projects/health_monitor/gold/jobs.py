"""Runs of jobs, and a sample world with a planted truth.

THE PLANTED TRUTH. Every job is a pure function of (seed, job, day): a later ``end`` adds days, and the runs that came
late, and changes no other row. A job runs on working days, once, three or eight times a day; two in five are
short-lived. Its hidden states of each day:

- ``trouble``: a stretch of 10 to 35 days in about one of four; it has a ``strength`` and a ``cause``: ``code`` (changed
  too fast), ``data`` (what comes in is broken), ``cluster`` (not enough memory) or ``dependency`` (what it waits for is
  slow). Each job is prone to some causes more than to others.
- A run fails with the chance sigmoid(-3.5 + frailty + 2.6 strength trouble): a few in a hundred, in trouble a third.
  In trouble four failures in five have its cause, all others a cause that the job is prone to.
- Symptoms show before failures do, in runs that succeed too: tries of tasks (any trouble), a new version (code), broken
  records (data), the share of memory used (cluster), minutes waited for others (dependency); each is noisy.
- How long a run takes: a job's own length, a weekday, a level that jumps every three to eight weeks, a drift that
  reverts within two weeks, a little more under cluster trouble, and noise of a twentieth. A failed run ends early.
- How long until a failure is mended: its cause's own time, how busy the team is (a state of three to eight weeks,
  shared by its jobs, of which its open tickets tell), half as long again at weekends, and noise of two fifths; ten
  hours at most, so that it is known by the end of the day.
- Rows that real systems have: runs that arrive a day or two late, runs that got lost, cancelled runs, runs without the
  figures of their cluster.

``jobs_truth`` holds, for every day that a job lives, the states and what they would answer to each model's question
about the days after it: states may end by then, and nobody can know what noise there will be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from karat_projects.health_monitor.gold._draws import EPOCH, Draws, Slots, sigmoid, slots, stays

from karat.declare import Column, GoldTable, between, fresh, matches, not_null, volume

CAUSES = ("code", "data", "cluster", "dependency")
STATES = ("SUCCEEDED", "FAILED", "CANCELED")

fact_job_run_timeline = GoldTable(
    name="fact_job_run_timeline",
    description="One row a run of a job: when, how long, how it ended and why",
    owner="data-platform",
    key=("run_id",),
    event_time="run_date",
    cluster_by=("job_id",),
    checks=(
        matches("ingestion_date >= run_date", description="No run arrives before it was"),
        matches("result_state <> 'FAILED' OR error_class IS NOT NULL", on_fail="warn", description="Failures say why"),
        not_null("duration_seconds", at_most=0.05),
        between("memory_share", 0, 1.5, on_fail="warn"),
        fresh("3d"),
        volume(fall=0.9, rise=4, on_fail="warn", description="Weekends are short, but not so much"),
    ),
    columns={
        "run_id": Column(dtype="string", description="Run; unique over all jobs"),
        "job_id": Column(dtype="string", nullable=False, description="Job"),
        "team": Column(dtype="string", description="Who is called when it fails"),
        "run_date": Column(dtype="date", nullable=False, description="UTC day on which it began"),
        "start_time": Column(dtype="timestamp", nullable=False, description="When it began"),
        "ingestion_date": Column(dtype="date", description="UTC day on which the row arrived"),
        "trigger_type": Column(dtype="string", allowed=("PERIODIC", "MANUAL"), description="What started it"),
        "result_state": Column(dtype="string", nullable=False, allowed=STATES, description="How it ended"),
        "error_class": Column(dtype="string", allowed=CAUSES, description="Why it failed; null where it did not"),
        "duration_seconds": Column(dtype="float64", minimum=0, description="From its begin to its end"),
        "queue_seconds": Column(dtype="float64", minimum=0, description="Waited for a cluster before it began"),
        "task_retries": Column(dtype="int64", minimum=0, description="Tasks that were tried again"),
        "new_version": Column(dtype="bool", description="Whether its code was changed since its last run"),
        "input_records": Column(dtype="float64", minimum=0, description="Records read"),
        "broken_records": Column(dtype="float64", minimum=0, description="Records that could not be read, a million"),
        "memory_share": Column(dtype="float64", description="Most memory used, over what the cluster has"),
        "waited_minutes": Column(dtype="float64", minimum=0, description="Waited for tables and services of others"),
        "open_tickets": Column(dtype="int64", minimum=0, description="Open with the team when the run began"),
        "recovery_minutes": Column(dtype="float64", minimum=0, description="From a failure until it was mended"),
    },
)

jobs_truth = GoldTable(
    name="jobs_truth",
    description="The hidden states behind the sample's fact_job_run_timeline, and what they would answer; samples only",
    owner="data-platform",
    key=("job_id", "run_date"),
    event_time="run_date",
    truth=True,
    columns={
        "job_id": Column(dtype="string", description="As in fact_job_run_timeline"),
        "run_date": Column(dtype="date", description="As in fact_job_run_timeline"),
        "trouble": Column(dtype="bool", nullable=False, description="Whether the job was in trouble"),
        "cause": Column(dtype="string", allowed=CAUSES, description="Of the trouble; null where none"),
        "p_run_fails": Column(dtype="float64", nullable=False, description="Chance that a run of the day failed"),
        "p_fails_1d": Column(dtype="float64", nullable=False, description="That a run of the next day fails"),
        **{
            f"p_{health}": Column(
                dtype="float64", nullable=False, description=f"That the next 7 days are {health}; given that it runs"
            )
            for health in ("healthy", "degraded", "failing")
        },
        **{
            f"p_{cause}": Column(dtype="float64", nullable=False, description=f"That a failure in 7 days is of {cause}")
            for cause in CAUSES
        },
        "expected_seconds": Column(dtype="float64", nullable=False, description="Median length of the next day's runs"),
        "expected_recovery": Column(dtype="float64", nullable=False, description="Minutes to mend a failure in 7 days"),
    },
)

SLOTS, HISTORY, TEAMS = 5240, 98, 40
#: How often jobs run: share of the jobs, runs a day, whether at weekends too.
SCHEDULES = ((0.36, 1, False), (0.46, 1, True), (0.15, 3, True), (0.03, 8, True))
TROUBLED, TROUBLE_DAYS = 0.25, 22.5
MEND = np.array([4.7, 4.4, 3.0, 3.8])
LEVEL_DAYS, DRIFT, WEEKDAY = 38.5, 0.9, 0.04


@dataclass(frozen=True)
class World:
    """Hidden states: (s, d), but ``prone`` (s, d, causes)."""

    who: Slots
    runs: np.ndarray
    trouble: np.ndarray
    cause: np.ndarray
    strength: np.ndarray
    frailty: np.ndarray
    prone: np.ndarray
    length: np.ndarray
    level: np.ndarray
    drift: np.ndarray
    weekday: np.ndarray
    burden: np.ndarray

    @property
    def p_fails(self) -> np.ndarray:
        return chance(self.frailty, self.strength * self.trouble)

    @property
    def seconds(self) -> np.ndarray:
        """Logarithm of a run's length, without its noise."""
        sick = 0.25 * self.trouble * self.strength * (self.cause == CAUSES.index("cluster"))
        return self.length + self.level + self.drift + self.weekday + sick


def chance(frailty: np.ndarray, strength: np.ndarray | float) -> np.ndarray:
    """That a run fails."""
    return sigmoid(-3.5 + frailty + 2.6 * strength)


def _world(draws: Draws, who: Slots, days: np.ndarray) -> World:
    slot, number, count = who.slot, who.number, len(who)
    own = (number,)
    block = draws.blocks("trouble", slot, days, low=10, high=35)
    at = (slot[:, None], block)
    causes = np.arange(len(CAUSES))
    prone = np.exp(0.9 * draws.normal("prone", number[:, :, None], causes))
    prone /= prone.sum(2, keepdims=True)
    pick = draws.uniform("cause", *at)[:, :, None]
    level = draws.blocks("level", slot, days, low=21, high=56)
    team = (slot % TEAMS)[:, None]
    burden = draws.blocks("burden", np.arange(TEAMS), days, low=21, high=56)[slot % TEAMS]
    return World(
        who=who,
        runs=_scheduled(draws, slot, days) * who.alive,
        trouble=draws.uniform("troubled", *at) < TROUBLED,
        cause=(pick > prone.cumsum(2)[:, :, :-1]).sum(2),
        strength=draws.between(0.75, 1.25, "strength", *at),
        frailty=0.6 * draws.normal("frailty", *own),
        prone=prone,
        length=6.0 + 0.8 * draws.normal("length", *own),
        level=0.35 * draws.normal("level", slot[:, None], level),
        drift=0.3 * draws.drift("drift", count, days, DRIFT),
        weekday=WEEKDAY * draws.normal("weekday", number, (days + EPOCH.weekday()) % 7),
        burden=0.55 * draws.normal("burden", team, burden),
    )


def _scheduled(draws: Draws, slot: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Runs that are due: (s, d)."""
    kind = np.searchsorted(np.cumsum([s[0] for s in SCHEDULES])[:-1], draws.uniform("schedule", slot))
    each, weekends = (np.array([s[i] for s in SCHEDULES])[kind][:, None] for i in (1, 2))
    weekend = ((days + EPOCH.weekday()) % 7 >= 5)[None, :]
    return np.where(weekend & ~weekends.astype(bool), 0, each)


def _runs(draws: Draws, world: World, days: np.ndarray) -> pl.DataFrame:
    """Every run, whenever it arrives, in the columns of the contract and ``late`` (days)."""
    frames = []
    for j, day in enumerate(days):
        frames.append(_day(np.random.default_rng([draws.seed, 71, int(day)]), world, j, int(day)))
    return pl.concat(frames)


def _day(random: np.random.Generator, world: World, j: int, day: int) -> pl.DataFrame:
    """One day's runs. All slots draw for all their runs, so that who lives changes nothing for the others."""
    due = world.runs[:, j]
    s = np.repeat(np.arange(len(due)), due)
    nth = np.arange(len(s)) - np.repeat(np.cumsum(due) - due, due)
    m = len(s)
    sick = np.where(world.trouble[s, j], world.strength[s, j], 0.0)
    symptom = [sick * (world.cause[s, j] == c) for c in range(len(CAUSES))]
    failed = random.random(m) < world.p_fails[s, j]
    cancelled = ~failed & (random.random(m) < 0.004)
    known = (random.random(m) < 0.8) & world.trouble[s, j]
    drawn = (random.random(m)[:, None] > world.prone[s, j].cumsum(1)[:, :-1]).sum(1)
    why = np.where(known, world.cause[s, j], drawn)
    length = np.exp(world.seconds[s, j] + 0.05 * random.standard_normal(m))
    weekend = 0.4 * ((day + EPOCH.weekday()) % 7 >= 5)
    mend = np.exp(MEND[why] + world.burden[s, j] + weekend + 0.4 * random.standard_normal(m)).clip(1, 600)
    second = ((nth + random.random(m)) / np.maximum(due[s], 1) * 14 * 3600).astype(np.int64)
    numbers = {
        "slot": s,
        "number": world.who.number[s, j],
        "nth": nth,
        "second": second,
        "failed": failed,
        "cancelled": cancelled,
        "why": why,
        "duration_seconds": (length * np.where(failed | cancelled, random.uniform(0.1, 1, m), 1)).round(2),
        "queue_seconds": np.exp(3 + 0.8 * random.standard_normal(m)).round(2),
        "task_retries": random.poisson(np.exp(-2.0 + 2.0 * sick)),
        "new_version": random.random(m) < np.where(symptom[0] > 0, 0.6 * symptom[0], 0.06),
        "input_records": np.exp(9 + world.level[s, j] + world.drift[s, j] + 0.4 * random.standard_normal(m)).round(0),
        "broken_records": np.exp(2.0 + 2.8 * symptom[1] + 1.0 * random.standard_normal(m)).round(2),
        "memory_share": sigmoid(-0.4 + 2.3 * symptom[2] + 0.6 * random.standard_normal(m)).round(4),
        "waited_minutes": np.exp(0.5 + 2.5 * symptom[3] + 0.8 * random.standard_normal(m)).round(2),
        "open_tickets": random.poisson(np.exp(1.5 + 1.2 * world.burden[s, j])),
        "recovery_minutes": mend.round(1),
        "blind": random.random(m) < 0.01,
        "manual": random.random(m) < 0.02 + 0.05 * (sick > 0),
        "late": np.searchsorted([0.985, 0.995], random.random(m)),
        "lost": random.random(m) < 0.006,
    }
    return pl.DataFrame(numbers).with_columns(day=pl.lit(day, pl.Int64))


def _described(runs: pl.DataFrame) -> pl.DataFrame:
    """Indices -> the columns of the contract."""
    day = pl.lit(EPOCH) + pl.duration(days="day")
    measured = ("memory_share", "broken_records", "waited_minutes")
    return runs.with_columns(
        job_id=job_ids(),
        run_date=day,
        team=pl.format("team-{}@example.com", pl.col("slot") % TEAMS + 1),
        start_time=(day.cast(pl.Datetime("us", "UTC")) + pl.duration(seconds="second")),
        ingestion_date=day + pl.duration(days="late"),
        trigger_type=pl.when("manual").then(pl.lit("MANUAL")).otherwise(pl.lit("PERIODIC")),
        result_state=pl.when("failed")
        .then(pl.lit("FAILED"))
        .when("cancelled")
        .then(pl.lit("CANCELED"))
        .otherwise(pl.lit("SUCCEEDED")),
        error_class=pl.when("failed").then(
            pl.col("why").replace_strict(dict(enumerate(CAUSES)), return_dtype=pl.String)
        ),
        recovery_minutes=pl.when("failed").then("recovery_minutes"),
        **{c: pl.when(~pl.col("blind")).then(c) for c in measured},
    ).select(
        pl.format("{}:{}:{}", "job_id", pl.col("run_date").dt.strftime("%Y%m%d"), "nth").alias("run_id"),
        *(c for c in fact_job_run_timeline.columns if c != "run_id"),
    )


def job_ids() -> pl.Expr:
    """``job_0001``, and ``job_0004_26`` for the 26th that lives in a slot."""
    name = pl.format("job_{}", (pl.col("slot") + 1).cast(pl.String).str.zfill(4))
    life = pl.col("number") - pl.col("slot") * 4096
    return pl.when(life > 0).then(pl.format("{}_{}", name, life)).otherwise(name)


def binomial(runs: np.ndarray, p: np.ndarray, most: np.ndarray) -> np.ndarray:
    """That of ``runs`` at most ``most`` fail, each with the chance ``p``."""
    term = (1 - p) ** runs
    total = np.where(most >= 0, term, 0.0)
    for k in range(1, int(most.max(initial=0)) + 1):
        term = term * (runs - k + 1).clip(0) / k * p / (1 - p)
        total += np.where(k <= most, term, 0.0)
    return total.clip(0, 1)


def _answers(draws: Draws, world: World, days: np.ndarray) -> dict[str, np.ndarray]:
    """What the states of a day would answer about the days after it: (s, d) each."""
    usual = (1 - TROUBLED) * chance(world.frailty, 0) + TROUBLED * chance(world.frailty, 1)
    ahead = np.arange(days[0], days[-1] + 8)
    due = _scheduled(draws, world.who.slot, ahead)
    week = np.stack([due[:, j + 1 : j + 8].sum(1) for j in range(len(days))], axis=1)
    tomorrow = due[:, 1 : len(days) + 1]
    now, one, seven = world.p_fails, stays(TROUBLE_DAYS, 1), stays(TROUBLE_DAYS, 7)
    mostly, rarely = (np.floor(week * share + 1e-9).astype(int) for share in (0.25, 0.05))
    upto = [seven * binomial(week, now, k) + (1 - seven) * binomial(week, usual, k) for k in (rarely, mostly)]
    causes = np.arange(len(CAUSES))
    mixed = 0.8 * (world.cause[:, :, None] == causes) + 0.2 * world.prone
    weight = (seven * now / (seven * now + (1 - seven) * usual) * world.trouble)[:, :, None]
    of = weight * mixed + (1 - weight) * world.prone
    weekday = WEEKDAY * draws.normal("weekday", world.who.number, (days + 1 + EPOCH.weekday()) % 7)
    burden = world.burden * stays(LEVEL_DAYS, 7)
    sick = 0.25 * world.trouble * world.strength * (world.cause == CAUSES.index("cluster")) * one
    return {
        "p_run_fails": now,
        "p_fails_1d": 1 - one * (1 - now) ** tomorrow - (1 - one) * (1 - usual) ** tomorrow,
        "p_healthy": upto[0],
        "p_degraded": upto[1] - upto[0],
        "p_failing": 1 - upto[1],
        **{f"p_{name}": of[:, :, i] for i, name in enumerate(CAUSES)},
        "expected_seconds": np.exp(
            world.length + world.level * stays(LEVEL_DAYS, 1) + world.drift * DRIFT + weekday + sick
        ),
        # The mean of what noise multiplies: exp(0.4 ** 2 / 2); and two days in seven are a weekend's.
        "expected_recovery": (of * np.exp(MEND)).sum(2) * np.exp(burden + 0.08) * (1 + 2 / 7 * 0.49),
    }


def _truth(draws: Draws, world: World, days: np.ndarray) -> pl.DataFrame:
    s, d = np.nonzero(world.who.alive)
    answers = {name: values[s, d].round(6) for name, values in _answers(draws, world, days).items()}
    states = {
        "slot": s,
        "number": world.who.number[s, d],
        "day": days[d],
        "trouble": world.trouble[s, d],
        "why": world.cause[s, d],
    }
    return (
        pl.DataFrame(states | answers)
        .with_columns(
            job_id=job_ids(),
            run_date=pl.lit(EPOCH) + pl.duration(days="day"),
            cause=pl.when("trouble").then(
                pl.col("why").replace_strict(dict(enumerate(CAUSES)), return_dtype=pl.String)
            ),
        )
        .select(*jobs_truth.columns)
    )


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``fact_job_run_timeline`` and ``jobs_truth`` of the ``HISTORY`` days up to ``end`` (yesterday, UTC, by default).

    At scale 1 about 670,000 runs, of which reliability_features makes about 434,700 rows.
    """
    end = end or datetime.now(UTC).date() - timedelta(days=1)
    last = (end - EPOCH).days
    days = np.arange(last - HISTORY + 1, last + 1)
    draws = Draws(seed)
    world = _world(draws, slots(draws, "job", max(20, round(SLOTS * scale)), days), days)
    runs = _runs(draws, world, days).filter((pl.col("day") + pl.col("late") <= last) & ~pl.col("lost"))
    return {
        "fact_job_run_timeline": _described(runs).sort("run_date", "run_id"),
        "jobs_truth": _truth(draws, world, days),
    }
