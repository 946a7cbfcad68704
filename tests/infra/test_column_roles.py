"""What a column of numbers holds, by its name: what adds up is summed, and nothing else is."""

from __future__ import annotations

import pytest

from infra.new.column_roles import is_owner, measure_of
from infra.new.columns import names_of
from karat.declare import Column

WRITTEN = {
    "amount": (
        "amount", "Total", "Menge (kg)", "Umsatz", "Anzahl Besucher", "kWh", "sales", "riders", "rain_mm",
        "Gesamtbetrag", "cantidad", "quantité", "Verbrauch", "trip distance", "errors", "total_price",
        "Energieverbrauch",
    ),
    "level": (
        "temperature", "Außentemperatur", "Temp (°C)", "unit price", "sales_price", "humidity_pct", "share of women",
        "conversion_rate", "Anteil", "Note", "rating", "age", "avg_amount", "max_sales", "Luftdruck", "précio",
        "calls per hour", "Auslastung %", "stock", "balance", "speed (km/h)", "pressure (hPa)",
    ),
    "place": ("latitude", "lon", "start_lng", "pickup_longitude"),
    "code": ("zip", "PLZ", "status_code", "customer_id", "product category", "year"),
    "unknown": ("x1", "feature_7", "v"),
}  # fmt: skip


@pytest.mark.parametrize(("measure", "written"), [(m, w) for m, names in WRITTEN.items() for w in names])
def test_a_name_says_whether_it_adds_up(measure: str, written: str):
    (name,) = names_of([written])
    found = measure_of(name, Column(dtype="int64", description=written))
    assert found.measure == measure, found
    assert found.reason


@pytest.mark.parametrize("name", ["station", "customer_name", "store_nr", "kunde", "product_code", "device"])
def test_an_owner_is_known_by_name(name: str):
    assert is_owner(name)


@pytest.mark.parametrize("name", ["customer_type", "store_size", "rooms", "device_status", "weather", "product_price"])
def test_what_an_owner_has_is_no_owner(name: str):
    assert not is_owner(name)
