"""The gold table of the benchmarks; its rows are made by benchmarks/events.py."""

from __future__ import annotations

from karat.declare import Column, GoldTable

events = GoldTable(
    name="events",
    description="What 100,000 entities did within 90 days",
    key=("event_id",),
    event_time="time",
    columns={
        "event_id": Column(dtype="int64", description="Event"),
        "entity_id": Column(dtype="int64", description="Who"),
        "time": Column(dtype="timestamp", description="When"),
        "amount": Column(dtype="float64", description="How much"),
        "quantity": Column(dtype="int64", description="How many"),
    },
)
