"""Encoder of rows to numbers: the types and categories that a model learned, kept with it as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl

from karat.clock import DAY_MICROSECONDS, EPOCH, EPOCH_DATE, MICROSECOND
from karat.dtypes import dtype_of_polars
from karat.errors import NaiveTimestamp, SchemaMismatch, SignatureError, did_you_mean

#: At most this many texts get a code; histogram trees have 255 bins, one of them for missing values.
MAX_CATEGORIES = 254
#: A text in fewer training rows has no code, because boosting overfits such rows.
FEWEST_ROWS = 5
#: Trees compare in 32 bits; greater values are infinite to them.
LARGEST = float(np.finfo(np.float32).max)
_NUMBERS = ("int64", "float64", "bool")


@dataclass(frozen=True)
class Column:
    """One feature.

    Attributes:
        name: The feature's name.
        dtype: Its declared type.
        categories: Of a text, the categories in the order of their codes.
        length: Steps of a sequence; 0 if the feature is one value.
    """

    name: str
    dtype: str
    categories: tuple[str, ...] = ()
    length: int = 0

    @property
    def type_name(self) -> str:
        """The type in a signature: ``float64``, or ``float64[24]`` for a sequence."""
        return f"{self.dtype}[{self.length}]" if self.length else self.dtype


def dtype_of(name: str, dtype: pl.DataType) -> str:
    """The declared type of a Polars column.

    Args:
        name: The feature's name, for messages.
        dtype: The column's type.

    Returns:
        The declared type.

    Raises:
        SchemaMismatch: No model takes the type.
        NaiveTimestamp: It is a timestamp without a time zone.
    """
    if dtype == pl.Null:
        return "float64"
    if dtype == pl.Datetime and dtype.time_zone is None:  # type: ignore[attr-defined]
        raise NaiveTimestamp(f"feature {name!r} is a timestamp without a time zone", remedy="cast it to UTC")
    if (declared := dtype_of_polars(dtype)) != "other":
        return declared
    if isinstance(dtype, pl.Array):
        raise SchemaMismatch(
            f"feature {name!r} is a sequence, but this kind of model reads one value per feature",
            remedy="use a kind that reads sequences, or remove sequence_length from its lookup",
        )
    raise SchemaMismatch(
        f"feature {name!r} has the type {dtype}, which no model takes",
        remedy="features are numbers, texts, booleans, dates or timestamps",
    )


@dataclass(frozen=True)
class Encoder:
    """Columns to a float64 matrix, ``(rows, features)``.

    Numbers stay, booleans are 0 and 1, dates and timestamps are days since 1970, texts are codes. Null, NaN, values
    beyond 32 bits, and rare or unseen texts are NaN: missing.

    If columns are sequences, the matrix is ``(rows, steps, features)``, oldest step first. A shorter sequence is padded
    in front with NaN; a column of one value has it at every step.

    Attributes:
        columns: The features in their order.
        warnings: What was noticed while fitting, such as texts without a code.
    """

    columns: tuple[Column, ...]
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def fit(cls, frame: pl.DataFrame, *, sequences: bool = False) -> Encoder:
        """Learn the type and categories of every column.

        Args:
            frame: The features alone; the encoder keeps their order.
            sequences: Whether Array columns are read as sequences.

        Returns:
            The fitted encoder.

        Raises:
            SchemaMismatch: A column has a type that no model takes.
            NaiveTimestamp: A timestamp has no time zone.
        """
        return EncoderStatistics.of(frame, sequences=sequences).encoder()

    def __reduce__(self) -> tuple[type[Encoder], tuple[Any, ...]]:  # the readers below can't be sent to a worker
        return Encoder, (self.columns, self.warnings)

    @property
    def names(self) -> list[str]:
        """The features' names in their order."""
        return [c.name for c in self.columns]

    @property
    def categorical(self) -> list[bool]:
        """Per feature, whether it is a text."""
        return [c.dtype == "string" for c in self.columns]

    @property
    def steps(self) -> int:
        """The length of the longest sequence; 0 without sequences."""
        return max((c.length for c in self.columns), default=0)

    def encode(self, frame: pl.DataFrame) -> np.ndarray:
        """Encode every row.

        Args:
            frame: Rows with at least the encoder's columns.

        Returns:
            ``(rows, features)`` or ``(rows, steps, features)`` float64, in row-major order.

        Raises:
            SignatureError: A column is missing or has another type.
        """
        self._check(frame)
        if self.steps:
            return self._encode_steps(frame)
        out = np.empty((frame.height, len(self.columns)))
        for index, column in enumerate(self.columns):
            out[:, index] = _values(frame[column.name], column)
        return _finite(out)

    def _encode_steps(self, frame: pl.DataFrame) -> np.ndarray:
        out = np.full((frame.height, self.steps, len(self.columns)), np.nan)
        for index, column in enumerate(self.columns):
            series = frame[column.name]
            if column.length:
                out[:, self.steps - column.length :, index] = _matrix(series, column.length)
            else:
                out[:, :, index] = _values(series, column)[:, None]
        return _finite(out)

    def _check(self, frame: pl.DataFrame) -> None:
        types = frame.schema  # Polars makes it anew each time it is asked for
        missing = [c.name for c in self.columns if c.name not in types]
        if missing:
            raise SignatureError(
                f"{len(missing)} of the model's {len(self.columns)} features are missing: {', '.join(missing[:5])}",
                remedy=did_you_mean(missing[0], frame.columns),
            )
        for column in self.columns:
            given = types[column.name]
            if column.length:
                _check_length(column, given)
                continue
            dtype = dtype_of(column.name, given)
            numbers = dtype in _NUMBERS and column.dtype in _NUMBERS
            if dtype != column.dtype and not numbers and given != pl.Null:
                raise _other_type(column, str(given))

    def encode_row(self, values: Sequence[object]) -> np.ndarray:
        """Encode one row; equal to ``encode`` on a frame of this row.

        Args:
            values: Plain values in the order of ``names``. A sequence is a list, oldest step first; None is missing.

        Returns:
            ``(1, features)`` or ``(1, steps, features)``.

        Raises:
            SignatureError: The number of values or the type of one is wrong.
        """
        if len(values) != len(self.columns):
            raise SignatureError(f"the model has {len(self.columns)} features, but {len(values)} values were given")
        readers = self._readers()
        if self.steps:
            row = np.full((1, self.steps, len(self.columns)), np.nan)
            for index, (column, read, value) in enumerate(zip(self.columns, readers, values, strict=True)):
                row[0, :, index] = _read_steps(column, read, value, self.steps) if column.length else read(value)
            return _finite(row)
        return _finite(np.array([[read(value) for read, value in zip(readers, values, strict=True)]]))

    def _readers(self) -> tuple[Callable[[Any], float], ...]:
        found = self.__dict__.get("_cached")
        if found is None:
            found = tuple(_reader(c) for c in self.columns)
            self.__dict__["_cached"] = found
        return found

    def to_json(self) -> list[dict[str, Any]]:
        """The columns as JSON, for ``model.json``."""
        return [
            {"name": c.name, "dtype": c.dtype, "categories": list(c.categories)}
            | ({"length": c.length} if c.length else {})
            for c in self.columns
        ]

    @classmethod
    def from_json(cls, data: list[dict[str, Any]]) -> Encoder:
        """An encoder from what ``to_json`` gave."""
        return cls(tuple(Column(c["name"], c["dtype"], tuple(c["categories"]), c.get("length", 0)) for c in data))


