"""One suite over every kind and each of its tasks: a new kind is tested by existing."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from karat.declare.models import UNSUPERVISED
from karat.errors import DeclarationError, SignatureError, UntrustedModel
from karat.kinds import Model, facts, load_kind, names
from karat.training.evaluation import evaluate
from karat.training.synthetic_anomalies import plant_anomalies
from tests.profiles import examples

ROWS, LEARNED = 600, 450
CASES = [(kind, task) for kind in names() for task in sorted(facts(kind).tasks)]
EVERY = pytest.mark.parametrize(("kind", "task"), CASES, ids=[f"{k}-{t}" for k, t in CASES])
SLOW = settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))


@cache
def rows() -> tuple[pl.DataFrame, np.ndarray]:
    """Features of every type and oddity, and the latent value that the labels come from."""
    random = np.random.default_rng(7)
    day, moment = date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)
    signal, place = random.normal(size=ROWS), random.choice(["north", "south", "west"], ROWS)
    frame = pl.DataFrame(
        {
            "signal": signal,
            "noise": random.normal(size=ROWS),
            "holes": np.where(random.random(ROWS) < 0.4, np.nan, random.normal(size=ROWS)),
            "empty": [None] * ROWS,
            "lonely": [1.0] + [None] * (ROWS - 1),
            "constant": [3] * ROWS,
            "infinite": np.where(random.random(ROWS) < 0.1, np.inf, random.normal(size=ROWS)),
            "huge": random.normal(size=ROWS) * 1e30,
            "count": random.integers(0, 9, ROWS),
            "flag": random.random(ROWS) < 0.3,
            "place": [None if r < 0.1 else p for r, p in zip(random.random(ROWS), place, strict=True)],
            "many": [f"id{i}" for i in random.integers(0, 90, ROWS)],
            "silent": pl.Series([None] * ROWS, dtype=pl.String),
            "born": [day + timedelta(days=int(d)) for d in random.integers(0, 900, ROWS)],
            "seen": [moment + timedelta(seconds=float(s)) for s in random.random(ROWS) * 1e7],
        }
    ).with_columns(pl.col("count").cast(pl.Int32), pl.col("seen").dt.cast_time_unit("us"))
    latent = 2 * signal + 1.5 * (place == "south") + (frame["flag"].to_numpy() * 1.0)
    return frame, latent + random.normal(size=ROWS) * 0.5


def label(task: str) -> pl.Series | None:
    value = rows()[1]
    if task == "regression":
        return pl.Series("y", value)
    if task == "binary":
        return pl.Series("y", value > 1.0)
    if task == "multiclass":
        return pl.Series("y", np.array(["low", "middle", "high"])[np.digitize(value, [-0.5, 1.5])])
    if task == "multilabel":
        return pl.DataFrame({"high": value > 1.0, "low": value < -0.5}).to_struct("y")
    if task == "forecast":
        return pl.DataFrame({f"step_{i + 1}": value * (1 - i / 4) for i in range(3)}).to_struct("y")
    return None


#: What a kind needs to be quick on a few hundred rows.
SMALL = {
    "lstm": {"hidden_size": 16, "num_layers": 2, "epochs": 4, "sequence_length": 3},
    "gru": {"hidden_size": 16, "num_layers": 1, "epochs": 4},
    "kmeans": {"n_clusters": 3, "n_init": 2},
    "random_forest": {"n_estimators": 40},
    "isolation_forest": {"n_estimators": 40},
}


def fitted(kind: str, task: str, **more) -> Model:
    y = label(task)
    return Model(kind, task, SMALL.get(kind), **more).fit(rows()[0][:LEARNED], None if y is None else y[:LEARNED])


@cache
def model_of(kind: str, task: str) -> Model:
    return fitted(kind, task)


@cache
def estimator_of(kind: str, task: str) -> dict[str, bytes]:
    """The files of the model's estimator: name -> content."""
    with TemporaryDirectory() as folder:
        model_of(kind, task).save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).glob("estimator.*")}


