"""Security features: what a user has done up to the end of each day on which there is a line of the audit log."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from karat.declare import Feature, FeatureTable, aggregate, between, from_polars, matches, volume

ALLOWED = "outcome = 'allowed'"
#: What is counted: name, condition on a line, and what it is.
COUNTS = {
    "logins": (f"category = 'login' AND {ALLOWED}", "Logins"),
    "failed_logins": ("outcome = 'failed'", "Logins that failed"),
    "reads": (f"category = 'read' AND {ALLOWED}", "Queries"),
    "writes": (f"category = 'write' AND {ALLOWED}", "Changes of tables"),
    "admin_changes": (f"category = 'admin' AND {ALLOWED}", "Changes of settings"),
    "exports": ("category = 'export'", "Downloads"),
    "shares": ("category = 'share'", "Shares with strangers"),
    "tokens": ("category = 'token'", "Tokens made"),
}
RIGHTS = ("read", "write", "admin")
PERSONA = ("reads", "writes", "admin_changes", "exports", "tokens")


def _last(days: int) -> str:
    return "the day" if days == 1 else f"the last {days} days"


def _sum(name: str, days: int, what: str, where: str | None = None, column: str = "event_count") -> Feature:
    return aggregate(
        f"{name}_{days}d",
        "sum",
        column,
        window=f"{days}d",
        where=where,
        description=f"{what} of {_last(days)}",
    )


def _per(part: str, whole: str) -> pl.Expr:
    """``part / whole``; null where the whole is nothing."""
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))


def _done() -> Iterator[Feature]:
    for days in (1, 7, 30):
        yield _sum("events", days, "Actions")
        for name, (where, what) in COUNTS.items():
            yield _sum(name, days, what, where)
        yield _sum("outside", days, "Actions from outside", column="outside_count")
        yield _sum("night", days, "Actions at night", column="night_count")
        for what in ("outside", "night"):
            yield from_polars(
                f"{what}_share_{days}d",
                _per(f"{what}_{days}d", f"events_{days}d"),
                description=f"{what}_{days}d over events_{days}d",
            )
    yield aggregate(
        "active_days_30d", "count_distinct", "event_date", window="30d", description="Days of the last 30 with a line"
    )
    yield aggregate(
        "weekend_days_30d",
        "count_distinct",
        "event_date",
        window="30d",
        where="isodow(event_date) >= 6",
        description="Saturdays and Sundays of the last 30 days with a line",
    )
    yield _sum("objects", 1, "Different tables and files, summed over actions,", column="object_count")


def _persona() -> Iterator[Feature]:
    for name in PERSONA:
        yield from_polars(
            f"{name}_share_30d", _per(f"{name}_30d", "events_30d"), description=f"{name}_30d over events_30d"
        )
        yield from_polars(
            f"log_{name}_per_day",
            ((pl.col(f"{name}_30d") / pl.col("active_days_30d").clip(1)) + 0.1).log(),
            description=f"Logarithm of a tenth and {name} of an active day of the last 30",
        )
    yield from_polars(
        "weekend_share_30d", _per("weekend_days_30d", "active_days_30d"), description="Weekend days of the active days"
    )


def _surges() -> Iterator[Feature]:
    for name in ("failed_logins", "exports", "shares", "tokens", "reads", "outside", "night"):
        before = (pl.col(f"{name}_30d") - pl.col(f"{name}_1d")) / (pl.col("active_days_30d") - 1).clip(1)
        yield from_polars(
            f"{name}_surge",
            ((pl.col(f"{name}_1d") + 1) / (before + 1)).log(),
            description=f"Logarithm of {name} of the day over those of a usual active day, 1 added to both",
        )
    yield from_polars(
        "intrusion_signs",
        pl.sum_horizontal(
            pl.col(f"{n}_surge").clip(0) for n in ("failed_logins", "exports", "shares", "tokens", "outside", "night")
        ),
        description="Sum of the surges of failed logins, exports, shares, tokens, work from outside and at night",
    )


def _rights() -> Iterator[Feature]:
    for right in RIGHTS:
        for days in (1, 7, 14, 30):
            yield _sum(
                f"denied_{right}",
                days,
                f"Denied actions of kind {right}",
                f"category = '{right}' AND outcome = 'denied'",
            )
        for days in (14, 30):
            yield _sum(f"granted_{right}", days, f"Grants to {right}", f"action_name = 'grant{right.capitalize()}'")
    for right in RIGHTS:
        yield from_polars(
            f"denied_{right}_share_14d",
            _per(f"denied_{right}_14d", "denied_14d"),
            description=f"Share of the denied actions of the last 14 days of kind {right}",
        )


def _violations() -> Iterator[Feature]:
    for days in (7, 30, 60):
        yield _sum("violations", days, "Violations that the policy engine found", "category = 'violation'")
    for name in ("exports", "shares", "tokens", "outside"):
        for days in (7, 30):
            yield from_polars(
                f"{name}_rate_{days}d",
                _per(f"{name}_{days}d", f"events_{days}d"),
                description=f"{name}_{days}d over events_{days}d; above the usual of its persona where careless",
            )


security_features = FeatureTable(
    name="security_features",
    description="Actions, surges, denials, grants and violations of each user, as known at the end of an active day",
    owner="security",
    source="fact_audit_logs",
    entity=("user_id",),
    time="event_date",
    features=(
        *_done(),
        *_persona(),
        *_surges(),
        _sum("denied", 14, "Denied actions", "outcome = 'denied' AND category <> 'violation'"),
        *_rights(),
        *_violations(),
    ),
    checks=(
        *(between(f"{what}_share_{days}d", 0, 1) for what in ("outside", "night") for days in (1, 7, 30)),
        between("active_days_30d", 1, 30),
        matches("events_1d <= events_7d AND events_7d <= events_30d", description="Windows hold one another"),
        volume(low=1, on_fail="warn"),
    ),
)
