"""Market features (13): the market around a user's home, the economy, and the season."""

from __future__ import annotations

from karat.declare import Dtype, Feature, FeatureTable, aggregate, between, from_sql

#: A report a week: the latest is at most so old, unless one is missing.
RECENT = "21d"


def _latest(name: str, column: str, what: str, dtype: Dtype = "float64", *, shown: bool = True) -> Feature:
    told = f"{what}, by the latest report"
    return aggregate(name, "last", column, window=RECENT, dtype=dtype, intermediate=not shown, description=told)


def _before(name: str, column: str) -> Feature:
    return aggregate(name, "first", column, window="98d", intermediate=True, description="A quarter before")


CONDITIONS = (
    _latest("market_median_price", "median_price", "Median price of sales"),
    _before("median_price_before", "median_price"),
    from_sql(
        "market_price_growth_91d",
        "market_median_price / median_price_before - 1",
        description="By how much the median price has risen since the first report of the last 98 days",
    ),
    _latest("market_inventory_months", "inventory_months", "Months that the homes on offer will last"),
    _latest("market_days_on_market", "days_on_market", "Days that a sale takes"),
    aggregate(
        "market_sale_to_list_avg_28d",
        "mean",
        "sale_to_list",
        window="28d",
        description="Mean of the price reached over the price asked, of the reports of the last 28 days",
    ),
)

ECONOMY = (
    _latest("mortgage_rate_30y", "mortgage_rate_30y", "Interest of a 30-year mortgage"),
    _before("mortgage_rate_before", "mortgage_rate_30y"),
    from_sql(
        "mortgage_rate_change_91d",
        "mortgage_rate_30y - mortgage_rate_before",
        description="mortgage_rate_30y less that of the first report of the last 98 days",
    ),
    _latest("unemployment_rate", "unemployment_rate", "Unemployed in percent"),
)

SEASON = (
    aggregate("sales_28d", "mean", "sales", window="28d", intermediate=True, description="Sales a week"),
    aggregate("sales_364d", "mean", "sales", window="364d", intermediate=True, description="Sales a week"),
    from_sql(
        "seasonal_sales_index",
        "sales_28d / nullif(sales_364d, 0)",
        description="Sales a week of the last 28 days over those of the last 364",
    ),
    from_sql("is_spring_market", "month(day) BETWEEN 3 AND 6", dtype="bool", description="Whether it is March to June"),
    from_sql(
        "is_holiday_season",
        "(month(day) = 11 AND day(day) >= 20) OR month(day) = 12",
        dtype="bool",
        description="Whether it is November 20 to the end of December",
    ),
    from_sql(
        "is_school_year",
        "month(day) >= 9 OR month(day) <= 5",
        dtype="bool",
        description="Whether it is September to May: families move outside it",
    ),
    from_sql(
        "weeks_to_peak_season",
        "date_diff('day', day, make_date(year(day) + (month(day) >= 5)::INTEGER, 5, 1)) / 7",
        description="Weeks until the next first of May, when most is sold",
    ),
)

market_features = FeatureTable(
    name="market_features",
    description="The market around a user's home and the season, as known at the end of a day",
    owner="roi-analytics",
    source="market",
    entity=("user_id",),
    time="day",
    rows="window",
    # Who has left has rows for as long as a year's window holds a report of his.
    features=(*CONDITIONS, *ECONOMY, *SEASON),
    checks=(between("seasonal_sales_index", 0, on_fail="warn"), between("weeks_to_peak_season", 0, 53)),
)