@pytest.mark.parametrize("kind", names())
def test_declarations_are_checked_against_what_the_class_says(kind):
    cls = load_kind(kind)
    assert facts(kind).tasks == cls.tasks
    assert facts(kind).defaults == cls.defaults
    assert facts(kind).description
    assert "n_jobs" in cls.defaults
    assert json.loads(json.dumps(cls.defaults)) == cls.defaults


@pytest.mark.parametrize("kind", names())
def test_an_unknown_parameter_names_the_nearest(kind):
    task = min(facts(kind).tasks)
    with pytest.raises(DeclarationError, match="Did you mean 'n_jobs'"):
        Model(kind, task, {"n_jbos": 2})
    with pytest.raises(DeclarationError, match="it takes a value like 1"):
        Model(kind, task, {"n_jobs": "two"})


@pytest.mark.parametrize("kind", names())
def test_a_task_that_it_does_not_do_is_refused(kind):
    with pytest.raises(DeclarationError, match="cannot learn 'ranking'; it learns"):
        Model(kind, "ranking")


@EVERY
def test_it_learns_what_is_there_to_learn(kind, task):
    frame, model = rows()[0][LEARNED:], model_of(kind, task)
    if task == "anomaly":
        judged, y = plant_anomalies(frame, seed=1)
        metrics = evaluate(task, y, model.predict(judged), threshold=model.threshold)
        assert metrics["average_precision"] > 4 * y.mean()
        return
    if task == "clustering":
        metrics = evaluate(task, None, model.predict(frame), space=model.space(frame))
        shuffled = np.random.default_rng(0).permutation(model.predict(frame))
        assert metrics["silhouette"] > 0 > evaluate(task, None, shuffled, space=model.space(frame))["silhouette"]
        return
    y = label(task)[LEARNED:]
    metrics = evaluate(task, y, model.predict(frame), threshold=model.threshold, classes=model.classes or None)
    assert metrics["r2" if task in ("regression", "forecast") else "roc_auc"] > 0.75


@EVERY
def test_predictions_have_the_shape_of_their_task(kind, task):
    frame, model = rows()[0][LEARNED:], model_of(kind, task)
    prediction = model.predict(frame)
    assert prediction.dtype == np.float64
    assert np.isfinite(prediction).all()
    parts = {"multiclass": (3,), "multilabel": (2,), "forecast": (3,)}.get(task, ())
    assert prediction.shape == (len(frame), *parts)
    assert model.predict(frame[:0]).shape == (0, *parts)
    if task in ("binary", "multiclass", "multilabel"):
        assert prediction.min() >= 0
        assert prediction.max() <= 1
    if task == "multiclass":
        np.testing.assert_allclose(prediction.sum(axis=1), 1, atol=1e-6)
    outputs = model.outputs(prediction)
    assert all(len(column) == len(frame) for column in outputs.values())
    known = {"clustering": {0, 1, 2}, "multilabel": {"", "high", "low", "high, low"}}
    if task not in ("regression", "forecast"):
        assert set(outputs["prediction"].tolist()) <= known.get(task, {True, False, *model.classes})
    if task == "forecast":
        assert list(outputs) == ["prediction", *(f"prediction_step_{i}" for i in (1, 2, 3))]
    if task == "multilabel":
        assert list(outputs) == ["prediction", "probability_high", "probability_low"]


@EVERY
def test_saved_and_loaded_it_predicts_the_same_to_the_bit(kind, task, tmp_path):
    frame, model = rows()[0], model_of(kind, task)
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert np.array_equal(loaded.predict(frame), model.predict(frame))
    assert loaded.feature_types == model.feature_types
    assert (loaded.task, loaded.classes, loaded.threshold) == (task, model.classes, model.threshold)
    assert loaded.parameters == model.parameters
    assert not [p for p in tmp_path.rglob("*") if p.read_bytes()[:1] == b"\x80"], "a pickle"
    second = tmp_path / "again"
    loaded.save(second)
    assert loaded.parts == model.parts
    assert np.array_equal(Model.load(second).predict(frame), model.predict(frame))