@dataclass(frozen=True)
class EncoderStatistics:
    """What an encoder learns from some rows; that of two sets of rows together is their sum.

    Attributes:
        types: Column -> its type.
        texts: Text column -> its distinct texts and their numbers of rows.
        sequences: Whether Array columns are read as sequences.
    """

    types: Mapping[str, pl.DataType]
    texts: Mapping[str, pl.DataFrame]
    sequences: bool = False

    @classmethod
    def of(cls, frame: pl.DataFrame, *, sequences: bool = False) -> EncoderStatistics:
        """Count the texts of a frame of features; see ``Encoder.fit``.

        Raises:
            SchemaMismatch: A column has a type that no model takes.
            NaiveTimestamp: A timestamp has no time zone.
        """
        texts = {}
        for series in frame:
            if sequences and isinstance(series.dtype, pl.Array):
                _sequence(series.name, series.dtype)
            elif dtype_of(series.name, series.dtype) == "string":
                counts = series.cast(pl.String).drop_nulls().alias("text").value_counts(name="rows")
                texts[series.name] = counts.with_columns(pl.col("rows").cast(pl.Int64))
        return cls(dict(frame.schema), texts, sequences)

    def __add__(self, other: EncoderStatistics) -> EncoderStatistics:
        """Statistics of the rows of both, which have the same columns."""
        texts = {
            name: pl.concat([counts, other.texts[name]]).group_by("text").agg(pl.col("rows").sum())
            for name, counts in self.texts.items()
        }
        return EncoderStatistics(self.types, texts, self.sequences)

    def encoder(self) -> Encoder:
        """Return the encoder of these rows."""
        columns, warnings = [], []
        for name, given in self.types.items():
            if self.sequences and isinstance(given, pl.Array):
                columns.append(_sequence(name, given))
                continue
            categories: tuple[str, ...] = ()
            if name in self.texts:
                categories, different = learned_categories(self.texts[name])
                if len(categories) < different:
                    warnings.append(
                        f"feature {name!r} has {different} distinct texts; {len(categories)} of them are "
                        f"frequent enough to learn from (in {FEWEST_ROWS} rows, {MAX_CATEGORIES} at most); the others "
                        "count as missing"
                    )
            columns.append(Column(name, dtype_of(name, given), categories))
        return Encoder(tuple(columns), tuple(warnings))


