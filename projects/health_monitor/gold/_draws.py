"""Random numbers for samples: by address, so that a later end adds days and changes nothing earlier."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np

#: Day 0 of the samples.
EPOCH = date(2020, 1, 1)
#: Days of shocks that a drift remembers.
MEMORY = 45


class Draws:
    """Random numbers by address: the same (seed, stream, indices) always give the same number, in any order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def uniform(self, stream: str, *indices: np.ndarray | int) -> np.ndarray:
        """Uniform in (0, 1), in the broadcast shape of the integer indices (splitmix64 over the address)."""
        shape = np.broadcast_shapes(*(np.shape(i) for i in indices))
        state = np.full(shape, (zlib.crc32(stream.encode()) << 20) ^ self.seed, np.uint64)
        with np.errstate(over="ignore"):
            for index in indices:
                state = state + np.asarray(index, np.int64).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
                for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                    state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
                state = state ^ (state >> np.uint64(31))
        return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53

    def normal(self, stream: str, *indices: np.ndarray | int) -> np.ndarray:
        """Standard normal (Box and Muller)."""
        radius = np.sqrt(-2 * np.log(self.uniform(stream, *indices)))
        return radius * np.cos(2 * np.pi * self.uniform(f"{stream}'", *indices))

    def between(self, low: float, high: float, stream: str, *indices: np.ndarray | int) -> np.ndarray:
        return low + (high - low) * self.uniform(stream, *indices)

    def daily(
        self, stream: str, days: np.ndarray, draw: Callable[[np.random.Generator, int], np.ndarray]
    ) -> np.ndarray:
        """``draw(generator, j)`` for every day, stacked along axis 1: much faster than by address, for arrays whose
        first axis does not depend on which days are asked for. (s,) each -> (s, d)."""
        name = zlib.crc32(stream.encode())
        made = (draw(np.random.default_rng([self.seed, name, int(day)]), j) for j, day in enumerate(days))
        return np.stack(list(made), axis=1)

    def noise(self, stream: str, slots: int, days: np.ndarray) -> np.ndarray:
        """Standard normal, by day: (s, d)."""
        return self.daily(stream, days, lambda random, _: random.standard_normal(slots))

    def poisson(self, stream: str, rates: np.ndarray, days: np.ndarray) -> np.ndarray:
        """Counts of mean ``rates`` (s, d), by day."""
        return self.daily(stream, days, lambda random, j: random.poisson(rates[:, j]))

    def drift(self, stream: str, slots: int, days: np.ndarray, memory: float) -> np.ndarray:
        """An AR(1) of standard deviation 1, cut off after MEMORY days so that it needs no beginning: (s, d)."""
        shocks = self.noise(stream, slots, np.concatenate([np.arange(days[0] - MEMORY + 1, days[0]), days]))
        kernel = memory ** np.arange(MEMORY)[::-1] * np.sqrt(1 - memory**2)
        return np.lib.stride_tricks.sliding_window_view(shocks, MEMORY, axis=1) @ kernel

    def blocks(self, stream: str, numbers: np.ndarray, days: np.ndarray, *, low: float, high: float) -> np.ndarray:
        """The number of the stretch of ``low`` to ``high`` days in which each day lies: of (s,) entities (s, d)."""
        length = self.between(low, high, f"{stream} length", numbers)[:, None]
        begun = days[None, :] + length * self.uniform(f"{stream} phase", numbers)[:, None]
        return np.floor(begun / length).astype(int)


@dataclass(frozen=True)
class Slots:
    """Who lives when: of (s, d) slots and days. Three slots in five hold one entity for ever; in the others one follows
    the other after a gap. ``number`` tells all entities of a slot apart; ``alive`` is False in the gaps."""

    number: np.ndarray
    alive: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    @property
    def slot(self) -> np.ndarray:
        """(s,)."""
        return np.arange(len(self))


def slots(draws: Draws, stream: str, count: int, days: np.ndarray, *, low: int = 60, high: int = 170) -> Slots:
    """``count`` slots over ``days``; those who come and go live for ``low`` to ``high`` days."""
    slot = np.arange(count)
    length = draws.between(low, high, f"{stream} len", slot).astype(int)[:, None]
    period = length + draws.between(8, 25, f"{stream} gap", slot).astype(int)[:, None]
    since = days[None, :] + (draws.uniform(f"{stream} phase", slot) * 200).astype(int)[:, None]
    short = (slot % 5 >= 3)[:, None]
    number = slot[:, None] * 4096 + np.where(short, since // period + 1, 0)
    return Slots(number, np.where(short, since % period < length, np.ones((1, len(days)), bool)))


def stays(length: float, days: int) -> float:
    """How likely a state that lasts for ``length`` days on average still holds, on average over the next ``days``."""
    return float(np.mean((1 - 1 / length) ** np.arange(1, days + 1)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
