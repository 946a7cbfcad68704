"""Homes and what they are worth. The value is the home's base times its market's level times its own wander
(``_world.py``); a valuation misses it by half a percent, and neither the level nor its drift is shown: the figures of
the ZIP area are of its own sales, with noise. A mortgage begins at a purchase and anew at a refinancing. One weekly
valuation in 60 is missing; one home in seven bears no mortgage; some lots are not known."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import MEAN_DRIFT, MISS, SHOCK, World, days_of, last_day, name_of, on, world
from karat_projects.roi.gold._world_homes import homes

from karat.declare import Column, GoldTable, fresh, matches, volume

KINDS = ("single_family", "condo", "townhouse", "multi_family")

properties = GoldTable(
    name="properties",
    description="One row a user and week: the home he lives in, valued that day, with its mortgage and its ZIP area",
    owner="roi-analytics",
    key=("user_id", "valued_on"),
    event_time="valued_on",
    cluster_by=("user_id",),
    checks=(
        matches("purchased_on <= valued_on", description="A home is valued once it is bought"),
        fresh("3d", on_fail="warn"),
        volume(low=1, on_fail="warn"),
    ),
    columns={
        "user_id": Column(dtype="string", description="Who lives there"),
        "valued_on": Column(dtype="date", description="Day of the valuation; each user has a weekday of his own"),
        "property_id": Column(dtype="string", nullable=False, description="Home"),
        "property_type": Column(dtype="string", allowed=KINDS, description="What kind of home it is"),
        "square_feet": Column(dtype="float64", minimum=1, description="Living area"),
        "lot_square_feet": Column(dtype="float64", minimum=0, description="Area of the lot; null where not known"),
        "bedrooms": Column(dtype="int64", minimum=0, description="Bedrooms"),
        "bathrooms": Column(dtype="float64", minimum=0, description="Bathrooms, in halves"),
        "year_built": Column(dtype="int64", minimum=1700, description="Year in which it was built"),
        "garage_spaces": Column(dtype="int64", minimum=0, description="Cars that the garage takes"),
        "has_pool": Column(dtype="bool", description="Whether there is a pool"),
        "estimated_value": Column(dtype="float64", minimum=1, description="Valuation, in dollars"),
        "purchase_price": Column(dtype="float64", minimum=1, description="What the user paid, in dollars"),
        "purchased_on": Column(dtype="date", nullable=False, description="Day of the purchase"),
        "owned_days": Column(dtype="int64", minimum=0, description="Days since the purchase"),
        "mortgage_balance": Column(dtype="float64", minimum=0, description="What is still owed, in dollars"),
        "mortgage_rate": Column(dtype="float64", minimum=0, description="Interest a year; null without a mortgage"),
        "mortgage_months": Column(dtype="int64", minimum=0, description="Months paid of 360; null without a mortgage"),
        "annual_tax": Column(dtype="float64", minimum=0, description="Property tax a year, in dollars"),
        "zip_median_value": Column(dtype="float64", minimum=1, description="Median valuation in the ZIP area"),
        "zip_value_per_sqft": Column(dtype="float64", minimum=1, description="Dollars a square foot in the ZIP area"),
        "zip_sales": Column(dtype="int64", minimum=0, description="Sales in the ZIP area in the quarter before"),
        "zip_days_on_market": Column(dtype="float64", minimum=0, description="Days that a sale took there"),
        "school_rating": Column(dtype="int64", minimum=1, maximum=10, description="Rating of the school, 1 to 10"),
    },
)


def _valued(world: World, like: dict[str, np.ndarray], day: int) -> dict[str, np.ndarray]:
    draw, everybody = world.draw(71, day), np.arange(world.n)
    misses, lost = draw.normal(0, MISS, world.n), draw.random(world.n) < 1 / 60
    noise = draw.normal(0, 1, (3, world.n))
    who = everybody[world.member(day) & ((day + everybody) % 7 == 0) & ~lost]
    number, bought, began = world.home(who, day), world.bought[who, day], world.mortgaged[who, day]
    own = {name: values[who, number] for name, values in like.items()}
    level = world.level[world.market[who], day]
    heat = (world.drift[world.market[who], day] - MEAN_DRIFT) / (SHOCK * np.sqrt(75))
    paid = np.maximum(day - began, 0) // 30
    borrowed = own["loan"] * own["base"] * np.exp(world.growth(who, began))
    owes = (own["loan"] > 0) & (paid < 360)
    value = own["base"] * np.exp(world.growth(who, day) + misses[who])
    return {
        "user": who,
        "number": number,
        **own,
        "value": value.round(0),
        "price": (own["base"] * np.exp(world.growth(who, bought))).round(0),
        "bought": bought,
        "balance": np.where(owes, borrowed * (1 - paid / 360), 0).round(0),
        "rate": np.where(owes, world.rate[np.maximum(began, 0)] + own["spread"], np.nan).round(5),
        "months": np.where(owes, paid, -1),
        "taxes": (own["tax"] * value).round(0),
        "around": (own["middle"] * np.exp(level + 0.01 * noise[0][who])).round(0),
        "a_foot": (own["area"] * np.exp(level + 0.01 * noise[1][who])).round(2),
        "sold": draw.poisson(own["busy"] * np.exp(0.15 * heat)),
        "waits": np.clip(36 - 7 * heat + 5 * noise[2][who], 3, None).round(1),
    }


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``properties``: about 105,000 valuations of two years at scale 1."""
    made = world(scale, seed, last_day(end))
    like = homes(made)
    rows = days_of(lambda day: _valued(made, like, day), range(made.first, made.last + 1))
    columns = {
        "user_id": name_of(made.ids),
        "valued_on": on(),
        "property_id": pl.format("home_{}_{}", pl.col("user"), pl.col("number")),
        "property_type": pl.col("type").replace_strict(range(4), KINDS, return_dtype=pl.String),
        "square_feet": pl.col("feet"),
        "lot_square_feet": pl.col("lot").fill_nan(None),
        "bedrooms": pl.col("bedrooms"),
        "bathrooms": pl.col("bathrooms"),
        "year_built": pl.col("built"),
        "garage_spaces": pl.col("garage"),
        "has_pool": pl.col("pool"),
        "estimated_value": pl.col("value"),
        "purchase_price": pl.col("price"),
        "purchased_on": on("bought"),
        "owned_days": (pl.col("day") - pl.col("bought")).cast(pl.Int64),
        "mortgage_balance": pl.col("balance"),
        "mortgage_rate": pl.col("rate").fill_nan(None),
        "mortgage_months": pl.when(pl.col("months") >= 0).then("months"),
        "annual_tax": pl.col("taxes"),
        "zip_median_value": pl.col("around"),
        "zip_value_per_sqft": pl.col("a_foot"),
        "zip_sales": pl.col("sold"),
        "zip_days_on_market": pl.col("waits"),
        "school_rating": pl.col("school"),
    }
    return {"properties": rows.select(**columns)}
