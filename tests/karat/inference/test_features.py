"""Features by reference: values and statuses in the caller's order, now and as of a time, the same from both stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from karat.errors import FeatureNotFound, InvalidRequest, StoreUnreachable, TableNotFound, WrongCall
from karat.features import Status
from karat.inference.features import online_features
from karat.lake import Lake
from karat.online import KeySpace, OnlineStore

from .conftest import PLANS, USAGE, ago

ASKED = ["usage:calls", "plans:plan", "usage:spent"]
PRESENT, NULL, NOT_FOUND = Status.PRESENT, Status.NULL, Status.NOT_FOUND


def midnight(days: int) -> datetime:
    return datetime.combine(ago(days), datetime.min.time(), UTC)


def test_values_and_statuses_in_the_callers_order(tables: Lake, store: OnlineStore) -> None:
    rows = [{"customer": c} for c in ("c7", "c40", "nobody", None)]
    found = online_features(tables, store, ASKED, rows, catalog="shop_dev")
    assert found.names == ("calls", "plan", "spent")
    assert found.values == [[8, "tin", 3.5], [41, None, None], [None] * 3, [None] * 3]
    assert found.statuses == [[PRESENT] * 3, [PRESENT, NOT_FOUND, NULL], [NOT_FOUND] * 3, [NOT_FOUND] * 3]
    assert found.times[0] == [midnight(1), None, midnight(1)]
    assert found.unknown == [2, 3]
    assert found.to_dict()["customer"] == ["c7", "c40", "nobody", None]
    assert found.to_dict()["plan"] == ["tin", None, None, None]


def test_a_past_time_is_read_offline_and_says_the_same(tables: Lake, store: OnlineStore) -> None:
    rows = [{"customer": "c7"}, {"customer": None}, {"customer": "c10"}]
    now = online_features(tables, store, ASKED, rows, catalog="shop_dev")
    moment = datetime.now(UTC)
    assert online_features(tables, store, ASKED, rows, catalog="shop_dev", as_of=moment) == now
    earlier = online_features(tables, store, ["usage:calls"], rows, catalog="shop_dev", as_of=midnight(1))
    assert earlier.values[0] == [9]  # the row of two days ago, known since yesterday's midnight
    with pytest.raises(InvalidRequest, match="has no time and is younger than"):  # the plans
        online_features(tables, store, ASKED, rows, catalog="shop_dev", as_of=midnight(1))
    never = online_features(tables, store, ["usage:calls"], rows[:1], catalog="shop_dev", as_of=midnight(100))
    assert never.statuses == [[NOT_FOUND]]


def test_a_row_may_name_the_time(tables: Lake, store: OnlineStore) -> None:
    rows = [{"customer": "c7", "day": str(ago(3))}, {"customer": "c7"}, {"customer": "c7", "day": str(ago(30))}]
    found = online_features(tables, store, ["usage:calls"], rows, catalog="shop_dev")
    assert found.values == [[10], [8], [None]]


def test_a_bare_table_is_found_where_one_catalog_has_it(tables: Lake, store: OnlineStore) -> None:
    assert online_features(tables, store, ["usage:calls"], [{"customer": "c7"}]).values == [[8]]
    full = f"{PLANS}:plan"
    found = online_features(tables, store, [full, "usage:calls", full], [{"customer": "c7"}])
    assert found.values == [["tin", 8, "tin"]]


@pytest.mark.parametrize(
    ("references", "row", "expected"),
    [
        (["usage.calls"], {"customer": "c1"}, (WrongCall, "table:feature")),
        (["usge:calls"], {"customer": "c1"}, (TableNotFound, "usage")),
        (["usage:call"], {"customer": "c1"}, (FeatureNotFound, "'calls'")),
        (["usage:calls"], {}, (InvalidRequest, "'customer' is missing")),
        (["usage:calls"], {"custmer": "c1", "customer": "c1"}, (InvalidRequest, "'customer'")),
        (["usage:calls"], {"customer": True}, (InvalidRequest, "True is not of type string")),
        ([], {"customer": "c1"}, (InvalidRequest, "no feature")),
    ],
)
def test_refusals_name_the_nearest(tables: Lake, store: OnlineStore, references, row, expected) -> None:
    error, says = expected
    for catalog in (None, "shop_dev"):
        with pytest.raises(error) as raised:
            online_features(tables, store, references, [row], catalog=catalog)
        assert says in str(raised.value)


def test_a_table_that_is_not_online_is_read_offline_alone(tables: Lake, store: OnlineStore) -> None:
    store.drop(KeySpace(str(USAGE)))
    with pytest.raises(StoreUnreachable, match="not in the online store"):
        online_features(tables, store, ["usage:calls"], [{"customer": "c7"}], catalog="shop_dev")
    moment = datetime.now(UTC) - timedelta(seconds=1)
    found = online_features(tables, store, ["usage:calls"], [{"customer": "c7"}], catalog="shop_dev", as_of=moment)
    assert found.values == [[8]]
