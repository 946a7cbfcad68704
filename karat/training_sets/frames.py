"""Conversion between Polars, pandas and Arrow frames: Polars inside, the caller's kind outside.

A column's type follows its dtype, never its values. What Polars cannot hold is refused by the column's name.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, get_args

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
import pyarrow as pa

from karat.errors import SchemaMismatch, WrongCall, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

#: A Polars, pandas or Arrow frame.
Frame = Any
FrameKind = Literal["polars", "pandas", "arrow"]
_NULLABLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_CAST = "cast the column to one type: texts, numbers, flags, dates, or times of one zone"


def to_polars(frame: Frame) -> pl.DataFrame:
    """Convert a frame to Polars. Rows keep their order; a pandas index is dropped.

    A naive pandas column becomes naive times, midnights too; UUIDs become texts; NaN in pandas is null.

    Raises:
        WrongCall: It is not a frame, or a lazy frame cannot be computed.
        SchemaMismatch: A column's name is not unique, or its values have no type that a table can hold.
    """
    if isinstance(frame, pl.DataFrame):
        return _plain_columns(frame)
    if isinstance(frame, pl.LazyFrame):
        return _plain_columns(_computed(frame.collect))
    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    if isinstance(frame, pa.Table):
        return _from_arrow(frame)
    try:
        native = nw.from_native(frame)
    except Exception as error:  # narwhals checks the names of some frames, too
        if _is_pandas(frame):
            return _from_pandas(frame)
        raise WrongCall(
            f"a {type(frame).__name__} is not a frame", remedy="give a Polars, pandas or Arrow frame"
        ) from error
    if native.implementation.is_pandas():
        return _from_pandas(frame)
    collected = native.collect if isinstance(native, nw.LazyFrame) else lambda: native
    return _from_arrow(_computed(lambda: collected().to_arrow()))


def _computed(collect: Callable[[], Any]) -> Any:
    try:
        return collect()
    except Exception as error:
        raise WrongCall(
            f"the frame cannot be computed: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where="the frame's own query",
            remedy="collect it before the call, and correct the query",
        ) from error


def _is_pandas(frame: Frame) -> bool:
    return type(frame).__module__.partition(".")[0] == "pandas" and type(frame).__name__ == "DataFrame"


def _check_names(names: Iterable[object]) -> None:
    seen: set[object] = set()
    for name in names:
        if not isinstance(name, str) and not (isinstance(name, int) and not isinstance(name, bool)):
            raise SchemaMismatch(
                f"the column name {name!r} is not a text", where="the frame", remedy="rename it: names are texts"
            )
        if str(name) in seen:
            raise SchemaMismatch(
                f"the column {name!r} occurs twice", where="the frame", remedy="rename or drop one of the columns"
            )
        seen.add(str(name))


def _refused(column: object, why: str, remedy: str = _CAST) -> SchemaMismatch:
    return SchemaMismatch(f"the column {column!r} cannot be taken: {why}", where="the frame", remedy=remedy)


# ---- Polars


def _plain_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Replace columns of Python objects and of extension types by columns of plain types."""
    odd = [s for s in frame if isinstance(s.dtype, pl.Object | pl.BaseExtension)]
    return frame.with_columns(_plain_column(s) for s in odd) if odd else frame


def _plain_column(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Object):
        return _of_objects(column.name, column.to_list())
    raise _refused(column.name, f"it is of the extension type {column.dtype}")


# ---- Arrow


def _from_arrow(table: pa.Table) -> pl.DataFrame:
    _check_names(table.column_names)
    return pl.DataFrame([_arrow_column(f.name, table.column(i)) for i, f in enumerate(table.schema)])


def _arrow_column(name: str, column: pa.ChunkedArray) -> pl.Series:
    kind, is_ = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return _of_objects(name, column.to_pylist())
        raise _refused(name, f"it is of the extension type {kind}", "cast it to its storage type")
    if is_.is_decimal256(kind):
        raise _refused(name, f"it is of type {kind}, which is wider than 38 digits", "cast it to decimal128 or double")
    if is_.is_date64(kind):
        column = column.cast(pa.date32())
    if is_.is_run_end_encoded(kind):
        import pyarrow.compute as pc  # it costs time at import

        column = pc.run_end_decode(column)
    try:
        return pl.Series(name, pl.from_arrow(column))
    except Exception as error:
        raise _refused(name, f"it is of type {kind}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# ---- pandas


def _from_pandas(frame: pd.DataFrame) -> pl.DataFrame:
    _check_names(frame.columns)
    columns = [_pandas_column(str(name), frame.iloc[:, i]) for i, name in enumerate(frame.columns)]
    return pl.DataFrame(columns)


def _pandas_column(name: str, column: pd.Series[Any]) -> pl.Series:
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pd.SparseDtype):
        return _pandas_column(name, column.sparse.to_dense())
    if isinstance(dtype, pd.CategoricalDtype) and pd.api.types.is_object_dtype(dtype.categories.dtype):
        if column.isna().all():
            return pl.Series(name, [None] * len(column), dtype=pl.String)
        if not all(isinstance(c, str) for c in dtype.categories):
            return _pandas_column(name, column.astype(object))
    if isinstance(dtype, pd.PeriodDtype | pd.IntervalDtype):
        raise _refused(name, f"it is of the pandas type {dtype}", "take its start: .dt.start_time, or .array.left")
    if isinstance(dtype, pd.ArrowDtype):
        return _arrow_column(name, pa.chunked_array(column.array.__arrow_array__()))
    if pd.api.types.is_object_dtype(dtype):
        return _of_objects(name, [None if _is_missing(v) else v for v in column])
    if dtype == np.float16:
        column = column.astype("float32")
    try:
        return pl.Series(name, pl.from_pandas(column.reset_index(drop=True)))
    except Exception as error:
        raise _refused(name, f"it is of the pandas type {dtype}: {_first_line(error)}") from error


