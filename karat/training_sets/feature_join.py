"""Feature join: lookups and functions for every row of a spine, at pinned Delta versions or the present ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from karat.features import Status, sequence_join
from karat.features import point_in_time_join as join
from karat.features.keys import aligned
from karat.features.point_in_time import STATUS
from karat.lake import Lake
from karat.training_sets.functions import BoundFunction, PinnedFunction, compute_functions
from karat.training_sets.leakage_report import Ages, ReportLine, leakage_report, report_line
from karat.training_sets.lookups import PinnedLookup

#: Rows of a feature table that a lookup holds in memory at once.
ROWS_PER_PART = 10_000_000


@dataclass(frozen=True)
class JoinedFeatures:
    """Features of a spine, row for row.

    Attributes:
        values: Each output's values, ``(rows, features)``.
        statuses: Each value's status, ``(rows, features)``.
        report: The leakage report, one line per feature.
    """

    values: pl.DataFrame
    statuses: pl.DataFrame
    report: pl.DataFrame


def join_features(
    lake: Lake,
    spine: pl.DataFrame,
    lookups: Sequence[PinnedLookup],
    *,
    pinned: bool = False,
    given: Collection[str] = (),
    functions: Sequence[BoundFunction] = (),
) -> JoinedFeatures:
    """Look up and compute the features of every row of ``spine``.

    Args:
        lake: The lake.
        spine: Keys and times, ``(rows, columns)``.
        lookups: The lookups.
        pinned: Reads the pinned Delta versions; else the present ones.
        given: Outputs that the frame brings itself. They are neither looked up nor computed.
        functions: The feature functions.

    Returns:
        The outputs of the lookups, then those of the functions.
    """
    found = _join_lookups(lake, spine, lookups, pinned=pinned, given=given)
    needed = [f for f in functions if f.pinned.output not in given]
    if not needed:
        return found
    frame = pl.DataFrame([*spine, *found.values])
    return concat_features(found, function_outputs(compute_functions(needed, frame), [f.pinned for f in needed]))


def _join_lookups(
    lake: Lake, spine: pl.DataFrame, lookups: Sequence[PinnedLookup], *, pinned: bool, given: Collection[str]
) -> JoinedFeatures:
    values: list[pl.Series] = []
    statuses: list[pl.Series] = []
    lines: list[ReportLine] = []
    for lookup in (asked.without(given) for asked in lookups):
        if not lookup.outputs:
            continue
        found, told, age = _join_table(lake, spine, lookup, pinned=pinned)
        values += found
        statuses += told
        keys = spine.select(pl.any_horizontal(pl.col(lookup.spine_columns).is_null()).sum()).item()
        table, ages = str(lookup.table), Ages.of(age)
        lines += [report_line(v.name, table, v, s, ages, null_keys=keys) for v, s in zip(found, told, strict=True)]
    return JoinedFeatures(pl.DataFrame(values), pl.DataFrame(statuses), leakage_report(lines))


def function_outputs(made: Sequence[pl.Series], functions: Sequence[PinnedFunction]) -> JoinedFeatures:
    """Wrap the outputs of feature functions as joined features: status PRESENT or NULL, no age."""
    statuses, lines = [], []
    for series, pinned in zip(made, functions, strict=True):
        given = series.is_null().replace_strict({False: Status.PRESENT, True: Status.NULL}, return_dtype=STATUS)
        statuses.append(given.alias(series.name))
        ages = pl.Series("age", [None] * len(series), dtype=pl.Duration("us"))
        lines.append(report_line(series.name, f"function {pinned.name}", series, statuses[-1], ages))
    return JoinedFeatures(pl.DataFrame(made), pl.DataFrame(statuses), leakage_report(lines))


def concat_features(first: JoinedFeatures, second: JoinedFeatures) -> JoinedFeatures:
    """Concatenate the columns and the reports of both."""
    return JoinedFeatures(
        pl.DataFrame([*first.values, *second.values]),
        pl.DataFrame([*first.statuses, *second.statuses]),
        pl.concat([first.report, second.report]),
    )


_LookupColumns = tuple[list[pl.Series], list[pl.Series], pl.Series]


def _join_table(lake: Lake, spine: pl.DataFrame, lookup: PinnedLookup, *, pinned: bool) -> _LookupColumns:
    """Join one table, in parts by the hash of a key if it is large: memory holds one part and the spine."""
    fill_part = _join_latest_row if lookup.sequence_length is None else _join_sequence
    read = lookup.table_columns
    source, version = lake.pinned_source(lookup.table, lookup.version) if pinned else (lookup.table, None)
    parts = math.ceil(lake.count(source, version) / ROWS_PER_PART)
    if parts <= 1:
        return fill_part(spine, lake.read(source, version=version, columns=read), lookup)
    column, key = next(iter(lookup.keys.items()))
    typed = aligned(spine[column], lake.scan(source, version).collect_schema()[key], of=f"the feature table's {key!r}")
    of_spine = (typed.hash(seed=0) % parts).fill_null(0)
    places, found = [], []
    for part in range(parts):
        place = (of_spine == part).arg_true()
        features = lake.read(source, version=version, columns=read, where=pl.col(key).hash(seed=0) % parts == part)
        found.append(fill_part(spine[place], features, lookup))
        places.append(place)
    order = pl.concat(places).arg_sort()
    values, statuses, ages = zip(*found, strict=True)
    return _concat_parts(values, order), _concat_parts(statuses, order), pl.concat(ages).gather(order)


def _concat_parts(parts: Sequence[list[pl.Series]], order: pl.Series) -> list[pl.Series]:
    """Concatenate the parts column by column and restore the spine's order."""
    return [pl.concat(columns).gather(order) for columns in zip(*parts, strict=True)]


def _join_latest_row(spine: pl.DataFrame, features: pl.DataFrame, lookup: PinnedLookup) -> _LookupColumns:
    """Return values, statuses and ages of a lookup of one row, by output."""
    looked = join(
        spine.select(lookup.spine_columns),
        features,
        keys=lookup.keys,
        time=lookup.time,
        lag=lookup.lag,
        lookback=lookup.lookback,
        event_id=lookup.event_id,
        columns=list(lookup.columns),
        defaults=lookup.defaults,
    )
    return _rename_outputs(looked.values, lookup), _rename_outputs(looked.statuses, lookup), looked.age


def _join_sequence(spine: pl.DataFrame, features: pl.DataFrame, lookup: PinnedLookup) -> _LookupColumns:
    assert lookup.time is not None
    assert lookup.sequence_length is not None
    made = sequence_join(
        spine.select(lookup.spine_columns),
        features,
        keys=lookup.keys,
        time=lookup.time,
        length=lookup.sequence_length,
        step=lookup.step,
        short=lookup.short,
        lag=lookup.lag,
        lookback=lookup.lookback,
        event_id=lookup.event_id,
        columns=list(lookup.columns),
    )
    mask = [lookup.mask] if lookup.mask else []
    values = [*_rename_outputs(made.values, lookup), *(made.mask.alias(m) for m in mask)]
    statuses = [*_rename_outputs(made.statuses, lookup), *(made.found.alias(m) for m in mask)]
    return values, statuses, made.age


def _rename_outputs(frame: pl.DataFrame, lookup: PinnedLookup) -> list[pl.Series]:
    return [frame.get_column(name).alias(out) for name, out in lookup.columns.items()]
