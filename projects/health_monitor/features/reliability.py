"""Reliability features: how a job has run up to the end of each day on which it ran."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from karat.declare import Feature, FeatureTable, aggregate, between, from_polars, matches, volume

FAILED = "result_state = 'FAILED'"
RAN = "result_state = 'SUCCEEDED'"
CAUSES = ("code", "data", "cluster", "dependency")
WINDOWS = (1, 3, 7, 14, 30)


def _last(days: int) -> str:
    return "the day" if days == 1 else f"the last {days} days"


def _mean(name: str, column: str, days: int, what: str, where: str | None = None, *, shown: bool = True) -> Feature:
    return aggregate(
        f"{name}_{days}d",
        "mean",
        column,
        window=f"{days}d",
        where=where,
        intermediate=not shown,
        description=f"{what} over {_last(days)}",
    )


def _per(part: str, whole: str) -> pl.Expr:
    """``part / whole``; null where the whole is nothing."""
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))


def _runs() -> Iterator[Feature]:
    for days in WINDOWS:
        yield aggregate(f"runs_{days}d", "count", window=f"{days}d", description=f"Runs of {_last(days)}")
        yield aggregate(
            f"failed_runs_{days}d",
            "count",
            window=f"{days}d",
            where=FAILED,
            description=f"Runs of {_last(days)} that failed",
        )
        yield from_polars(
            f"failure_rate_{days}d",
            _per(f"failed_runs_{days}d", f"runs_{days}d"),
            description=f"Share of the runs of {_last(days)} that failed",
        )
    yield aggregate(
        "active_days_28d", "count_distinct", "run_date", window="28d", description="Days of the last 28 with a run"
    )
    # A window a day longer holds one day more: the day a week before tomorrow.
    yield aggregate("runs_6d", "count", window="6d", intermediate=True, description="Runs of the last 6 days")
    yield from_polars(
        "runs_due_1d",
        pl.col("runs_7d") - pl.col("runs_6d"),
        dtype="int64",
        description="Runs a week before tomorrow: how many are due then",
    )


def _symptoms() -> Iterator[Feature]:
    for days in (1, 3, 7, 30):
        yield _mean("retries_per_run", "task_retries", days, "Tasks tried again, a run,")
        yield _mean("new_version_share", "new_version::int", days, "Share of the runs with a new version")
        yield _mean("log_broken_records", "ln(1 + broken_records)", days, "Logarithm of 1 and broken records a million")
        yield _mean("memory_share", "memory_share", days, "Share of the memory that was used")
        yield _mean("log_waited", "ln(1 + waited_minutes)", days, "Logarithm of 1 and the minutes waited for others")
    for name in ("retries_per_run", "new_version_share", "log_broken_records", "memory_share", "log_waited"):
        yield from_polars(
            f"{name}_rise",
            pl.col(f"{name}_3d") - pl.col(f"{name}_30d"),
            description=f"{name}_3d less {name}_30d: how much more than usual",
        )
    yield aggregate(
        "manual_share_30d", "share", "trigger_type = 'MANUAL'", window="30d", description="Share started by hand"
    )
    yield _mean("queue_seconds", "queue_seconds", 7, "Seconds waited for a cluster")


def _causes() -> Iterator[Feature]:
    for cause in CAUSES:
        for days in (7, 14, 30):
            yield aggregate(
                f"{cause}_failures_{days}d",
                "count",
                window=f"{days}d",
                where=f"error_class = '{cause}'",
                description=f"Failures of {_last(days)} by {cause}",
            )
        yield from_polars(
            f"{cause}_share_30d",
            _per(f"{cause}_failures_30d", "failed_runs_30d"),
            description=f"Share of the failures of the last 30 days by {cause}",
        )


def _durations() -> Iterator[Feature]:
    for days in WINDOWS:
        yield _mean("log_seconds", "ln(greatest(duration_seconds, 1))", days, "Logarithm of seconds a good run", RAN)
    for days in (1, 7, 30):
        yield _mean("avg_seconds", "duration_seconds", days, "Seconds a good run took,", RAN)
    yield aggregate(
        "std_log_seconds_30d",
        "std",
        "ln(greatest(duration_seconds, 1))",
        window="30d",
        where=RAN,
        description="Standard deviation of the logarithm of the seconds of good runs over 30 days",
    )
    for days in (6, 7, 13, 14, 20, 21, 27, 28):
        yield aggregate(
            f"log_sum_{days}d",
            "sum",
            "ln(greatest(duration_seconds, 1))",
            window=f"{days}d",
            where=RAN,
            intermediate=True,
            description="Sum of logarithms",
        )
        yield aggregate(
            f"good_{days}d", "count", window=f"{days}d", where=RAN, intermediate=True, description="Good runs"
        )
    sums = pl.sum_horizontal(pl.col(f"log_sum_{7 * k}d") - pl.col(f"log_sum_{7 * k - 1}d") for k in (1, 2, 3, 4))
    runs = pl.sum_horizontal(pl.col(f"good_{7 * k}d") - pl.col(f"good_{7 * k - 1}d") for k in (1, 2, 3, 4))
    yield from_polars(
        "log_seconds_weekday",
        pl.when(runs > 0).then(sums / runs),
        description="Logarithm of the seconds of good runs on tomorrow's weekday, mean of the last four weeks",
    )
    yield from_polars(
        "weekday_effect",
        pl.col("log_seconds_weekday") - _per("log_sum_28d", "good_28d"),
        description="log_seconds_weekday less the mean of all days of the last four weeks",
    )
    for days in (1, 7, 30):
        yield _mean("log_records", "ln(1 + input_records)", days, "Logarithm of 1 and the records read")


def _recovery() -> Iterator[Feature]:
    for days in (1, 3, 7, 30):
        yield _mean("open_tickets", "open_tickets", days, "Tickets open with the team as a run began,")
    for days in (3, 7, 14, 30):
        yield _mean(
            "log_recovery", "ln(1 + recovery_minutes)", days, "Logarithm of 1 and the minutes to mend a failure"
        )
    yield _mean("recovery_minutes", "recovery_minutes", 30, "Minutes to mend a failure")
    yield aggregate(
        "max_recovery_30d", "max", "recovery_minutes", window="30d", description="Longest repair of the last 30 days"
    )


reliability_features = FeatureTable(
    name="reliability_features",
    description="Failures, symptoms, lengths and repairs of each job, as known at the end of a day on which it ran",
    owner="data-platform",
    source="fact_job_run_timeline",
    entity=("job_id",),
    time="run_date",
    features=(
        *_runs(),
        *_symptoms(),
        *_causes(),
        *_durations(),
        *_recovery(),
        from_polars(
            "tomorrow_weekday",
            pl.col("run_date").dt.offset_by("1d").dt.weekday(),
            dtype="int64",
            description="Weekday of the next day, 1 for Monday to 7",
        ),
    ),
    checks=(
        *(between(f"failure_rate_{days}d", 0, 1) for days in WINDOWS),
        between("memory_share_30d", 0, 1, on_fail="warn"),
        matches("failed_runs_7d <= runs_7d AND runs_1d <= runs_30d", description="Windows hold one another"),
        volume(low=1, on_fail="warn"),
    ),
)
