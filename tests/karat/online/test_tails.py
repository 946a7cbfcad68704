"""Event tails online: whatever is written to gold, a request is finished from them as from the gold table itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from karat.clock import microseconds
from karat.declare import Project, aggregate
from karat.declare.project import ProjectSpec
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import StoreUnreachable, WrongCall
from karat.features.request_features import finish
from karat.lake import Lake
from karat.names import TableName
from karat.online import EventSource, KeySpace, OnlineStore, Tail, TailReader, open_store, publish_table
from karat.settings import Settings
from tests.karat.features.events_oracle import GOLD, MORE, table
from tests.profiles import examples

PAID, PAYMENTS = TableName("shop_dev", "features", "paid"), TableName("shop_dev", "gold", "payments")
SPACE = KeySpace(str(PAID), "events")
START = datetime(2026, 1, 1, tzinfo=UTC)
TABLE = table(
    windows=("2d", "5d"),
    closed="right",
    more=(aggregate("late", "sum", "amount", window="1d", delay="3d", description=""), *MORE),
)


@pytest.fixture
def project(tmp_path) -> Project:
    return shop(tmp_path)


def shop(path: Any) -> Project:
    return Project("shop", path, "dev", ProjectSpec(description="", owner="shop"), {"payments": GOLD}, {"paid": TABLE})


def made(lake: Lake) -> Lake:
    lake.create(PAYMENTS, GOLD.schema, primary_key=GOLD.key, timeseries="paid_at")
    return lake


def events(*rows: tuple[int, str, float, float | None]) -> pl.DataFrame:
    """(id, user, days after START, amount)"""
    return pl.DataFrame(
        {
            "payment_id": [r[0] for r in rows],
            "user": [r[1] for r in rows],
            "shop": [1] * len(rows),
            "paid_at": [START + timedelta(days=r[2]) for r in rows],
            "amount": [r[3] for r in rows],
            "items": [r[0] % 7 if r[0] % 3 else None for r in rows],
            "fraud": [r[0] % 5 == 0 for r in rows],
            "what": [None if r[0] % 4 == 0 else f"w{r[0] % 3}" for r in rows],
        },
        schema_overrides={
            "paid_at": pl.Datetime("us", "UTC"),
            "amount": pl.Float64,
            "items": pl.Int64,
            "what": pl.String,
            "shop": pl.Int64,
        },
    )


def features(tail: Tail, at: datetime) -> list[Any]:
    return finish(TABLE, tail.columns, microseconds(at), None, [f.name for f in TABLE.stored])


def check(lake: Lake, store: OnlineStore, project: Project, at: datetime, users: str = "abc") -> None:
    """Of every user what the store has and what the gold table has give the same features."""
    reader, source = TailReader(store, SPACE), EventSource.of(project, TABLE)
    for user in users:
        online = reader.tail_of(reader.fetch((user, 1)))
        offline = source.offline(lake, (user, 1), microseconds(at))
        assert online.newest(microseconds(at)) == offline.newest(microseconds(at))
        np.testing.assert_equal(features(online, at), features(offline, at))


NOON = START + timedelta(days=20, hours=12)
EVENT = st.tuples(
    st.integers(1, 12),
    st.sampled_from("abc"),
    st.integers(0, 90).map(lambda q: q / 4),
    st.one_of(st.none(), st.floats(0, 9)),
)
STEP = st.tuples(st.sampled_from(["merge", "merge", "all"]), st.lists(EVENT, max_size=5, unique_by=lambda r: r[0]))


@hypothesis_settings(
    max_examples=examples(6),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.tuples(STEP, st.integers(0, 2)), min_size=1, max_size=5))
def test_whatever_was_written_the_tails_finish_as_gold_does(steps, tmp_path_factory) -> None:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home)
    lake, store, project = made(Lake(settings.lake, "dev")), open_store(settings), shop(home)
    projects, now = ProjectCatalog(settings, project), NOON
    for (verb, rows), later in steps:
        (lake.merge if verb == "merge" else lake.overwrite)(PAYMENTS, events(*rows))
        if later:
            now += timedelta(days=later - 1)
            publish_table(lake, store, PAID, projects=projects, at=now)
    publish_table(lake, store, PAID, projects=projects, at=now)
    for hours in (-20, 0, 30, 100):
        check(lake, store, project, now + timedelta(hours=hours))
    assert publish_table(lake, store, PAID, projects=projects, at=now).changed is False
    store.close()


def test_tails_follow_gold_and_drop_what_has_left(lake: Lake, store: OnlineStore, project: Project) -> None:
    projects = ProjectCatalog(None, project)
    made(lake).merge(PAYMENTS, events(*((n, "a", n / 2, 1.0) for n in range(40)), (100, "b", 1, 2.0)))
    first = publish_table(lake, store, PAID, projects=projects, at=NOON)
    assert (first.index, first.whole, first.written) == ("events", True, 2)
    assert first.version == lake.version(PAYMENTS)
    reader = TailReader(store, SPACE)
    assert len(reader.tail_of(reader.fetch(("b", 1))).times) == 1, "an idle entity keeps its last event"
    count = len(reader.tail_of(reader.fetch(("a", 1))).times)
    assert count < 40
    check(lake, store, project, NOON, "abx")
    lake.merge(PAYMENTS, events((101, "c", 20, 5.0), (102, "a", 19, 7.0)))
    second = publish_table(lake, store, PAID, projects=projects, at=NOON + timedelta(days=4))
    assert (second.whole, second.written) == (False, 2)
    assert len(reader.tail_of(reader.fetch(("a", 1))).times) == count + 1 - 8, "four days at two a day have left"
    check(lake, store, project, NOON + timedelta(days=4))
    lake.overwrite(PAYMENTS, events((103, "c", 19, 3.0)))
    third = publish_table(lake, store, PAID, projects=projects, at=NOON + timedelta(days=4))
    assert (third.written, third.deleted) == (1, 2)
    check(lake, store, project, NOON + timedelta(days=4))


def test_events_of_one_time_are_in_the_order_of_their_ids(lake: Lake, store: OnlineStore, project: Project) -> None:
    made(lake).merge(PAYMENTS, events((9, "a", 19, 1.0), (3, "a", 19, 2.0), (5, "a", 19, 3.0)))
    publish_table(lake, store, PAID, projects=ProjectCatalog(None, project), at=NOON)
    reader = TailReader(store, SPACE)
    assert reader.tail_of(reader.fetch(("a", 1))).columns["payment_id"].tolist() == [3, 5, 9]


def test_what_is_not_declared_or_not_published_is_told(lake: Lake, store: OnlineStore, project: Project) -> None:
    made(lake)
    with pytest.raises(WrongCall, match="row per event"):
        publish_table(lake, store, PAID, index="events", projects=ProjectCatalog(None))
    with pytest.raises(StoreUnreachable, match="publish"):
        TailReader(store, SPACE)
    publish_table(lake, store, PAID, projects=ProjectCatalog(None, project), at=NOON)
    tail = TailReader(store, SPACE).tail_of(None)
    assert tail.newest(microseconds(NOON)) is None
    assert features(tail, NOON)[:2] == [0.0, 0]
