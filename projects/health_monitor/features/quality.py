"""Quality features: what a catalogue held, loaded, changed and tagged up to the end of each day."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from karat.declare import Feature, FeatureTable, aggregate, between, from_polars, matches, volume

DOMAINS = ("customer", "finance", "operations", "product")
SORTS = ("personal", "money", "time", "code")
#: What comes with a load: the SQL of a table's, and what it is.
LOADED = {
    "null_logit": ("ln(greatest(null_share, 0.0001) / (1 - least(null_share, 0.9999)))", "Log-odds of a missing value"),
    "distinct_logit": (
        "ln(greatest(distinct_share, 0.0001) / (1 - least(distinct_share, 0.9999)))",
        "Log-odds of a different value",
    ),
    "log_loaded": ("ln(1 + loaded_rows)", "Logarithm of 1 and the rows loaded"),
    "value_shift": ("value_shift", "Shift of the mean, in deviations"),
    "abs_value_shift": ("abs(value_shift)", "Size of the shift of the mean, in deviations"),
    "hours_since_load": ("hours_since_load", "Hours since the last load"),
}
#: Changes of columns: the SQL of a table's, and what they are.
CHANGES = {
    "changed": ("removed_columns + retyped_columns", "Columns that went or changed their type"),
    "added": ("added_columns", "Columns that were added"),
    "deprecated": ("deprecated_columns", "Marks that columns are to go"),
}


def _last(days: int) -> str:
    return "the day" if days == 1 else f"the last {days} days"


def _mean(name: str, column: str, days: int, what: str) -> Feature:
    return aggregate(
        f"{name}_{days}d",
        "mean",
        column,
        window=f"{days}d",
        description=f"{what}, mean of the tables over {_last(days)}",
    )


def _sum(name: str, column: str, days: int, what: str, *, shown: bool = True) -> Feature:
    return aggregate(
        f"{name}_{days}d",
        "sum",
        column,
        window=f"{days}d",
        intermediate=not shown,
        description=f"{what} of {_last(days)}",
    )


def _held() -> Iterator[Feature]:
    yield aggregate("tables_1d", "count", window="1d", description="Tables on the day")
    yield _sum("columns", "column_count", 1, "Columns of all tables")
    yield _sum("rows", "row_count", 1, "Rows of all tables")
    yield aggregate("schemas_1d", "count_distinct", "schema_name", window="1d", description="Schemas on the day")
    yield aggregate("owned_share_1d", "share", "owner IS NOT NULL", window="1d", description="Tables with an owner")
    yield _sum("commented", "commented_columns", 1, "Columns with a comment", shown=False)
    yield from_polars(
        "commented_share_1d",
        pl.when(pl.col("columns_1d") > 0).then(pl.col("commented_1d") / pl.col("columns_1d")),
        description="Share of the columns that have a comment",
    )
    for days in (1, 7):
        if days > 1:
            yield _sum("columns", "column_count", days, "Columns of all tables, summed over days,", shown=False)
        for sort in SORTS:
            yield _sum(f"{sort}_columns", f"{sort}_columns", days, f"Columns of {sort}", shown=False)
            yield from_polars(
                f"{sort}_share_{days}d",
                pl.when(pl.col(f"columns_{days}d") > 0).then(
                    pl.col(f"{sort}_columns_{days}d") / pl.col(f"columns_{days}d")
                ),
                description=f"Share of columns of {sort}, over {_last(days)}",
            )


def _loaded() -> Iterator[Feature]:
    for name, (column, what) in LOADED.items():
        for days in (1, 14):
            yield _mean(name, column, days, what)
        yield aggregate(
            f"{name}_spread_1d", "std", column, window="1d", description=f"{what}, spread between tables on the day"
        )
        yield aggregate(
            f"{name}_spread_14d",
            "std",
            column,
            window="14d",
            intermediate=True,
            description=f"{what}, spread over the last 14 days",
        )
        yield from_polars(
            f"{name}_jump",
            (pl.col(f"{name}_1d") - pl.col(f"{name}_14d")).abs(),
            description=f"{what}: how far the day is from the mean of the last 14",
        )
        yield from_polars(
            f"{name}_widening",
            pl.when(pl.col(f"{name}_spread_14d") > 1e-9).then(
                pl.col(f"{name}_spread_1d") / pl.col(f"{name}_spread_14d")
            ),
            description=f"{what}: spread between tables on the day over that of the last 14 days",
        )


def _changed() -> Iterator[Feature]:
    for name, (column, what) in CHANGES.items():
        for days in (1, 3, 7, 14, 28):
            yield _sum(name, column, days, what)
        yield from_polars(
            f"{name}_per_table_7d",
            pl.when(pl.col("tables_1d") > 0).then(pl.col(f"{name}_7d") / pl.col("tables_1d")),
            description=f"{name}_7d a table",
        )
    for days in (7, 28):
        yield aggregate(
            f"changed_days_{days}d",
            "count_distinct",
            "snapshot_date",
            window=f"{days}d",
            where="removed_columns + retyped_columns > 0",
            description=f"Days of the last {days} on which a column went or changed",
        )
    yield from_polars(
        "signs_7d",
        pl.when(pl.col("tables_1d") > 0).then((pl.col("added_7d") + pl.col("deprecated_7d")) / pl.col("tables_1d")),
        description="Columns added and marked as to go in the last 7 days, a table",
    )


def _tagged() -> Iterator[Feature]:
    for domain in DOMAINS:
        for days in (7, 21):
            yield aggregate(
                f"tagged_{domain}_{days}d",
                "count",
                window=f"{days}d",
                where=f"new_tag = '{domain}'",
                description=f"Tags for {domain} given in the last {days} days",
            )


quality_features = FeatureTable(
    name="quality_features",
    description="Tables, loads, changes of columns and tags of each catalogue, as known at the end of a day",
    owner="data-governance",
    source="information_schema",
    entity=("catalog_name",),
    time="snapshot_date",
    features=(*_held(), *_loaded(), *_changed(), *_tagged()),
    checks=(
        between("owned_share_1d", 0, 1),
        *(between(f"{sort}_share_1d", 0, 1) for sort in SORTS),
        matches("changed_1d <= changed_7d AND changed_7d <= changed_28d", description="Windows hold one another"),
        volume(low=1, on_fail="warn"),
    ),
)
