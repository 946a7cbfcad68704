"""Churn features: what is known of a customer on the day of the extract."""

from __future__ import annotations

import polars as pl

from karat.declare import (
    Dtype,
    Feature,
    FeatureTable,
    aggregate,
    between,
    from_polars,
    from_sql,
    is_in,
    matches,
    not_null,
)

ADD_ONS = ("online_security", "online_backup", "device_protection", "tech_support", "streaming_tv", "streaming_movies")


def _as_it_is(column: str, description: str, dtype: Dtype) -> Feature:
    """A gold column, taken over: the table has one row a customer."""
    return aggregate(column, "max", column, dtype=dtype, description=description)


churn_features = FeatureTable(
    name="churn_features",
    description="What a customer has, pays and is bound to; one row a customer, without time",
    owner="customer-analytics",
    source="customers",
    entity=("customer_id",),
    features=(
        _as_it_is("gender", "Female or Male; a protected attribute, for fairness checks", "string"),
        _as_it_is("senior_citizen", "Whether the customer is 65 or older; a protected attribute", "bool"),
        _as_it_is("partner", "Whether the customer has a partner", "bool"),
        _as_it_is("dependents", "Whether the customer has dependents", "bool"),
        _as_it_is("tenure", "Months with the company", "int64"),
        _as_it_is("contract", "Month-to-month, One year or Two year", "string"),
        _as_it_is("payment_method", "How bills are paid", "string"),
        _as_it_is("paperless_billing", "Whether bills come by e-mail", "bool"),
        _as_it_is("phone_service", "Whether there is a telephone", "bool"),
        _as_it_is("multiple_lines", "Yes, No or No phone service", "string"),
        _as_it_is("internet_service", "DSL, Fiber optic or No", "string"),
        *(
            _as_it_is(name, f"{name.replace('_', ' ').capitalize()}: Yes, No or No internet service", "string")
            for name in ADD_ONS
        ),
        _as_it_is("monthly_charges", "Dollars a month", "float64"),
        _as_it_is("total_charges", "Dollars so far; null before the first bill", "float64"),
        from_polars(
            "average_charges",
            pl.when(pl.col("tenure") > 0).then(pl.col("total_charges") / pl.col("tenure")),
            description="Dollars per month of tenure so far; null in the first month",
        ),
        from_polars(
            "charges_rise",
            pl.col("monthly_charges") / pl.when(pl.col("average_charges") > 0).then(pl.col("average_charges")) - 1,
            description="monthly_charges over average_charges, less 1: what has grown dearer",
        ),
        from_sql(
            "is_month_to_month",
            "contract = 'Month-to-month'",
            dtype="bool",
            description="Whether the customer may leave any month",
        ),
        from_sql(
            "pays_automatically",
            "payment_method LIKE '%(automatic)'",
            dtype="bool",
            description="Whether bills are paid without the customer's doing",
        ),
        from_polars(
            "number_of_services",
            pl.sum_horizontal((pl.col(c) == "Yes").cast(pl.Int64) for c in (*ADD_ONS, "multiple_lines"))
            + pl.col("phone_service").cast(pl.Int64)
            + (pl.col("internet_service") != "No").cast(pl.Int64),
            dtype="int64",
            description="Telephone, further lines, internet and its six add-ons: how many the customer has, 0 to 9",
        ),
        from_polars(
            "charges_per_service",
            pl.col("monthly_charges") / pl.when(pl.col("number_of_services") > 0).then(pl.col("number_of_services")),
            description="monthly_charges over number_of_services",
        ),
        from_sql(
            "unprotected_fiber",
            "internet_service = 'Fiber optic' AND online_security = 'No' AND tech_support = 'No'",
            dtype="bool",
            description="Whether there is fibre without security and support",
        ),
        from_sql(
            "tenure_bracket",
            "CASE WHEN tenure < 6 THEN 'under 6' WHEN tenure < 12 THEN '6 to 11' WHEN tenure < 24 THEN '12 to 23' "
            "WHEN tenure < 48 THEN '24 to 47' WHEN tenure >= 48 THEN '48 and more' END",
            dtype="string",
            description="Months of tenure in five brackets, as marketing speaks of them",
        ),
    ),
    checks=(
        not_null("contract", at_most=0.01),
        not_null("tenure", at_most=0.01),
        between("number_of_services", 0, 9),
        is_in("tenure_bracket", "under 6", "6 to 11", "12 to 23", "24 to 47", "48 and more"),
        matches("average_charges IS NULL OR tenure > 0"),
        between("average_charges", 0, on_fail="warn"),
    ),
)
