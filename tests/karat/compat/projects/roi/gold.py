"""What users do with documents and e-mails, from October 2023 to January 2024; who is active in December moves."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from karat.declare import Column, GoldTable

FIRST, DAYS = date(2023, 10, 1), 123
USERS = ["user_1", "user_2", "user_123", "test_user", *(f"u{n}" for n in range(56))]

activity = GoldTable(
    name="activity",
    description="One row a document opened or an e-mail received",
    key=("activity_id",),
    event_time="at",
    cluster_by=("user_id",),
    columns={
        "activity_id": Column(dtype="int64"),
        "user_id": Column(dtype="string", nullable=False),
        "at": Column(dtype="timestamp", nullable=False),
        "kind": Column(dtype="string", nullable=False),
        "opened": Column(dtype="bool"),
        "seconds": Column(dtype="float64"),
    },
)
moves = GoldTable(
    name="moves",
    description="One row a user who has sold or bought",
    key=("user_id", "at"),
    event_time="at",
    columns={"user_id": Column(dtype="string"), "at": Column(dtype="date"), "moved": Column(dtype="bool")},
)


def sample(scale: float = 1.0, seed: int = 0, end: date = FIRST + timedelta(days=DAYS - 1)) -> dict[str, pl.DataFrame]:
    random = np.random.default_rng(seed)
    interest = random.beta(1.2, 3, len(USERS))
    rows, moved = [], []
    for user, wish in zip(USERS, interest, strict=True):
        for back in range(DAYS):
            at = datetime(end.year, end.month, end.day, 9, tzinfo=UTC) - timedelta(days=back)
            for _ in range(random.binomial(4, wish)):
                rows.append((len(rows), user, at, "document", None, random.exponential(60)))
            if back % 3 == 0:
                rows.append((len(rows), user, at, "email", bool(random.random() < wish), None))
            if back % 7 == 0:
                moved.append((user, at.date(), bool(random.random() < wish)))
    return {
        "activity": pl.DataFrame(rows, schema=list(activity.columns), orient="row"),
        "moves": pl.DataFrame(moved, schema=list(moves.columns), orient="row"),
    }
