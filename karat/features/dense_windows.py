"""Windows over days as arrays: each day a row, each entity a column, and powers of two added up.

A window of w days is put together from blocks of 1, 2, 4, ... days, each made of two of the size before: log2(w) passes
for all windows that share a tile (as the sparse table of range minima has it: Bender and Farach-Colton, The LCA Problem
Revisited, 2000). A value takes part in a sum through the days of its window alone, so that what leaves a window leaves
nothing behind, and how the work was cut does not show in the last bits; running sums would do neither.

The days are gone through once, a few at a time, and only as many blocks are kept as windows reach back: what is worked
upon stays in the processor's caches, and what is made can be written and let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

#: What windows are made of here; everything else is left to SQL.
FUNCTIONS = ("sum", "min", "max")
#: Cells of one piece of the grid: some days with all their entities.
CELLS = 1 << 20
#: Cells that are kept of all blocks together, to look back upon: a quarter of a GiB.
KEPT = 1 << 25
#: Where fewer than one in so many cells would be filled, the grid is not worth its memory.
SPARSE = 8
_DTYPES = (pl.Float64, pl.Int64, pl.Int32, pl.Int16, pl.Int8)
_COMBINE: dict[str, Callable[..., np.ndarray]] = {"sum": np.add, "min": np.minimum, "max": np.maximum}


@dataclass(frozen=True)
class DayWindow:
    """``function`` of the column ``tile`` over the last ``days`` days, in the column ``name``."""

    function: str
    tile: str
    days: int
    name: str


@dataclass(frozen=True)
class DayGrid:
    """Rows as cells of days by entities.

    Attributes:
        rows: One row per day and key, sorted by both.
        days: The day of each row as a number, ``(rows,)``.
        codes: The entity of each row, from 0 on, ``(rows,)``.
        entities: The number of entities.
    """

    rows: pl.DataFrame
    days: np.ndarray
    codes: np.ndarray
    entities: int

    @classmethod
    def of(cls, rows: pl.DataFrame, keys: Sequence[str], day: str) -> DayGrid:
        """Make the grid of ``rows``, whose entities are told by ``keys``."""
        entities = rows.select(keys).unique().sort(keys).with_row_index("__code")
        codes = rows.select(keys).join(entities, on=list(keys), how="left", nulls_equal=True, maintain_order="left")
        return cls(rows, rows[day].to_numpy(), codes["__code"].cast(pl.Int64).to_numpy(), entities.height)

    def suits(self, windows: Sequence[DayWindow]) -> bool:
        """Whether the rows fill the cells well enough, with numbers that can be added up without running over."""
        if self.rows.is_empty() or not windows:
            return False
        for window in windows:
            tile = self.rows[window.tile]
            if tile.dtype not in _DTYPES or (tile.dtype != pl.Float64 and _too_large(tile, window)):
                return False
        width = int(self.days[-1] - self.days[0]) + max(w.days for w in windows)
        return self.entities * width <= max(SPARSE * self.rows.height, CELLS)

    def windowed(self, windows: Sequence[DayWindow], *, first: int, height: int) -> Iterator[pl.DataFrame]:
        """Compute windows for the rows from the day ``first`` on.

        Null values are left out; a sum of none is 0, a minimum or maximum of none null.

        Yields:
            Frames of whole days with one more column a window, of ``height`` rows or a few more. If the blocks of all
            entities exceed ``KEPT`` cells, the frames of some entities come first, then those of the next.
        """
        by_tile: dict[tuple[str, str], list[DayWindow]] = {}
        for window in windows:
            by_tile.setdefault((window.tile, window.function), []).append(window)
        kept = sum(2 * sum(_reaches(of)) + 1 for of in by_tile.values()) * self.entities
        for part in self._by_entities(-(-kept // KEPT)):
            yield from part.windows_of_tiles(list(by_tile.values()), first, height)

    def _by_entities(self, parts: int) -> Iterator[DayGrid]:
        if parts == 1:
            yield self
            return
        bounds = np.linspace(0, self.entities, min(parts, self.entities) + 1).astype(np.int64)
        for low, high in pairwise(bounds.tolist()):
            chosen = (self.codes >= low) & (self.codes < high)
            rows = self.rows.filter(pl.Series(chosen))
            yield DayGrid(rows, self.days[chosen], self.codes[chosen] - low, high - low)

    def windows_of_tiles(
        self, by_tile: Sequence[Sequence[DayWindow]], first: int, height: int
    ) -> Iterator[pl.DataFrame]:
        """Compute the windows of all tiles, step by step from the day ``first`` on."""
        start = int(self.days[0])
        ends = np.cumsum(np.bincount(self.days - start))
        steps = list(_steps(ends, first - start, height, max(1, CELLS // self.entities)))
        longest, types = max(step.days for step in steps), self.rows.schema
        tiles = [_TileWindows(types[of[0].tile], of, longest, self.entities) for of in by_tile]
        for step in steps:
            part = self.rows[step.rows]
            places = (self.days[step.rows] - (start + step.first)) * self.entities + self.codes[step.rows]
            columns = [c for tile in tiles for c in tile.add(part, step.days, places, wanted=step.wanted)]
            if step.wanted and part.height:
                yield part.with_columns(columns)


class _DayStep(NamedTuple):
    """Consecutive days: the first (0 is the first row's), their number, their rows, and whether they are output."""

    first: int
    days: int
    rows: slice
    wanted: bool


def _steps(ends: np.ndarray, wanted: int, height: int, most: int) -> Iterator[_DayStep]:
    """Cuts the days into steps of ``height`` rows or more, and of no more than ``most`` days."""
    first = 0
    for day, end in enumerate(ends):
        begin = int(ends[first - 1]) if first else 0
        if end - begin >= height or day + 1 - first == most or day + 1 in (wanted, len(ends)):
            yield _DayStep(first, day + 1 - first, slice(begin, int(end)), day >= wanted)
            first = day + 1


class _TileWindows:
    """All windows of one function of one tile, from day to day."""

    def __init__(self, dtype: pl.DataType, windows: Sequence[DayWindow], longest: int, entities: int) -> None:
        self.dtype, self.function, self.name = dtype, windows[0].function, windows[0].tile
        self.nothing = _nothing(self.function, real=dtype == pl.Float64)
        self.parts = {w.name: _blocks_of(w) for w in windows}
        self.combine = _COMBINE[self.function]
        kind = np.float64 if dtype == pl.Float64 else np.int64
        self.blocks = [_BlockRing(back, longest, entities, self.nothing, kind) for back in _reaches(windows)]
        self.sum = np.empty((longest, entities), dtype=kind)

    def add(self, rows: pl.DataFrame, days: int, places: np.ndarray, *, wanted: bool) -> list[pl.Series]:
        """Add days, with values at these ``places`` (days by entities); give the rows' windows if wanted."""
        values = rows[self.name].cast(pl.Float64 if self.dtype == pl.Float64 else pl.Int64).fill_null(self.nothing)
        new = self.blocks[0].go_on(days)
        new.fill(self.nothing)
        new.reshape(-1)[places] = values.to_numpy()
        for power, (smaller, larger) in enumerate(zip(self.blocks, self.blocks[1:], strict=False)):
            self.combine(smaller.last(days), smaller.last(days, back=1 << power), out=larger.go_on(days))
        if not wanted:
            return []
        found = [pl.Series(name, self._window(parts, days)[places]) for name, parts in self.parts.items()]
        if self.function == "sum":
            return found
        found_any = pl.when(pl.all() != self.nothing).then(pl.all()).name.keep()
        return pl.DataFrame(found).select(found_any.cast(self.dtype)).get_columns()

    def _window(self, parts: Sequence[_BlockSpan], days: int) -> np.ndarray:
        blocks = [self.blocks[part.power].last(days, back=part.back) for part in parts]
        if len(blocks) == 1:
            return blocks[0].reshape(-1)
        out = self.sum[:days]
        self.combine(blocks[0], blocks[1], out=out)
        for block in blocks[2:]:
            self.combine(out, block, out=out)
        return out.reshape(-1)


class _BlockSpan(NamedTuple):
    """The block of 2**power days that ended ``back`` days before."""

    power: int
    back: int


def _blocks_of(window: DayWindow) -> list[_BlockSpan]:
    """What it is put together from; where blocks may overlap, as they may for a minimum, two are enough."""
    days = window.days
    power = days.bit_length() - 1
    if window.function != "sum":
        return [_BlockSpan(power, back) for back in sorted({0, days - (1 << power)})]
    # The small ones are the latest: so blocks need not be kept for long.
    return [_BlockSpan(p, days & ((1 << p) - 1)) for p in range(power + 1) if days & (1 << p)]


def _reaches(windows: Sequence[DayWindow]) -> list[int]:
    """How many days back the blocks of 1, 2, 4, ... days are looked upon, by the windows or by the next size."""
    parts = [part for window in windows for part in _blocks_of(window)]
    most = max(part.power for part in parts)
    back = [1 << power if power < most else 0 for power in range(most + 1)]
    for part in parts:
        back[part.power] = max(back[part.power], part.back)
    return back


class _BlockRing:
    """The blocks of one size that end on each of the last days, the days before the first counting as nothing."""

    def __init__(self, back: int, longest: int, entities: int, nothing: float, kind: type) -> None:
        self.back, self.end = back, back
        self.days: np.ndarray = np.full((back + max(back, longest), entities), nothing, dtype=kind)

    def go_on(self, days: int) -> np.ndarray:
        """The place of some more days."""
        if self.end + days > len(self.days):
            self.days[: self.back] = self.days[self.end - self.back : self.end]
            self.end = self.back
        self.end += days
        return self.days[self.end - days : self.end]

    def last(self, days: int, back: int = 0) -> np.ndarray:
        return self.days[self.end - days - back : self.end - back]


def _nothing(function: str, *, real: bool) -> float | int:
    """What changes nothing when it is combined with a value."""
    if function == "sum":
        return 0.0 if real else 0
    limits = np.iinfo(np.int64)
    if function == "min":
        return np.inf if real else limits.max
    return -np.inf if real else limits.min


def _too_large(tile: pl.Series, window: DayWindow) -> bool:
    """Whether whole numbers may run over, or be taken for nothing."""
    ends = [abs(int(v)) for v in (tile.min(), tile.max()) if v is not None]  # type: ignore[arg-type]
    return max(ends, default=0) * (window.days if window.function == "sum" else 1) >= 1 << 62
