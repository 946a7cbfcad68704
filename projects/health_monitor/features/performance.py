"""Performance features: what a SQL warehouse was asked up to the end of each day, and how it answered."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from karat.declare import Feature, FeatureTable, aggregate, between, from_polars, matches, volume

WINDOWS = (1, 3, 7, 28)
#: Conditions on a query, and what they say of it.
PROBLEMS = {
    "spilled": ("spilled_bytes > 0", "spilled to disk"),
    "scanned": ("pruned_share < 0.3", "read more than 70 % of the files"),
    "cold": ("cache_share < 0.2", "found less than a fifth in the cache"),
    "queued": ("queue_ms > 0", "waited for a place"),
    "failed": ("status = 'FAILED'", "failed"),
}
#: Means of a query: the SQL, and what it is.
MEANS = {
    "log_seconds": ("ln(greatest(duration_ms, 1) / 1000)", "Logarithm of the seconds a query took"),
    "seconds": ("duration_ms / 1000", "Seconds a query took"),
    "log_load": ("CASE WHEN load_share > 0 THEN ln(load_share) END", "Logarithm of the load over capacity"),
    "load_share": ("load_share", "Load over capacity"),
    "log_memory": ("CASE WHEN memory_gb > 0 THEN ln(memory_gb) END", "Logarithm of the memory of a query, GB"),
    "running": ("running_queries", "Queries that ran beside one"),
    "log_read_bytes": ("ln(1 + read_bytes)", "Logarithm of 1 and the bytes read"),
}


def _last(days: int) -> str:
    return "the day" if days == 1 else f"the last {days} days"


def _sum(name: str, column: str, days: int, what: str, *, shown: bool = False) -> Feature:
    return aggregate(
        f"{name}_{days}d",
        "sum",
        column,
        window=f"{days}d",
        intermediate=not shown,
        description=f"{what} of {_last(days)}",
    )


def _per(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """``part / whole``; null where the whole is nothing."""
    return pl.when(whole > 0).then(part / whole)


def _asked() -> Iterator[Feature]:
    shown = (1, 7, 14, 28)
    for days in sorted({*shown, 3, *(7 * k - 1 for k in (1, 2, 3, 4)), 21}):
        yield aggregate(
            f"queries_{days}d",
            "count",
            window=f"{days}d",
            intermediate=days not in shown,
            description=f"Queries of {_last(days)}",
        )
    for weeks in (1, 2, 3, 4):
        yield from_polars(
            f"queries_weekday_{weeks}",
            pl.col(f"queries_{7 * weeks}d") - pl.col(f"queries_{7 * weeks - 1}d"),
            dtype="int64",
            description=f"Queries on tomorrow's weekday, {weeks} week{'s' if weeks > 1 else ''} before it",
        )
    yield from_polars(
        "queries_weekday",
        pl.sum_horizontal(f"queries_weekday_{k}" for k in (1, 2, 3, 4)) / 4,
        description="Queries on tomorrow's weekday, mean of the last four weeks",
    )
    yield from_polars("avg_queries_7d", pl.col("queries_7d") / 7, description="Queries a day over the last 7 days")
    yield from_polars("avg_queries_28d", pl.col("queries_28d") / 28, description="Queries a day over the last 28 days")
    yield from_polars(
        "queries_trend",
        _per(pl.col("avg_queries_7d"), pl.col("avg_queries_28d")) - 1,
        description="avg_queries_7d over avg_queries_28d, less 1",
    )
    yield from_polars(
        "log_queries_1d", (pl.col("queries_1d") + 1.0).log(), description="Logarithm of 1 and the queries of the day"
    )
    yield from_polars(
        "weekday_run_rate",
        _per(pl.col("queries_weekday") * pl.col("queries_7d"), pl.col("queries_28d") / 4),
        description="queries_weekday, as the last week was over the last four",
    )
    yield from_polars(
        "log_weekday_run_rate",
        (pl.col("weekday_run_rate").fill_null(0) + 1).log(),
        description="Logarithm of 1 and weekday_run_rate",
    )
    yield aggregate(
        "active_days_28d", "count_distinct", "query_date", window="28d", description="Days of the last 28 with a query"
    )
    yield aggregate(
        "users_7d", "count_distinct", "user_id", window="7d", description="Different users of the last 7 days"
    )


def _problems() -> Iterator[Feature]:
    for name, (where, what) in PROBLEMS.items():
        for days in WINDOWS:
            yield aggregate(
                f"{name}_share_{days}d",
                "share",
                where,
                window=f"{days}d",
                description=f"Share of the queries of {_last(days)} that {what}",
            )


def _means() -> Iterator[Feature]:
    for name, (column, what) in MEANS.items():
        for days in WINDOWS:
            yield aggregate(
                f"{name}_{days}d", "mean", column, window=f"{days}d", description=f"{what}, mean over {_last(days)}"
            )
    for name in ("log_memory", "log_seconds"):
        yield aggregate(
            f"std_{name}_7d",
            "std",
            MEANS[name][0],
            window="7d",
            description=f"{MEANS[name][1]}, standard deviation over the last 7 days",
        )
    yield aggregate(
        "max_memory_7d", "max", "memory_gb", window="7d", description="Most memory of a query in 7 days, GB"
    )
    yield from_polars("log_mean_seconds_7d", (pl.col("seconds_7d") + 1e-3).log(), description="Logarithm of seconds_7d")
    yield aggregate("max_running_1d", "max", "running_queries", window="1d", description="Most queries at a time")
    yield aggregate("max_running_7d", "max", "running_queries", window="7d", description="Most at a time in 7 days")
    yield from_polars(
        "log_max_memory_7d", (pl.col("max_memory_7d") + 1e-3).log(), description="Logarithm of max_memory_7d"
    )
    yield from_polars(
        "log_memory_p95_7d",
        pl.col("log_memory_7d") + 1.645 * pl.col("std_log_memory_7d"),
        description="Logarithm of memory_p95_7d",
    )
    yield from_polars(
        "memory_p95_7d",
        pl.col("log_memory_p95_7d").exp(),
        description="Memory that nineteen queries in twenty stay under, were it log-normal, over the last 7 days, GB",
    )


def _crowds() -> Iterator[Feature]:
    for days in (6, 7, 13, 14, 20, 21, 27, 28):
        yield _sum("running_sum", "running_queries", days, "Sum of the queries beside one")
    total = pl.sum_horizontal(
        pl.col(f"running_sum_{7 * k}d") - pl.col(f"running_sum_{7 * k - 1}d") for k in (1, 2, 3, 4)
    )
    yield from_polars(
        "running_weekday",
        _per(total, pl.col("queries_weekday") * 4),
        description="Queries that ran beside one on tomorrow's weekday, mean of the last four weeks",
    )
    yield from_polars(
        "running_usual_28d",
        _per(pl.col("running_sum_28d"), pl.col("queries_28d").cast(pl.Float64)),
        description="Queries that ran beside one, mean of the last four weeks",
    )


def _efficiency() -> Iterator[Feature]:
    for days in WINDOWS:
        yield _sum("task", "task_seconds", days, "Cluster time with something to do")
        yield _sum("paid", "cluster_seconds", days, "Cluster time paid")
        yield from_polars(
            f"efficiency_{days}d",
            _per(pl.col(f"task_{days}d"), pl.col(f"paid_{days}d")),
            description=f"Share of the cluster time of {_last(days)} in which something was done",
        )


def _calendar() -> Iterator[Feature]:
    tomorrow = pl.col("query_date").dt.offset_by("1d")
    yield from_polars(
        "tomorrow_weekday", tomorrow.dt.weekday(), dtype="int64", description="Weekday of the next day, 1 to 7"
    )
    yield from_polars(
        "tomorrow_weekend",
        (tomorrow.dt.weekday() >= 6).cast(pl.Int64),
        dtype="int64",
        description="1 where the next day is a Saturday or Sunday",
    )
    near = (tomorrow.dt.offset_by(by).dt.month() != tomorrow.dt.month() for by in ("2d", "-1d"))
    yield from_polars(
        "tomorrow_closes",
        pl.any_horizontal(*near).cast(pl.Int64),
        dtype="int64",
        description="1 where the next day is one of the last two of a month or the first of one",
    )


performance_features = FeatureTable(
    name="performance_features",
    description="Queries, lengths, problems, load and memory of each SQL warehouse, as known at the end of a day",
    owner="data-platform",
    source="fact_query_history",
    entity=("warehouse_id",),
    time="query_date",
    features=(*_asked(), *_problems(), *_means(), *_crowds(), *_efficiency(), *_calendar()),
    checks=(
        *(between(f"{name}_share_7d", 0, 1) for name in PROBLEMS),
        between("efficiency_7d", 0, 1),
        matches("queries_1d <= queries_7d AND queries_7d <= queries_28d", description="Windows hold one another"),
        volume(low=1, on_fail="warn"),
    ),
)
