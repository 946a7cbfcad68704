"""A table's contract as a pandera schema, for a team's own tests and notebooks on frames that fit in memory.

Karat itself runs its checks without pandera (docs/decisions/0070-checks-without-pandera.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from karat.declare import Check, FeatureTable, GoldTable
from karat.declare.checks import Between, IsIn, Matches, NotNull, RowCheck
from karat.dtypes import POLARS
from karat.extras import optional_imports

with optional_imports():
    import pandera.polars as pa


def pandera_schema(table: GoldTable | FeatureTable) -> pa.DataFrameSchema:
    """Translate a contract to pandera: types, nulls, ranges, allowed values, conditions and the key.

    A check that warns warns in pandera, too. ``at_most``, freshness, volume and ``unique`` outside the key have no
    counterpart. The key columns of a feature table have no type: gold declares them.

    Args:
        table: The gold or feature table.

    Returns:
        The schema.
    """
    if isinstance(table, GoldTable):
        dtypes: dict[str, Any] = {n: POLARS[c.dtype] for n, c in table.columns.items()}
        checks: tuple[Check, ...] = (*table.column_rules, *table.declared_checks)
        key = table.key
    else:
        dtypes = dict.fromkeys(table.primary_key) | {f.name: POLARS[f.dtype] for f in table.stored}
        checks, key = table.declared_checks, table.primary_key
    strict = [c for c in checks if not (isinstance(c, RowCheck) and c.at_most)]
    return pa.DataFrameSchema(
        {name: _column(name, dtype, strict, key) for name, dtype in dtypes.items()},
        checks=[_rule(c) for c in strict if isinstance(c, Matches)],
        unique=list(key),
        name=table.name,
    )


def _column(name: str, dtype: Any, checks: Iterable[Check], key: tuple[str, ...]) -> pa.Column:
    mine = [c for c in checks if c.columns == (name,)]
    required = name in key or any(isinstance(c, NotNull) and c.on_fail != "warn" for c in mine)
    rules = [_rule(c) for c in mine if isinstance(c, Between | IsIn)]
    return pa.Column(dtype, checks=rules, nullable=not required)


def _rule(check: RowCheck) -> pa.Check:
    """A pandera check with the expression that Karat uses."""

    def holds(data: Any) -> pl.LazyFrame:
        made: pl.LazyFrame = data.lazyframe.select(~check.broken())
        return made

    return pa.Check(holds, name=check.name, raise_warning=check.on_fail == "warn")
