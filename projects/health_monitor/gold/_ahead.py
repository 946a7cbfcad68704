"""The best answers to the cost models' questions, from simulated futures of each workspace-day.

A future starts from the hidden states of its day. The drift reverts. A regime, a state of idle clusters or a stream's
tags may end, about as often as its stretches are long. Weekends are forgotten or not. The noise to come is unknown. The
calendar and a workspace's cycle are known, and its end once it winds down. All days draw the same numbers, so that a
later day changes no other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FUTURES, AHEAD, WEEK = 48, 14, 7
#: Mean days that a regime and a stream's tags last; least and most days of a state of idle clusters.
REGIME_DAYS, TAG_DAYS, IDLE = 38.5, 60.0, (7, 14)
#: What idling through the nights adds to a working day of development, as a multiple of an idle weekend day.
NIGHTS = 1.1
#: Of the noise of a whole day and of its streams together; of an AR(1) that reverts within a week.
NOISE, MEMORY, DRIFT, REGIME = 0.1, 0.65, 0.1, 0.1
FORGOTTEN, REMEMBERED, OFF = 0.85, 0.03, 0.38
#: What corrections, lost lines and incidents leave of a day's cost on average.
KEPT, TAGGED_ENVIRONMENT, DISCOUNT, LEAST = 0.99, 0.97, 0.25, 0.03


@dataclass(frozen=True)
class Outlook:
    """States of w workspaces on d days: (w, d), but where stated.

    ``cost`` and ``compute``: dollars a day at list price of a workspace at level 1 (w, 1). ``calm`` (w, d + AHEAD):
    what life, cycle and calendar multiply, ``lasting`` the same of a workspace that goes on; ``leaves``: whether its
    end is known. ``prod`` (w, d + AHEAD): what prod takes on a day; ``idle`` (w, 1): what
    development takes while its clusters run on; ``share`` (w, 1): of prod. ``weekend`` (d + AHEAD). ``left``: whether
    this weekend was forgotten, on its own days.
    """

    cost: np.ndarray
    compute: np.ndarray
    calm: np.ndarray
    lasting: np.ndarray
    leaves: np.ndarray
    prod: np.ndarray
    idle: np.ndarray
    share: np.ndarray
    weekend: np.ndarray
    regime: np.ndarray
    drift: np.ndarray
    off: np.ndarray
    left: np.ndarray
    committed: np.ndarray
    tagged: np.ndarray
    discipline: np.ndarray

    def monday(self, ahead: int) -> np.ndarray:
        """Whether the day ``ahead`` days after each is the first after a weekend: (d,)."""
        days = np.arange(self.off.shape[1]) + ahead
        return self.weekend[days - 1] & ~self.weekend[days]


def answers(now: Outlook) -> dict[str, np.ndarray]:
    """By label, (w, d): the median or mean of its futures, or the share of those in which it comes true."""
    random = np.random.default_rng(75)
    total = {
        name: np.zeros((*now.off.shape, FUTURES)) for name in ("cost", "charged", "avoidable", "weekend", "compute")
    }
    steady = np.zeros((*now.off.shape, FUTURES))
    state = _State.of(now)
    for k in range(1, AHEAD + 1):
        state.step(random, now.monday(k))
        day = _day(now, state, k, random)
        steady += day.pop("on_demand")
        if k <= WEEK:
            for name, value in day.items():
                total[name] += value
    left = (total["weekend"] >= LEAST * total["compute"]) & (total["compute"] > 0)
    return {
        "cost_next_7d": np.median(total["cost"], axis=2).clip(0),
        "chargeable_next_7d": total["charged"].mean(2),
        "avoidable_next_7d": np.median(total["avoidable"], axis=2).clip(0),
        "p_left_running": left.mean(2),
        "p_steady_on_demand": (steady >= 12).mean(2),
    }


@dataclass
class _State:
    """Of each future, (w, d, FUTURES)."""

    regime: np.ndarray
    drift: np.ndarray
    off: np.ndarray
    tagged: np.ndarray
    discipline: np.ndarray
    left: np.ndarray

    @classmethod
    def of(cls, now: Outlook) -> _State:
        def spread(values: np.ndarray) -> np.ndarray:
            return np.repeat(values[:, :, None], FUTURES, axis=2)

        return cls(*(spread(v) for v in (now.regime, now.drift, now.off, now.tagged, now.discipline, now.left)))

    def step(self, random: np.random.Generator, monday: np.ndarray) -> None:
        """One day on; ``monday`` (d,): whether it is one, on which alone idling begins and ends."""
        ends = random.random((3, FUTURES)) < np.array([1 / REGIME_DAYS, 7 / np.mean(IDLE), 1 / TAG_DAYS])[:, None]
        self.regime = np.where(ends[0], REGIME * random.standard_normal(FUTURES), self.regime)
        self.drift = MEMORY * self.drift + DRIFT * np.sqrt(1 - MEMORY**2) * random.standard_normal(FUTURES)
        self.off = np.where(ends[1] & monday[None, :, None], random.random(FUTURES) < OFF, self.off)
        self.tagged = np.where(ends[2], self.discipline, self.tagged)


def _day(now: Outlook, state: _State, k: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """What the k-th day after each day adds to the labels: (w, d, FUTURES)."""
    days = slice(k, k + now.off.shape[1])
    weekend = now.weekend[days][None, :, None]
    begins = np.concatenate([[True], ~now.weekend[:-1]])[days][None, :, None] & weekend
    luck = random.random(FUTURES)
    # A weekend is forgotten as a whole: its second day is as its first, whether that was drawn or is known.
    state.left = np.where(begins, luck < np.where(state.off, FORGOTTEN, REMEMBERED), state.left)
    idle = now.idle[:, :, None]
    dev = np.where(weekend, np.where(state.left, idle, 0.1), np.where(state.off, 1 + NIGHTS * idle, 1.0))
    prod, share = now.prod[:, days, None], now.share[:, :, None]
    noise = np.exp(NOISE * random.standard_normal(FUTURES))
    calm = np.where(now.leaves, now.calm[:, days], now.lasting[:, days])[:, :, None]
    level = calm * np.exp(state.regime + state.drift) * noise * KEPT
    taken = share * prod + (1 - share) * dev
    listed, compute = (part[:, :, None] * level * taken for part in (now.cost, now.compute))
    committed = np.where(level > 0, now.committed[:, :, None], 0.0)
    covered = np.minimum(compute, committed)
    paid = np.divide(compute - DISCOUNT * covered, compute, out=np.ones_like(compute), where=compute > 0)
    wasted = np.where(weekend, TAGGED_ENVIRONMENT * (1 - share) * dev / taken, 0.0) * compute
    unused = (1 - DISCOUNT) * (committed - covered)
    return {
        "cost": listed - DISCOUNT * covered + unused,
        "charged": state.tagged * (listed - DISCOUNT * covered),
        "avoidable": unused + wasted * paid + DISCOUNT * (compute - covered) * (1 - wasted / np.maximum(compute, 1e-9)),
        "weekend": wasted * paid,
        "compute": compute * paid,
        "on_demand": compute > committed + 1e-3,
    }
