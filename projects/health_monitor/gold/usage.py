"""Billing lines (``fact_usage``), and a sample of them with a planted truth.

THE PLANTED TRUTH. Each workspace is a pure function of (seed, workspace, day): a later ``end`` adds days, and the rows
that came late, and changes no other row. Consumption of workspace i, day t, SKU s, environment e (prod or dev) is

    base_i mix_is split_ie week_iet close_it exp(cycle_it + drift_it + regime_it + noise_iste) life_it incident_its

- ``base`` log-normal over workspaces; ``cycle`` a slow wave of 120 to 300 days (growth, then decline); ``drift`` an
  AR(1)-like wander that reverts within a week; ``regime`` a level that jumps every three to eight weeks (projects).
- ``week``: weekends are quieter. Development falls to a tenth where clusters are stopped. While the hidden state
  ``autostop_off`` holds, they idle through the nights of the week, and six weekends in seven they are left running;
  without it, one in thirty. Policies are reviewed on a Monday, every one to two weeks, so the week's nights tell of
  the weekend after them and the weekend before does not.
- ``close``: month-end closing brings two and a half times the work on a month's last two working days and on the first
  of the next.
- ``life``: two workspaces in five are short-lived: they begin within a week, wind down in their last five days,
  vanish, and another one comes.
- ``incident``: on about 1 workspace-day in 20 a ``runaway`` job multiplies one SKU, a ``serving_surge`` brings a SKU
  that was hardly used, or an ``outage`` takes most of a day: for one to three days, of any strength, some too mild
  to be seen.
- Commitments: nineteen workspaces in twenty have bought a daily amount of compute at a quarter off, renewed every 40 to
  70 days. Most buy less than they need, so that they use it but at weekends and in quiet times. What is above it is
  bought at list price, what is not used is paid all the same.
- Tags: a workspace's discipline wanders slowly; each stream of cost (SKU and environment) keeps its tags for one to
  three months, then may lose or gain a cost centre, an owner, a project; one stream in thirty lacks its environment.
- Rows that real systems have: credits (negative), corrections that take back a line (negative, days late), rows that
  arrive one to five days late (so the last days are incomplete), lost rows and lost days, null tags.

Labels are sums over later rows of ``fact_usage``, which have noise, regime jumps and incidents that no earlier row
foretells. ``cost_truth`` holds the hidden states of every workspace-day, also of the month after a workspace has
vanished, and what they would answer to each model's question about the days after it; for evaluation alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from karat_projects.health_monitor.gold._ahead import (
    AHEAD,
    DISCOUNT,
    DRIFT,
    FORGOTTEN,
    IDLE,
    NIGHTS,
    OFF,
    REGIME,
    REMEMBERED,
    Outlook,
    answers,
)
from karat_projects.health_monitor.gold._draws import EPOCH, MEMORY, Draws

from karat.declare import Column, GoldTable, fresh, matches, not_null, volume

CHARGE_CATEGORIES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
PRICING_CATEGORIES = ("Standard", "Committed", "Dynamic", "Other")

fact_usage = GoldTable(
    name="fact_usage",
    description="One line of a bill, in the terms of FOCUS 1.0: what a workspace (account, subscription) used on a day",
    owner="finops",
    key=("usage_id",),
    event_time="usage_date",
    cluster_by=("workspace_id",),
    checks=(
        matches("ingestion_date >= usage_date", description="No line arrives before what it bills was used"),
        matches("charge_class IS NULL OR charge_category <> 'Credit'", on_fail="warn", description="Credits are final"),
        not_null("effective_cost", at_most=0.05, description="What is not priced is in no sum"),
        not_null("service_category", at_most=0.2, on_fail="warn"),
        fresh("3d"),
        volume(fall=0.8, rise=4, on_fail="warn", description="Late lines leave the last days short, but not so much"),
    ),
    columns={
        "usage_id": Column(dtype="string", description="Line of the bill; begins with its source, unique over all"),
        "provider": Column(dtype="string", nullable=False, description="Databricks, AWS, Microsoft, Oracle ..."),
        "workspace_id": Column(dtype="string", nullable=False, description="Workspace, account or subscription"),
        "workspace_name": Column(dtype="string", description="Its display name"),
        "usage_date": Column(dtype="date", nullable=False, description="UTC day on which the charge period begins"),
        "ingestion_date": Column(dtype="date", description="UTC day on which the line arrived, where that is known"),
        "service_name": Column(dtype="string", description="The provider's product"),
        "service_category": Column(
            dtype="string", description="FOCUS service category: Compute, Storage, Analytics ..."
        ),
        "sku": Column(dtype="string", description="What is priced: SKU name or id"),
        "region": Column(dtype="string", description="Region of the resource"),
        "charge_category": Column(
            dtype="string", nullable=False, allowed=CHARGE_CATEGORIES, description="FOCUS charge category"
        ),
        "charge_class": Column(
            dtype="string", allowed=("Correction",), description="Correction where the line mends an earlier one"
        ),
        "pricing_category": Column(
            dtype="string",
            allowed=PRICING_CATEGORIES,
            description="FOCUS pricing category: Standard is on demand, Committed under a commitment",
        ),
        "commitment_status": Column(
            dtype="string", allowed=("Used", "Unused"), description="Whether committed capacity was used"
        ),
        "usage_quantity": Column(dtype="float64", description="Quantity in usage_unit; negative takes back"),
        "usage_unit": Column(dtype="string", description="DBU, GB, Hours, Requests ..."),
        "dbus": Column(
            dtype="float64",
            description="Consumption in DBU; other providers' lines at list cost over a reference 0.55 dollars a DBU",
        ),
        "list_cost": Column(dtype="float64", description="Cost at the public price, in currency; negative is a credit"),
        "effective_cost": Column(
            dtype="float64", description="Cost after discounts, commitments spread over their use"
        ),
        "currency": Column(dtype="string", description="ISO 4217 code of both costs"),
        "environment": Column(dtype="string", description="Tag: prod, dev ...; null where there is none"),
        "cost_center": Column(dtype="string", description="Tag: who pays; null where there is none"),
        "owner": Column(dtype="string", description="Tag: who answers for it; null where there is none"),
        "project": Column(dtype="string", description="Tag: project or application; null where there is none"),
    },
)

cost_truth = GoldTable(
    name="cost_truth",
    description="The hidden states behind the sample's fact_usage, one row a workspace and day; sample data only",
    owner="finops",
    key=("workspace_id", "usage_date"),
    event_time="usage_date",
    truth=True,
    columns={
        "workspace_id": Column(dtype="string", description="As in fact_usage"),
        "usage_date": Column(dtype="date", description="As in fact_usage"),
        "incident": Column(dtype="bool", nullable=False, description="Whether an incident was under way"),
        "incident_kind": Column(
            dtype="string", allowed=("runaway", "serving_surge", "outage"), description="Which; null where none"
        ),
        "incident_factor": Column(dtype="float64", nullable=False, description="What it multiplied; 1 where none"),
        "expected_dbu": Column(dtype="float64", nullable=False, description="DBU without daily noise and incident"),
        "autostop_off": Column(dtype="bool", nullable=False, description="Development clusters run on at weekends"),
        "committed_cost": Column(dtype="float64", nullable=False, description="Committed a day, dollars at list price"),
        "tag_discipline": Column(dtype="float64", nullable=False, description="Share of streams that get their tags"),
        "cost_next_7d": Column(dtype="float64", nullable=False, description="Median cost of the next 7 days, dollars"),
        "chargeable_next_7d": Column(dtype="float64", nullable=False, description="Mean of what has a cost centre"),
        "avoidable_next_7d": Column(dtype="float64", nullable=False, description="Median of what could be saved"),
        "p_left_running": Column(dtype="float64", nullable=False, description="That the next weekend is forgotten"),
        "p_steady_on_demand": Column(
            dtype="float64", nullable=False, description="That compute is bought on demand on 12 of the next 14 days"
        ),
    },
)

# SKU, its service, FOCUS category, list dollars a DBU, mean share of a workspace's DBU.
SKUS = (
    ("PREMIUM_JOBS_COMPUTE", "Jobs", "Compute", 0.15, 0.40),
    ("PREMIUM_ALL_PURPOSE_COMPUTE", "Interactive", "Compute", 0.55, 0.22),
    ("PREMIUM_SQL_PRO_COMPUTE", "SQL", "Databases", 0.55, 0.20),
    ("PREMIUM_DLT_ADVANCED_COMPUTE", "Pipelines", "Analytics", 0.36, 0.12),
    ("PREMIUM_SERVERLESS_REAL_TIME_INFERENCE", "Model Serving", "AI and Machine Learning", 0.07, 0.06),
)
# SKUs that no stream consumes.
OTHERS = (("PREMIUM_COMPUTE_COMMITMENT", "Commitment", "Compute"), ("PROMOTIONAL_CREDIT", "Credit", "Other"))
COMMITMENT, CREDIT = len(SKUS), len(SKUS) + 1
JOBS, INTERACTIVE, SERVING = 0, 1, 4
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2")
ENVIRONMENTS = ("prod", "dev")
PRICE = np.array([sku[3] for sku in SKUS])
COMPUTE = np.array([sku[2] == "Compute" for sku in SKUS])

#: So many workspaces that an interval over whole workspaces does not depend on the day: see decision 0129.
SLOTS, HISTORY = 56, 98
#: Spread of the workspaces' sizes and of their mixes of SKUs, as standard deviations of a logarithm. With wider
#: ones, one large workspace decides whether a model is better than its baseline.
SIZES, MIXES = 0.2, 0.2
#: Probability that an incident begins on a workspace-day; range of the logarithm of its strength.
BEGINS, STRENGTH = 0.026, (0.6, 2.0)
#: Share of workspaces that buy commitments, and days that a contract runs. What they buy, as a logarithm over what they
#: need: how far less than that, its spread over workspaces, and its spread over the contracts of one of them.
BUYS, CONTRACT, CAUTION, SPREAD, JUMP = 0.95, (40, 70), 0.45, 0.2, 0.06
#: A workspace winds down over so many days before its end.
NOTICE = 5


@dataclass(frozen=True)
class Workspaces:
    """Who lives in the sample: arrays of shape (w,); days are counted from EPOCH."""

    ids: np.ndarray
    numbers: np.ndarray
    born: np.ndarray
    dies: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def _workspaces(draws: Draws, slots: int, first: int, last: int) -> Workspaces:
    """Three slots in five hold one workspace for ever; in the others one follows the other after a gap."""
    rows: list[tuple[str, int, int, int]] = []
    for slot in range(slots):
        if slot % 5 < 3:
            rows.append((f"ws_{slot + 1:03d}", slot * 4096, -(10**6), 10**6))
            continue
        length, gap = int(draws.between(60, 170, "len", slot)), int(draws.between(8, 25, "gap", slot))
        period, phase = length + gap, int(draws.between(0, 200, "phase", slot))
        for life in range((first - phase) // period, (last - phase) // period + 1):
            born = phase + life * period
            if born + length > first:
                rows.append((f"ws_{slot + 1:03d}_{life}", slot * 4096 + life + 1, born, born + length))
    ids, numbers, born_days, dies = zip(*rows, strict=True)
    return Workspaces(np.array(ids), *(np.array(column, np.int64) for column in (numbers, born_days, dies)))


def _drift(draws: Draws, numbers: np.ndarray, days: np.ndarray, memory: float, scale: float) -> np.ndarray:
    """An AR(1) cut off after MEMORY days, so that it needs no beginning: (w, d)."""
    reach = np.concatenate([np.arange(days[0] - MEMORY + 1, days[0]), days])
    shocks = draws.normal("drift", numbers[:, None], reach[None, :])
    kernel = memory ** np.arange(MEMORY)[::-1] * scale * np.sqrt(1 - memory**2)
    return np.lib.stride_tricks.sliding_window_view(shocks, MEMORY, axis=1) @ kernel


def _life(people: Workspaces, days: np.ndarray) -> np.ndarray:
    """0 before birth and after the end, in between a ramp of a week and a wind-down of five days: (w, d)."""
    left = _left(people, days)
    return np.where(left > 0, _ramp(people, days) * np.clip(left / (NOTICE + 1), 0.05, 1), 0.0)


def _left(people: Workspaces, days: np.ndarray) -> np.ndarray:
    return people.dies[:, None] - days[None, :]


def _ramp(people: Workspaces, days: np.ndarray) -> np.ndarray:
    age = days[None, :] - people.born[:, None]
    return np.where(age >= 0, 1 / (1 + np.exp(2.0 - age)), 0.0)


def _closing(days: np.ndarray) -> np.ndarray:
    """Whether a day is one of the last two working days of its month or the first of the next: (d,)."""
    dates = np.datetime64(EPOCH) + days
    month, ahead, back = (np.busday_offset(dates, by, roll="forward").astype("datetime64[M]") for by in (0, 2, -1))
    return np.is_busday(dates) & ((ahead != month) | (back != month))


def _incidents(draws: Draws, numbers: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kind (0 none, 1 runaway, 2 serving surge, 3 outage) and factor of each workspace-day: (w, d) twice."""
    kind, factor = np.zeros((len(numbers), len(days)), int), np.ones((len(numbers), len(days)))
    for back in (2, 1, 0):
        at = (numbers[:, None], days[None, :] - back)
        begins = (draws.uniform("incident", *at) < BEGINS) & (draws.uniform("lasts", *at) * 3 > back)
        which = 1 + np.searchsorted([0.55, 0.75], draws.uniform("kind", *at))
        strength = np.exp(draws.between(*STRENGTH, "strength", *at))
        size = np.choose(which - 1, [strength, 4 * strength, 1 / (1 + strength)])
        kind, factor = np.where(begins, which, kind), np.where(begins, size, factor)
    return kind, factor