@EVERY
def test_a_row_is_predicted_as_in_a_frame(kind, task, tmp_path):
    frame, model = rows()[0], model_of(kind, task)
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    together = model.predict(frame)
    apart = np.concatenate([loaded.predict_row(row) for row in frame.head(200).rows()])
    assert np.array_equal(apart, together[:200])
    for start, end in ((0, 1), (3, 10), (100, 233)):
        assert np.array_equal(model.predict(frame[start:end]), together[start:end])


number = st.one_of(st.none(), st.floats(), st.integers(-(2**40), 2**40))
odd_row = st.tuples(
    *[number] * 8,
    st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
    st.one_of(st.none(), st.booleans()),
    *[st.one_of(st.none(), st.sampled_from(["north", "south", "id7", "id8"]), st.text(max_size=5))] * 3,
    st.one_of(st.none(), st.dates()),
    st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))),
)


@EVERY
@SLOW
@given(row=odd_row)
def test_any_row_is_predicted_as_in_a_frame(kind, task, row):
    model = model_of(kind, task)
    schema = {**rows()[0].schema, **dict.fromkeys(rows()[0].columns[:8], pl.Float64)}
    frame = pl.DataFrame([row], schema=schema, orient="row", strict=False)
    prediction = model.predict_row(frame.row(0))
    assert np.array_equal(prediction, model.predict(frame))
    assert np.isfinite(prediction).all()


@EVERY
def test_a_text_that_was_not_seen_counts_as_missing(kind, task):
    frame, model = rows()[0][:50], model_of(kind, task)
    unseen, missing = (frame.with_columns(place=pl.lit(v, dtype=pl.String)) for v in ("atlantis", None))
    assert np.array_equal(model.predict(unseen), model.predict(missing))


@EVERY
def test_infinity_counts_as_missing(kind, task):
    frame, model = rows()[0][:50], model_of(kind, task)
    values = [model.predict(frame.with_columns(signal=pl.lit(v))) for v in (np.nan, np.inf, -np.inf, 1e39)]
    assert all(np.array_equal(v, values[0]) for v in values)


@EVERY
def test_a_seed_decides_everything(kind, task):
    frame = rows()[0]
    one, two = (fitted(kind, task, seed=3).predict(frame) for _ in range(2))
    assert np.array_equal(one, two)


@EVERY
def test_it_leaves_its_input_as_it_was(kind, task):
    model = model_of(kind, task)
    X = model.encoder.encode(rows()[0])
    before = X.copy()
    model.kind.predict(X)
    y = np.arange(ROWS) % (2 if task == "binary" else 3)
    y = {"multilabel": np.eye(3)[y], "forecast": np.eye(3)[y]}.get(task, None if task in UNSUPERVISED else y)
    load_kind(kind)(task, SMALL.get(kind)).fit(X, y, names=model.feature_names, categorical=model.encoder.categorical)
    assert np.array_equal(X, before, equal_nan=True)


@EVERY
@pytest.mark.parametrize("count", [12, 40])
def test_few_rows_are_enough_to_run(kind, task, count):
    y = label(task)
    small = {"epochs": 2} if facts(kind).sequences else SMALL.get(kind)
    model = Model(kind, task, small).fit(rows()[0][:count], None if y is None else y[:count])
    assert np.isfinite(model.predict(rows()[0])).all()


@EVERY
def test_importance_is_a_share_of_each_feature(kind, task):
    importance = model_of(kind, task).importance()
    if importance is None:
        pytest.skip("has no importance of its own; training shuffles columns instead")
    assert list(importance) == rows()[0].columns
    assert sum(importance.values()) == pytest.approx(1)
    assert all(share >= 0 for share in importance.values())
    if task not in UNSUPERVISED:
        assert max(importance, key=importance.__getitem__) in ("signal", "place")


@EVERY
def test_a_kind_that_learns_in_rounds_reports_its_curve(kind, task):
    model, told, y = Model(kind, task, SMALL.get(kind)), [], label(task)
    report = lambda step, losses: told.append((step, losses))  # noqa: E731
    model.fit(rows()[0][:LEARNED], None if y is None else y[:LEARNED], report=report)
    curve = model.kind.curve
    if not curve:
        assert told == []
        return
    assert list(curve) == ["train", "validation"]
    assert len(curve["train"]) == len(curve["validation"]) == told[-1][0]
    assert told[-1][1] == pytest.approx({part: losses[-1] for part, losses in curve.items()})
    assert curve["train"][-1] < curve["train"][0]
    assert model.kind.curve_metric


