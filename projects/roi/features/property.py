"""Property features (23): the home, its money, its surroundings, and where in its owner's time with it he is."""

from __future__ import annotations

import polars as pl

from karat.declare import Dtype, Feature, FeatureTable, aggregate, between, feature_function, from_polars, from_sql


def _last(name: str, column: str, what: str, dtype: Dtype = "float64", *, shown: bool = True) -> Feature:
    """The column of the day's own valuation: the table has a row for each."""
    return aggregate(name, "last", column, window="1d", dtype=dtype, intermediate=not shown, description=what)


CHARACTERISTICS = (
    _last("square_feet", "square_feet", "Living area"),
    _last("lot_square_feet", "lot_square_feet", "Area of the lot; null where it is not known"),
    _last("bedrooms", "bedrooms", "Number of bedrooms", "int64"),
    _last("bathrooms", "bathrooms", "Number of bathrooms, in halves"),
    _last("year_built", "year_built", "Year of building", "int64", shown=False),
    from_sql("property_age_years", "year(day) - year_built", dtype="int64", description="Years since it was built"),
    _last("property_type", "property_type", "single_family, condo, townhouse or multi_family", "string"),
    _last("garage_spaces", "garage_spaces", "Cars that the garage takes", "int64"),
    _last("has_pool", "has_pool", "Whether there is a pool", "bool"),
)

FINANCIAL = (
    _last("owned_days", "owned_days", "Days owned", "int64", shown=False),
    _last("mortgage_balance", "mortgage_balance", "Dollars owed", shown=False),
    _last("annual_tax", "annual_tax", "Dollars of tax", shown=False),
    *(
        aggregate(
            f"value_{days}d_ago",
            "first",
            "estimated_value",
            window=f"{days + 1}d",
            intermediate=True,
            description="Then",
        )
        for days in (91, 364)
    ),
    _last("estimated_value", "estimated_value", "Valuation of the day, in dollars"),
    from_sql("home_equity", "estimated_value - mortgage_balance", description="estimated_value less what is owed"),
    from_sql("loan_to_value", "mortgage_balance / estimated_value", description="What is owed over estimated_value"),
    _last("mortgage_rate", "mortgage_rate", "Interest of the mortgage a year; null without one"),
    from_sql(
        "value_change_91d",
        "CASE WHEN owned_days >= 91 THEN estimated_value - value_91d_ago END",
        description="Dollars that the valuation has risen in 13 weeks; null where the user had another home then",
    ),
    from_sql(
        "value_growth_364d",
        "CASE WHEN owned_days >= 364 THEN estimated_value / value_364d_ago - 1 END",
        description="By how much the valuation has risen in 52 weeks (of those known); null with another home then",
    ),
    from_sql("property_tax_rate", "annual_tax / estimated_value", description="Tax of a year over estimated_value"),
)

SURROUNDINGS = (
    _last("zip_median_value", "zip_median_value", "Median in the ZIP area", shown=False),
    _last("zip_value_per_sqft", "zip_value_per_sqft", "Dollars a square foot in the ZIP area", shown=False),
    from_sql(
        "value_to_zip_median",
        "estimated_value / zip_median_value",
        description="estimated_value over the median of the ZIP area",
    ),
    from_sql(
        "price_per_sqft_to_zip",
        "estimated_value / square_feet / zip_value_per_sqft",
        description="Dollars a square foot over those of the ZIP area",
    ),
    _last("zip_sales_90d", "zip_sales", "Sales in the ZIP area in the quarter before the valuation", "int64"),
    _last("zip_days_on_market", "zip_days_on_market", "Days that a sale takes in the ZIP area"),
    _last("school_rating", "school_rating", "Rating of the school, 1 to 10", "int64"),
)

LIFECYCLE = (
    _last("mortgage_months", "mortgage_months", "Months paid", "int64", shown=False),
    _last("purchase_price", "purchase_price", "Dollars paid", shown=False),
    from_sql("years_owned", "owned_days / 365.25", description="Years since the user bought the home"),
    from_sql(
        "mortgage_paid_share", "mortgage_months / 360", description="Share of the mortgage's 360 months that are paid"
    ),
    from_polars(
        "appreciation_since_purchase",
        pl.col("estimated_value") / pl.col("purchase_price") - 1,
        description="By how much the home is worth more than it was bought for",
    ),
)

property_features = FeatureTable(
    name="property_features",
    description="A user's home on each day on which it was valued, once a week: the rows that models learn from",
    owner="roi-analytics",
    source="properties",
    entity=("user_id",),
    time="day",
    features=(*CHARACTERISTICS, *FINANCIAL, *SURROUNDINGS, *LIFECYCLE),
    checks=(between("loan_to_value", 0, 3), between("property_age_years", 0, 400), between("years_owned", 0)),
)


def dollars(value: pl.Series, rate: pl.Series) -> pl.Series:
    return value * rate


projected_dollars = feature_function(
    "projected_dollars", dollars, description="A growth, or a figure of the market, in dollars of the home"
)
