"""A fuzz of the verbs of ``karat.compat``: whatever is given, a user meets a result or one of Karat's own errors."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from karat import compat
from karat.client import FeatureEngineeringClient
from karat.errors import KaratError, LibraryFailed, WrongCall
from karat.settings import Settings
from tests.karat.compat.conftest import PROJECTS
from tests.karat.test_public_verbs import ARGUMENTS, ODD, frames
from tests.profiles import examples

WORDS = st.sampled_from(["doc_access_count_30d", "move_probability_model", "roi", "x", "", "latest", "1", "Production"])
ANY = st.one_of(ARGUMENTS, WORDS, st.sampled_from(ODD), st.just({"x": (1, "a")}), st.just([{"id": 1}]), st.just([{}]))


@pytest.fixture(scope="module")
def verbs(
    registered_before: Path, computed: tuple[Path, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> list[Callable[..., Any]]:
    """Every public verb, of a lake with roi's feature tables and two versions of its model."""
    made = Settings(home=tmp_path_factory.mktemp("guard"), projects=PROJECTS)
    shutil.copytree(computed[0], made.lake)
    shutil.copytree(registered_before, made.home / "mlflow")
    client = FeatureEngineeringClient(settings=made)
    models = compat.ModelRegistry(client)
    objects = [
        compat.FeatureEngineer(client),
        compat.FeaturePipeline(compat.FeatureEngineer(client)),
        compat.FeatureStore(client),
        compat.DriftDetector(pl.DataFrame({"id": [1, 2, 3], "x": [1.0, 2.0, 3.0], "X": ["a", "b", "c"]})),
        compat.DataQualityChecker(),
        models,
        compat.MlflowClient(client),
        models.load_model("move_probability_model", 2),
    ]
    found = [m for o in objects for n, m in inspect.getmembers(o, inspect.ismethod) if not n.startswith("_")]
    classes = [getattr(compat, n) for n in compat.__all__ if inspect.isclass(getattr(compat, n))]
    mine = [c for c in classes if c.__module__.startswith("karat.compat") and c.__name__ not in ("QualityReport",)]
    return [*found, compat.export, *(c for c in mine if c.__name__ in ("DriftDetector", "FeatureEngineer"))]


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_user_of_the_other_systems_verbs_meets_karats_errors_alone(verbs, tmp_path_factory, data) -> None:
    verb = data.draw(st.sampled_from(verbs))
    arguments = {}
    for name, parameter in inspect.signature(verb).parameters.items():
        if name in ("executor", "progress") or (
            parameter.default is not inspect.Parameter.empty and data.draw(st.booleans())
        ):
            continue
        framed = name in ("df", "entity_df", "current", "frame", "entity_rows", "reference", "training_set")
        arguments[name] = data.draw(frames() if framed and data.draw(st.booleans()) else ANY)
        if name == "path":
            arguments[name] = (
                tmp_path_factory.getbasetemp() / f"out.{data.draw(st.sampled_from(['csv', 'json', 'x', '']))}"
            )
    try:
        verb(**arguments)
    except LibraryFailed:
        raise
    except KaratError:
        pass


def test_the_plain_functions_and_constructors_are_guarded() -> None:
    with pytest.raises(WrongCall, match="compute_feature: missing a required argument"):
        compat.compute_feature()
    with pytest.raises(WrongCall, match="DriftDetector: missing a required argument"):
        compat.DriftDetector()
    with pytest.raises(WrongCall, match=r"validate_features\(features=5\)"):
        compat.validate_features(5)
    for name in compat.__all__:
        value = getattr(compat, name)
        if inspect.isfunction(value):
            assert hasattr(value, "__wrapped__"), name


def test_a_day_is_no_time_of_an_entity() -> None:
    with pytest.raises(KaratError):
        compat.compute_feature("no_such_feature", "a", as_of_date=date(2024, 1, 1))
