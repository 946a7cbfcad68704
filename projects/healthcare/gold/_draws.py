"""Random numbers by address: every number of the sample is a pure function of where it is used."""

from __future__ import annotations

import zlib

import numpy as np


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

    def whole(self, low: int, high: int, stream: str, *indices: np.ndarray | int) -> np.ndarray:
        """Whole numbers from ``low`` to ``high``, both included."""
        return low + np.floor((high - low + 1) * self.uniform(stream, *indices)).astype(np.int64)


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
