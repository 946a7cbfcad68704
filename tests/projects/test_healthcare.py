"""The healthcare project: document 004's brackets and names, a sample with a planted truth, two models on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from karat.declare import Project
from karat.declare.declared_model import DeclaredModel
from karat.features import compute_frame
from karat.quality import check
from karat.training_sets.labels import label_spine
from tests.projects.conftest import END, Bench

SCALE = 0.2
#: The rows that the sample has to be set aside, and nothing else.
PLANTED = {
    "vitals": {"above 45: temperature"},
    "lab_results": {"duplicate key", "breaks test <> 'hba1c' OR value <= 25"},
}


@pytest.fixture(scope="module")
def made(healthcare: Project) -> dict[str, pl.DataFrame]:
    assert healthcare.sample is not None
    return healthcare.sample(scale=SCALE, seed=0, end=END)


@pytest.fixture(scope="module")
def bench(empty: Callable[[str], Bench], made: dict[str, pl.DataFrame]) -> Bench:
    bench = empty("healthcare")
    bench.write_whole(made, bench.project.tables)
    return bench


def test_what_breaks_the_contract_is_what_was_planted(healthcare: Project, made: dict[str, pl.DataFrame]) -> None:
    for name, frame in made.items():
        checked = check(frame, healthcare.gold[name])
        assert set(checked.reasons) == PLANTED.get(name, set()), name
        assert checked.good.height > 0.98 * frame.height


def test_the_same_seed_gives_the_same_rows(healthcare: Project, made: dict[str, pl.DataFrame]) -> None:
    assert healthcare.sample is not None
    again = healthcare.sample(scale=SCALE, seed=0, end=END)
    assert all(again[name].equals(frame) for name, frame in made.items())
    assert not healthcare.sample(scale=0.02, seed=1, end=END)["patients"].equals(
        healthcare.sample(scale=0.02, seed=2, end=END)["patients"]
    )


def test_a_later_end_adds_days_and_late_rows_and_changes_nothing(
    healthcare: Project, made: dict[str, pl.DataFrame]
) -> None:
    assert healthcare.sample is not None
    later = healthcare.sample(scale=SCALE, seed=0, end=END + timedelta(days=5))
    came_late = 0
    for name, time in (("vitals", "measured_at"), ("lab_results", "taken_at"), ("outcomes", "outcome_on")):
        begins = later[name][time].min()
        before = made[name].filter(pl.col(time) >= begins)
        assert before.join(later[name], on=before.columns, how="anti", nulls_equal=True).is_empty()
        new = later[name].join(made[name], on=healthcare.gold[name].key, how="anti")
        late = new.filter(pl.col(time).cast(pl.Date) <= END)
        came_late += late.height
        assert (late["recorded_on"] > END).all()
        assert (made[name]["recorded_on"] <= END).all()
    assert came_late > 0


def test_patients_come_and_go_and_the_documents_one_stays(made: dict[str, pl.DataFrame]) -> None:
    seen = (
        made["vitals"]
        .group_by("patient_id")
        .agg(pl.col("measured_at").min().alias("first"), pl.col("measured_at").max().alias("last"))
    )
    gone = seen.filter(pl.col("last") < datetime(2026, 6, 1, tzinfo=UTC)).height
    come = seen.filter(pl.col("first") > datetime(2026, 6, 1, tzinfo=UTC)).height
    assert min(gone, come) > 0.3 * seen.height
    regular = seen.filter(pl.col("patient_id") == "PT123").row(0, named=True)
    assert regular["last"] - regular["first"] > timedelta(days=250)
    assert "PT123" in made["patients"]["patient_id"]


def test_what_is_missing_is_missing(made: dict[str, pl.DataFrame]) -> None:
    vitals, patients = made["vitals"], made["patients"]
    for column in ("heart_rate", "temperature", "spo2", "respiratory_rate"):
        assert 0.01 < vitals[column].null_count() / vitals.height < 0.2
    for column in ("ethnicity", "height_cm", "smoker"):
        assert 0.01 < patients[column].null_count() / patients.height < 0.15
    groups = patients["ethnicity"].value_counts(normalize=True).drop_nulls()
    assert groups.height == 5
    assert groups["proportion"].min() > 0.02
    assert 0.4 < (patients["gender"] == "Female").mean() < 0.6


def test_truths_are_probabilities(made: dict[str, pl.DataFrame]) -> None:
    heart = made["heart_truth"].join(
        made["outcomes"].filter(pl.col("kind") == "heart_disease").drop_nulls(),
        left_on=["patient_id", "day"],
        right_on=["patient_id", "outcome_on"],
    )
    assert heart["positive"].mean() == pytest.approx(heart["chance"].mean(), abs=0.03)
    assert 0.78 < roc_auc_score(heart["positive"], heart["chance"]) < 0.92
    onset = made["outcomes"].filter(pl.col("kind") == "sepsis", pl.col("positive")).select("patient_id", "outcome_on")
    days = made["sepsis_truth"].filter(pl.col("day") < END - timedelta(days=7))
    soon = days.join(onset, on="patient_id", how="left").with_columns(
        ill=(pl.col("outcome_on") - pl.col("day")).dt.total_days().is_between(1, 2).fill_null(False)
    )
    once = soon.group_by("patient_id", "day").agg(pl.col("ill").max(), pl.col("chance").first())
    assert once["ill"].mean() == pytest.approx(once["chance"].mean(), rel=0.15)
    assert 0.7 < roc_auc_score(once["ill"], once["chance"]) < 0.92


def test_it_is_unfair_as_it_says(made: dict[str, pl.DataFrame]) -> None:
    ward = made["vitals"].filter(pl.col("setting") == "ward").join(made["patients"], on="patient_id")
    mean = dict(ward.drop_nulls("ethnicity").group_by("ethnicity").agg(pl.col("spo2").mean()).iter_rows())
    assert mean["Black"] - mean["White"] > 1.2  # of two points, less what is cut off at 100
    clinic = made["vitals"].drop_nulls("exercise_angina").join(made["heart_truth"], on="patient_id")
    alike = clinic.filter(pl.col("burden").is_between(0, 1)).join(made["patients"], on="patient_id")
    pain = dict(alike.group_by("gender").agg(pl.col("exercise_angina").mean()).iter_rows())
    assert pain["Male"] - pain["Female"] > 0.1


@pytest.mark.parametrize(("age", "group"), [(0, 0), (4, 0), (5, 1), (17, 1), (18, 2), (64, 2), (65, 3), (100, 3)])
def test_age_brackets_are_those_of_the_document(healthcare: Project, age: int, group: int) -> None:
    row = _patient(healthcare, age=age, height_cm=180.0, weight_kg=97.2)
    assert row["age_group"] == group
    assert row["bmi"] == pytest.approx(30.0)
    assert row["is_obese"] is (True if age >= 18 else None)


def _patient(healthcare: Project, **values: Any) -> dict[str, Any]:
    gold = {"patient_id": "PT1", "registered_on": date(2026, 1, 1), "gender": "Female", "ethnicity": None}
    frame = pl.DataFrame({**gold, "smoker": None, "diabetes": False, **values})
    source = healthcare.gold["patients"]
    return compute_frame(healthcare.tables["patient_demographics"], frame, source=source).row(0, named=True)


def _vitals(healthcare: Project, rows: list[dict[str, Any]]) -> pl.DataFrame:
    columns = healthcare.gold["vitals"].columns
    types = {"timestamp": pl.Datetime("us", "UTC"), "date": pl.Date, "string": pl.String, "bool": pl.Boolean}
    schema = {n: types.get(c.dtype, pl.Int64 if c.dtype == "int64" else pl.Float64) for n, c in columns.items()}
    full = [dict.fromkeys(columns) | {"vital_id": i, "patient_id": "PT1"} | row for i, row in enumerate(rows)]
    return pl.DataFrame(full, schema=schema)


def test_vital_signs_by_hand(healthcare: Project) -> None:
    first, last = (datetime(2026, month, 10, 9, tzinfo=UTC) for month in (3, 4))
    gold = _vitals(
        healthcare,
        [
            {"measured_at": first, "setting": "clinic", "systolic_bp": 120.0, "diastolic_bp": 80.0, "spo2": 98.0}
            | {"max_heart_rate": 150.0, "exercise_angina": True},
            {"measured_at": last, "setting": "clinic", "systolic_bp": 140.0, "diastolic_bp": 80.0}
            | {"max_heart_rate": 140.0, "exercise_angina": False},
            {"measured_at": last + timedelta(hours=3), "setting": "ward", "systolic_bp": 100.0, "diastolic_bp": 60.0},
        ],
    )
    source = healthcare.gold["vitals"]
    rows = compute_frame(healthcare.tables["vitals"], gold, source=source).sort("day").to_dicts()
    assert [r["day"] for r in rows] == [first.date(), last.date()]
    assert [r["blood_pressure"] for r in rows] == [120.0, 120.0]
    assert [r["resting_bp"] for r in rows] == [120.0, 130.0]  # of check-ups alone
    assert rows[0]["mean_arterial_pressure"] == pytest.approx(280 / 3)
    assert [r["pulse_pressure"] for r in rows] == [40.0, 50.0]
    assert [r["max_heart_rate"] for r in rows] == [150.0, 145.0]
    assert [r["exercise_angina"] for r in rows] == [1.0, 0.5]
    assert [r["oxygen_saturation"] for r in rows] == [98.0, None]
    assert [(r["measurements_1d"], r["check_ups_60d"]) for r in rows] == [(1, 1), (2, 2)]


def test_signs_of_sepsis_by_hand(healthcare: Project) -> None:
    dawn = datetime(2026, 3, 10, 6, tzinfo=UTC)
    calm = {"setting": "ward", "heart_rate": 80.0, "respiratory_rate": 15.0, "temperature": 37.0, "systolic_bp": 120.0}
    ill = calm | {"heart_rate": 110.0, "respiratory_rate": 24.0, "temperature": 39.0, "systolic_bp": 95.0}
    at = [dawn, dawn + timedelta(days=1), dawn + timedelta(days=1, hours=8)]
    clinic = calm | {"setting": "clinic", "measured_at": dawn + timedelta(hours=1), "heart_rate": 200.0}
    gold = _vitals(healthcare, [clinic, *({"measured_at": t} | s for t, s in zip(at, (calm, ill, ill), strict=True))])
    table = healthcare.tables["sepsis_features"]
    before, after = compute_frame(table, gold, source=healthcare.gold["vitals"]).sort("day").to_dicts()
    assert (before["heart_rate_mean_1d"], before["measurements_1d"], before["days_on_ward"]) == (80.0, 1, 1)
    assert (before["sirs_signs"], before["qsofa_signs"], before["fever"]) == (0, 0, False)
    assert (after["sirs_signs"], after["qsofa_signs"], after["fever"]) == (3, 2, True)
    assert after["heart_rate_trend"] == pytest.approx(110 - 100)
    assert after["shock_index"] == pytest.approx(110 / 95)
    assert (after["measurements_1d"], after["days_on_ward"]) == (2, 2)


def test_laboratory_values_by_hand(healthcare: Project) -> None:
    dawn = datetime(2026, 3, 10, 6, tzinfo=UTC)
    found = [("lactate", 0, 1.0), ("lactate", 2, 3.0), ("cholesterol", 0, 240.0), ("hdl", 0, 60.0), ("crp", 2, 5.0)]
    gold = pl.DataFrame(
        {
            "lab_id": range(5),
            "patient_id": ["PT1"] * 5,
            "taken_at": [dawn + timedelta(days=d) for _, d, _ in found],
            "recorded_on": [dawn.date() + timedelta(days=d) for _, d, _ in found],
            "test": [test for test, _, _ in found],
            "value": [value for _, _, value in found],
            "unit": [None] * 5,
        },
        schema_overrides={"unit": pl.String},
    )
    table = healthcare.tables["lab_features"]
    first, last = compute_frame(table, gold, source=healthcare.gold["lab_results"]).sort("day").to_dicts()
    assert (first["lactate"], first["lactate_rise"], first["values_1d"]) == (1.0, 0.0, 3)
    assert (last["lactate"], last["lactate_mean_7d"], last["lactate_rise"]) == (3.0, 2.0, 1.0)
    assert (last["cholesterol_ratio"], last["non_hdl_cholesterol"], last["values_1d"]) == (4.0, 180.0, 2)
    assert (first["crp"], last["crp"], last["crp_rise"]) == (None, 5.0, 0.0)


def test_the_sample_goes_through_all_tables(healthcare: Project, bench: Bench, made: dict[str, pl.DataFrame]) -> None:
    aside = made["vitals"].filter(pl.col("temperature") > 45).height
    assert bench.gold("vitals").height == made["vitals"].height - aside < made["vitals"].height
    assert set(bench.table("patient_demographics")["patient_id"]) == set(made["patients"]["patient_id"])
    ward = made["vitals"].filter(pl.col("setting") == "ward", pl.col("temperature").fill_null(0) < 45)
    days = ward.select("patient_id", pl.col("measured_at").dt.date()).unique().height
    assert bench.table("sepsis_features").height == days
    assert all("PT123" in bench.table(t)["patient_id"] for t in healthcare.tables)


def test_the_label_of_the_heart_is_the_next_clear_finding(bench: Bench, made: dict[str, pl.DataFrame]) -> None:
    spine = label_spine(DeclaredModel(bench.project, bench.project.models["heart_disease"]), bench.lake)
    found = made["outcomes"].filter(pl.col("kind") == "heart_disease").drop_nulls().sort("outcome_on")
    later = spine.join(found.select("patient_id", "outcome_on", "positive"), on="patient_id").filter(
        (pl.col("outcome_on") - pl.col("day")).dt.total_days().is_between(1, 60)
    )
    first = later.sort("outcome_on").group_by("patient_id", "day").first()
    assert first.height == spine.height > 1000
    assert (first["heart_disease"] == first["positive"].cast(pl.Int64)).all()


@pytest.mark.parametrize(("model", "truth"), [("heart_disease", "heart_truth"), ("sepsis", "sepsis_truth")])
def test_models_are_good_and_not_perfect(bench: Bench, model: str, truth: str) -> None:
    trained = bench.train(model)
    known = bench.gold(truth)
    assert trained.spec.truth is not None
    assert trained.spec.truth.source == truth
    assert 0.65 < trained.metrics["roc_auc"] < 0.9
    assert trained.baseline["roc_auc"] == 0.5
    assert {"precision", "recall"} <= set(trained.metrics)
    # The age groups of heart_disease have thresholds of their own, so that it reads them.
    protected = {"gender", "ethnicity"} | ({"age_group"} if model == "sepsis" else set())
    assert not {*protected, *known.columns} - {"day"} & set(trained.model.feature_names)


def test_they_are_declared_as_the_document_has_them(healthcare: Project) -> None:
    assert {n: (m.task, m.kind) for n, m in healthcare.models.items()} == {
        "heart_disease": ("binary", "xgboost"),
        "sepsis": ("binary", "xgboost"),
    }
    for spec in healthcare.models.values():
        assert spec.split.test == 0.2
        assert spec.metric == "roc_auc"
        assert {"precision", "recall"} <= set(spec.gates.floors)
        assert spec.gates.margin == 0.02
        assert spec.protected
        assert set(spec.risk_levels) == {"low", "medium", "high"}
        assert spec.search
    assert [k.table for k in healthcare.models["heart_disease"].lookups] == [
        "patient_demographics",
        "vitals",
        "lab_features",
    ]
    assert healthcare.models["sepsis"].lookups[0].table == "sepsis_features"
    assert healthcare.models["sepsis"].lookups[0].features == "*"
