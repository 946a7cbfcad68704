"""Feature functions: row by row, typed, pinned by the hash of their source, found by name."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from karat import FeatureFunction
from karat.declare import feature_function
from karat.declare.functions import source_hash
from karat.errors import (
    ColumnMissing,
    FeatureFunctionFailed,
    FunctionChanged,
    FunctionNotFound,
    LabelOverlapsFeatures,
    SchemaMismatch,
    WrongCall,
)
from karat.lake import Lake
from karat.settings import Settings
from karat.training_sets.functions import FunctionLibrary, PinnedFunction
from karat.training_sets.training_set import TrainingSet, create_training_set

RATE = 2.0


def doubled(value: pl.Series) -> pl.Series:
    return value * RATE


def ratio(part: pl.Series, whole: pl.Series) -> pl.Series:
    return part / doubled(whole)


def centred(value: pl.Series) -> pl.Series:
    return value - value.mean()


def raises(value: pl.Series) -> pl.Series:
    raise ZeroDivisionError("by nothing")


def shorter(value: pl.Series) -> pl.Series:
    return value.head(1)


def weekday(at: pl.Series) -> pl.Series:
    return at.dt.weekday()


def loud(name: pl.Series) -> pl.Series:
    return name.str.to_uppercase()


SPINE = pl.DataFrame(
    {
        "amount": pl.Series([10, None, 4], dtype=pl.Int32),
        "limit": [20.0, 5.0, 8.0],
        "who": pl.Series(["ann", "bob", None], dtype=pl.Categorical),
        "at": pl.Series([datetime(2026, 1, d, tzinfo=UTC) for d in (5, 6, 7)], dtype=pl.Datetime("ns", "UTC")),
        "label": [0, 1, 0],
    }
)


def made(lake: Lake, *functions: FeatureFunction, **how: object) -> TrainingSet:
    return create_training_set(lake, SPINE, functions, "label", ["at"], **how)  # type: ignore[arg-type]


def use(function, output=None, **inputs) -> FeatureFunction:
    return FeatureFunction(function.__name__, inputs, output, function=function)


def test_outputs_are_features_behind_the_others_and_may_be_read_by_the_next(lake: Lake) -> None:
    out = made(lake, use(ratio, part="amount", whole="limit"), use(doubled, "twice", value="ratio"))
    assert out.features == ("amount", "limit", "who", "ratio", "twice")
    assert out.data["ratio"].to_list() == [0.25, None, 0.25]
    assert out.load_df()["twice"].to_list() == [0.5, None, 0.5]
    assert [(r["feature"], r["present"], r["null"], r["age_max"]) for r in out.report.iter_rows(named=True)] == [
        ("ratio", 2, 1, None), ("twice", 2, 1, None)
    ]  # fmt: skip
    first = out.functions[0]
    assert (first.types, first.dtype) == ({"amount": "int64", "limit": "float64"}, "float64")
    assert first.source_hash == source_hash(ratio)
    assert [PinnedFunction.from_json(r) for r in out.pins["functions"]] == list(out.functions)


def test_types_are_those_of_what_is_given_or_declared(lake: Lake) -> None:
    out = made(lake, use(weekday, at="at"), use(loud, name="who"))
    assert out.data.select("weekday", "loud").to_dict(as_series=False) == {
        "weekday": [1, 2, 3], "loud": ["ANN", "BOB", None]
    }  # fmt: skip
    assert [f.dtype for f in out.functions] == ["int64", "string"]
    library = FunctionLibrary(given=[feature_function("half", ratio, dtype="int64")])
    whole = FeatureFunction("half", {"part": "amount", "whole": "limit"})
    with pytest.raises(FeatureFunctionFailed, match="no whole numbers"):
        made(lake, whole, library=library)


@pytest.mark.parametrize(
    ("function", "error", "says"),
    [
        (use(centred, value="limit"), FeatureFunctionFailed, "not computed row by row: row 0 gives 0.0 alone"),
        (use(raises, value="limit"), FeatureFunctionFailed, "ZeroDivisionError: by nothing"),
        (use(shorter, value="limit"), FeatureFunctionFailed, "returned 1 values for 3 rows"),
        (use(doubled, value="limits"), ColumnMissing, "Did you mean 'limit'"),
        (use(doubled, valu="limit"), WrongCall, "Did you mean 'value'"),
        (use(ratio, part="limit"), WrongCall, "parameters without a column: whole"),
        (use(doubled, value="label"), LabelOverlapsFeatures, "reads the label"),
        (use(doubled, "who", value="limit"), SchemaMismatch, "two columns"),
        (FeatureFunction("doubel", {"value": "limit"}), FunctionNotFound, "Did you mean 'doubled'"),
        (FeatureFunction("f", {}, function=lambda: 0), WrongCall, "with def"),
        (FeatureFunction("f", {}, function=len), WrongCall, "with def"),
    ],
    ids=lambda value: getattr(value, "output", None),
)  # fmt: skip
def test_wrong_functions(lake: Lake, function: FeatureFunction, error: type, says: str) -> None:
    library = FunctionLibrary(given=[feature_function("doubled", doubled)])
    with pytest.raises(error, match=says):
        made(lake, function, library=library)


def test_a_function_that_reads_the_one_around_it_is_refused(lake: Lake) -> None:
    factor = 3

    def scaled(value: pl.Series) -> pl.Series:
        return value * factor

    with pytest.raises(WrongCall, match="factor"):
        made(lake, use(scaled, value="limit"))


SOURCE = """
import polars as pl
from karat.declare import feature_function

RATE = {rate}

def _by(value):
    return value {operator} RATE

def scaled(value):
    return _by(value)

scaled_amount = feature_function("scaled", scaled, description="By a rate")
"""


def project(folder: Path, **parts: object) -> FunctionLibrary:
    (folder / "p" / "features").mkdir(parents=True, exist_ok=True)
    (folder / "p" / "project.yaml").write_text("description: p\nowner: p\n")
    (folder / "p" / "features" / "f.py").write_text(SOURCE.format(**{"rate": 2, "operator": "*", **parts}))
    return FunctionLibrary(Settings(projects=folder))


@pytest.mark.parametrize("change", [{"rate": 3}, {"operator": "+"}])
def test_a_function_is_found_by_name_and_refused_once_its_meaning_changed(
    lake: Lake, tmp_path: Path, change: dict[str, object]
) -> None:
    use_it = FeatureFunction("scaled", {"value": "limit"})
    out = made(lake, use_it, library=project(tmp_path), catalog="p_dev")
    (pinned,) = out.functions
    assert (pinned.name, pinned.project, out.data["scaled"].to_list()) == ("scaled", "p", [40.0, 10.0, 16.0])
    assert project(tmp_path).bind(pinned).pinned == pinned
    named = FeatureFunction("p_dev.features.scaled", {"value": "limit"})
    assert made(lake, named, library=project(tmp_path), catalog="other_dev").functions == out.functions
    with pytest.raises(FunctionChanged, match="has changed since the model was trained"):
        project(tmp_path, **change).bind(pinned)
    with pytest.raises(FunctionNotFound, match="'scaled'"):
        FunctionLibrary(Settings(projects=tmp_path / "elsewhere")).bind(pinned)


def test_inputs_of_a_day_keep_their_type(lake: Lake) -> None:
    spine = pl.DataFrame({"at": [date(2026, 1, 5)], "label": [1]})
    out = create_training_set(lake, spine, [use(weekday, at="at")], "label")
    assert out.functions[0].types == {"at": "date"}