@dataclass(frozen=True)
class World:
    """Hidden states by workspace and day (w, d), and DBU by workspace, day, SKU and environment (w, d, s, 2)."""

    expected: np.ndarray
    dbus: np.ndarray
    kind: np.ndarray
    factor: np.ndarray
    autostop_off: np.ndarray
    committed: np.ndarray
    discipline: np.ndarray
    answers: dict[str, np.ndarray]


def _world(draws: Draws, people: Workspaces, days: np.ndarray) -> World:
    n, w = people.numbers, people.numbers[:, None]
    base = np.exp(6.2 + SIZES * draws.normal("base", n))
    mix = np.array([sku[4] for sku in SKUS]) * np.exp(MIXES * draws.normal("mix", w, np.arange(len(SKUS))[None, :]))
    mix = mix / mix.sum(1, keepdims=True)
    autostop_off = _autostop_off(draws, n, days)
    discipline = 1 / (1 + np.exp(-(draws.normal("tags", w) + 0.6 + 0.8 * _wander(draws, n, days))))
    committed = _committed(draws, people, days, base * (mix * PRICE * COMPUTE).sum(1))
    alive = base[:, None] * _level(draws, n, days) * _life(people, days)
    week = _week(draws, n, days, autostop_off)
    calm = alive[:, :, None, None] * mix[:, None, :, None] * week[:, :, None, :]
    kind, factor = _incidents(draws, n, days)
    return World(
        expected=calm.sum((2, 3)),
        dbus=calm * _hit(draws, n, days, kind, factor) * _noise(draws, n, days),
        kind=np.where(alive > 0, kind, 0),
        factor=np.where(alive > 0, factor, 1.0),
        autostop_off=autostop_off,
        committed=committed,
        discipline=discipline,
        answers=answers(
            Outlook(
                cost=(base * (mix * PRICE).sum(1))[:, None],
                compute=(base * (mix * PRICE * COMPUTE).sum(1))[:, None],
                **_outlook(draws, people, days),
                off=autostop_off,
                committed=committed,
                tagged=_tagged_now(draws, n, days, mix, discipline),
                discipline=discipline,
            )
        ),
    )


