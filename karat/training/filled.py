"""Lookups filled in for every row of a spine: at pinned Delta versions for training, at those of now for scoring."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from karat.features import Status, sequences
from karat.features import lookup as join
from karat.features.asof import STATUS
from karat.lake import Lake
from karat.training.functions import BoundFunction, PinnedFunction, compute
from karat.training.leakage import describe, report
from karat.training.lookups import PinnedLookup


@dataclass(frozen=True)
class Filled:
    """What lookups gave for a spine, row for row: values and statuses by output name, and each lookup's report."""

    values: pl.DataFrame
    statuses: pl.DataFrame
    report: pl.DataFrame


def fill(
    lake: Lake,
    spine: pl.DataFrame,
    lookups: Sequence[PinnedLookup],
    *,
    pinned: bool = False,
    given: Collection[str] = (),
    functions: Sequence[BoundFunction] = (),
) -> Filled:
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
) -> Filled:
    values: list[pl.Series] = []
    statuses: list[pl.Series] = []
    lines: list[dict[str, Any]] = []
    for lookup in (asked.without(given) for asked in lookups):
        if not lookup.outputs:
            continue
        read = lookup.table_columns
        features = (
            lake.read_pinned(lookup.table, lookup.version, read) if pinned else lake.read(lookup.table, columns=read)
        )
        found, told, age = (_row if lookup.sequence_length is None else _sequence)(spine, features, lookup)
        values += found
        statuses += told
        keys = spine.select(pl.any_horizontal(pl.col(lookup.spine_columns).is_null()).sum()).item()
        table = str(lookup.table)
        lines += [describe(v.name, table, v, s, age, null_keys=keys) for v, s in zip(found, told, strict=True)]
    return Filled(pl.DataFrame(values), pl.DataFrame(statuses), report(lines))


def computed(made: Sequence[pl.Series], functions: Sequence[PinnedFunction]) -> Filled:
    """The outputs of feature functions, told as lookups are: PRESENT or NULL, and of no age."""
    statuses, lines = [], []
    for series, pinned in zip(made, functions, strict=True):
        given = series.is_null().replace_strict({False: Status.PRESENT, True: Status.NULL}, return_dtype=STATUS)
        statuses.append(given.alias(series.name))
        ages = pl.Series("age", [None] * len(series), dtype=pl.Duration("us"))
        lines.append(describe(series.name, f"function {pinned.name}", series, statuses[-1], ages))
    return Filled(pl.DataFrame(made), pl.DataFrame(statuses), report(lines))


def together(first: Filled, second: Filled) -> Filled:
    """The columns of both, and the lines of both reports."""
    return Filled(
        pl.DataFrame([*first.values, *second.values]),
        pl.DataFrame([*first.statuses, *second.statuses]),
        pl.concat([first.report, second.report]),
    )


_Found = tuple[list[pl.Series], list[pl.Series], pl.Series]


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
    made = sequences(
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