@pytest.mark.parametrize("kind", [k for k in names() if "binary" in facts(k).tasks])
def test_balanced_weights_find_more_of_a_rare_class(kind):
    rare = pl.Series("y", rows()[1] > np.quantile(rows()[1], 0.93))
    found = [
        Model(kind, "binary", SMALL.get(kind), class_weight=w).fit(rows()[0], rare).predict(rows()[0]).mean()
        for w in (None, "balanced")
    ]
    assert found[1] > found[0]


@EVERY
def test_a_model_is_made_of_the_columns_it_learned(kind, task):
    frame, model = rows()[0], model_of(kind, task)
    shuffled = frame.select(*reversed(frame.columns), pl.lit(1).alias("other"))
    assert np.array_equal(model.predict(shuffled), model.predict(frame))
    with pytest.raises(SignatureError, match="1 of the model's 15 features are missing: signal"):
        model.predict(frame.drop("signal"))
    with pytest.raises(SignatureError, match="'signal' was learned as float64; it was given as String"):
        model.predict(frame.with_columns(signal=pl.lit("much")))
    with pytest.raises(SignatureError, match="15 features, but 2 values"):
        model.predict_row([1, 2])


class Foreign:
    """What a pickle would run."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self):
        return Path.touch, (self.flag,)


@EVERY
def test_a_pickle_in_place_of_its_files_is_refused_and_not_run(kind, task, tmp_path):
    folder, flag = tmp_path / "model", tmp_path / "ran"
    model_of(kind, task).save(folder)
    for path in folder.iterdir():
        before = path.read_bytes()
        path.write_bytes(pickle.dumps(Foreign(flag)))
        with pytest.raises(UntrustedModel):
            Model.load(folder)
        path.write_bytes(before[: len(before) // 2])
        with pytest.raises(UntrustedModel):
            Model.load(folder)
        path.unlink()
        with pytest.raises(UntrustedModel):
            Model.load(folder)
        path.write_bytes(before)
    Model.load(folder)
    assert not flag.exists()


def redigested(folder: Path) -> None:
    """What one who tampers with a file would do as well."""
    described = json.loads((folder / "kind.json").read_text())
    for name in described["digests"]:
        content = (folder / name).read_bytes()
        described["digests"][name] = hashlib.blake2b(content, digest_size=16).hexdigest()
    (folder / "kind.json").write_text(json.dumps(described))


def retyped(node: object, module: str, name: str) -> bool:
    """Makes the first nested object of a skops schema one of another type."""
    if isinstance(node, dict):
        if node.get("__loader__") == "ObjectNode":
            node["__module__"], node["__class__"] = module, name
            return True
        return any(retyped(child, module, name) for child in node.values())
    return isinstance(node, list) and any(retyped(child, module, name) for child in node)


@EVERY
@pytest.mark.parametrize("foreign", [("subprocess", "Popen"), ("karat.settings", "Settings"), ("os", "system")])
def test_a_file_that_names_foreign_types_is_refused(kind, task, foreign, tmp_path):
    model_of(kind, task).save(tmp_path)
    path = tmp_path / "estimator.skops"
    if not path.exists():
        pytest.skip("is not saved by skops")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    assert retyped(schema["content"], *foreign)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, json.dumps(schema) if name == "schema.json" else content)
    redigested(tmp_path)
    with pytest.raises(UntrustedModel, match=rf"{foreign[0]}\.{foreign[1]}"):
        Model.load(tmp_path)


@EVERY
def test_the_estimator_of_another_kind_in_its_place_is_refused(kind, task, tmp_path):
    model_of(kind, task).save(tmp_path / "model")
    for other, its_task in CASES:
        if other == kind:
            continue
        for name, content in estimator_of(other, its_task).items():
            place = tmp_path / "model" / name
            if place.exists():
                place.write_bytes(content)
                redigested(tmp_path / "model")
                with pytest.raises(UntrustedModel):
                    Model.load(tmp_path / "model")
