"""Windows over days as arrays: each entity a row, each day a column, and powers of two added up.

A window of w days is put together from blocks of 1, 2, 4, ... days, each made of two of the size before: log2(w) passes
for all windows that share a tile (as the sparse table of range minima has it: Bender and Farach-Colton, The LCA Problem
Revisited, 2000). A value takes part in a sum through the days of its window alone, so that what leaves a window leaves
nothing behind, and how the work was cut does not show in the last bits; running sums would do neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

#: What windows are made of here; everything else is left to SQL.
FUNCTIONS = ("sum", "min", "max")
#: Cells of one piece of the grid: some entities with all their days.
CELLS = 1 << 20
#: Where fewer than one in so many cells would be filled, the grid is not worth its memory.
SPARSE = 8
_DTYPES = (pl.Float64, pl.Int64, pl.Int32, pl.Int16, pl.Int8)


@dataclass(frozen=True)
class Window:
    """``function`` of the column ``tile`` in the last ``days`` days."""

    function: str
    tile: str
    days: int
    name: str


def suits(rows: pl.DataFrame, keys: Sequence[str], day: str, windows: Sequence[Window]) -> bool:
    """Whether ``rows`` (sorted by ``keys`` and ``day``, one row each) fill a grid well enough, with numbers that can be
    added up without running over."""
    if rows.is_empty() or not windows:
        return False
    for window in windows:
        tile = rows[window.tile]
        if tile.dtype not in _DTYPES or (tile.dtype != pl.Float64 and _too_large(tile, window)):
            return False
    days = rows[day].to_numpy()
    width = int(days.max() - days.min()) + max(w.days for w in windows)
    return int(_codes(rows, keys)[-1] + 1) * width <= max(SPARSE * rows.height, CELLS)


def add_windows(rows: pl.DataFrame, keys: Sequence[str], day: str, windows: Sequence[Window]) -> pl.DataFrame:
    """``rows`` with one more column a window: that of the row's entity in the days up to its own. Null values are left
    out; a sum of none is 0, a minimum or maximum of none null."""
    codes, days = _codes(rows, keys), rows[day].to_numpy()
    grid = _Grid(codes, days - days.min(), max(w.days for w in windows) - 1)
    by_tile: dict[tuple[str, str], list[Window]] = {}
    for window in windows:
        by_tile.setdefault((window.tile, window.function), []).append(window)
    columns = [c for (tile, function), of in by_tile.items() for c in _of_tile(rows[tile], function, of, grid)]
    return rows.with_columns(columns)


class _Grid:
    """Where each row stands; in pieces of whole entities, ``margin`` days of nothing before the first."""

    def __init__(self, codes: np.ndarray, days: np.ndarray, margin: int) -> None:
        self.codes, self.days, self.margin = codes, days, margin
        self.width = int(days.max()) + 1 + margin
        self.step = max(1, CELLS // self.width)

    def pieces(self) -> Iterator[tuple[slice, int, np.ndarray]]:
        """The rows of a piece, how many entities it has, and the places of its rows in the piece."""
        entities = int(self.codes[-1]) + 1
        for first in range(0, entities, self.step):
            last = min(first + self.step, entities)
            rows = slice(*np.searchsorted(self.codes, [first, last]))
            places = (self.codes[rows] - first) * self.width + self.days[rows] + self.margin
            yield rows, last - first, places


def _of_tile(tile: pl.Series, function: str, windows: Sequence[Window], grid: _Grid) -> list[pl.Series]:
    real = tile.dtype == pl.Float64
    nothing = _nothing(function, real=real)
    values = tile.cast(pl.Float64 if real else pl.Int64).fill_null(nothing).to_numpy()
    found = {w.name: np.empty(len(values), dtype=values.dtype) for w in windows}
    combine: Callable[..., np.ndarray] = {"sum": np.add, "min": np.minimum, "max": np.maximum}[function]
    for rows, entities, places in grid.pieces():
        piece = np.full((entities, grid.width), nothing, dtype=values.dtype)
        piece.ravel()[places] = values[rows]
        blocks = _Blocks(piece, combine)
        for window in windows:
            found[window.name][rows] = blocks.window(window.days, grid.margin, overlap=function != "sum")[places]
    columns = [pl.Series(name, array) for name, array in found.items()]
    if function == "sum":
        return columns
    found_any = pl.when(pl.all() != nothing).then(pl.all()).name.keep()
    return pl.DataFrame(columns).select(found_any.cast(tile.dtype)).get_columns()


class _Blocks:
    """The blocks of 1, 2, 4, ... days that end on each day of a piece."""

    def __init__(self, piece: np.ndarray, combine: Callable[..., np.ndarray]) -> None:
        self.combine, self.sizes = combine, [piece]

    def of(self, power: int) -> np.ndarray:
        """Those of 2**power days."""
        while len(self.sizes) <= power:
            before, size = self.sizes[-1], 1 << (len(self.sizes) - 1)
            block = before.copy()
            self.combine(before[:, size:], before[:, :-size], out=block[:, size:])
            self.sizes.append(block)
        return self.sizes[power]

    def window(self, days: int, margin: int, *, overlap: bool) -> np.ndarray:
        """The windows of ``days`` days that end on each day, flat; right from the day ``margin`` on. Where blocks may
        ``overlap``, as they may for a minimum, two are enough."""
        power = days.bit_length() - 1
        first = self.of(power)
        if days == 1 << power:
            return first.ravel()
        out = first.copy()
        if overlap:
            self._add(out, power, days - (1 << power), margin)
            return out.ravel()
        done = 1 << power
        for lower in reversed(range(power)):
            if days & (1 << lower):
                self._add(out, lower, done, margin)
                done += 1 << lower
        return out.ravel()

    def _add(self, out: np.ndarray, power: int, back: int, margin: int) -> None:
        """Adds the blocks of 2**power days that ended ``back`` days before."""
        block = self.of(power)
        self.combine(out[:, margin:], block[:, margin - back : out.shape[1] - back], out=out[:, margin:])


def _codes(rows: pl.DataFrame, keys: Sequence[str]) -> np.ndarray:
    """0, 1, 2, ... for the entities, in the order of the rows."""
    entity = pl.col(keys[0]) if len(keys) == 1 else pl.struct(*keys)
    return rows.select(entity.rle_id()).to_series().cast(pl.Int64).to_numpy()


def _nothing(function: str, *, real: bool) -> float | int:
    """What changes nothing when it is combined with a value."""
    if function == "sum":
        return 0.0 if real else 0
    limits = np.iinfo(np.int64)
    if function == "min":
        return np.inf if real else limits.max
    return -np.inf if real else limits.min


def _too_large(tile: pl.Series, window: Window) -> bool:
    """Whether whole numbers may run over, or be taken for nothing."""
    ends = [abs(int(v)) for v in (tile.min(), tile.max()) if v is not None]  # type: ignore[arg-type]
    return max(ends, default=0) * (window.days if window.function == "sum" else 1) >= 1 << 62