def _autostop_off(draws: Draws, n: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Whether clusters idle through the night. Only a Monday changes it: (w, d)."""
    mondays = days - (days + EPOCH.weekday()) % 7
    stretch = draws.blocks("autostop", n, mondays, low=IDLE[0], high=IDLE[1])
    return draws.uniform("autostop", n[:, None], stretch) < OFF


def _outlook(draws: Draws, people: Workspaces, days: np.ndarray) -> dict[str, np.ndarray]:
    """What the futures of each day go on from: levels, calendar, weeks; see Outlook."""
    n, w = people.numbers, people.numbers[:, None]
    ahead = np.append(days, np.arange(days[-1] + 1, days[-1] + AHEAD + 1))
    weekday = ahead + EPOCH.weekday()
    weekend = weekday % 7 >= 5
    off = _autostop_off(draws, n, days)
    calm = np.exp(_cycle(draws, w, ahead)) * _close(draws, w, ahead)
    return {
        "calm": calm * _life(people, ahead),
        "lasting": calm * _ramp(people, ahead),
        # Who is not there yet, or winds down already, has no other future.
        "leaves": (_left(people, days) <= NOTICE) | (_life(people, days) == 0),
        "prod": np.where(weekend, draws.between(0.6, 0.95, "prod weekend", w), 1.0),
        "idle": draws.between(0.45, 0.9, "dev weekend", w),
        "share": draws.between(0.48, 0.62, "prod", w),
        "weekend": weekend,
        "regime": _regime(draws, n, days),
        "drift": _drift(draws, n, days, 0.65, DRIFT),
        "left": _forgotten(draws, w, weekday[: len(days)], off) & weekend[: len(days)],
    }


def _tagged_now(draws: Draws, n: np.ndarray, days: np.ndarray, mix: np.ndarray, discipline: np.ndarray) -> np.ndarray:
    """Share of the cost whose streams have a cost centre on the day: (w, d)."""
    block = draws.blocks("retag", n, days, low=30, high=90)[:, :, None, None]
    sku, side = np.arange(len(SKUS))[:, None], np.arange(2)
    has = draws.uniform("cost_center", n[:, None, None, None], sku, side, block) < discipline[:, :, None, None]
    prod = draws.between(0.48, 0.62, "prod", n)[:, None]
    weight = (mix * PRICE)[:, None, :, None] * np.stack([prod, 1 - prod], -1)[:, :, None, :]
    return (has * weight).sum((2, 3)) / weight.sum((2, 3))


def _level(draws: Draws, n: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Of a whole workspace, around 1: cycle, regime, drift and month-end closing: (w, d)."""
    w = n[:, None]
    level = _cycle(draws, w, days) + _regime(draws, n, days) + _drift(draws, n, days, 0.65, DRIFT)
    return np.exp(level) * _close(draws, w, days)


def _cycle(draws: Draws, w: np.ndarray, days: np.ndarray) -> np.ndarray:
    period = draws.between(120, 300, "period", w)
    return draws.between(0.04, 0.14, "swing", w) * np.sin(2 * np.pi * (days / period + draws.uniform("wave", w)))


def _regime(draws: Draws, n: np.ndarray, days: np.ndarray) -> np.ndarray:
    return REGIME * draws.normal("regime", n[:, None], draws.blocks("regime", n, days, low=21, high=56))


def _close(draws: Draws, w: np.ndarray, days: np.ndarray) -> np.ndarray:
    return 1 + _closing(days) * draws.between(1.3, 1.6, "close", w)


def _week(draws: Draws, n: np.ndarray, days: np.ndarray, autostop_off: np.ndarray) -> np.ndarray:
    """What prod and dev take of a workspace's level on each day: (w, d, 2)."""
    w = n[:, None]
    weekday = days + EPOCH.weekday()
    weekend = weekday % 7 >= 5
    idle = draws.between(0.45, 0.9, "dev weekend", w)
    forgotten = _forgotten(draws, w, weekday, autostop_off)
    prod = np.where(weekend, draws.between(0.6, 0.95, "prod weekend", w), 1.0)
    dev = np.where(weekend, np.where(forgotten, idle, 0.1), np.where(autostop_off, 1 + NIGHTS * idle, 1.0))
    share = draws.between(0.48, 0.62, "prod", w)
    return np.stack([share * prod, (1 - share) * dev], -1)


def _forgotten(draws: Draws, w: np.ndarray, weekday: np.ndarray, autostop_off: np.ndarray) -> np.ndarray:
    """Whether clusters run on over the weekend that a day belongs to, or comes before."""
    return draws.uniform("forgotten", w, weekday // 7) < np.where(autostop_off, FORGOTTEN, REMEMBERED)


def _hit(draws: Draws, n: np.ndarray, days: np.ndarray, kind: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """What incidents multiply: (w, d, s, 1)."""
    skus = np.arange(len(SKUS))
    sick = np.where(draws.uniform("sick sku", n[:, None], days) < 0.6, JOBS, INTERACTIVE)
    runaway = (kind == 1)[..., None] & (skus == sick[..., None])
    surge = (kind == 2)[..., None] & (skus == SERVING)
    outage = (kind == 3)[..., None]
    return np.where(runaway | surge | outage, factor[..., None], 1.0)[..., None]


def _noise(draws: Draws, n: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Of each stream, and of each whole day: (w, d, s, 2)."""
    address = (n[:, None, None, None], days[None, :, None, None], np.arange(len(SKUS))[:, None], np.arange(2))
    whole = 0.08 * draws.normal("day noise", n[:, None], days)[:, :, None, None]
    return np.exp(0.13 * draws.normal("noise", *address) + whole)


def _wander(draws: Draws, numbers: np.ndarray, days: np.ndarray) -> np.ndarray:
    """A level that jumps every month or two: (w, d)."""
    return draws.normal("wander", numbers[:, None], draws.blocks("wander", numbers, days, low=25, high=70))


def _committed(draws: Draws, people: Workspaces, days: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Dollars a day at list price, fixed for a contract; none in a workspace's first 60 days: (w, d)."""
    contract = draws.blocks("contract", people.numbers, days, low=CONTRACT[0], high=CONTRACT[1])
    bought = draws.uniform("buys", people.numbers)[:, None] < BUYS
    habit = SPREAD * draws.normal("size", people.numbers)[:, None] - CAUTION
    renewed = JUMP * draws.normal("contract size", people.numbers[:, None], contract)
    size = usual[:, None] * np.exp(habit + renewed)
    return np.where(bought & (days[None, :] - people.born[:, None] > 60), size, 0.0)


def _streams(draws: Draws, people: Workspaces, days: np.ndarray, world: World) -> pl.DataFrame:
    """The lines of consumption: each stream of a day in a committed part and a part on demand."""
    compute = (world.dbus * PRICE[:, None])[:, :, COMPUTE].sum((2, 3))
    used = np.divide(world.committed, compute, out=np.zeros_like(compute), where=compute > 0).clip(0, 1)
    share = used[:, :, None, None] * COMPUTE[:, None]
    parts = []
    for dbus, committed in ((world.dbus * share, True), (world.dbus * (1 - share), False)):
        kept = np.nonzero(dbus > 1e-3)
        cost = (dbus[kept] * PRICE[kept[2]]).round(6)
        parts.append(
            pl.DataFrame(dict(zip("wdse", kept, strict=True))).with_columns(
                dbus=pl.Series(dbus[kept].round(6)),
                list_cost=pl.Series(cost),
                effective_cost=pl.Series((cost * (1 - DISCOUNT if committed else 1)).round(6)),
                pricing_category=pl.lit("Committed" if committed else "Standard"),
                commitment_status=pl.lit("Used" if committed else None, pl.String),
            )
        )
    lines = pl.concat(parts)
    return lines.with_columns(_tagged(draws, people, days, world, lines))


def _tagged(draws: Draws, people: Workspaces, days: np.ndarray, world: World, lines: pl.DataFrame) -> list[pl.Series]:
    """Which tags each line bears; a stream keeps its tags for weeks."""
    w, d, s, e = (lines[axis].to_numpy() for axis in "wdse")
    block = draws.blocks("retag", people.numbers, days, low=30, high=90)[w, d]
    ease = {"cost_center": 1.0, "owner": 0.9, "project": 0.75}
    likely = {tag: world.discipline[w, d] * share for tag, share in ease.items()} | {
        "environment": np.full(len(w), 0.97)
    }
    return [
        pl.Series(f"has_{tag}", draws.uniform(tag, people.numbers[w], s, e, block) < share)
        for tag, share in likely.items()
    ]


def _corrections(draws: Draws, people: Workspaces, days: np.ndarray, lines: pl.DataFrame) -> pl.DataFrame:
    """One line in a hundred is taken back: the same line with its amounts negative."""
    w, d, s, e = (lines[axis].to_numpy() for axis in "wdse")
    wrong = draws.uniform("correction", people.numbers[w], days[d], s, e) < 0.01
    amounts = (-pl.col(c) for c in ("dbus", "list_cost", "effective_cost"))
    return lines.filter(wrong).with_columns(*amounts, charge_class=pl.lit("Correction"))


def _unused(world: World) -> pl.DataFrame:
    """What was committed and not used: nothing consumed, the discounted price paid all the same."""
    compute = (world.dbus * PRICE[:, None])[:, :, COMPUTE].sum((2, 3))
    idle = np.where(world.expected > 0, np.clip(world.committed - compute, 0, None), 0.0) * (1 - DISCOUNT)
    w, d = np.nonzero(idle > 0.05)
    return pl.DataFrame({"w": w, "d": d, "effective_cost": idle[w, d].round(6)}).with_columns(
        s=pl.lit(COMMITMENT, pl.Int64), pricing_category=pl.lit("Committed"), commitment_status=pl.lit("Unused")
    )


def _credits(draws: Draws, people: Workspaces, days: np.ndarray, world: World) -> pl.DataFrame:
    """Now and then a credit of up to a day and a half's cost."""
    at = (people.numbers[:, None], days[None, :])
    given = (draws.uniform("credit", *at) < 0.012) & (world.expected > 0)
    amount = world.expected * 0.3 * draws.between(0.2, 1.5, "credit size", *at)
    w, d = np.nonzero(given)
    return pl.DataFrame({"w": w, "d": d, "effective_cost": -amount[w, d].round(6)}).with_columns(
        s=pl.lit(CREDIT, pl.Int64), charge_category=pl.lit("Credit"), pricing_category=pl.lit("Other")
    )


def _arrived(draws: Draws, people: Workspaces, days: np.ndarray, lines: pl.DataFrame) -> pl.DataFrame:
    """Gives each line the day of its arrival; drops what is lost, and what has not arrived on the last day."""
    w, d, s, e = (lines[axis].fill_null(9).to_numpy() for axis in "wdse")
    address = (people.numbers[w], days[d], s, e, lines["pricing_category"].str.len_chars().to_numpy())
    luck = draws.uniform("arrival", *address, lines["charge_class"].is_not_null().to_numpy())
    late = np.searchsorted([0.93, 0.97, 0.98, 0.99, 0.995], luck) + 2 * lines["charge_class"].is_not_null().to_numpy()
    lost = (draws.uniform("lost line", *address) < 0.004) | (draws.uniform("lost day", *address[:2]) < 0.005)
    return lines.with_columns(pl.Series("late", late)).filter((d + late < len(days)) & ~lost)


def _described(people: Workspaces, lines: pl.DataFrame, first: int) -> pl.DataFrame:
    """Indices -> the columns of the contract."""
    slots = people.numbers // 4096
    names = pl.DataFrame(
        [*(sku[:3] for sku in SKUS), *OTHERS], ["sku", "service_name", "service_category"], orient="row"
    )
    who = pl.DataFrame(
        {"workspace_id": people.ids, "region": np.array(REGIONS)[slots % len(REGIONS)], "team": slots % 9 + 1}
    )
    lines = lines.hstack(names[lines["s"].to_numpy()]).hstack(who[lines["w"].to_numpy()])
    tags = {
        "environment": pl.col("e").replace_strict(dict(enumerate(ENVIRONMENTS)), return_dtype=pl.String),
        "cost_center": pl.format("CC-{}", pl.col("team") * 100),
        "owner": pl.format("team-{}@example.com", "team"),
        "project": pl.format("{}-{}", pl.col("service_name").str.to_lowercase().str.replace(" ", "-"), "team"),
    }
    day = pl.lit(EPOCH) + pl.duration(days=pl.col("d") + first)
    parts = ("workspace_id", day.dt.strftime("%Y%m%d"), "sku", pl.col("e").fill_null(0), "pricing_category")
    return lines.with_columns(
        usage_id=pl.concat_str(
            pl.lit("databricks"), *parts, pl.col("charge_class").fill_null("Original"), separator=":"
        ),
        provider=pl.lit("Databricks"),
        workspace_name=pl.format("Workspace {}", pl.col("workspace_id").str.slice(3)),
        usage_date=day,
        ingestion_date=day + pl.duration(days="late"),
        usage_quantity=pl.col("dbus"),
        usage_unit=pl.lit("DBU"),
        currency=pl.lit("USD"),
        charge_category=pl.col("charge_category").fill_null("Usage"),
        dbus=pl.col("dbus").fill_null(0.0),
        list_cost=pl.col("list_cost").fill_null(0.0),
        **{tag: pl.when(f"has_{tag}").then(value) for tag, value in tags.items()},
    ).select(*fact_usage.columns)


def _truth(people: Workspaces, days: np.ndarray, world: World) -> pl.DataFrame:
    w, d = np.nonzero(_lately(world.expected > 0))
    kinds = pl.Series([None, "runaway", "serving_surge", "outage"])
    return pl.DataFrame(
        {
            "workspace_id": people.ids[w],
            "usage_date": [EPOCH + timedelta(days=int(day)) for day in days[d]],
            "incident": world.kind[w, d] > 0,
            "incident_kind": kinds[world.kind[w, d]],
            "incident_factor": world.factor[w, d],
            "expected_dbu": world.expected[w, d].round(6),
            "autostop_off": world.autostop_off[w, d],
            "committed_cost": world.committed[w, d].round(6),
            "tag_discipline": world.discipline[w, d],
            **{name: values[w, d].round(6) for name, values in world.answers.items()},
        }
    )


def _lately(alive: np.ndarray) -> np.ndarray:
    """Whether a workspace lived on the day or on one of the 29 before: as long has it rows of features."""
    return np.logical_or.reduce([np.pad(alive, ((0, 0), (back, 0)))[:, : alive.shape[1]] for back in range(30)])


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``fact_usage`` and ``cost_truth`` of the ``HISTORY`` days up to ``end`` (yesterday, UTC, by default).

    ``scale`` is the number of workspaces alive, 56 at 1, where cost_features has about 5,650 rows.
    """
    end = end or datetime.now(UTC).date() - timedelta(days=1)
    last = (end - EPOCH).days
    days = np.arange(last - HISTORY + 1, last + 1)
    draws = Draws(seed)
    people = _workspaces(draws, max(3, round(SLOTS * scale)), int(days[0]), last)
    world = _world(draws, people, days)
    streams = _streams(draws, people, days, world)
    corrections = _corrections(draws, people, days, streams)
    lines = pl.concat(
        [
            streams.with_columns(charge_class=pl.lit(None, pl.String)),
            corrections,
            _unused(world),
            _credits(draws, people, days, world),
        ],
        how="diagonal",
    )
    usage = _described(people, _arrived(draws, people, days, lines), int(days[0]))
    return {"fact_usage": usage.sort("usage_date", "usage_id"), "cost_truth": _truth(people, days, world)}
