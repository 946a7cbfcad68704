"""The growing units."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
from karat_projects.hydroponics.gold._crops import CROPS, EPOCH, TYPES, names_of, units_of

from karat.declare import Column, GoldTable, is_in

dim_equipment = GoldTable(
    name="dim_equipment",
    description="One row a growing unit",
    owner="growing-operations",
    key=("equipment_id",),
    checks=(is_in("probe_model", "A", "B"),),
    columns={
        "equipment_id": Column(dtype="string", description="Growing unit"),
        "equipment_type": Column(dtype="string", allowed=TYPES, description="How roots get their water"),
        "crop": Column(dtype="string", allowed=CROPS, description="What grows in it"),
        "volume_litres": Column(dtype="float64", minimum=0, description="Of its tank"),
        "probe_model": Column(dtype="string", description="A or B, of its pH probe"),
        "greenhouse": Column(dtype="string", nullable=False, description="Where it stands"),
        "installed_on": Column(dtype="date", description="Day of its installation"),
    },
)


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``dim_equipment``, the same whatever the ``end``: 18 units at scale 1, four at least."""
    units = units_of(scale, seed)
    frame = pl.DataFrame(
        {
            "equipment_id": names_of(len(units.kind)),
            "equipment_type": np.array(TYPES)[units.kind],
            "crop": np.array(CROPS)[units.crop],
            "volume_litres": units.litres,
            "probe_model": np.where(units.probe_b, "B", "A"),
            "greenhouse": [f"greenhouse_{i}" for i in units.house],
            "installed_on": [EPOCH + timedelta(days=int(d)) for d in units.installed],
        }
    )
    return {"dim_equipment": frame.select(*dim_equipment.columns)}