def _sequence(name: str, dtype: pl.Array) -> Column:
    inner = dtype_of(name, dtype.inner)  # type: ignore[arg-type]
    if inner not in _NUMBERS:
        raise SchemaMismatch(f"feature {name!r} is a sequence of {inner}; sequences hold numbers")
    return Column(name, inner, length=dtype.shape[0])


def _check_length(column: Column, given: pl.DataType) -> None:
    sequence = isinstance(given, pl.Array | pl.List) and dtype_of(column.name, given.inner) in _NUMBERS  # type: ignore[arg-type]
    if given != pl.Null and (not sequence or (isinstance(given, pl.Array) and given.shape[0] != column.length)):
        raise _other_type(column, str(given))


def _matrix(series: pl.Series, length: int) -> np.ndarray:
    """A sequence column as ``(rows, steps)``; a null row is NaN throughout."""
    if series.dtype == pl.Null:
        return np.full((len(series), length), np.nan)
    values = np.full((len(series), length), np.nan)
    lists = series.drop_nulls().cast(pl.List(pl.Float64))
    if (lists.list.len() != length).any():
        raise SignatureError(f"feature {series.name!r} is a sequence of {length} values; some rows have another length")
    if len(lists):
        values[series.is_not_null().to_numpy()] = lists.explode().to_numpy().reshape(-1, length)
    return values


def _read_steps(column: Column, read: Callable[[Any], float], value: Any, steps: int) -> np.ndarray:
    row = np.full(steps, np.nan)
    if value is None:
        return row
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != column.length:
        raise _other_type(column, repr(value))
    row[steps - column.length :] = [read(v) for v in value]
    return row


def learned_categories(counts: pl.DataFrame) -> tuple[tuple[str, ...], int]:
    """The texts that get a code, in the order of their codes, and the number of distinct texts.

    Args:
        counts: ``text`` and the number of its ``rows``.

    Returns:
        The texts in at least ``FEWEST_ROWS`` rows, ``MAX_CATEGORIES`` at most; and how many distinct ones there are.
    """
    frequent = counts.filter(pl.col("rows") >= FEWEST_ROWS).sort("rows", "text", descending=[True, False])
    return tuple(sorted(frequent["text"].head(MAX_CATEGORIES).to_list())), counts.height


def _other_type(column: Column, given: str) -> SignatureError:
    return SignatureError(
        f"feature {column.name!r} was learned as {column.type_name}; it was given as {given}",
        remedy=f"give {column.type_name}, as the model's signature says",
    )


def _finite(X: np.ndarray) -> np.ndarray:
    X[np.abs(X) > LARGEST] = np.nan
    return X


def _values(series: pl.Series, column: Column) -> np.ndarray:
    if column.dtype == "string":
        if series.dtype == pl.Null or not column.categories:
            return np.full(len(series), np.nan)
        codes = range(len(column.categories))
        return (
            series.cast(pl.String)
            .replace_strict(column.categories, codes, default=None, return_dtype=pl.Float64)
            .to_numpy()
        )
    if column.dtype == "timestamp":
        series = series.cast(pl.Null) if series.dtype == pl.Null else series.dt.cast_time_unit("us").cast(pl.Int64)
        return series.cast(pl.Float64).to_numpy() / DAY_MICROSECONDS
    return series.cast(pl.Int32 if column.dtype == "date" else pl.Float64).cast(pl.Float64).to_numpy()


def _reader(column: Column) -> Callable[[Any], float]:
    """The function that turns one plain value into a number."""
    if column.dtype == "string":
        return _category_reader(column)
    if column.dtype == "date":
        return lambda v: float("nan") if v is None else _days(column, v)
    if column.dtype == "timestamp":
        return lambda v: float("nan") if v is None else _timestamp(column, v)

    def number(value: Any) -> float:
        if value is None:
            return float("nan")
        if isinstance(value, str):
            raise _other_type(column, f"the text {value!r}")
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise _other_type(column, repr(value)) from error

    return number


def _category_reader(column: Column) -> Callable[[Any], float]:
    codes: dict[Any, float] = {text: float(code) for code, text in enumerate(column.categories)}

    def category(value: object) -> float:
        code = codes.get(value)
        if code is None:
            if value is not None and not isinstance(value, str):
                raise _other_type(column, repr(value))
            return float("nan")
        return code

    return category


def _days(column: Column, value: object) -> float:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise _other_type(column, repr(value))
    return float((value - EPOCH_DATE).days)


def _timestamp(column: Column, value: object) -> float:
    if not isinstance(value, datetime):
        raise _other_type(column, repr(value))
    if value.tzinfo is None:
        raise NaiveTimestamp(f"feature {column.name!r}: {value} has no time zone", remedy="give it in UTC")
    return float((value - EPOCH) // MICROSECOND) / DAY_MICROSECONDS
