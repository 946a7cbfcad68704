"""From a declaration to a version: what is logged, and that the same thing is not made twice."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import mlflow.pyfunc
import polars as pl
import pytest

from karat.declare import Project, load_project
from karat.declare.declared_model import DeclaredModel
from karat.errors import EmptyTrainingSet, FunctionChanged, LabelNotFound, ServiceDown, TableNotFound, UntrustedModel
from karat.features import compute_table
from karat.inference import predict, score_model
from karat.lake import Lake
from karat.lifecycle import breaking_changes, candidate, make_candidate, promote, rebuild, valid_champion
from karat.lifecycle.model_context import ModelContext
from karat.names import ModelName
from karat.registry import ModelMetadata, Registry
from karat.registry.model_files import METADATA, read_folder
from karat.settings import Settings
from karat.training_sets.feature_join import join_features
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.labels import label_spine
from karat.training_sets.lookups import declared_lookups
from karat.training_sets.reproduce import rebuild_training_set
from karat.training_sets.spine import ROW_NUMBER
from karat.training_sets.training_set import create_training_set

LEAVER = ModelName("shop_dev", "leaver")


def test_a_candidate_is_a_whole_version(shop_features: Project, lake: Lake, registry: Registry) -> None:
    spec = shop_features.models["next_week"]
    made = make_candidate(ModelContext(shop_features, spec, lake, registry), commit="abc123")
    version = made.version
    assert (made.retrained, version.version, version.aliases) == (True, 1, ("challenger",))
    assert version.metrics["rmse"] < version.baseline["rmse"]
    assert {"rmse", "mae", "r2"} <= version.metrics.keys()
    tags = version.tags
    told = (tags["karat.project"], tags["karat.kind"], tags["karat.task"])
    assert told == ("shop", "linear_regression", "regression")
    assert (tags["karat.origin"], tags["karat.commit"]) == ("sample", "abc123")
    assert tags["karat.definition"] == DeclaredModel(shop_features, spec).definition_hash
    assert json.loads(tags["karat.pins"]) == {"spend_features": 1, "people_features": 1}


@pytest.mark.usefixtures("pictures")
def test_the_run_shows_metrics_plots_and_data(shop_features: Project, lake: Lake, registry: Registry) -> None:
    made = make_candidate(ModelContext(shop_features, shop_features.models["next_week"], lake, registry))
    run = registry.client.get_run(made.version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["kind"] == "linear_regression"
    assert {"rmse", "baseline_rmse", "train_rmse"} <= run.data.metrics.keys()
    assert registry.client.get_experiment(run.info.experiment_id).name == "shop_dev/sales/next_week"
    inputs = {d.dataset.name: json.loads(d.dataset.source) for d in run.inputs.dataset_inputs}
    assert inputs["shop_dev.features.spend_features"]["delta_table_version"] == 1
    assert "next_week training set" in inputs
    plots = registry.connection.local(run.info.artifact_uri) / "plots"
    assert {p.suffix for p in plots.iterdir()} == {".png"}
    assert (plots / "leakage_report.png").exists()
    logged = registry.client.get_logged_model(made.version.model_id)
    assert logged.status == "READY"
    assert {m.key for m in logged.metrics} >= {"rmse", "baseline_rmse"}


def test_the_folder_is_whole(shop_features: Project, lake: Lake, registry: Registry) -> None:
    made = make_candidate(ModelContext(shop_features, shop_features.models["leaver"], lake, registry))
    location = registry.client.get_model_version_download_uri(str(LEAVER), "1")
    folder = registry.connection.local(location)
    model = mlflow.pyfunc.load_model(str(folder))
    signature = model.metadata.signature
    assert [(c.name, c.type.name) for c in signature.inputs] == [("age", "double"), ("city", "string")]
    assert [(c.name, c.type.name) for c in signature.outputs] == [("prediction", "boolean"), ("probability", "double")]
    example = model.metadata.load_input_example(str(folder))
    answer = model.predict(example)
    loaded = registry.load(made.version)
    assert answer["probability"].tolist() == loaded.model.predict(pl.from_pandas(example)).tolist()
    metadata = ModelMetadata.from_json(json.loads((folder / "data" / "karat" / METADATA).read_text()))
    assert list(metadata.features) == ["age", "city"]
    assert metadata.label_definition["expression"] == "\"left\" = 'Yes'"
    assert (metadata.digest, metadata.origin) == (made.version.tags["karat.digest"], "sample")
    assert metadata.pins["lookups"][0]["table"] == "shop_dev.features.people_features"


def test_the_training_set_comes_back(shop_features: Project, lake: Lake, registry: Registry) -> None:
    """The stored spine and the pins give the same rows again, whatever became of the tables since."""
    spec = shop_features.models["leaver"]
    made = make_candidate(ModelContext(shop_features, spec, lake, registry))
    name = shop_features.table_name("people_features")
    lake.overwrite(name, lake.read(name).with_columns(age=pl.lit(1, dtype=pl.Int64)))
    loaded = registry.load(made.version)
    spine = registry.spine(made.version).sort(ROW_NUMBER)
    again = join_features(lake, spine, loaded.lookups, pinned=True).values
    lake_then = lake.read(name, version=loaded.lookups[0].version)
    assert again["age"].to_list() == spine.join(lake_then, on="customer", maintain_order="left")["age"].to_list()
    rebuilt = rebuild_training_set(lake, registry.metadata(made.version).training_set)
    assert rebuilt.digest == made.version.tags["karat.digest"]
    assert rebuilt.data["age"].to_list() == again["age"].to_list()
    folder = registry.connection.local(registry.client.get_model_version_download_uri(str(LEAVER), "1"))
    path = folder / "data" / "karat" / METADATA
    older = json.loads(path.read_text())  # as it was before spines were stored
    del older["pins"]["spine"]["stored"], older["pins"]["columns"]
    path.write_text(json.dumps(older))
    assert rebuild(lake, registry, made.version).data.equals(rebuilt.data)


def test_the_same_declaration_on_the_same_data_is_not_trained_again(
    shop_features: Project, lake: Lake, registry: Registry
) -> None:
    spec = shop_features.models["leaver"]
    first = make_candidate(ModelContext(shop_features, spec, lake, registry))
    second = make_candidate(ModelContext(shop_features, spec, lake, registry))
    assert (second.retrained, second.version.version) == (False, 1)
    assert second.metrics == first.metrics
    described = spec.model_copy(update={"description": "other words", "owner": "somebody"})
    assert not make_candidate(ModelContext(shop_features, described, lake, registry)).retrained
    seeded = make_candidate(ModelContext(shop_features, spec.model_copy(update={"seed": 1}), lake, registry))
    assert (seeded.retrained, seeded.version.version) == (True, 2)
    assert registry.challenger(LEAVER).version == 2
    forced = make_candidate(ModelContext(shop_features, spec, lake, registry), force=True)
    assert (forced.retrained, forced.version.version) == (True, 3)


def test_new_rows_make_a_new_version(shop_features: Project, lake: Lake, registry: Registry) -> None:
    spec = shop_features.models["leaver"]
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    more = pl.DataFrame({"customer": ["z1", "z2"], "city": ["Bern", None], "age": [20, 70], "left": ["Yes", "No"]})
    lake.merge(shop_features.gold_name("members"), more)
    compute_table(shop_features, "people_features", lake)
    again = make_candidate(ModelContext(shop_features, spec, lake, registry))
    assert (again.retrained, again.version.version) == (True, 2)


def test_an_anomaly_model_is_judged_on_planted_rows(shop_features: Project, lake: Lake, registry: Registry) -> None:
    made = make_candidate(ModelContext(shop_features, shop_features.models["odd_days"], lake, registry))
    assert made.metrics["average_precision"] > 2 * made.baseline["average_precision"]


def test_nothing_is_logged_where_training_fails(shop_features: Project, lake: Lake, registry: Registry) -> None:
    spec = shop_features.models["leaver"]
    bad = spec.model_copy(update={"label": spec.label.model_copy(update={"expression": "no_such_column"})})
    with pytest.raises(LabelNotFound):
        make_candidate(ModelContext(shop_features, bad, lake, registry))
    late = shop_features.models["next_week"]
    far = late.model_copy(update={"label": late.label.model_copy(update={"horizon": timedelta(days=400)})})
    with pytest.raises(EmptyTrainingSet):
        make_candidate(ModelContext(shop_features, far, lake, registry))
    assert registry.models() == []
    assert [e.name for e in registry.client.search_experiments()] == ["Default"]


def test_features_that_are_not_computed_are_named(shop_gold: Project, lake: Lake, registry: Registry) -> None:
    with pytest.raises(TableNotFound, match="people_features"):
        make_candidate(ModelContext(shop_gold, shop_gold.models["leaver"], lake, registry))


def test_a_server_that_is_down_is_told_within_seconds(shop_features: Project, lake: Lake) -> None:
    began = time.monotonic()
    with pytest.raises(ServiceDown, match="karat up"):
        make_candidate(
            ModelContext(shop_features, shop_features.models["leaver"], lake, Registry("http://127.0.0.1:9"))
        )
    assert time.monotonic() - began < 30


def test_a_foreign_folder_is_refused(shop_features: Project, lake: Lake, registry: Registry, tmp_path) -> None:
    with pytest.raises(UntrustedModel, match="no model of Karat's"):
        read_folder(tmp_path)
    (tmp_path / METADATA).write_text('{"format": "pickle"}')
    with pytest.raises(UntrustedModel):
        read_folder(tmp_path)


def test_the_declared_features_are_what_the_model_reads(shop_features: Project, lake: Lake, registry: Registry) -> None:
    spec = shop_features.models["next_week"]
    made = make_candidate(ModelContext(shop_features, spec, lake, registry))
    spine = label_spine(DeclaredModel(shop_features, spec), lake)
    set_ = create_training_set(
        lake, spine, declared_lookups(DeclaredModel(shop_features, spec)), "spent_next_7d", ["customer", "day"]
    )
    loaded = registry.load(made.version)
    assert loaded.features == loaded.model.feature_names == list(set_.features)
    assert set_.digest == made.version.tags["karat.digest"]


def test_two_at_once_leave_one_version(
    shop_features: Project, lake: Lake, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen that there is none, and both have trained, before either registers."""
    spec = shop_features.models["leaver"]
    together, trained = Barrier(2, timeout=120), candidate.train_declared

    def wait(*args, **named):
        out = trained(*args, **named)
        together.wait()
        return out

    monkeypatch.setattr(candidate, "train_declared", wait)
    others = [Registry(registry.tracking_uri, registry.connection.artifacts) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda r: make_candidate(ModelContext(shop_features, spec, lake, r)), others))
    assert [m.version.version for m in made] == [1, 1]
    assert [v.version for v in registry.versions(LEAVER)] == [1]
    assert registry.challenger(LEAVER).version == 1


