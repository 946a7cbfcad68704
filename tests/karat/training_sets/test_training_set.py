"""Training sets: frozen, pinned, digested; every wrong name is told before anything is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from karat import FeatureLookup
from karat.declare import Project
from karat.declare.declared_model import DeclaredModel
from karat.errors import (
    ColumnMissing,
    DataError,
    EmptyTrainingSet,
    FeatureNotFound,
    KaratError,
    LabelNotFound,
    LookupKeyMismatch,
    SchemaMismatch,
    SequenceTooShort,
    TableNotFound,
    WrongCall,
)
from karat.kinds import Model
from karat.lake import Lake
from karat.names import TableName
from karat.training_sets.leakage_plot import draw_report, plot_report
from karat.training_sets.leakage_report import leak_messages
from karat.training_sets.lookups import PinnedLookup, declared_lookups
from karat.training_sets.training_set import create_training_set, model_inputs

DAY = timedelta(days=1)
USERS = TableName("demo_dev", "features", "users")
VISITS = TableName("demo_dev", "features", "visits")
START = date(2026, 1, 1)


@pytest.fixture
def demo(lake: Lake) -> Lake:
    """``users`` by id, ``visits`` by id and day, known one day later."""
    lake.create(
        USERS,
        pa.schema([pa.field("user_id", pa.int64(), nullable=False), ("age", pa.int64()), ("city", pa.string())]),
        primary_key=["user_id"],
    )
    lake.overwrite(USERS, pl.DataFrame({"user_id": [1, 2, 3], "age": [30, None, 50], "city": ["Bern", "Genf", None]}))
    schema = pa.schema(
        [
            pa.field("user_id", pa.int64(), nullable=False),
            pa.field("day", pa.date32(), nullable=False),
            ("clicks", pa.float64()),
        ]
    )
    lake.create(VISITS, schema, primary_key=["user_id", "day"], timeseries="day", grain=DAY, lag=DAY)
    lake.overwrite(
        VISITS,
        pl.DataFrame({"user_id": [1, 1, 2], "day": [START, START + 5 * DAY, START], "clicks": [10.0, 15.0, 20.0]}),
    )
    return lake


SPINE = pl.DataFrame(
    {
        "user_id": [3, 1, 1, 2],
        "day": [START + 6 * DAY, START + 6 * DAY, START + 5 * DAY, START + 1 * DAY],
        "label": [0.0, 1.0, 0.0, 1.0],
    }
)
AGES = FeatureLookup("demo_dev.features.users", ["age", "city"], lookup_key="user_id")
AS_OF = FeatureLookup(str(VISITS), "clicks", lookup_key="user_id", timestamp_lookup_key="day")


def test_rows_stay_in_order_and_features_are_frozen(demo: Lake) -> None:
    made = create_training_set(demo, SPINE, [AGES, AS_OF], "label", ["user_id", "day"])
    assert made.features == ("age", "city", "clicks")
    assert made.load_df().rows() == [
        (0.0, 50, None, None),
        (1.0, 30, "Bern", 15.0),
        (0.0, 30, "Bern", 10.0),
        (1.0, None, "Genf", 20.0),
    ]
    with pytest.raises(AttributeError):
        made.features = ()  # type: ignore[misc]


def test_pins_name_tables_versions_schemas_and_definitions(demo: Lake) -> None:
    before = create_training_set(demo, SPINE, [AGES, AS_OF], "label")
    assert [(p["table"], p["version"]) for p in before.pins["lookups"]] == [(str(USERS), 1), (str(VISITS), 1)]
    assert before.pins["lookups"][0]["schema"] == {"user_id": "int64", "age": "int64", "city": "string"}
    assert before.pins["spine"]["rows"] == 4
    demo.merge(USERS, pl.DataFrame({"user_id": [1], "age": [31], "city": ["Bern"]}))
    after = create_training_set(demo, SPINE, [AGES, AS_OF], "label")
    assert after.pins["lookups"][0]["version"] == 2
    assert after.digest != before.digest
    assert after.pins["spine"]["digest"] == before.pins["spine"]["digest"]


def test_the_digest_is_of_the_rows_not_of_the_files_or_the_order(demo: Lake) -> None:
    first = create_training_set(demo, SPINE, [AGES, AS_OF], "label")
    demo.overwrite(USERS, demo.read(USERS).sort("user_id", descending=True))
    again = create_training_set(demo, SPINE, [AGES, AS_OF], "label")
    assert again.digest == first.digest
    turned = create_training_set(demo, SPINE.reverse(), [AGES, AS_OF], "label")
    assert turned.digest == first.digest
    other = create_training_set(demo, SPINE.with_columns(pl.col("label").reverse()), [AGES, AS_OF], "label")
    assert other.digest != first.digest


def test_the_report_gives_ages_nulls_and_statuses(demo: Lake) -> None:
    lookup = FeatureLookup(
        str(VISITS), "clicks", lookup_key="user_id", timestamp_lookup_key="day", lookback_window=4 * DAY,
        default_values={"clicks": -1.0},
    )  # fmt: skip
    made = create_training_set(demo, SPINE, [AGES, lookup], "label", ["user_id", "day"])
    lines = {r["feature"]: r for r in made.report.iter_rows(named=True)}
    assert lines["age"]["null_share"] == 0.25
    assert (lines["age"]["present"], lines["age"]["null"]) == (3, 1)
    clicks = lines["clicks"]
    assert (clicks["present"], clicks["defaulted"], clicks["not_found"]) == (2, 2, 0)  # user 3 and an expired row
    assert (clicks["age_min"], clicks["age_max"], clicks["younger"]) == (DAY, DAY, 0)
    assert made.load_df()["clicks"].to_list() == [-1.0, 15.0, -1.0, 20.0]


def test_the_report_is_drawn_and_a_leak_is_seen(demo: Lake, tmp_path: Path, pictures) -> None:
    made = create_training_set(demo, SPINE, [AGES, AS_OF], "label", ["user_id", "day"])
    left, right = made.plot_report("demo").axes
    assert {t.get_text() for t in left.get_yticklabels()} == {"age", "city", "clicks"}
    widths = {round(p.get_width(), 2) for p in left.patches}
    assert {0.75, 0.25} <= widths  # three ages are there, one is null
    assert [line.get_xdata().tolist() for line in right.lines if line.get_marker() == "o"] == [[1.0]]  # days
    assert leak_messages(made.report) == []
    foul = made.report.with_columns(younger=pl.when(pl.col("feature") == "clicks").then(2).otherwise(0))
    assert leak_messages(foul) == [
        "leakage: 2 of 4 values of feature 'clicks' (demo_dev.features.visits) are younger than their row"
    ]
    wide = pl.concat([foul.with_columns(feature=pl.col("feature") + str(n)) for n in range(30)])
    assert "40 of 90" in plot_report(wide).get_suptitle()
    assert draw_report(foul, tmp_path / "plots").stat().st_size > 10_000


def test_a_renamed_feature_keeps_its_default_and_its_pin(demo: Lake) -> None:
    lookup = FeatureLookup(
        str(USERS), "age", lookup_key="who", rename_outputs={"age": "years"}, default_values={"age": 0}
    )
    made = create_training_set(demo, pl.DataFrame({"who": [9, 1], "label": [1, 0]}), [lookup], "label", ["who"])
    assert made.load_df()["years"].to_list() == [0, 30]
    assert made.lookups[0].keys == {"who": "user_id"}


def test_several_spine_columns_look_up_the_same_table(demo: Lake) -> None:
    spine = pl.DataFrame({"buyer": [1], "seller": [3], "label": [1]})
    lookups = [
        FeatureLookup(str(USERS), "age", lookup_key=who, rename_outputs={"age": f"{who}_age"})
        for who in ("buyer", "seller")
    ]
    made = create_training_set(demo, spine, lookups, "label", ["buyer", "seller"])
    assert made.load_df().rows() == [(1, 30, 50)]


@pytest.mark.parametrize("kind", ["polars", "lazy", "pandas", "arrow"])
def test_the_answer_is_of_the_kind_that_was_given(demo: Lake, kind: str) -> None:
    given = {"polars": SPINE, "lazy": SPINE.lazy(), "pandas": SPINE.to_pandas(), "arrow": SPINE.to_arrow()}[kind]
    out = create_training_set(demo, given, [AGES], "label", ["day"]).load_df()
    assert type(out) is type(given)
    rows = {"polars": lambda f: f, "lazy": lambda f: f.collect(), "pandas": pl.from_pandas, "arrow": pl.from_arrow}
    assert rows[kind](out)["city"].to_list() == [None, "Bern", "Bern", "Genf"]


def test_a_pandas_index_stays(demo: Lake) -> None:
    given = SPINE.to_pandas().set_index(pd.Index([7, 8, 9, 10]))
    assert list(create_training_set(demo, given, [AGES], "label").load_df().index) == [7, 8, 9, 10]


SEQUENCE = FeatureLookup(
    str(VISITS), "clicks", lookup_key="user_id", timestamp_lookup_key="day", sequence_length=3, step=9 * DAY
)


def test_a_sequence_is_an_array_and_its_mask(demo: Lake) -> None:
    made = create_training_set(demo, SPINE, [SEQUENCE], "label", ["user_id", "day"])
    assert made.features == ("clicks", "visits__mask")
    assert made.data["clicks"].to_list() == [[None] * 3, [None, 10, 15], [None, None, 10], [None, None, 20]]
    assert made.data["visits__mask"].to_list() == [
        [False] * 3, [False, True, True], [False, False, True], [False, False, True]
    ]  # fmt: skip
    line = made.report.row(0, named=True)
    assert (line["feature"], line["null_share"], line["present"], line["age_max"]) == ("clicks", 8 / 12, 3, 5 * DAY)
    again = create_training_set(demo, SPINE, [SEQUENCE], "label", ["user_id", "day"])
    cut = create_training_set(demo, SPINE, [replace(SEQUENCE, step=None)], "label")  # the table's grain: a day
    assert again.digest == made.digest != cut.digest
    assert cut.data["clicks"].to_list()[1] == [None, None, 15]
    assert [PinnedLookup.from_json(p) for p in made.pins["lookups"]] == list(made.lookups)


def test_sequences_beside_the_same_features_of_one_row_need_another_name(demo: Lake) -> None:
    with pytest.raises(SchemaMismatch, match="two columns"):
        create_training_set(demo, SPINE, [AS_OF, SEQUENCE], "label")
    named = replace(SEQUENCE, rename_outputs={"clicks": "week", "visits__mask": "week_known"})
    assert create_training_set(demo, SPINE, [AS_OF, named], "label").features[-3:] == ("clicks", "week", "week_known")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"timestamp_lookup_key": None, "lookup_key": ["user_id", "day"]}, WrongCall, "a sequence needs a time"),
        ({"default_values": {"clicks": 0.0}}, WrongCall, "no default_values"),
        ({"sequence_length": 0}, WrongCall, "sequence_length is 0"),
        ({"short": "drop"}, WrongCall, "neither 'pad' nor 'refuse'"),
        ({"sequence_length": None}, WrongCall, "need a sequence"),
        ({"short": "refuse"}, SequenceTooShort, "4 of 4 rows have fewer than 3"),
    ],
)
def test_wrong_sequences(demo: Lake, change: dict[str, object], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        create_training_set(demo, SPINE, [replace(SEQUENCE, **change)], "label")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["xgboost", "random_forest", "linear_regression"])
def test_kinds_of_single_values_refuse_sequences(demo: Lake, kind: str) -> None:
    made = create_training_set(demo, SPINE, [SEQUENCE], "label")
    with pytest.raises(SchemaMismatch, match="'clicks' is a sequence"):
        Model(kind, "regression").fit(made.data.select(made.features[2:]), made.data["label"])
    with pytest.raises(SchemaMismatch, match="'clicks' is a sequence"):
        model_inputs(made.data, ["clicks"])


def lookup(**change: object) -> FeatureLookup:
    return FeatureLookup(**{"table_name": str(USERS), "feature_names": ["age"], "lookup_key": "user_id", **change})


@pytest.mark.parametrize(
    ("feature_lookup", "error", "says"),
    [
        (lookup(table_name="demo_dev.features.user"), TableNotFound, "demo_dev.features.users"),
        (lookup(table_name="users"), WrongCall, "no catalog"),
        (lookup(feature_names=["aeg"]), FeatureNotFound, "Did you mean 'age'"),
        (lookup(feature_names=["user_id"]), FeatureNotFound, "has no feature"),
        (lookup(default_values={"aeg": 1}), FeatureNotFound, "Did you mean 'age'"),
        (lookup(default_values={"city": "x"}), FeatureNotFound, "does not select it"),
        (lookup(default_values={"age": "old"}), SchemaMismatch, "default"),
        (lookup(rename_outputs={"city": "x"}), FeatureNotFound, "does not select it"),
        (lookup(rename_outputs={"age": "day"}), SchemaMismatch, "two columns"),
        (lookup(lookup_key="userid"), ColumnMissing, "Did you mean 'user_id'"),
        (lookup(lookup_key=["user_id", "day"]), LookupKeyMismatch, "primary key: user_id"),
        (lookup(lookup_key=[]), LookupKeyMismatch, "primary key"),
        (lookup(timestamp_lookup_key="day"), LookupKeyMismatch, "no timeseries column"),
        (lookup(table_name=str(VISITS), feature_names="clicks"), LookupKeyMismatch, "timestamp_lookup_key"),
        (lookup(table_name=str(VISITS), feature_names="clicks", lookup_key=["user_id", "label"]), KaratError, "day"),
    ],
)  # fmt: skip
def test_wrong_lookups(demo: Lake, feature_lookup: FeatureLookup, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        create_training_set(demo, SPINE, [feature_lookup], "label")


def test_wrong_labels_and_empty_frames(demo: Lake) -> None:
    with pytest.raises(LabelNotFound, match="Did you mean 'label'"):
        create_training_set(demo, SPINE, [AGES], "lable")
    with pytest.raises(WrongCall, match="exclude_columns"):
        create_training_set(demo, SPINE, [AGES], "label", ["label"])
    with pytest.raises(EmptyTrainingSet, match="no rows"):
        create_training_set(demo, SPINE.clear(), [AGES], "label")
    with pytest.raises(WrongCall, match="not a frame"):
        create_training_set(demo, [{"user_id": 1}], [AGES], "label")
    with pytest.raises(LookupKeyMismatch, match="text is never compared"):
        create_training_set(demo, SPINE.with_columns(pl.col("user_id").cast(pl.String)), [AGES], "label")


def test_a_join_that_finds_nothing_says_which_one(demo: Lake) -> None:
    strangers = SPINE.with_columns(user_id=pl.lit(99, dtype=pl.Int64))
    with pytest.raises(EmptyTrainingSet, match=r"none of 4 spine rows has a row in demo_dev.features.users"):
        create_training_set(demo, strangers, [AGES], "label")


def test_exact_lookup_of_a_day_needs_that_day(demo: Lake) -> None:
    exact = FeatureLookup(str(VISITS), "clicks", lookup_key=["user_id", "day"])
    made = create_training_set(demo, SPINE, [exact], "label", ["user_id", "day"])
    assert made.load_df()["clicks"].to_list() == [None, None, 15.0, None]


def test_declared_lookups_are_exact_on_the_spine_and_as_of_elsewhere(shop_features: Project, lake: Lake) -> None:
    spec = shop_features.models["next_week"]
    spend, people = declared_lookups(DeclaredModel(shop_features, spec))
    assert (spend.lookup_key, spend.timestamp_lookup_key) == (["customer", "day"], None)
    assert (people.lookup_key, people.feature_names) == (["customer"], ["age"])
    other = spec.model_copy(update={"spine": "people_features"})
    with pytest.raises(LookupKeyMismatch, match="spine 'people_features' has none"):
        declared_lookups(DeclaredModel(shop_features, other))


def test_only_what_a_model_can_read_is_a_feature() -> None:
    frame = pl.DataFrame({"n": [1], "flag": [True], "text": ["x"], "list": [[1]]})
    assert model_inputs(frame, ["n", "flag", "text"]).dtypes == [pl.Float64, pl.Float64, pl.String]
    with pytest.raises(DataError, match="exclude_columns"):
        model_inputs(frame, ["list"])
