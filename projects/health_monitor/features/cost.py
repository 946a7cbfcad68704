"""Cost features: what a workspace has consumed and paid up to the end of each day."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from karat.declare import (
    Feature,
    FeatureTable,
    aggregate,
    between,
    from_polars,
    from_python,
    from_sql,
    matches,
    not_null,
    volume,
)

CATEGORIES = {
    "compute": "service_category = 'Compute'",
    "databases": "service_category = 'Databases'",
    "analytics": "service_category = 'Analytics'",
    "ai": "service_category = 'AI and Machine Learning'",
    "storage": "service_category = 'Storage'",
    "networking": "service_category = 'Networking'",
}
TAGGED = "cost_center IS NOT NULL"
ON_DEMAND_COMPUTE = "service_category = 'Compute' AND pricing_category = 'Standard' AND charge_category = 'Usage'"
UNUSED = "commitment_status = 'Unused'"
# What bears no environment tag is left out: it may be prod.
NOT_PROD = "service_category = 'Compute' AND environment <> 'prod'"
LEFT_RUNNING = f"{NOT_PROD} AND isodow(usage_date) >= 6"

# What could be saved: what is paid for nothing, what could be off, and the quarter that a commitment takes off.
AVOIDABLE = f"""CASE
    WHEN {UNUSED} OR ({LEFT_RUNNING}) THEN effective_cost
    WHEN {ON_DEMAND_COMPUTE} THEN 0.25 * effective_cost
    ELSE 0 END"""


def _sum(name: str, column: str, days: int, what: str, where: str | None = None, *, shown: bool = True) -> Feature:
    when = "the day" if days == 1 else f"the last {days} days"
    return aggregate(
        name, "sum", column, window=f"{days}d", where=where, intermediate=not shown, description=f"{what} of {when}"
    )


def _per(part: str, whole: str) -> pl.Expr:
    """``part / whole``; null where the whole is nothing."""
    return pl.when(pl.col(whole).abs() > 1e-9).then(pl.col(part) / pl.col(whole))


def _day_back(days: int) -> pl.Expr:
    """DBU of the day ``days`` before: what a window one day longer holds more."""
    return pl.col(f"dbu_{days + 1}d") - pl.col(f"dbu_{days}d" if days > 1 else "daily_dbu")


def _closing(day: pl.Expr) -> pl.Expr:
    """1 on the last two working days of a month and the first of the next, else 0."""
    near = (day.dt.add_business_days(by, roll="forward").dt.month() != day.dt.month() for by in (2, -1))
    return (pl.any_horizontal(*near) & (day.dt.weekday() < 6)).cast(pl.Int64)


def _weight(day: pl.Expr) -> pl.Expr:
    """What a day weighs beside a working day: a weekend's half, a closing day's more than double."""
    return pl.when(day.dt.weekday() < 6).then(1.0).otherwise(0.5) + 1.45 * _closing(day)


def _paces() -> Iterator[Feature]:
    """Costs of the next seven days, were they as those before, day for day by the days' weights. Credits tell nothing
    of the days after them."""
    kinds = {"cost": ("Cost", ""), "chargeable": ("Chargeable cost", " AND cost_center IS NOT NULL")}
    for days in (3, 7, 28):
        for kind, (what, tagged) in kinds.items():
            lines = f"charge_category <> 'Credit'{tagged}"
            yield _sum(f"uncredited_{kind}_{days}d", "effective_cost", days, f"{what} less credits", lines, shown=False)
    for when, offsets in (("next_7d", range(1, 8)), *((f"last_{d}d", range(1 - d, 1)) for d in (3, 7, 28))):
        yield from_polars(
            f"weight_{when}",
            pl.sum_horizontal(_weight(pl.col("usage_date") + pl.duration(days=d)) for d in offsets),
            intermediate=True,
            description="Weight of days",
        )
    for days in (3, 7, 28):
        lived = pl.min_horizontal(pl.col("active_days_30d"), pl.lit(days)).clip(1) / days
        for kind, (what, _) in kinds.items():
            yield from_polars(
                f"{kind}_pace_{days}d",
                pl.col(f"uncredited_{kind}_{days}d")
                / (pl.col(f"weight_last_{days}d") * lived)
                * pl.col("weight_next_7d"),
                description=f"{what} of the next 7 days at the pace of the last {days}, by weekday and closing",
            )


def _commitments_ahead() -> Iterator[Feature]:
    """What a commitment would leave unused, and what it would not cover, at the pace of compute until now."""
    ahead = [_weight(pl.col("usage_date") + pl.duration(days=d)) for d in range(1, 8)]
    for days in (7, 28):
        lived = pl.min_horizontal(pl.col("active_days_30d"), pl.lit(days)).clip(1)
        pace = pl.col(f"compute_list_cost_{days}d") / (pl.col(f"weight_last_{days}d") * lived / days)
        capacity = pl.col(f"committed_capacity_{days}d") / lived
        for name, sign, price, what in (
            ("unused", 1, 0.75, "Commitments that would not be used"),
            ("on_demand", -1, 0.25, "A quarter of the compute beyond commitments"),
        ):
            yield from_polars(
                f"{name}_ahead_{days}d",
                price * pl.sum_horizontal((sign * (capacity - weight * pace)).clip(0) for weight in ahead),
                description=f"{what} in the next 7 days at the pace of the last {days}",
            )


def mix_entropy(*costs: pl.Series) -> pl.Series:
    """Shannon entropy in nats of the shares of the positive ``costs``; null where none is positive."""
    positive = np.clip(np.column_stack([c.to_numpy() for c in costs]), 0, None)
    total = positive.sum(1, keepdims=True)
    shares = np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)
    entropy = (shares * -np.log(np.where(shares > 0, shares, 1.0))).sum(1).clip(0)
    return pl.Series(entropy).set(pl.Series(total[:, 0] <= 0), None)


def mix_shift(*costs: pl.Series) -> pl.Series:
    """Half the sum of the differences between two lists of shares, 0 to 1; null where either list sums to nothing."""
    both = np.clip(np.column_stack([c.to_numpy() for c in costs]), 0, None)
    half = both.shape[1] // 2
    totals = both[:, :half].sum(1), both[:, half:].sum(1)
    known = (totals[0] > 0) & (totals[1] > 0)
    now, usual = (
        np.divide(part, total[:, None], out=np.zeros_like(part), where=known[:, None])
        for part, total in ((both[:, :half], totals[0]), (both[:, half:], totals[1]))
    )
    return pl.Series(np.abs(now - usual).sum(1) / 2).set(pl.Series(~known), None)


CONSUMPTION = (
    _sum("daily_dbu", "dbus", 1, "DBU"),
    *(_sum(f"dbu_{d}d", "dbus", d, "DBU", shown=d in (7, 14, 30)) for d in (2, 3, 4, 5, 6, 7, 8, 14, 15, 21, 22, 30)),
    from_polars("avg_dbu_7d", pl.col("dbu_7d") / 7, description="DBU a day over the last 7 days, idle days counted"),
    from_polars(
        "avg_dbu_30d", pl.col("dbu_30d") / 30, description="DBU a day over the last 30 days, idle days counted"
    ),
    from_polars(
        "std_dbu_7d",
        pl.concat_list("daily_dbu", *(_day_back(d) for d in range(1, 7))).list.std(),
        description="Standard deviation (n - 1) of the DBU of the last 7 days, day by day",
    ),
    from_polars(
        "z_score_7d",
        pl.when(pl.col("std_dbu_7d") > 1e-6 * pl.col("avg_dbu_7d").abs()).then(
            (pl.col("daily_dbu") - pl.col("avg_dbu_7d")) / pl.col("std_dbu_7d")
        ),
        description="How many std_dbu_7d the day lies above avg_dbu_7d, which counts it; null where all days are equal",
    ),
    from_polars(
        "variation_7d", _per("std_dbu_7d", "avg_dbu_7d"), description="std_dbu_7d over avg_dbu_7d: unsteadiness"
    ),
    from_polars("dbu_yesterday", _day_back(1), description="DBU of the day before"),
    from_polars("dbu_last_week", _day_back(7), description="DBU of the same weekday a week before"),
    from_polars(
        "dbu_usual",
        pl.concat_list(_day_back(d) for d in (7, 14, 21)).list.median(),
        description="Median DBU of the same weekday in the last three weeks",
    ),
    from_sql(
        "log_ratio_usual",
        "CASE WHEN dbu_22d - dbu_21d > 1e-6 THEN ln((greatest(daily_dbu, 0) + 1) / (greatest(dbu_usual, 0) + 1)) END",
        description="Natural logarithm of the day's DBU over dbu_usual, 1 added to both; null in the first three weeks",
    ),
    from_sql(
        "log_ratio_yesterday",
        "ln((greatest(daily_dbu, 0) + 1) / (greatest(dbu_yesterday, 0) + 1))",
        description="Natural logarithm of the day's DBU over the day before, 1 added to both",
    ),
    from_polars(
        "growth_7d",
        pl.col("dbu_7d")
        / pl.when((pl.col("dbu_14d") - pl.col("dbu_7d")) > 1e-6).then(pl.col("dbu_14d") - pl.col("dbu_7d"))
        - 1,
        description="DBU of the last 7 days over the 7 before them, less 1; null where those had none",
    ),
    from_polars("trend_30d", _per("avg_dbu_7d", "avg_dbu_30d") - 1, description="avg_dbu_7d over avg_dbu_30d, less 1"),
    aggregate(
        "active_days_7d", "count_distinct", "usage_date", window="7d", description="Days with a line, of the last 7"
    ),
    aggregate(
        "active_days_30d", "count_distinct", "usage_date", window="30d", description="Days with a line, of the last 30"
    ),
)

SPEND = (
    _sum("daily_cost", "effective_cost", 1, "Effective cost"),
    *(_sum(f"cost_{d}d", "effective_cost", d, "Effective cost") for d in (7, 14, 30)),
    _sum("list_cost_7d", "list_cost", 7, "Cost at list price"),
    _sum("list_cost_30d", "list_cost", 30, "Cost at list price"),
    from_polars("avg_cost_30d", pl.col("cost_30d") / 30, description="Effective cost a day over the last 30 days"),
    from_polars(
        "cost_per_dbu_7d", _per("cost_7d", "dbu_7d"), description="Effective cost of a DBU over the last 7 days"
    ),
    from_sql(
        "discount_rate_30d",
        "CASE WHEN list_cost_30d > 1e-9 THEN 1 - cost_30d / list_cost_30d END",
        description="Share of list_cost_30d that was not paid; negative where unused commitments cost more",
    ),
    aggregate("lines_1d", "count", window="1d", description="Lines of the bill on the day"),
    aggregate("lines_7d", "count", window="7d", description="Lines of the bill in the last 7 days"),
    aggregate("max_line_cost_1d", "max", "effective_cost", window="1d", description="Dearest line of the day"),
    aggregate("max_line_cost_7d", "max", "effective_cost", window="7d", description="Dearest line of the last 7 days"),
    aggregate(
        "min_line_cost_30d",
        "min",
        "effective_cost",
        window="30d",
        description="Cheapest line of the last 30 days, negative for a credit",
    ),
    aggregate(
        "avg_line_cost_7d", "mean", "effective_cost", window="7d", description="Mean cost of a line in the last 7 days"
    ),
    aggregate(
        "std_line_cost_7d",
        "std",
        "effective_cost",
        window="7d",
        description="Standard deviation of the cost of a line in the last 7 days",
    ),
    _sum("credits_30d", "effective_cost", 30, "Credits (negative cost)", "charge_category = 'Credit'"),
    aggregate(
        "correction_share_30d",
        "share",
        "charge_class IS NOT DISTINCT FROM 'Correction'",
        window="30d",
        description="Share of the lines of the last 30 days that mend an earlier one",
    ),
)

ALLOCATION = (
    *(
        _sum(f"tagged_cost_{d}d", "effective_cost", d, "Effective cost with a cost centre", TAGGED)
        for d in (1, 7, 14, 30)
    ),
    from_polars(
        "tagged_share_7d", _per("tagged_cost_7d", "cost_7d"), description="Share of cost_7d that has a cost centre"
    ),
    from_polars(
        "tagged_share_30d", _per("tagged_cost_30d", "cost_30d"), description="Share of cost_30d that has a cost centre"
    ),
    from_polars(
        "chargeable_run_rate_7d",
        pl.col("tagged_share_7d") * pl.col("cost_30d") * 7 / 30,
        description="What a usual week of the last 30 days would charge at the tagging of the last 7",
    ),
    aggregate(
        "tagged_line_share_30d",
        "share",
        TAGGED,
        window="30d",
        description="Share of the lines of the last 30 days that have a cost centre",
    ),
    aggregate(
        "owned_line_share_30d",
        "share",
        "owner IS NOT NULL",
        window="30d",
        description="Share of the lines of the last 30 days that have an owner",
    ),
    _sum("prod_cost_30d", "effective_cost", 30, "Effective cost tagged prod", "environment = 'prod'", shown=False),
    from_polars(
        "prod_share_30d", _per("prod_cost_30d", "cost_30d"), description="Share of cost_30d that is tagged prod"
    ),
)

COMMITMENT = (
    _sum("compute_list_cost_14d", "list_cost", 14, "Compute at list price", CATEGORIES["compute"], shown=False),
    _sum("on_demand_compute_7d", "list_cost", 7, "Compute bought on demand, at list price,", ON_DEMAND_COMPUTE),
    _sum("on_demand_compute_14d", "list_cost", 14, "Compute bought on demand, at list price,", ON_DEMAND_COMPUTE),
    from_polars(
        "on_demand_share_14d",
        _per("on_demand_compute_14d", "compute_list_cost_14d"),
        description="Share of the compute of the last 14 days, at list price, that was bought on demand",
    ),
    *(
        _sum(
            f"committed_capacity_{days}d",
            "CASE WHEN commitment_status = 'Unused' THEN effective_cost / 0.75 ELSE list_cost END",
            days,
            "Committed capacity at list price, used or not,",
            "pricing_category = 'Committed'",
            shown=False,
        )
        for days in (7, 28)
    ),
    *(
        _sum(
            f"compute_list_cost_{days}d", "list_cost", days, "Compute at list price", CATEGORIES["compute"], shown=False
        )
        for days in (7, 28)
    ),
    *(
        from_polars(
            f"compute_over_commitment_{days}d",
            (
                (pl.col(f"compute_list_cost_{days}d").clip(0) + 1) / (pl.col(f"committed_capacity_{days}d").clip(0) + 1)
            ).log(),
            description=f"Logarithm of compute over committed capacity, at list price, 1 added to both, {days} days",
        )
        for days in (7, 28)
    ),
    aggregate(
        "on_demand_days_7d",
        "count_distinct",
        "usage_date",
        window="7d",
        where=ON_DEMAND_COMPUTE,
        description="Days of the last 7 on which compute was bought on demand",
    ),
    *(
        aggregate(
            f"on_demand_{name}_28d",
            "count_distinct",
            "usage_date",
            window="28d",
            where=f"{ON_DEMAND_COMPUTE} AND isodow(usage_date) {which}",
            description=f"{text} of the last 28 days on which compute was bought on demand",
        )
        for name, which, text in (
            ("weekends", ">= 6", "Weekend days"),
            ("workdays", "< 6", "Days from Monday to Friday"),
        )
    ),
    aggregate(
        "on_demand_days_14d",
        "count_distinct",
        "usage_date",
        window="14d",
        where=ON_DEMAND_COMPUTE,
        description="Days of the last 14 on which compute was bought on demand",
    ),
    from_polars(
        "steady_on_demand_14d",
        (pl.col("on_demand_days_14d") >= 12).cast(pl.Int64),
        dtype="int64",
        description="1 where compute was bought on demand on 12 of the last 14 days",
    ),
    _sum(
        "committed_cost_30d",
        "effective_cost",
        30,
        "Effective cost under commitments",
        "pricing_category = 'Committed'",
        shown=False,
    ),
    from_polars(
        "committed_share_30d",
        _per("committed_cost_30d", "cost_30d"),
        description="Share of cost_30d that is under a commitment, used or not",
    ),
    *(_sum(f"unused_commitment_{d}d", "effective_cost", d, "Cost of unused commitments", UNUSED) for d in (7, 14, 30)),
)

WASTE = (
    *(
        _sum(f"compute_cost_{d}d", "effective_cost", d, "Effective cost of compute", CATEGORIES["compute"])
        for d in (3, 7, 28)
    ),
    *(
        _sum(f"not_prod_compute_{d}d", "effective_cost", d, "Cost of compute tagged as not prod", NOT_PROD)
        for d in (3, 7, 28)
    ),
    *(
        from_polars(
            f"not_prod_share_{d}d",
            _per(f"not_prod_compute_{d}d", f"compute_cost_{d}d"),
            description=f"not_prod_compute_{d}d over compute_cost_{d}d",
        )
        for d in (3, 7, 28)
    ),
    *(
        _sum(
            f"{what}_workdays_{d}d", "effective_cost", d, "Its cost", f"{where} AND isodow(usage_date) < 6", shown=False
        )
        for d in (3, 28)
        for what, where in (("compute", CATEGORIES["compute"]), ("not_prod", NOT_PROD))
    ),
    *(
        from_polars(
            f"not_prod_workday_share_{d}d",
            _per(f"not_prod_workdays_{d}d", f"compute_workdays_{d}d"),
            description=f"Share of the compute of Monday to Friday that is tagged as not prod, over the last {d} days",
        )
        for d in (3, 28)
    ),
    from_polars(
        "not_prod_rise",
        _per("not_prod_workday_share_3d", "not_prod_workday_share_28d"),
        description="not_prod_workday_share_3d over not_prod_workday_share_28d: above 1 where clusters begin to idle",
    ),
    _sum("left_running_7d", "effective_cost", 7, "Cost of weekend compute tagged as not prod", LEFT_RUNNING),
    _sum("left_running_28d", "effective_cost", 28, "Cost of weekend compute tagged as not prod", LEFT_RUNNING),
    from_polars(
        "left_running_share_7d",
        _per("left_running_7d", "compute_cost_7d"),
        description="left_running_7d over compute_cost_7d",
    ),
    from_polars(
        "left_running_share_28d",
        _per("left_running_28d", "compute_cost_28d"),
        description="left_running_28d over compute_cost_28d",
    ),
    *(
        _sum(
            f"avoidable_cost_{d}d",
            AVOIDABLE,
            d,
            "Unused commitments, weekend compute, a discount's worth of on demand:",
        )
        for d in (7, 14, 28)
    ),
)

MIX = (
    aggregate(
        "distinct_skus_7d", "count_distinct", "sku", window="7d", description="Different SKUs in the last 7 days"
    ),
    aggregate(
        "distinct_skus_30d", "count_distinct", "sku", window="30d", description="Different SKUs in the last 30 days"
    ),
    *(
        _sum(f"{c}_{d}d", "list_cost", d, f"List cost of {c}", where, shown=False)
        for d in (1, 7, 8, 30)
        for c, where in CATEGORIES.items()
    ),
    from_polars(
        "top_category_share_30d",
        pl.max_horizontal(f"{c}_30d" for c in CATEGORIES)
        / pl.when(pl.col("list_cost_30d") > 1e-9).then(pl.col("list_cost_30d")),
        description="Share of the dearest service category in list_cost_30d",
    ),
    from_polars("compute_share_7d", _per("compute_7d", "list_cost_7d"), description="Share of compute in list_cost_7d"),
    from_polars(
        "ai_share_7d", _per("ai_7d", "list_cost_7d"), description="Share of AI and machine learning in list_cost_7d"
    ),
    from_polars(
        "category_surge_1d",
        pl.max_horizontal(
            ((pl.col(f"{c}_1d").clip(0) + 1) / ((pl.col(f"{c}_8d") - pl.col(f"{c}_1d")).clip(0) / 7 + 1)).log()
            for c in CATEGORIES
        ),
        description="Largest logarithm, over the service categories, of the day's list cost over that of a day of the "
        "week before, 1 added to both",
    ),
    from_python(
        "mix_entropy_30d",
        mix_entropy,
        tuple(f"{c}_30d" for c in CATEGORIES),
        description="Entropy in nats of the shares of the service categories over 30 days: 0 where all is one",
    ),
    from_python(
        "mix_shift_1d",
        mix_shift,
        (*(f"{c}_1d" for c in CATEGORIES), *(f"{c}_30d" for c in CATEGORIES)),
        description="How far the day's shares of service categories are from those of 30 days: 0 the same, 1 apart",
    ),
)

#: Month-end closing more than doubles a working day, which is more than a day of the week's mean.
CLOSING = 1.65

CALENDAR = (
    from_sql("day_of_week", "isodow(usage_date)", dtype="int64", description="1 Monday to 7 Sunday"),
    from_sql("is_weekend", "isodow(usage_date) >= 6", dtype="bool", description="Whether it is a Saturday or Sunday"),
    from_sql("day_of_month", "day(usage_date)", dtype="int64", description="1 to 31"),
    from_sql(
        "days_to_month_end",
        "date_diff('day', usage_date, last_day(usage_date))",
        dtype="int64",
        description="Days left in the month, 0 on its last day",
    ),
    *(
        from_polars(
            f"closing_days_{when}_7d",
            pl.sum_horizontal(_closing(pl.col("usage_date") + pl.duration(days=d)) for d in days),
            dtype="int64",
            description=f"Month-end closing in the {when} 7 days: a month's last two working days, and its first",
        )
        for when, days in (("next", range(1, 8)), ("last", range(-6, 1)))
    ),
    from_polars(
        "closing_days_last_30d",
        pl.sum_horizontal(_closing(pl.col("usage_date") + pl.duration(days=d)) for d in range(-29, 1)),
        dtype="int64",
        intermediate=True,
        description="Month-end closing in the last 30 days",
    ),
    *(
        from_polars(
            f"{what}_run_rate_{days}d",
            pl.col(f"{source}_{days if days < 30 else wide}d")
            / (
                pl.min_horizontal("active_days_30d", pl.lit(days)) + CLOSING * pl.col(f"closing_days_last_{days}d")
            ).clip(1)
            * (7 + CLOSING * pl.col("closing_days_next_7d")),
            description=f"{text} of the next 7 days, were they as the last {days}; closing counts for {1 + CLOSING}",
        )
        for days in (7, 30)
        for what, source, wide, text in (
            ("cost", "cost", 30, "Effective cost"),
            ("avoidable", "avoidable_cost", 28, "Avoidable cost"),
        )
    ),
    *_paces(),
    *_commitments_ahead(),
    from_polars(
        "closing_shift_7d",
        (pl.col("closing_days_next_7d") - pl.col("closing_days_last_7d")) * pl.col("avg_cost_30d"),
        description="Closing days that come less those that were, each at the cost of a day",
    ),
    from_polars(
        "chargeable_closing_shift_7d",
        pl.col("closing_shift_7d") * pl.col("tagged_share_7d"),
        description="The part of closing_shift_7d that has a cost centre, at the tagging of the last 7 days",
    ),
)

cost_features = FeatureTable(
    name="cost_features",
    description="Consumption, spend, allocation, commitments and waste of each workspace, as known at the end of a day",
    owner="finops",
    source="fact_usage",
    entity=("workspace_id",),
    time="usage_date",
    # A workspace that falls silent has days of nothing, not no days: its sums must go down.
    rows="window",
    features=(*CONSUMPTION, *SPEND, *ALLOCATION, *COMMITMENT, *WASTE, *MIX, *CALENDAR),
    checks=(
        not_null("daily_cost", description="A sum of no rows is 0"),
        *(between(f"{part}_30d", 0, 1) for part in ("tagged_line_share", "owned_line_share", "correction_share")),
        between("active_days_30d", 0, 30),
        matches("active_days_7d <= active_days_30d AND lines_1d <= lines_7d", description="Windows hold one another"),
        matches("min_line_cost_30d <= max_line_cost_7d"),
        between("std_dbu_7d", 0),
        between("mix_entropy_30d", 0, round(float(np.log(len(CATEGORIES))), 6) + 1e-6),
        between("mix_shift_1d", 0, 1 + 1e-9, description="A share of shares, but for the last bits"),
        volume(low=1, on_fail="warn"),
    ),
)
