"""Row codec: fixed-width values packed behind a null bitmap, the rest as msgpack.

record := row*                          newest first; more than one where later rows are not known yet
row    := size u32, event time i64 (microseconds UTC), Delta version u32, layout u16,
          null bitmap, floats f64, integers i64, timestamps i64, dates i32, booleans u8, msgpack list of the rest
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
import polars as pl

from karat.dtypes import POLARS
from karat.online._values import Value

#: The event time of a row of a table that has none.
NO_TIME = -(1 << 63)
HEADER = struct.Struct("<IqIH")
_VERSION = slice(12, 16)

# In the order of the fixed block: floats first, so that a vector of floats is one piece of memory.
_CODES: dict[str, tuple[str, str]] = {
    "float64": ("d", "<f8"),
    "int64": ("q", "<i8"),
    "timestamp": ("q", "<i8"),
    "date": ("i", "<i4"),
    "bool": ("?", "?"),
}


@dataclass(frozen=True)
class Layout:
    """Where each column of a row lies; ``columns`` are (name, dtype) in the table's order."""

    columns: tuple[tuple[str, str], ...]
    fixed: tuple[tuple[str, str], ...] = field(init=False)
    rest: tuple[str, ...] = field(init=False)
    unpack: struct.Struct = field(init=False)
    no_nulls: bytes = field(init=False)

    def __post_init__(self) -> None:
        fixed = tuple((n, d) for code in _CODES for n, d in self.columns if d == code)
        bitmap = (len(self.columns) + 7) // 8
        put = object.__setattr__  # frozen: these follow from the columns
        put(self, "fixed", fixed)
        put(self, "rest", tuple(n for n, d in self.columns if d not in _CODES))
        put(self, "unpack", struct.Struct(f"<{HEADER.size}x{bitmap}s" + "".join(_CODES[d][0] for _, d in fixed)))
        put(self, "no_nulls", bytes(bitmap))

    @property
    def dtype(self) -> np.dtype[Any]:
        """A row's fixed part as NumPy reads it: size, time, version, layout, nulls, then ``c0``, ``c1`` ..."""
        return np.dtype(
            [("size", "<u4"), ("time", "<i8"), ("version", "<u4"), ("layout", "<u2")]
            + [("nulls", "u1", (len(self.no_nulls),))]
            + [(f"c{i}", _CODES[d][1]) for i, (_, d) in enumerate(self.fixed)]
        )

    @property
    def order(self) -> tuple[str, ...]:
        """The columns in the order in which a row holds them; bit i of the bitmap is column i of these."""
        return (*(n for n, _ in self.fixed), *self.rest)

    @property
    def floats(self) -> tuple[int, int]:
        """How many floats a row begins with, and at which byte."""
        return sum(d == "float64" for _, d in self.fixed), HEADER.size + len(self.no_nulls)


def _plain(column: pl.Series, dtype: str) -> np.ndarray:
    """The values of a fixed-width column as NumPy has them in the row, nulls as zero."""
    column = column.cast(POLARS[dtype])
    if dtype in ("timestamp", "date"):
        column = column.to_physical()
    return column.fill_null(False if dtype == "bool" else 0).to_numpy()


def encode_rows(
    frame: pl.DataFrame, layout: Layout, number: int, times: np.ndarray, versions: int | Sequence[int]
) -> list[bytes]:
    """Each row of ``frame`` as bytes; ``times`` (n,) int64 microseconds, ``number`` is the layout's."""
    record = layout.dtype
    block = np.zeros(frame.height, record)
    block["time"], block["version"], block["layout"] = times, versions, number
    if layout.columns:
        nulls = np.column_stack([frame[n].is_null().to_numpy() for n in layout.order])
        block["nulls"] = np.packbits(nulls, axis=1, bitorder="little")
    for i, (name, dtype) in enumerate(layout.fixed):
        block[f"c{i}"] = _plain(frame[name], dtype)
    width = record.itemsize
    if not layout.rest:
        block["size"] = width
        raw = block.tobytes()
        return [raw[at : at + width] for at in range(0, len(raw), width)]
    tails = [msgpack.packb(row) for row in frame.select(layout.rest).iter_rows()]
    block["size"] = [width + len(tail) for tail in tails]
    raw = block.tobytes()
    return [raw[i * width : (i + 1) * width] + tail for i, tail in enumerate(tails)]


def split_rows(record: bytes) -> Iterator[tuple[int, bytes]]:
    """(event time, row) of each row of a record, newest first."""
    at, end = 0, len(record)
    while at < end:
        size, time, _, _ = HEADER.unpack_from(record, at)
        yield time, record if size == end else record[at : at + size]
        at += size


def same_values(one: bytes, other: bytes) -> bool:
    """True where two records differ in nothing but the Delta versions that their rows were copied from."""
    if len(one) != len(other):
        return False
    if one == other:
        return True
    return [_timeless(r) for _, r in split_rows(one)] == [_timeless(r) for _, r in split_rows(other)]


def _timeless(row: bytes) -> bytes:
    return row[: _VERSION.start] + row[_VERSION.stop :]


def unpack_rest(record: bytes, layout: Layout, at: int) -> list[Value]:
    """The values of the columns that are not of a fixed width, of the row at ``at``."""
    size = HEADER.unpack_from(record, at)[0]
    values: list[Value] = msgpack.unpackb(record[at + layout.unpack.size : at + size])
    return values
