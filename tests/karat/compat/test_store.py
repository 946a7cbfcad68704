"""Document 004's verbs: features by reference, as of a time and as of now."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from karat import compat
from karat.compat import Feature, FeatureStore, Int64
from karat.declare import load_project
from karat.errors import ColumnMissing, FeatureNotFound, NaiveTimestamp, TableNotFound, WrongCall
from karat.features import compute_table
from karat.online import open_store

AT = datetime(2024, 3, 10, 8, tzinfo=UTC)
BOTH = ["patient_demographics:age_group", "vitals:blood_pressure"]


@pytest.fixture
def store(fe):
    project = load_project("healthcare", fe.settings)
    for table in project.tables:
        compute_table(project, table, fe.lake)
        fe.publish_table(str(project.table_name(table)))
    yield FeatureStore(fe)
    open_store(fe.settings).close()


def pressure(store, patient, day):
    rows = store.client.read_table("healthcare_dev.gold.vital_signs")
    return rows.filter(patient_id=patient, on=day)["systolic"][0]


def test_historical_features_are_those_known_at_the_event(store):
    asked = pl.DataFrame({"patient_id": ["PT200", "PT123"], "event_timestamp": [AT, datetime(2024, 3, 4, tzinfo=UTC)]})
    found = store.get_historical_features(entity_df=asked, features=BOTH)
    frame = found.to_df()
    assert frame.columns == ["patient_id", "event_timestamp", "age_group", "blood_pressure"]
    assert frame["blood_pressure"].to_list() == [
        pressure(store, "PT200", date(2024, 3, 9)),
        pressure(store, "PT123", date(2024, 3, 3)),
    ]
    assert found.to_dict()["age_group"] == frame["age_group"].to_list()
    assert found.to_arrow().num_rows == 2
    assert found.training_set.pins["lookups"]
    early = store.get_historical_features(
        asked.with_row_index("n").vstack(
            asked.with_columns(event_timestamp=pl.lit(datetime(2020, 1, 1, tzinfo=UTC))).with_row_index("n")
        ),
        BOTH,
    )
    assert early.to_df()["blood_pressure"].null_count() == 2


def test_frames_come_back_as_they_were_given(store):
    asked = {"patient_id": ["PT123"], "event_timestamp": [AT]}
    assert isinstance(store.get_historical_features(pd.DataFrame(asked), BOTH).to_df(), pd.DataFrame)
    assert isinstance(store.get_historical_features(pa.table(asked), BOTH).to_df(), pa.Table)


def test_all_features_of_a_table_and_full_names(store):
    asked = pl.DataFrame({"patient_id": ["PT123"]})
    assert store.get_historical_features(asked, ["patient_demographics:*"]).to_df().columns[-1] == "age_group"
    full = store.get_historical_features(asked, BOTH[:1], full_feature_names=True)
    assert full.to_df().columns[-1] == "patient_demographics__age_group"


def test_wrong_historical_calls(store):
    asked = pl.DataFrame({"patient_id": ["PT123"], "event_timstamp": [AT]})
    with pytest.raises(ColumnMissing, match="event_timstamp"):
        store.get_historical_features(asked, BOTH)
    asked = asked.rename({"event_timstamp": "event_timestamp"})
    with pytest.raises(FeatureNotFound, match="age_group"):
        store.get_historical_features(asked, ["patient_demographics:age_grup"])
    with pytest.raises(TableNotFound, match="vitals"):
        store.get_historical_features(asked, ["vital:blood_pressure"])
    with pytest.raises(WrongCall, match="table:feature"):
        store.get_historical_features(asked, ["blood_pressure"])
    with pytest.raises(WrongCall, match="no feature"):
        store.get_historical_features(asked, [])
    naive = pl.col("event_timestamp").dt.replace_time_zone(None)
    with pytest.raises(NaiveTimestamp):
        store.get_historical_features(asked.with_columns(naive), BOTH)


def test_online_features_are_the_latest_known(store):
    found = store.get_online_features(entity_rows=[{"patient_id": "PT123"}, {"patient_id": "nobody"}], features=BOTH)
    assert found.to_dict()["patient_id"] == ["PT123", "nobody"]
    assert found.to_dict()["blood_pressure"] == [pressure(store, "PT123", date(2024, 3, 31)), None]
    assert found.statuses["age_group"] == ["PRESENT", "NOT_FOUND"]
    assert found.to_df().columns == ["patient_id", "age_group", "blood_pressure"]
    history = store.get_historical_features(
        pl.DataFrame({"patient_id": ["PT123"], "event_timestamp": [datetime.now(UTC)]}), BOTH
    )
    assert history.to_dict()["age_group"] == found.to_dict()["age_group"][:1]
    frame = store.get_online_features(pl.DataFrame({"patient_id": ["PT123"]}), BOTH, full_feature_names=True)
    assert list(frame.to_dict())[1:] == ["patient_demographics__age_group", "vitals__blood_pressure"]


def test_the_plain_functions(store):
    found = compat.get_online_features(entity_rows=[{"patient_id": "PT123"}], features=BOTH)
    asked = pl.DataFrame({"patient_id": ["PT123"], "event_timestamp": [datetime.now(UTC)]})
    history = compat.get_historical_features(entity_df=asked, features=BOTH).to_dict()
    assert {k: v for k, v in history.items() if k != "event_timestamp"} == found.to_dict()


def test_a_feature_is_a_line_of_a_schema(fe):
    age = Feature(name="age_group", dtype=Int64, description="Patient age bracket")
    schema = pa.schema([pa.field("patient_id", pa.string(), nullable=False), age.field])
    info = fe.create_table("healthcare_dev.features.by_hand", "patient_id", schema=schema)
    assert info.comments["age_group"] == "Patient age bracket"
    with pytest.raises(WrongCall, match="int64"):
        Feature("age", "int46")
