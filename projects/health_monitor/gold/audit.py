"""The audit log, and a sample world with a planted truth.

THE PLANTED TRUTH. Every user is a pure function of (seed, user, day): a later ``end`` adds days, and the lines that
came late, and changes no other row. Two users in five are short-lived. Hidden states of each day:

- ``persona``: what a user is (``analyst``, ``engineer``, ``admin`` or ``service``, a program that also works at night
  and at weekends); it decides how often each kind of action is done, with a spread of the user's own. One in seven
  changes it every two to four months.
- ``carelessness``: the user's own and a level of three to seven weeks. It makes exports, shares with strangers and work
  from outside more frequent, and by chance, violations that the policy engine finds: about one user in ten has one in a
  week.
- ``need``: for two to six weeks a user may need more rights than the user has, to ``read``, ``write`` or ``admin``ister
  something. Then such actions are denied, and now and then the right is granted for one thing of many. Grants without
  such a need exist, and of another right than is needed.
- ``intrusion``: about one user-day in 250 somebody else uses the account, for one to four days: logins fail, work comes
  from outside and at night, much is exported; sometimes so little that nobody could see it.
- Rows that real systems have: lines that arrive one or two days late, lost lines, lines without their origin.

``audit_truth`` holds, for every day that a user lives, the states and what they would answer to each model's question
about the days after it: states may end by then, and nobody can know what chance will bring.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from karat_projects.health_monitor.gold._draws import EPOCH, Draws, Slots, slots, stays

from karat.declare import Column, GoldTable, between, fresh, matches, not_null, volume

PERSONAS = ("analyst", "engineer", "admin", "service")
RIGHTS = ("read", "write", "admin")
ORIGINS = ("office", "vpn", "outside")
#: Kinds of line: service, action, category, outcome, and how often a day for each persona.
KINDS = (
    ("accounts", "login", "login", "allowed", (1.6, 1.8, 1.6, 5.0)),
    ("accounts", "login", "login", "failed", (0.12, 0.12, 0.1, 0.1)),
    ("sql", "executeQuery", "read", "allowed", (14.0, 5.0, 2.0, 25.0)),
    ("unityCatalog", "getTable", "read", "denied", (0.06, 0.06, 0.03, 0.02)),
    ("sql", "updateTable", "write", "allowed", (0.5, 9.0, 1.0, 16.0)),
    ("unityCatalog", "updateTable", "write", "denied", (0.05, 0.06, 0.03, 0.02)),
    ("workspace", "changeSetting", "admin", "allowed", (0.03, 0.25, 5.0, 0.05)),
    ("workspace", "changeSetting", "admin", "denied", (0.04, 0.05, 0.04, 0.02)),
    ("sql", "downloadResult", "export", "allowed", (0.7, 0.2, 0.1, 0.05)),
    ("sharing", "shareOutside", "share", "allowed", (0.06, 0.05, 0.06, 0.01)),
    ("accounts", "createToken", "token", "allowed", (0.03, 0.12, 0.1, 0.05)),
    ("policy", "violation", "violation", "denied", (1.0, 1.0, 1.0, 1.0)),
    ("unityCatalog", "grantRead", "grant", "allowed", (1.0, 1.0, 1.0, 1.0)),
    ("unityCatalog", "grantWrite", "grant", "allowed", (1.0, 1.0, 1.0, 1.0)),
    ("unityCatalog", "grantAdmin", "grant", "allowed", (1.0, 1.0, 1.0, 1.0)),
)
LOGIN, FAILED, READ, EXPORT, SHARE, TOKEN, VIOLATION, GRANT = 0, 1, 2, 8, 9, 10, 11, 12
DENIED = (3, 5, 7)
CATEGORIES = tuple(dict.fromkeys(kind[2] for kind in KINDS))

fact_audit_logs = GoldTable(
    name="fact_audit_logs",
    description="The audit log, rolled up: what a user did on a day, by kind of action, with its outcome",
    owner="security",
    key=("audit_id",),
    event_time="event_date",
    cluster_by=("user_id",),
    checks=(
        matches("ingestion_date >= event_date", description="No line arrives before what it tells"),
        matches("night_count <= event_count", on_fail="warn"),
        matches("outside_count <= event_count", on_fail="warn"),
        not_null("outside_count", at_most=0.1, on_fail="warn"),
        between("event_count", 1, on_fail="set_aside"),
        fresh("3d"),
        volume(fall=0.95, rise=8, on_fail="warn", description="Weekends are short, but not so much"),
    ),
    columns={
        "audit_id": Column(dtype="string", description="Line; unique over all users"),
        "user_id": Column(dtype="string", nullable=False, description="Who did it, or a program's account"),
        "event_date": Column(dtype="date", nullable=False, description="UTC day"),
        "ingestion_date": Column(dtype="date", description="UTC day on which the line arrived"),
        "service_name": Column(dtype="string", nullable=False, description="Where it was done"),
        "action_name": Column(dtype="string", nullable=False, description="What was done"),
        "category": Column(dtype="string", nullable=False, allowed=CATEGORIES, description="Of what kind that is"),
        "outcome": Column(dtype="string", allowed=("allowed", "denied", "failed"), description="How it ended"),
        "event_count": Column(dtype="int64", nullable=False, description="How often, on the day"),
        "night_count": Column(dtype="int64", minimum=0, description="Of these, from 22:00 to 6:00 of the user's time"),
        "outside_count": Column(dtype="int64", minimum=0, description="Of these, from neither office nor VPN"),
        "object_count": Column(dtype="int64", minimum=0, description="Different tables and files"),
    },
)

audit_truth = GoldTable(
    name="audit_truth",
    description="The hidden states behind the sample's fact_audit_logs, and what they would answer; sample data only",
    owner="security",
    key=("user_id", "event_date"),
    event_time="event_date",
    truth=True,
    columns={
        "user_id": Column(dtype="string", description="As in fact_audit_logs"),
        "event_date": Column(dtype="date", description="As in fact_audit_logs"),
        "persona": Column(dtype="string", nullable=False, allowed=PERSONAS, description="What the user is"),
        "intrusion": Column(dtype="bool", nullable=False, description="Whether somebody else used the account"),
        "intrusion_strength": Column(dtype="float64", nullable=False, description="How much; 0 where none"),
        "carelessness": Column(dtype="float64", nullable=False, description="Around 0; above, more violations"),
        "need": Column(dtype="string", allowed=RIGHTS, description="The right that is needed; null where none"),
        "p_violation_7d": Column(dtype="float64", nullable=False, description="That there is one in the next 7 days"),
        **{
            f"p_{right}": Column(
                dtype="float64", nullable=False, description=f"That most rights granted in 14 days are to {right}"
            )
            for right in RIGHTS
        },
    },
)

SLOTS, HISTORY = 9078, 98
CARELESS_DAYS, NEED_DAYS, NEEDS = 35.0, 28.0, 0.4
#: A day's chance of a violation of a user without carelessness, and of a grant without a need and with one.
VIOLATION_RATE, GRANT_RATE, GRANT_NEEDED = 0.008, 0.012, 0.12


@dataclass(frozen=True)
class World:
    """Hidden states: (s, d) each."""

    who: Slots
    works: np.ndarray
    persona: np.ndarray
    careless: np.ndarray
    own_careless: np.ndarray
    need: np.ndarray
    needs: np.ndarray
    intrusion: np.ndarray


def _world(draws: Draws, who: Slots, days: np.ndarray) -> World:
    slot = who.slot
    at = slot[:, None]
    persona = _persona(draws, who, days)
    own = 0.7 * draws.normal("careless", who.number)
    level = 0.9 * draws.normal("careless level", at, draws.blocks("careless", slot, days, low=21, high=49))
    block = draws.blocks("need", slot, days, low=14, high=42)
    return World(
        who=who,
        works=_works(draws, slot, days, persona) & who.alive,
        persona=persona,
        careless=own + level,
        own_careless=own,
        need=np.searchsorted([0.45, 0.8], draws.uniform("right", at, block)),
        needs=draws.uniform("needs", at, block) < NEEDS,
        intrusion=_intrusions(draws, len(who), days),
    )


def _persona(draws: Draws, who: Slots, days: np.ndarray) -> np.ndarray:
    block = draws.blocks("persona", who.slot, days, low=60, high=120)
    moves = draws.uniform("moves", who.slot)[:, None] < 0.15
    return np.searchsorted([0.5, 0.8, 0.9], draws.uniform("persona", who.number, np.where(moves, block, 0)))


def _works(draws: Draws, slot: np.ndarray, days: np.ndarray, persona: np.ndarray) -> np.ndarray:
    weekend = ((days + EPOCH.weekday()) % 7 >= 5)[None, :]
    usual = np.where(weekend, draws.between(0.02, 0.35, "weekend", slot)[:, None], 0.93)
    chance = np.where(persona == PERSONAS.index("service"), 0.98, usual)
    return draws.daily("works", days, lambda random, j: random.random(len(slot)) < chance[:, j])


def _intrusions(draws: Draws, count: int, days: np.ndarray) -> np.ndarray:
    """The strength, 0 where there is none."""
    found = np.zeros((count, len(days)))
    for back in (3, 2, 1, 0):
        begins, lasts, strength = (
            draws.daily(name, days - back, lambda random, _: random.random(count))
            for name in ("begins", "lasts", "strength")
        )
        found = np.where((begins < 0.0017) & (lasts * 4 > back), 0.3 + 1.7 * strength, found)
    return found


def _rates(draws: Draws, world: World, kind: int) -> np.ndarray:
    """How often a kind of action is to be expected on each day: (s, d)."""
    usual = np.array(KINDS[kind][4])[world.persona] * np.exp(0.35 * draws.normal(f"own {kind}", world.who.number))
    care, strength = np.exp(0.8 * world.careless), world.intrusion
    if kind == VIOLATION:
        return VIOLATION_RATE * np.exp(world.careless)
    if kind >= GRANT:
        return np.where(world.needs & (world.need == kind - GRANT), GRANT_NEEDED, GRANT_RATE)
    if kind in (EXPORT, SHARE, TOKEN):
        return usual * care + strength * {EXPORT: 6.0, SHARE: 0.8, TOKEN: 0.5}[kind]
    if kind == FAILED:
        return usual + 3.0 * strength
    if kind in DENIED:
        return usual + 0.9 * (world.needs & (world.need == DENIED.index(kind))) + 1.2 * strength
    return usual * (1 + (0.5 * strength if kind == READ else 0.0))


def _lines(draws: Draws, world: World, days: np.ndarray) -> pl.DataFrame:
    """A line for each kind that a user did on a day, in the numbers of the contract, ``kind`` and ``late`` (days)."""
    night = (np.where(world.persona == PERSONAS.index("service"), 0.33, 0.03) + 0.25 * world.intrusion).clip(0, 0.9)
    outside = (0.05 * np.exp(0.7 * world.careless) + 0.4 * world.intrusion).clip(0, 0.95)
    parts = []
    for kind in range(len(KINDS)):
        rates = np.where(world.works, _rates(draws, world, kind), 0.0)
        for j, day in enumerate(days):
            random = np.random.default_rng([draws.seed, 73, kind, int(day)])
            lines = _kind_of_day(random, rates[:, j], night[:, j], outside[:, j])
            of = {"number": world.who.number[lines["slot"].to_numpy(), j]}
            parts.append(lines.with_columns(**of, kind=pl.lit(kind, pl.Int64), day=pl.lit(int(day), pl.Int64)))
    return pl.concat(parts)


def _kind_of_day(
    random: np.random.Generator, rates: np.ndarray, night: np.ndarray, outside: np.ndarray
) -> pl.DataFrame:
    count = random.poisson(rates)
    s = np.flatnonzero(count)
    n, m = count[s], len(s)
    return pl.DataFrame(
        {
            "slot": s,
            "event_count": n,
            "night_count": random.binomial(n, night[s]),
            "outside_count": random.binomial(n, outside[s]),
            "object_count": 1 + random.binomial(n - 1, 0.4),
            "late": np.searchsorted([0.99, 0.996], random.random(m)),
            "lost": random.random(m) < 0.003,
            "blind": random.random(m) < 0.02,
        }
    )


def user_ids() -> pl.Expr:
    """``user_123``, and ``user_124_26`` for the 26th that lives in a slot."""
    name = pl.format("user_{}", pl.col("slot") + 1)
    life = pl.col("number") - pl.col("slot") * 4096
    return pl.when(life > 0).then(pl.format("{}_{}", name, life)).otherwise(name)


def _described(lines: pl.DataFrame) -> pl.DataFrame:
    """Indices -> the columns of the contract."""
    day = pl.lit(EPOCH) + pl.duration(days="day")
    told = {
        name: pl.col("kind").replace_strict({k: kind[i] for k, kind in enumerate(KINDS)}, return_dtype=pl.String)
        for i, name in enumerate(("service_name", "action_name", "category", "outcome"))
    }
    return lines.with_columns(
        user_id=user_ids(),
        event_date=day,
        ingestion_date=day + pl.duration(days="late"),
        outside_count=pl.when(~pl.col("blind")).then("outside_count"),
        **told,
    ).select(
        pl.format("{}:{}:{}", "user_id", pl.col("event_date").dt.strftime("%Y%m%d"), "kind").alias("audit_id"),
        *(c for c in fact_audit_logs.columns if c != "audit_id"),
    )


def _answers(world: World) -> dict[str, np.ndarray]:
    """What the states of a day would answer about the days after it: (s, d) each."""
    weekdays = np.where(world.persona == PERSONAS.index("service"), 6.9, 5.0)
    still = stays(CARELESS_DAYS, 7)
    # The mean over another level: exp(0.9 ** 2 / 2).
    rate = VIOLATION_RATE * (still * np.exp(world.careless) + (1 - still) * np.exp(world.own_careless + 0.405))
    needed = stays(NEED_DAYS, 14) * world.needs
    rates = [GRANT_RATE + GRANT_NEEDED * (needed * (world.need == i) + (1 - needed) * NEEDS / 4) for i in range(3)]
    return {
        "intrusion_strength": world.intrusion,
        "carelessness": world.careless,
        "p_violation_7d": 1 - np.exp(-rate * weekdays),
        **{f"p_{right}": rates[i] / sum(rates) for i, right in enumerate(RIGHTS)},
    }


def _truth(world: World, days: np.ndarray) -> pl.DataFrame:
    s, d = np.nonzero(world.who.alive)
    states = {
        "slot": s,
        "number": world.who.number[s, d],
        "day": days[d],
        "persona": pl.Series(PERSONAS)[world.persona[s, d]],
        "intrusion": world.intrusion[s, d] > 0,
        "need": pl.Series((*RIGHTS, None))[np.where(world.needs, world.need, 3)[s, d]],
    }
    return (
        pl.DataFrame(states | {name: values[s, d].round(6) for name, values in _answers(world).items()})
        .with_columns(user_id=user_ids(), event_date=pl.lit(EPOCH) + pl.duration(days="day"))
        .select(*audit_truth.columns)
    )


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``fact_audit_logs`` and ``audit_truth`` of the ``HISTORY`` days up to ``end`` (yesterday, UTC, by default).

    At scale 1 about 2.3 million lines, of which security_features makes about 625,800 rows.
    """
    end = end or datetime.now(UTC).date() - timedelta(days=1)
    last = (end - EPOCH).days
    days = np.arange(last - HISTORY + 1, last + 1)
    draws = Draws(seed)
    world = _world(draws, slots(draws, "user", max(30, round(SLOTS * scale)), days), days)
    lines = _lines(draws, world, days).filter((pl.col("day") + pl.col("late") <= last) & ~pl.col("lost"))
    return {"fact_audit_logs": _described(lines).sort("event_date", "audit_id"), "audit_truth": _truth(world, days)}