RELATIVE = """
import polars as pl
from karat.declare import feature_function

def share(part: pl.Series, whole: pl.Series) -> pl.Series:
    return part / whole {more}

spent_share = feature_function("spent_share", share, description="This week's share of a usual order")
"""


def test_a_declared_function_is_a_feature_and_its_source_part_of_the_definition(
    shop_features: Project, lake: Lake, registry: Registry, settings: Settings
) -> None:
    folder = shop_features.path
    settings = settings.model_copy(update={"projects": folder.parent})
    (folder / "features" / "share.py").write_text(RELATIVE.format(more=""))
    model = folder / "models" / "sales" / "next_week.yaml"
    model.write_text(
        model.read_text() + "functions: [{function: spent_share, inputs: {part: spent_7d, whole: mean_28d}}]\n"
    )
    project = load_project("shop", settings)
    spec = project.models["next_week"]
    made = make_candidate(ModelContext(project, spec, lake, registry))
    loaded = registry.load(made.version)
    assert loaded.features[-1] == "spent_share"
    assert [f.source_hash for f in loaded.functions] == [project.functions["spent_share"].source_hash]
    assert promote(ModelContext(project, spec, lake, registry)).promoted
    assert score_model(ModelContext(project, spec, lake, registry)).rows > 0
    (folder / "features" / "share.py").write_text(RELATIVE.format(more="+ 0"))  # the same values by another source
    changed = load_project("shop", settings)
    (found,) = breaking_changes(changed, registry)
    assert (found.what, found.changed) == ("feature function spent_share", True)
    champion = valid_champion(ModelContext(project, spec, lake, registry))
    assert (champion.version, valid_champion(ModelContext(changed, spec, lake, registry))) == (1, None)
    with pytest.raises(FunctionChanged, match="'spent_share'"):
        predict(lake, loaded, training_rows(project, lake), library=FunctionLibrary(settings))
    again = make_candidate(ModelContext(changed, spec, lake, registry))
    assert (again.retrained, again.version.version) == (True, 2)
    assert not make_candidate(ModelContext(changed, spec, lake, registry)).retrained


def training_rows(project: Project, lake: Lake) -> pl.DataFrame:
    return label_spine(DeclaredModel(project, project.models["next_week"]), lake)
