"""Digest of rows that does not depend on their order or on how they are cut: the digests of shards add up.

Each row has a hash of 128 bits of its names, types and values; the digest is of the sum of these hashes. So any number
of shards, in any order, gives the digest of the whole, and no process holds more than its shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from karat.fingerprint import fingerprint

#: Rows that are hashed at a time: few enough for the processor's caches.
_ROWS = 1 << 14
_WORD = 8
_NULL = np.uint64(0x9E3779B97F4A7C15)
_Words = np.ndarray


@dataclass(frozen=True)
class RowDigest:
    """Digest of some rows; that of two sets of rows together is their sum.

    Attributes:
        types: Maps each column to its type, as far as the type has a meaning of its own.
        rows: Number of rows.
        sums: Sum of the rows' hashes, modulo 2^64 in each half.
        columns: Maps each column to the sum of its values' hashes.
    """

    types: Mapping[str, str]
    rows: int
    sums: tuple[int, int]
    columns: Mapping[str, int]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> RowDigest:
        """Digest a frame, ``(rows, columns)``.

        Values of equal meaning are equal: categories and text; one NaN for all, and 0.0 for -0.0; times of one moment
        in any zone and unit.
        """
        return cls.of_both(frame, 0)[1]

    @classmethod
    def of_both(cls, frame: pl.DataFrame, width: int) -> tuple[RowDigest, RowDigest]:
        """Digest the first ``width`` columns of a frame, and all of it: each value is hashed once."""
        normal = [_normalize_type(series.rename(name)) for name, series in zip(frame.columns, frame, strict=True)]
        keys = {s.name: _column_keys(s.name, str(s.dtype)) for s in normal}
        columns = dict.fromkeys(keys, 0)
        sums = {at: np.zeros(2, dtype=np.uint64) for at in (width, len(normal))}
        for start in range(0, frame.height, _ROWS):
            left, right = (np.zeros(min(_ROWS, frame.height - start), dtype=np.uint64) for _ in range(2))
            for place, series in enumerate(normal):
                own = keys[series.name]
                words = _mix(_words(series.slice(start, _ROWS)) ^ own[0])
                columns[series.name] = (columns[series.name] + int(words.sum())) % 2**64
                left += words * own[1]
                right += words * own[2]
                if place + 1 in sums:
                    sums[place + 1] += np.array([_mix(left.copy()).sum(), _mix(right.copy()).sum()])
        types = {s.name: str(s.dtype) for s in normal}
        first, whole = (
            cls(
                dict(list(types.items())[:at]),
                frame.height,
                (int(sums[at][0]), int(sums[at][1])),
                dict(list(columns.items())[:at]),
            )
            for at in (width, len(normal))
        )
        return first, whole

    def __add__(self, other: RowDigest) -> RowDigest:
        """Digest of the rows of both; their columns must be the same."""
        assert list(self.types.items()) == list(other.types.items())
        return RowDigest(
            self.types,
            self.rows + other.rows,
            ((self.sums[0] + other.sums[0]) % 2**64, (self.sums[1] + other.sums[1]) % 2**64),
            {name: (value + other.columns[name]) % 2**64 for name, value in self.columns.items()},
        )

    def __str__(self) -> str:
        """The digest as 32 hexadecimal digits."""
        return fingerprint([list(self.types.items()), self.rows, *self.sums])

    @property
    def by_column(self) -> dict[str, str]:
        """The digest of each column's values, for naming the columns in which two sets of rows differ."""
        return {name: fingerprint([self.types[name], self.rows, value]) for name, value in self.columns.items()}


def digest(frame: pl.DataFrame) -> str:
    """Digest names, types and values; the order of the rows does not count. See ``RowDigest``.

    Args:
        frame: The frame, ``(rows, columns)``.

    Returns:
        32 hexadecimal digits.
    """
    return str(RowDigest.of(frame))


@lru_cache(maxsize=1 << 12)
def _column_keys(name: str, dtype: str) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Three keys of a column, two of them odd, so that equal values of two columns have unequal hashes."""
    made = hashlib.blake2b(f"{name}\x00{dtype}".encode(), digest_size=24).digest()
    start, left, right = np.frombuffer(made, dtype="<u8")
    return start, left | np.uint64(1), right | np.uint64(1)


def _mix(words: _Words) -> _Words:
    """Mix the bits of each word in place: a bijection, the finalizer of SplitMix64."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def _normalize_type(series: pl.Series) -> pl.Series:
    """Cast types of equal meaning to one: categories to text, times to UTC microseconds."""
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        return series.cast(pl.String)
    if isinstance(series.dtype, pl.Datetime):
        utc = series.dt.convert_time_zone("UTC") if series.dtype.time_zone else series
        return utc.dt.cast_time_unit("us")
    return series


