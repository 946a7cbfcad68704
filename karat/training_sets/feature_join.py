"""Lookups filled in for every row of a spine: at pinned Delta versions for training, at those of now for scoring."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from karat.features import Status, sequence_join
from karat.features import point_in_time_join as join
from karat.features.keys import aligned
from karat.features.point_in_time import STATUS
from karat.lake import Lake
from karat.training_sets.functions import BoundFunction, PinnedFunction, compute
from karat.training_sets.leakage import describe, report
from karat.training_sets.lookups import PinnedLookup

#: Rows of a feature table that a lookup holds in memory at a time.
ROWS_AT_ONCE = 10_000_000


@dataclass(frozen=True)
class JoinedFeatures:
    """What lookups gave for a spine, row for row: values and statuses by output name, and each lookup's report."""

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
    """Every lookup's columns for every row of ``spine``, at the pinned Delta versions or at those of now; then those
    of ``functions``. Outputs in ``given`` are neither looked up nor computed: the frame brings them itself.
    """
    found = _looked_up(lake, spine, lookups, pinned=pinned, given=given)
    needed = [f for f in functions if f.pinned.output not in given]
    if not needed:
        return found
    frame = pl.DataFrame([*spine, *found.values])
    return together(found, computed(compute(needed, frame), [f.pinned for f in needed]))


def _looked_up(
    lake: Lake, spine: pl.DataFrame, lookups: Sequence[PinnedLookup], *, pinned: bool, given: Collection[str]
) -> JoinedFeatures:
    values: list[pl.Series] = []
    statuses: list[pl.Series] = []
    lines: list[dict[str, Any]] = []
    for lookup in (asked.without(given) for asked in lookups):
        if not lookup.outputs:
            continue
        found, told, age = _by_parts(lake, spine, lookup, pinned=pinned)
        values += found
        statuses += told
        keys = spine.select(pl.any_horizontal(pl.col(lookup.spine_columns).is_null()).sum()).item()
        table = str(lookup.table)
        lines += [describe(v.name, table, v, s, age, null_keys=keys) for v, s in zip(found, told, strict=True)]
    return JoinedFeatures(pl.DataFrame(values), pl.DataFrame(statuses), report(lines))


def computed(made: Sequence[pl.Series], functions: Sequence[PinnedFunction]) -> JoinedFeatures:
    """The outputs of feature functions, told as lookups are: PRESENT or NULL, and of no age."""
    statuses, lines = [], []
    for series, pinned in zip(made, functions, strict=True):
        given = series.is_null().replace_strict({False: Status.PRESENT, True: Status.NULL}, return_dtype=STATUS)
        statuses.append(given.alias(series.name))
        ages = pl.Series("age", [None] * len(series), dtype=pl.Duration("us"))
        lines.append(describe(series.name, f"function {pinned.name}", series, statuses[-1], ages))
    return JoinedFeatures(pl.DataFrame(made), pl.DataFrame(statuses), report(lines))


def together(first: JoinedFeatures, second: JoinedFeatures) -> JoinedFeatures:
    """The columns of both, and the lines of both reports."""
    return JoinedFeatures(
        pl.DataFrame([*first.values, *second.values]),
        pl.DataFrame([*first.statuses, *second.statuses]),
        pl.concat([first.report, second.report]),
    )


_Found = tuple[list[pl.Series], list[pl.Series], pl.Series]


def _by_parts(lake: Lake, spine: pl.DataFrame, lookup: PinnedLookup, *, pinned: bool) -> _Found:
    """A large table is read in parts, by the hash of a key: what is in memory is one part and the spine."""
    fill_part = _row if lookup.sequence_length is None else _sequence
    read = lookup.table_columns
    source, version = lake.pinned_source(lookup.table, lookup.version) if pinned else (lookup.table, None)
    parts = math.ceil(lake.count(source, version) / ROWS_AT_ONCE)
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
    return _stacked(values, order), _stacked(statuses, order), pl.concat(ages).gather(order)


def _stacked(parts: Sequence[list[pl.Series]], order: pl.Series) -> list[pl.Series]:
    """Column by column, the parts' rows in the order of the spine."""
    return [pl.concat(columns).gather(order) for columns in zip(*parts, strict=True)]


def _row(spine: pl.DataFrame, features: pl.DataFrame, lookup: PinnedLookup) -> _Found:
    """Values, statuses and ages of a lookup that takes one row, by output."""
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
    return _named(looked.values, lookup), _named(looked.statuses, lookup), looked.age


def _sequence(spine: pl.DataFrame, features: pl.DataFrame, lookup: PinnedLookup) -> _Found:
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
    values = [*_named(made.values, lookup), *(made.mask.alias(m) for m in mask)]
    statuses = [*_named(made.statuses, lookup), *(made.found.alias(m) for m in mask)]
    return values, statuses, made.age


def _named(frame: pl.DataFrame, lookup: PinnedLookup) -> list[pl.Series]:
    return [frame.get_column(name).alias(out) for name, out in lookup.columns.items()]
