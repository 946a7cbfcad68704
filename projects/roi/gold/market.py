"""The market around each user's home, as the data provider reports it week by week: the market's figures have been
joined to the subscriber already. All of them show the market's hidden drift (``_world.py``) with noise of their own:
where prices are about to rise, few homes are on offer, they sell fast and near the asking price. The economy's figures
are the same for everybody. One report in 70 is missing; an inventory in 200 is not known."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.roi.gold._world import (
    MEAN_DRIFT,
    SHOCK,
    World,
    days_of,
    last_day,
    name_of,
    on,
    season,
    world,
)

from karat.declare import Column, GoldTable, fresh, not_null, volume

market = GoldTable(
    name="market",
    description="One row a user and week: the market of his home and the economy, as the provider reports them",
    owner="roi-analytics",
    key=("user_id", "reported_on"),
    event_time="reported_on",
    cluster_by=("user_id",),
    checks=(
        not_null("inventory_months", at_most=0.1, on_fail="warn"),
        fresh("3d", on_fail="warn"),
        volume(low=1, on_fail="warn"),
    ),
    columns={
        "user_id": Column(dtype="string", description="Around whose home"),
        "reported_on": Column(dtype="date", description="Day of the report; each user has a weekday of his own"),
        "market_id": Column(dtype="string", nullable=False, description="Market"),
        "median_price": Column(dtype="float64", minimum=1, description="Median price of sales, in dollars"),
        "inventory_months": Column(dtype="float64", minimum=0, description="Months that the homes on offer will last"),
        "days_on_market": Column(dtype="float64", minimum=0, description="Days that a sale takes"),
        "sale_to_list": Column(dtype="float64", minimum=0, description="Price reached over price asked"),
        "sales": Column(dtype="int64", minimum=0, description="Sales of the week in the market"),
        "mortgage_rate_30y": Column(dtype="float64", minimum=0, description="Interest of a 30-year mortgage"),
        "unemployment_rate": Column(dtype="float64", minimum=0, description="Unemployed, percent"),
    },
)


def _reports(world: World, day: int) -> dict[str, np.ndarray]:
    draw, everybody = world.draw(75, day), np.arange(world.n)
    own, lost = draw.normal(size=(4, world.n)), draw.random(world.n) < 1 / 70
    unknown = draw.random(world.n) < 1 / 200
    who = everybody[world.member(day) & ((day + everybody + 3) % 7 == 0) & ~lost]
    where = world.market[who]
    heat = (world.drift[where, day] - MEAN_DRIFT) / (SHOCK * np.sqrt(75))
    price, inventory, waits, reached = own[:, who]
    level = 280_000 * np.exp(0.2 * np.sin(where) + world.level[where, day])
    return {
        "user": who,
        "market": where,
        "price": (level * np.exp(0.006 * price)).round(0),
        "inventory": np.where(unknown[who], np.nan, np.clip(4 - 1.0 * heat + 0.25 * inventory, 0.2, None).round(2)),
        "waits": np.clip(35 - 8 * heat + 2.5 * waits, 2, None).round(1),
        "reached": np.clip(0.985 + 0.012 * heat + 0.004 * reached, 0.8, 1.2).round(4),
        "sales": draw.poisson(60 * season(day) * np.exp(0.1 * heat)),
        "rate": np.full(len(who), world.rate[day].round(5)),
        "unemployed": np.full(len(who), world.unemployment[day].round(2)),
    }


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``market``: about 105,000 reports of two years at scale 1."""
    made = world(scale, seed, last_day(end))
    rows = days_of(lambda day: _reports(made, day), range(made.first, made.last + 1))
    columns = {
        "user_id": name_of(made.ids),
        "reported_on": on(),
        "market_id": pl.format("market_{}", pl.col("market")),
        "median_price": pl.col("price"),
        "inventory_months": pl.col("inventory").fill_nan(None),
        "days_on_market": pl.col("waits"),
        "sale_to_list": pl.col("reached"),
        "sales": pl.col("sales"),
        "mortgage_rate_30y": pl.col("rate"),
        "unemployment_rate": pl.col("unemployed"),
    }
    return {"market": rows.select(**columns)}
