"""A feature table cut down to some of its features and what they are derived from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from karat.declare import FeatureTable, aggregate
from karat.errors import FeatureNotFound, did_you_mean

Table = TypeVar("Table", bound=FeatureTable)
#: The feature that keeps the rows of idle days which the features left out would have made.
REACH = "__reach"


def narrowed(table: Table, names: Iterable[str], *, whole_window: bool = False) -> Table:
    """``table`` with the features ``names`` alone, and as intermediate ones those that they read.

    ``whole_window`` keeps its widest window, and so a row for every day on which the whole table has one.
    Raises FeatureNotFound with the nearest name.
    """
    wanted, stored = set(names) - set(table.primary_key), {f.name for f in table.stored}
    for name in sorted(wanted - stored):
        raise FeatureNotFound(
            f"feature table {table.name!r} has no feature {name!r}",
            where=f"feature table {table.name!r}",
            remedy=did_you_mean(name, stored),
        )
    needed = set(wanted)
    for place, feature in reversed(list(enumerate(table.features))):
        if feature.name in needed:
            needed |= feature.reads([f.name for f in table.features[:place]])
    kept = [
        f if f.name in wanted else f.model_copy(update={"intermediate": True})
        for f in table.features
        if f.name in needed
    ]
    if whole_window and table.lookback:
        kept.append(aggregate(REACH, "count", window=table.lookback, description="", intermediate=True))
    return table.model_copy(update={"features": tuple(kept)})
