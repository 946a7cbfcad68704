"""Tables of events in the lake: made whole, followed day by day, looked up, and asked as of any time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from karat.errors import DeclarationError
from karat.features import compute_frame, compute_table, features_as_of, point_in_time_join
from tests.profiles import examples

PAID = """
from karat.declare import FeatureTable, aggregate, from_event

paid = FeatureTable(
    name="paid",
    description="what a user has spent before an event, a week back",
    source="events",
    entity=("user",),
    grain="event",
    time="at",
    event_id="event_id",
    delay="2d",
    features=(
        aggregate("amount_3d", "sum", "amount", window="3d", description="of three days, two days back"),
        aggregate("events_3d", "count", window="3d", description="events, two days back"),
        from_event("items", dtype="int64", description="of the event"),
    ),
)
"""
START = datetime(2024, 2, 26, 12, tzinfo=UTC)


def events(days: list[int], *, start: int = 0, user: str = "x") -> pl.DataFrame:
    n = len(days)
    return pl.DataFrame(
        {
            "event_id": range(start, start + n),
            "user": [user] * n,
            "shop": [1] * n,
            "at": [START + timedelta(days=d) for d in days],
            "amount": [float(d) for d in days],
            "items": days,
            "what": ["a"] * n,
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )


def day(n: int) -> date:
    return START.date() + timedelta(days=n)


def whole(shop) -> pl.DataFrame:
    project = shop.project
    gold = shop.lake.read(project.gold_name("events"))
    return compute_frame(project.tables["paid"], gold, source=project.gold["events"])


def test_late_events_recompute_their_own_day_and_those_that_look_back_on_it(shop) -> None:
    shop.declare("paid", PAID)
    shop.gold("events", events([*range(12), 5, 5]))
    first = compute_table(shop.project, "paid", shop.lake)
    assert (first.full, first.rows) == (True, 14)
    info = shop.lake.info(first.table)
    assert (info.event_id, info.grain, info.lag) == ("event_id", None, timedelta(0))
    assert info.properties["karat.grain"] == "event"
    assert info.primary_key == ("user", "at", "event_id")
    assert_frame_equal(shop.features("paid"), whole(shop))
    shop.gold("events", events([4], start=100))
    late = compute_table(shop.project, "paid", shop.lake, shards=2)
    # (t-5d, t-2d) of gold day 4: day 4 itself for its new row, and days 6 to 9.
    assert late.days == tuple(day(n) for n in (4, 6, 7, 8, 9))
    assert_frame_equal(shop.features("paid"), whole(shop))
    again = compute_table(shop.project, "paid", shop.lake)
    assert (again.changed, again.version) == (False, late.version)
    forced = compute_table(shop.project, "paid", shop.lake, full=True, shards=3)
    assert forced.changed
    assert_frame_equal(shop.features("paid"), whole(shop))


@settings(max_examples=examples(30), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.integers(0, 99)), unique_by=lambda r: r[2]),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(-1, 5)), max_size=10),
)
def test_of_events_of_one_time_a_lookup_takes_the_highest_id(stored, asked) -> None:
    moment = pl.Datetime("us", "UTC")
    features = pl.DataFrame(
        [(k, START + timedelta(seconds=s), i, i * 10) for k, s, i in stored],
        schema={"k": pl.String, "t": moment, "id": pl.Int64, "x": pl.Int64},
        orient="row",
    )
    spine = pl.DataFrame(
        [(k, START + timedelta(seconds=s)) for k, s in asked], schema={"k": pl.String, "at": moment}, orient="row"
    )
    got = point_in_time_join(spine, features, keys={"k": "k"}, time=("at", "t"), event_id="id", columns=["x"])
    known = [[(s, i) for key, s, i in stored if key == k and s <= at] for k, at in asked]
    assert got.values["x"].to_list() == [max(rows)[1] * 10 if rows else None for rows in known]


@pytest.mark.parametrize("hours", [-13, 0, 1, 12, 36, 240, 2000])
def test_as_of_any_time_is_what_the_stored_table_says(shop, hours: int) -> None:
    shop.declare("paid", PAID)
    shop.gold("events", pl.concat([events([*range(6), 3, 3]), events([9], start=50, user="y")]))
    compute_table(shop.project, "paid", shop.lake)
    at = START + timedelta(hours=hours)
    entities = pl.DataFrame({"user": ["x", "y", "nobody"]})
    found = features_as_of(shop.project, "paid", shop.lake, entities, at=at)
    spine = entities.with_columns(pl.lit(at, dtype=pl.Datetime("us", "UTC")).alias("when"))
    stored = shop.features("paid")
    wanted = point_in_time_join(
        spine, stored, keys={"user": "user"}, time=("when", "at"), event_id="event_id", columns=found.values.columns
    )
    assert_frame_equal(found.values, wanted.values)
    assert_frame_equal(found.statuses, wanted.statuses)
    assert found.age.equals(wanted.age)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('    event_id="event_id",\n', "", "name as event_id the column that tells them apart"),
        ('event_id="event_id"', 'event_id="evnt_id"', "Did you mean 'event_id'"),
        ('event_id="event_id"', 'event_id="shop"', "may have the same"),
        ('time="at"', 'time="amount"', "events have a timestamp"),
        ('    delay="2d",\n', '    delay="2d",\n    lag="1d",\n', "leave out rows and lag"),
        ('grain="event"', 'grain="1d"', "grain='event'"),
        ('window="3d"', 'window="0d"', "is empty"),
    ],
)
def test_a_declaration_that_cannot_be_says_why(shop, old: str, new: str, told: str) -> None:
    shop.declare("paid", PAID.replace(old, new))
    with pytest.raises(DeclarationError) as error:
        _ = shop.project
    assert any(told in line for line in error.value.errors), error.value.errors


def test_what_gives_a_table_of_events_its_meaning_changes_its_hash(shop) -> None:
    shop.declare("paid", PAID)
    before = shop.project.tables["paid"].definition_hash
    for old, new in (
        ('delay="2d"', 'delay="3d"'),
        ('delay="2d"', 'delay="2d", closed="right"'),
        ('window="3d", d', 'window="3d", closed="right", d'),
        ('"items", dtype', '"items", "items + 1", dtype'),
    ):
        assert old in PAID
        shop.declare("paid", PAID.replace(old, new))
        assert shop.project.tables["paid"].definition_hash != before, new
    shop.declare("paid", PAID.replace("of the event", "an own value"))
    assert shop.project.tables["paid"].definition_hash == before
