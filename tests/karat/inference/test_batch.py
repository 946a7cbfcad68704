"""Batch scoring from keys: overrides, unknown keys, kinds of frames, and tables of predictions written once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from karat.declare import ModelSpec, Project
from karat.errors import (
    FeatureLookupFailed,
    FeaturesMissing,
    NoChampion,
    SchemaMismatch,
    SignatureError,
    StaleFeatures,
    WrongCall,
)
from karat.features import compute_table
from karat.inference import score_batch, score_model
from karat.inference.batch import predict
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry

ADDED = ["prediction", "probability", "degraded", "model_name", "model_version", "run_id", "scored_at"]


KEYS = pl.DataFrame({"note": ["x", "y", "z"], "customer": ["c005", "c001", "c005"]})


@pytest.fixture
def leaver(shop_champions: Project) -> Project:
    """``shop`` with a champion of the binary model, and of the others."""
    return shop_champions


URI = "models:/shop_dev.models.leaver@champion"


def test_keys_are_enough_and_rows_stay_as_they_are(leaver: Project, lake: Lake, registry: Registry) -> None:
    out = score_batch(lake, registry, URI, KEYS)
    assert out.columns == [*KEYS.columns, *ADDED]
    assert out.select(KEYS.columns).equals(KEYS)
    loaded = registry.load(URI)
    rows = lake.read(leaver.table_name("people_features"))
    features = KEYS.join(rows, on="customer", how="left", maintain_order="left")
    assert out["probability"].to_list() == loaded.model.predict(features).tolist()
    assert out["prediction"].to_list() == (out["probability"] >= 0.5).to_list()
    assert set(out["model_name"]) == {"shop_dev.models.leaver"}


def test_rows_have_the_level_of_risk_that_their_model_names(leaver: Project, lake: Lake, registry: Registry) -> None:
    loaded = registry.load(URI)
    declaration = {**loaded.metadata.declaration, "risk_levels": {"low": 0.0, "high": 0.5}}
    loaded = replace(loaded, metadata=replace(loaded.metadata, declaration=declaration))
    out = predict(lake, loaded, KEYS)
    assert out["risk_level"].to_list() == ["high" if p >= 0.5 else "low" for p in out["probability"]]


@pytest.mark.parametrize("kind", ["pandas", "arrow", "lazy"])
def test_the_same_kind_comes_back(leaver: Project, lake: Lake, registry: Registry, kind: str) -> None:
    given = {"pandas": KEYS.to_pandas().set_index("note", drop=False), "arrow": KEYS.to_arrow(), "lazy": KEYS.lazy()}[
        kind
    ]
    out = score_batch(lake, registry, URI, given)
    assert type(out) is type(given)
    expected = score_batch(lake, registry, URI, KEYS)["probability"].to_list()
    if kind == "pandas":
        assert list(out.index) == ["x", "y", "z"]
        assert out["probability"].tolist() == expected
    else:
        assert pl.DataFrame(out.collect() if kind == "lazy" else out)["probability"].to_list() == expected


def test_a_column_with_a_features_name_overrides_the_lookup(leaver: Project, lake: Lake, registry: Registry) -> None:
    young = score_batch(lake, registry, URI, KEYS.with_columns(age=pl.lit(18)))
    old = score_batch(lake, registry, URI, KEYS.with_columns(age=pl.lit(80)))
    assert (young["probability"] > old["probability"]).all()
    alone = pl.DataFrame({"age": [18], "city": ["Bern"]})  # every feature is given, so no key is needed
    assert score_batch(lake, registry, URI, alone).height == 1


def test_unknown_keys_are_named_or_left_null(leaver: Project, lake: Lake, registry: Registry) -> None:
    frame = pl.DataFrame({"customer": ["c001", "nobody", None]})
    with pytest.raises(FeatureLookupFailed, match=r"2 of 3 rows .*people_features[\s\S]*customer=nobody"):
        score_batch(lake, registry, URI, frame)
    out = score_batch(lake, registry, URI, frame, missing="null")
    assert out["prediction"].is_null().to_list() == [False, True, True]
    assert out["model_version"].to_list() == [1, 1, 1]


def test_rows_with_too_few_features_are_degraded_or_refused(leaver: Project, lake: Lake, registry: Registry) -> None:
    # Of the two features one may be missing by default; a null that the frame brings counts as missing.
    nothing = pl.col("customer") == "c001"
    frame = KEYS.with_columns(
        age=pl.when(nothing).then(None).otherwise(40), city=pl.when(nothing).then(None).otherwise(pl.lit("Bern"))
    )
    out = score_batch(lake, registry, URI, frame)
    assert out["degraded"].to_list() == [False, True, False]
    assert out["prediction"].null_count() == 0
    one = score_batch(lake, registry, URI, KEYS.with_columns(age=pl.lit(None, dtype=pl.Int64), city=pl.lit("Bern")))
    assert not one["degraded"].any()

    loaded = registry.load(URI)
    declaration = {**loaded.metadata.declaration, "missing_features": {"share": 0.4, "action": "refuse"}}
    strict = replace(loaded, metadata=replace(loaded.metadata, declaration=declaration))
    with pytest.raises(FeaturesMissing, match=r"1 of 3 rows lack more than 40%[\s\S]*city[\s\S]*customer=c001"):
        predict(lake, strict, frame)
    out = predict(lake, strict, frame, missing="null")
    assert out["prediction"].is_null().to_list() == out["degraded"].to_list() == [False, True, False]


def test_result_types(leaver: Project, lake: Lake, registry: Registry) -> None:
    for result_type, dtype in (("double", pl.Float64), ("long", pl.Int64), ("string", pl.String)):
        assert score_batch(lake, registry, URI, KEYS, result_type=result_type)["prediction"].dtype == dtype
    with pytest.raises(WrongCall, match="Did you mean 'double'"):
        score_batch(lake, registry, URI, KEYS, result_type="doubel")
    with pytest.raises(WrongCall, match="neither"):
        score_batch(lake, registry, URI, KEYS, missing="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "error", "says"),
    [
        (KEYS.drop("customer"), FeatureLookupFailed, "people_features .* no key column 'customer'"),
        (KEYS.rename({"customer": "custmer"}), FeatureLookupFailed, "Did you mean 'custmer'"),
        (KEYS.with_columns(customer=pl.lit(5)), FeatureLookupFailed, "text is never compared with numbers"),
        (KEYS.with_columns(prediction=pl.lit(5)), SchemaMismatch, "already"),
        (KEYS.with_columns(age=pl.lit("old")), SignatureError, "'age' was learned as int64"),
    ],
)
def test_bad_frames(
    leaver: Project, lake: Lake, registry: Registry, *, frame: pl.DataFrame, error: type, says: str
) -> None:
    with pytest.raises(error, match=says):
        score_batch(lake, registry, URI, frame)


def test_a_feature_that_is_gone_is_told_with_its_table(leaver: Project, lake: Lake, registry: Registry) -> None:
    path = lake.path(leaver.table_name("people_features"))
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(FeatureLookupFailed, match=r"features of shop_dev\.features\.people_features could not"):
        score_batch(lake, registry, URI, KEYS)


def test_a_text_prediction_is_no_double(shop_features: Project, lake: Lake, registry: Registry) -> None:
    spec = shop_features.models["leaver"]
    text = spec.model_copy(update={"label": spec.label.model_copy(update={"expression": '"left"'})})
    made = make_candidate(ModelContext(shop_features, text, lake, registry))
    assert set(score_batch(lake, registry, made.version.uri, KEYS)["prediction"]) <= {"Yes", "No"}
    with pytest.raises(SignatureError, match="no double"):
        score_batch(lake, registry, made.version.uri, KEYS, result_type="double")


# ---- tables of predictions


def test_predictions_are_written_once(leaver: Project, lake: Lake, registry: Registry) -> None:
    spec = leaver.models["leaver"]
    first = score_model(ModelContext(leaver, spec, lake, registry))
    assert (first.changed, first.rows, first.model_version) == (True, 600, 1)
    again = score_model(ModelContext(leaver, spec, lake, registry))
    assert (again.changed, again.version, again.rows) == (False, first.version, 600)
    rows = lake.read(first.table)
    assert rows.columns == ["customer", *ADDED]
    assert lake.info(first.table).primary_key == ("customer",)
    assert [h["operation"] for h in lake.history(first.table)] == ["WRITE", "CREATE TABLE"]  # one commit of rows


def test_rows_of_the_spine_that_no_feature_table_knows_have_no_prediction(
    leaver: Project, lake: Lake, registry: Registry
) -> None:
    orders = leaver.gold_name("orders")
    stranger = {"order_id": [10**6], "customer": ["stranger"], "day": [date(2026, 3, 1)], "amount": [5.0]}
    lake.merge(orders, pl.DataFrame({**stranger, "channel": ["web"]}))
    compute_table(leaver, "spend_features", lake)
    spec = leaver.models["leaver"].model_copy(update={"spine": "spend_features"})
    done = score_model(ModelContext(leaver, spec, lake, registry))
    rows = lake.read(done.table)
    assert set(rows.filter(pl.col("prediction").is_null())["customer"]) == {"stranger"}
    assert done.unknown == rows["prediction"].null_count() < done.rows
    lake.overwrite(orders, lake.read(orders).filter(customer="stranger"))
    compute_table(leaver, "spend_features", lake)
    with pytest.raises(FeatureLookupFailed, match="none of the rows"):
        score_model(ModelContext(leaver, spec, lake, registry))


def test_columns_of_other_versions_stay_as_nulls(leaver: Project, lake: Lake, registry: Registry) -> None:
    """As after a rollback to a version that knows fewer classes, or names no levels of risk."""
    spec = leaver.models["leaver"]
    table = score_model(ModelContext(leaver, spec, lake, registry)).table
    before = lake.read(table)
    levelled = before.with_columns(risk_level=pl.lit("low"))
    lake.create(table, levelled.to_arrow().schema, primary_key=["customer"])
    lake.overwrite(table, levelled)
    more = pl.DataFrame({"customer": ["z1"], "city": ["Bern"], "age": [20], "left": ["Yes"]})
    lake.merge(leaver.gold_name("members"), more)
    compute_table(leaver, "people_features", lake)
    assert score_model(ModelContext(leaver, spec, lake, registry)).changed
    after = lake.read(table)
    assert after["risk_level"].null_count() == after.height == before.height + 1


def test_new_features_are_scored_again(leaver: Project, lake: Lake, registry: Registry) -> None:
    spec = leaver.models["leaver"]
    first = score_model(ModelContext(leaver, spec, lake, registry))
    more = pl.DataFrame({"customer": ["z1"], "city": ["Bern"], "age": [20], "left": ["Yes"]})
    lake.merge(leaver.gold_name("members"), more)
    with pytest.raises(StaleFeatures, match=r"people_features[\s\S]*feature-pipeline/shop"):
        score_model(ModelContext(leaver, spec, lake, registry))
    assert lake.version(first.table) == first.version
    compute_table(leaver, "people_features", lake)
    second = score_model(ModelContext(leaver, spec, lake, registry))
    assert (second.changed, second.rows) == (True, 601)
    assert lake.read(second.table).height == 601


def scoped(spec: ModelSpec, **scope: object) -> ModelSpec:
    return spec.model_copy(update={"scope": spec.scope.model_copy(update=scope)})


@pytest.fixture
def weekly(shop_features: Project, lake: Lake, registry: Registry) -> ModelSpec:
    spec = shop_features.models["next_week"]
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    assert promote(ModelContext(shop_features, spec, lake, registry)).promoted
    return spec


def test_the_last_days_replace_their_range_alone(
    shop_features: Project, lake: Lake, registry: Registry, weekly: ModelSpec
) -> None:
    everything = score_model(ModelContext(shop_features, weekly, lake, registry))
    before = lake.read(everything.table)
    last = date(2026, 3, 1)
    few = scoped(weekly, last=timedelta(days=3))
    done = score_model(ModelContext(shop_features, few, lake, registry))
    after = lake.read(done.table)
    assert done.changed
    assert done.rows == after.filter(pl.col("day") > last - timedelta(days=3)).height < before.height == after.height
    old = pl.col("day") <= last - timedelta(days=3)
    assert after.filter(old).sort("customer", "day").equals(before.filter(old).sort("customer", "day"))
    assert not score_model(ModelContext(shop_features, few, lake, registry)).changed


@pytest.mark.parametrize("write", ["replace", "append"])
def test_days_between_two_runs_are_scored_too(
    shop_features: Project, lake: Lake, registry: Registry, weekly: ModelSpec, write: str
) -> None:
    """A pause longer than the scope, and a row that came late, leave no row since the first scored day unscored."""
    orders, day = shop_features.gold_name("orders"), pl.col("day")
    stored = lake.read(orders).sort("order_id")
    first, spine = date(2026, 2, 8), shop_features.table_name("spend_features")
    late = stored.filter(day == first).tail(1)
    before = stored.filter(day <= first).join(late, on="order_id", how="anti")
    lake.overwrite(orders, before)
    compute_table(shop_features, "spend_features", lake)
    few = ModelContext(shop_features, scoped(weekly, last=timedelta(days=3), write=write), lake, registry)
    earlier = score_model(few)
    assert lake.read(earlier.table)["day"].min() == first - timedelta(days=2)
    lake.overwrite(orders, stored)
    compute_table(shop_features, "spend_features", lake)
    done = score_model(few)
    scored, key = lake.read(done.table), ["customer", "day"]
    wanted = lake.read(spine, columns=key).filter(day >= first - timedelta(days=2))
    assert wanted.join(scored, on=key, how="anti").is_empty()
    assert done.caught_up[0] == date(2026, 2, 26)
    assert done.caught_up[-1] == first
    again = score_model(few)
    assert (again.changed, again.caught_up) == (False, ())


def test_appended_batches_stand_beside_each_other(
    shop_features: Project, lake: Lake, registry: Registry, weekly: ModelSpec
) -> None:
    append = scoped(weekly, write="append", last=timedelta(days=2))
    first = score_model(ModelContext(shop_features, append, lake, registry))
    assert not score_model(ModelContext(shop_features, append, lake, registry)).changed
    late = pl.DataFrame(
        {"order_id": [10**6], "customer": ["c001"], "day": [date(2026, 3, 1)], "amount": [5.0], "channel": ["web"]}
    )
    lake.merge(shop_features.gold_name("orders"), late)
    compute_table(shop_features, "spend_features", lake)
    second = score_model(ModelContext(shop_features, append, lake, registry))
    rows = lake.read(second.table)
    assert second.changed
    assert rows.height == first.rows + second.rows
    assert rows["batch_id"].n_unique() == 2


def test_no_champion_no_predictions(shop_features: Project, lake: Lake, registry: Registry) -> None:
    spec = shop_features.models["leaver"]
    with pytest.raises(NoChampion, match="karat run shop --models leaver"):
        score_model(ModelContext(shop_features, spec, lake, registry))
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    with pytest.raises(NoChampion):
        score_model(ModelContext(shop_features, spec, lake, registry))
    assert not lake.exists(shop_features.prediction_name("leaver"))


def test_a_void_champion_scores_nothing(leaver: Project, lake: Lake, registry: Registry) -> None:
    gold = leaver.gold_name("members")
    schema = leaver.gold["members"].schema
    lake.create(gold, schema, primary_key=["customer"], properties={"karat.origin": "ingest"})
    compute_table(leaver, "people_features", lake)
    with pytest.raises(NoChampion, match="sample data"):
        score_model(ModelContext(leaver, leaver.models["leaver"], lake, registry))
