"""Sensor readings of nutrient solutions, the equipment that they are of, and a sample with a planted truth.

THE PLANTED TRUTH. A growing unit runs crops of 28 days, each from a fresh solution; some are left fallow, so that units
come and go. A crop is a pure function of (seed, unit, crop): a later ``end`` adds hours, the readings that came late
and the verdicts that were given since, and changes nothing else. Hour by hour, hidden:

- ``ph``: plants take up nitrate and drive it up, faster under light, as they grow, and with ``uptake`` (a slow process
  that nobody measures). A doser looks at it every 4, 6 or 8 hours, by a clock of the unit's own that is written
  nowhere, and gives acid in proportion to what is above the crop's set point; four fifths of what is there mix in each
  hour. So the hours of the last day tell when the next fall is due: a model of the last reading alone cannot know.
- regimes: for one to three days at a time the acid is empty, and pH climbs unhindered. Water runs low and is topped up
  with tap water of pH 7.4; its level is measured.
- ``tds`` sinks with uptake, rises with evaporation, and is fed once a day; water follows the air's temperature slowly,
  by the unit's volume; ``stress`` (oxygen at the roots) is never measured.
- ``is_env_optimal`` is a grower's verdict on the plants, known a day later: drawn with a probability that falls with
  the squared distances of pH, TDS and water temperature from what plants like, and with stress.

Readings are the hidden states with noise; probes of model B are worse. Rows that real systems have: hours without any
reading (a station is offline for 3 to 30 hours), missing values, single readings far off, readings that arrive a day or
two late. What the truth expects: ``sensor_truth``, pH 1 to 6 hours ahead given every hidden state, as a mean over
simulated futures, and the probability of the verdict.
"""

from __future__ import annotations

from datetime import date

import polars as pl
from karat_projects.hydroponics.gold._growth import AHEAD
from karat_projects.hydroponics.gold._readings import history

from karat.declare import Column, GoldTable, fresh, not_null, volume

iot_data = GoldTable(
    name="iot_data",
    description="One row a reading: what the sensors of a growing unit said in an hour",
    owner="growing-operations",
    key=("reading_id",),
    event_time="timestamp_key",
    cluster_by=("equipment_id",),
    checks=(
        not_null("ph_level", at_most=0.05, on_fail="warn", description="What is to be forecast"),
        fresh("3d", on_fail="warn"),
        volume(fall=0.8, rise=4, on_fail="warn"),
    ),
    columns={
        "reading_id": Column(dtype="int64", description="Reading"),
        "timestamp_key": Column(dtype="timestamp", nullable=False, description="The hour of the reading"),
        "equipment_id": Column(dtype="string", nullable=False, description="Growing unit"),
        "ph_level": Column(dtype="float64", minimum=0, maximum=14, description="Acidity of the solution"),
        "tds_level": Column(dtype="float64", minimum=0, description="Dissolved solids in parts per million"),
        "water_level": Column(dtype="float64", minimum=0, maximum=100, description="Percent of the tank"),
        "water_temperature": Column(dtype="float64", minimum=-5, maximum=60, description="Degrees Celsius"),
        "air_temperature": Column(dtype="float64", minimum=-40, maximum=70, description="Degrees Celsius"),
        "humidity": Column(dtype="float64", minimum=0, maximum=100, description="Percent, of the air"),
        "is_env_optimal": Column(
            dtype="bool", description="A grower's verdict: whether plants are well off; null until it is given"
        ),
    },
)

sensor_truth = GoldTable(
    name="sensor_truth",
    description="The hidden states behind the sample's iot_data and what they let one expect; sample data only",
    owner="growing-operations",
    key=("reading_id",),
    event_time="timestamp_key",
    truth=True,
    columns={
        "reading_id": Column(dtype="int64", description="As in iot_data"),
        "timestamp_key": Column(dtype="timestamp", nullable=False, description="As in iot_data"),
        "equipment_id": Column(dtype="string", nullable=False, description="As in iot_data"),
        "ph": Column(dtype="float64", description="pH without the probe's noise"),
        "uptake": Column(dtype="float64", description="Of nutrients by the plants; 1 is usual"),
        "stress": Column(dtype="float64", description="Lack of oxygen at the roots; 0 is usual"),
        "acid_empty": Column(dtype="bool", description="Whether the doser has nothing to give"),
        **{
            f"ph_{h}h": Column(dtype="float64", description=f"pH to be expected {h} hours later, given all states")
            for h in range(1, AHEAD + 1)
        },
        "optimal_probability": Column(dtype="float64", description="Of a verdict that plants are well off"),
    },
)


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """The ``HISTORY`` days up to ``end`` (yesterday, UTC, by default): 18 units and about 45,000 readings at scale 1,
    four units at least."""
    rows = history(scale, seed, end)
    return {
        "iot_data": rows.select(*iot_data.columns),
        "sensor_truth": rows.select(*sensor_truth.columns),
    }