def _is_missing(value: object) -> bool:
    """None, NaN, pandas' NA and NaT: the one value of its kind, or one that differs from itself."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


# ---- Python objects


def _of_objects(name: str, values: Sequence[object]) -> pl.Series:
    """A column of Python objects of one type; integers and floats make floats where that loses nothing."""
    kinds = {_kind(v) for v in values if v is not None}
    if not kinds:
        return pl.Series(name, [None] * len(values), dtype=pl.Null)
    if kinds == {int, float}:
        if any(isinstance(v, int | np.integer) and int(float(v)) != v for v in values):
            raise _refused(name, "it has integers that a float cannot hold beside floats")
        return pl.Series(name, [None if v is None else float(v) for v in values], dtype=pl.Float64)  # type: ignore[arg-type]
    if len(kinds) > 1:
        shown = {_kind(v).__name__: v for v in values if v is not None}
        examples = ", ".join(f"{kind} {value!r}" for kind, value in sorted(shown.items()))
        raise _refused(name, f"it mixes types: {examples}")
    kind = kinds.pop()
    if kind is uuid.UUID:
        return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)
    if kind is object:
        odd = next(v for v in values if v is not None)
        raise _refused(name, f"it holds objects of type {type(odd).__name__}")
    if kind is datetime:
        return _of_times(name, values)
    dtype = _POLARS.get(kind)
    plain = [v.tolist() if isinstance(v, np.generic | np.ndarray) else v for v in values]
    try:
        return pl.Series(name, plain, dtype=dtype, strict=True)
    except Exception as error:
        raise _refused(name, _first_line(error)) from error


#: The type of Python values -> the Polars type; None where Polars finds the inner type.
_POLARS: dict[type, pl.DataType | None] = {
    str: pl.String(),
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    date: pl.Date(),
    time: pl.Time(),
    timedelta: pl.Duration("us"),
    bytes: pl.Binary(),
    Decimal: None,
    list: None,
    dict: None,
}


def _kind(value: object) -> type:
    """The type of a Python value as a column has it; ``object`` if no column has it."""
    if isinstance(value, bool | np.bool_):
        return bool
    for kind, types in (
        (int, int | np.integer),
        (float, float | np.floating),
        (str, str),
        (bytes, bytes),
        (datetime, datetime | np.datetime64),
        (date, date),
        (list, list | tuple | np.ndarray),
    ):
        if isinstance(value, types):
            return kind
    return next((kind for kind in (uuid.UUID, Decimal, time, timedelta, dict) if isinstance(value, kind)), object)


def _of_times(name: str, values: Sequence[Any]) -> pl.Series:
    """Times of one zone, of several (then in UTC), or all without."""
    times = [v.item() if isinstance(v, np.datetime64) else v for v in values]
    if any(t is not None and not isinstance(t, datetime) for t in times):
        raise _refused(name, "it has times finer than a microsecond")
    if any(getattr(t, "nanosecond", 0) for t in times):
        raise _refused(name, "it has times finer than a microsecond", "truncate them: times are microseconds")
    zoned = [t for t in times if t is not None and t.tzinfo is not None]
    if zoned and len(zoned) < sum(t is not None for t in times):
        raise _refused(name, "some of its times have a zone, and others have none")
    made = [None if t is None else t.astimezone(UTC) if t.tzinfo is not None else t for t in times]
    return pl.Series(name, made, dtype=pl.Datetime("us", "UTC" if zoned else None))


# ---- the way back


def convert_frame(frame: pl.DataFrame, kind: FrameKind) -> Frame:
    """Convert a Polars frame to ``kind``.

    Raises:
        WrongCall: There is no such kind.
    """
    if kind not in get_args(FrameKind):
        raise WrongCall(f"there is no kind of frame {kind!r}", remedy=did_you_mean(str(kind), get_args(FrameKind)))
    if kind == "pandas":
        return _to_pandas(frame)
    return _to_arrow(frame) if kind == "arrow" else frame


def named_index_as_columns(frame: Frame) -> Frame:
    """A pandas frame whose named index levels are columns, in front of the others; another frame as it is.

    Raises:
        SchemaMismatch: A level has the name of a column.
    """
    if not _is_pandas(frame):
        return frame
    named = [name for name in frame.index.names if name is not None]
    both = [name for name in named if name in frame.columns]
    if both:
        raise SchemaMismatch(
            f"{both[0]!r} is a column and a level of the index",
            where="the frame",
            remedy="drop one: reset_index(drop=True)",
        )
    return frame.reset_index(level=named) if named else frame


def _to_arrow(frame: pl.DataFrame) -> pa.Table:
    """Convert to Arrow, in types that every reader has: no views, and no large offsets where none are needed."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    try:
        return table.cast(pa.schema(f.with_type(_small(f.type)) for f in table.schema))
    except pa.ArrowInvalid:  # more than 2 GiB of text
        return table