def _words(series: pl.Series) -> _Words:
    """A word for each value, ``(rows,)``; a null is a word of its own."""
    words = _value_words(series)
    if series.null_count():
        words = np.where(series.is_null().to_numpy(), _NULL, words)
    return words


def _value_words(series: pl.Series) -> _Words:
    dtype = series.dtype
    if dtype == pl.Null:
        return np.full(len(series), _NULL)
    if dtype == pl.Boolean:
        return _filled(series, False).to_numpy().astype(np.uint64)
    if dtype.is_float():
        # In NumPy adding 0.0 turns -0.0 into 0.0; Polars leaves such an addition out.
        values = _filled(series, 0.0).to_numpy().astype(np.float64) + 0.0
        values[np.isnan(values)] = np.nan
        return values.view(np.uint64)
    if dtype.is_temporal():
        return _whole(series.to_physical())
    if dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128):  # NumPy has no integers of this width
        return _whole(series)
    if dtype in (pl.String, pl.Binary):
        return _text_words(_filled(series.cast(pl.Binary), b""))
    if isinstance(dtype, pl.Array):
        return _row_words(series, dtype)
    if isinstance(dtype, pl.Struct):
        fields = [_words(_normalize_type(series.struct.field(f.name))) for f in dtype.fields]
        return _fold(np.column_stack(fields)) if fields else np.zeros(len(series), dtype=np.uint64)
    # Others are few (lists of ids in a spine, decimals): their text is canonical enough.
    texts = [str(value).encode() for value in series.to_list()]
    return _text_words(pl.Series(series.name, texts, dtype=pl.Binary))


def _whole(series: pl.Series) -> _Words:
    values = _filled(series, 0).to_numpy()
    return values.astype(np.uint64 if series.dtype == pl.UInt64 else np.int64).view(np.uint64)


def _filled(series: pl.Series, value: object) -> pl.Series:
    """The column with ``value`` for null; Polars takes longer for a call than NumPy for the rows."""
    return series.fill_null(value) if series.null_count() else series


def _row_words(series: pl.Series, dtype: pl.Array) -> _Words:
    """A word for each sequence."""
    if not len(series) or not dtype.shape[0]:
        return np.zeros(len(series), dtype=np.uint64)
    whole = series.to_frame().select(
        pl.when(pl.first().is_null()).then(pl.lit([None] * dtype.shape[0], dtype=dtype)).otherwise(pl.first())
    )
    flat = _normalize_type(whole.to_series().explode())
    return _fold(_words(flat).reshape(len(series), -1))


def _fold(words: _Words) -> _Words:
    """One word for each row of words, ``(rows, words)``; their order counts."""
    folded = np.full(len(words), np.uint64(words.shape[1]))
    for column in words.T:
        folded = _mix((folded * np.uint64(3)) ^ _mix(column.copy()))
    return folded


def _text_words(series: pl.Series) -> _Words:
    """A word for each text, from its length and its bytes in pieces of eight."""
    if not len(series):
        return np.zeros(0, dtype=np.uint64)
    array = series.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, places, data = array.buffers()
    offsets = np.frombuffer(places, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    text = np.zeros(int(offsets[-1] - offsets[0]) + _WORD, dtype=np.uint8)
    if data is not None:
        text[:-_WORD] = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]]
    # A view of the bytes as a word at every place: no text has to be aligned or padded.
    at = np.ndarray(len(text) - _WORD + 1, dtype="<u8", buffer=text, strides=(1,))
    words = _mix(lengths.astype(np.uint64))
    place = 0
    left = np.flatnonzero(lengths > place)
    while len(left):
        rest = np.minimum(lengths[left] - place, _WORD).astype(np.uint64)
        shift = (np.uint64(_WORD) - rest) * np.uint64(8)
        piece = (at[starts[left] + place] << shift) >> shift  # without the bytes of the next text
        words[left] = _mix((words[left] * np.uint64(3)) ^ piece)
        place += _WORD
        left = left[lengths[left] > place]
    return words
