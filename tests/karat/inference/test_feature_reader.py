"""A model's vector: what the online path reads is what the offline lookups give, in every store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from karat.errors import FeatureLookupFailed, SequenceTooShort
from karat.inference.feature_reader import FeatureReader, FeatureVector
from karat.lake import Lake
from karat.online import KeySpace, OnlineStore, backends, open_store, publish_table
from karat.settings import Settings
from karat.training_sets.feature_join import join_features
from karat.training_sets.lookups import FeatureLookup, PinnedLookup, pin
from tests.services import use_store

from .conftest import PLANS, USAGE

CUSTOMERS = ["c0", "c7", "c39", "c45", "nobody"]
SPINE = pl.DataFrame({"customer": ["c1"], "at": [datetime.now(UTC)]})


@pytest.fixture(params=backends())
def published(request: pytest.FixtureRequest, settings: Settings, tables: Lake) -> Iterator[OnlineStore]:
    store = open_store(use_store(request.param, settings, request))
    publish_table(tables, store, USAGE, sequence_length=3)
    publish_table(tables, store, PLANS)
    yield store
    store.close()


def lookups(lake: Lake, **more: Any) -> list[PinnedLookup]:
    """A row of both tables, and sequences with a lookback that cuts them, and with a step that does."""
    usage: dict[str, Any] = {"lookup_key": "customer", "timestamp_lookup_key": "at"}
    asked = [
        FeatureLookup(str(USAGE), "calls", **usage, default_values={"calls": 7}),
        FeatureLookup(str(USAGE), "spent", **usage, lookback_window=timedelta(hours=12)),
        FeatureLookup(str(PLANS), lookup_key="customer"),
        sequence(lookback_window=timedelta(days=3), rename_outputs={"calls": "s1", "spent": "s2", "usage__mask": "m1"}),
        sequence(step=timedelta(hours=1), rename_outputs={"calls": "s3", "spent": "s4", "usage__mask": "m2"}),
    ]
    return [pin(one, lake, SPINE) for one in asked]


def sequence(**more: Any) -> FeatureLookup:
    given: dict[str, Any] = {"lookup_key": "customer", "timestamp_lookup_key": "at", "sequence_length": 3}
    return FeatureLookup(str(USAGE), **(given | more))


def plain(values: list[Any]) -> list[Any]:
    return [list(v) if isinstance(v, pl.Series | tuple | list) else v for v in values]


def test_online_and_as_of_are_what_a_training_set_has(tables: Lake, published: OnlineStore) -> None:
    asked = lookups(tables)
    outputs = [out for lk in asked for out in lk.outputs]
    reader = FeatureReader(asked, outputs, published, tables)
    for customer in CUSTOMERS:
        at = datetime.now(UTC)
        filled = join_features(tables, pl.DataFrame({"customer": [customer], "at": [at]}), asked)
        expected = [plain(list(filled.values.row(0))), list(filled.statuses.row(0))]
        for moment in (None, at):
            vector: FeatureVector = reader.read({"customer": customer}, moment)
            assert [plain(vector.values), vector.statuses] == expected, (customer, moment)
        assert vector.found[str(USAGE)] is (customer != "nobody")


def test_a_mask_alone_can_be_asked_for(tables: Lake, published: OnlineStore) -> None:
    asked = [pin(sequence(), tables, SPINE)]
    vector = FeatureReader(asked, ["usage__mask"], published, tables).read({"customer": "c1"}, None)
    assert vector.values == [[True, True, True]]
    assert FeatureReader(asked, ["usage__mask"], published, tables).read({"customer": "x"}, None).statuses == [
        "NOT_FOUND"
    ]


def test_short_sequences_are_refused_where_the_model_says_so(tables: Lake, published: OnlineStore) -> None:
    asked = [replace(pin(sequence(), tables, SPINE), short="refuse", lookback=timedelta(hours=40))]
    reader = FeatureReader(asked, ["calls", "spent"], published, tables)
    for moment in (None, datetime.now(UTC)):
        with pytest.raises(SequenceTooShort, match=r"rows of .*usage are known"):
            reader.read({"customer": "c1"}, moment)


def test_what_is_not_online_is_told_with_its_table(tables: Lake, published: OnlineStore) -> None:
    published.drop(KeySpace(str(USAGE), "sequence"))
    reader = FeatureReader([pin(sequence(), tables, SPINE)], ["calls"], published, tables)
    with pytest.raises(FeatureLookupFailed, match="not in the online store"):
        reader.read({"customer": "c1"}, None)