def _small(kind: pa.DataType) -> pa.DataType:
    """The type without large offsets."""
    is_ = pa.types
    if is_.is_large_string(kind):
        return pa.string()
    if is_.is_large_binary(kind):
        return pa.binary()
    if is_.is_large_list(kind):
        return pa.list_(kind.value_field.with_type(_small(kind.value_type)))
    if is_.is_struct(kind):
        return pa.struct([f.with_type(_small(f.type)) for f in kind])
    if is_.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _small(kind.value_type), kind.ordered)
    return kind


def _to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """Convert to pandas; dates become objects, integers and flags with nulls the nullable types: nothing is lost."""
    import pandas as pd

    missing = [s for s in frame if s.null_count()]
    nullable = {s.name: str(s.dtype) for s in missing if isinstance(s.dtype, _NULLABLE)}
    nullable |= {s.name: "boolean" for s in missing if s.dtype == pl.Boolean}
    out = frame.drop(nullable).to_pandas(date_as_object=True)  # a datetime64 would come back as times without a zone
    if not out.columns.size:
        out = pd.DataFrame(index=range(frame.height))
    for name, dtype in nullable.items():
        out[name] = pd.array(frame[name].to_list(), dtype=dtype)
    return out[frame.columns] if nullable else out


def convert_like(out: pl.DataFrame, given: Frame) -> Frame:
    """Convert ``out`` to the kind of ``given``.

    If both have as many rows, the columns that were given are those of ``given``, and pandas keeps its index.
    """
    if isinstance(given, pl.DataFrame):
        return _with_given(out, given)
    if isinstance(given, pl.LazyFrame):
        return out.lazy()
    if isinstance(given, pa.RecordBatch | pa.Table):
        return _arrow_like(out, given)
    if not _is_pandas(given):
        return out
    frame = _to_pandas(out)
    if len(frame) != len(given):
        return frame
    frame.index = given.index
    own = {str(name): i for i, name in enumerate(given.columns)}
    kept = frame.assign(**{name: given.iloc[:, own[name]] for name in frame.columns if name in own})
    return kept.rename(columns={str(name): name for name in given.columns if not isinstance(name, str)})


def _with_given(out: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    if out.height != given.height:
        return out
    return out.with_columns(given[name] for name in out.columns if name in given.columns)


def _arrow_like(out: pl.DataFrame, given: pa.RecordBatch | pa.Table) -> pa.RecordBatch | pa.Table:
    made, own = _to_arrow(out), {name: i for i, name in enumerate(given.schema.names)}
    if made.num_rows == given.num_rows:
        for i, name in enumerate(made.column_names):
            if name in own:
                made = made.set_column(i, given.schema.field(own[name]), given.column(own[name]))
    return _one_batch(made) if isinstance(given, pa.RecordBatch) else made


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def append_columns(given: Frame, added: pl.DataFrame) -> Frame:
    """Return ``given`` with the columns of ``added`` to the right."""
    if isinstance(given, pl.DataFrame):
        return given.with_columns(added)
    if isinstance(given, pa.RecordBatch | pa.Table):
        table = pa.Table.from_batches([given]) if isinstance(given, pa.RecordBatch) else given
        new = _to_arrow(added)
        for name in added.columns:
            table = table.append_column(new.schema.field(name), new.column(name))
        return _one_batch(table) if isinstance(given, pa.RecordBatch) else table
    if _is_pandas(given):
        extra = _to_pandas(added)
        extra.index = given.index
        return given.assign(**{name: extra[name] for name in added.columns})
    return convert_like(to_polars(given).with_columns(added), given)
