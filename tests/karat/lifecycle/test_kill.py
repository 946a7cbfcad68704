"""kill -9 at each named point of a registration and of a promotion; afterwards one more call puts all right."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from karat.declare import Project
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.names import ModelName
from karat.registry import Registry
from karat.settings import Settings
from tests import warm

Kill = Callable[[str, str, str], None]
LEAVER = ModelName("shop_dev", "leaver")

#: Imports once; then forks for every line it reads, and the child dies at a named call, before or after it.
PROGRAM = """
import json, os, signal, sys
from importlib import import_module
from pathlib import Path
from karat.declare import load_project
from karat.lake import Lake
from karat.lifecycle import ModelContext, make_candidate, promote
from karat.registry import Registry
from karat.settings import Settings
from tests import warm

def work(projects, home, uri, artifacts, what, point, when):
    settings = Settings(home=Path(home), projects=Path(projects))
    project, lake = load_project("shop", settings), Lake(settings.lake, "dev")
    registry = Registry(uri, Path(artifacts))
    place, _, name = point.rpartition(".")
    clients = {"client": "mlflow.MlflowClient", "models": "mlflow.tracking._model_registry.client.ModelRegistryClient"}
    module, _, cls = clients.get(place, "").rpartition(".")
    owner = getattr(import_module(module), cls) if module else import_module(place)
    kept = getattr(owner, name)

    def dies(*args, **kwargs):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        kept(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dies)
    step = promote if what == "promote" else make_candidate
    step(ModelContext(project, project.models["leaver"], lake, registry))

for line in sys.stdin:
    child = os.fork()
    if not child:
        work(*json.loads(line))
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture(scope="module")
def forker() -> Iterator[warm.Popen]:
    with warm.Popen([sys.executable, "-c", PROGRAM], stdin=warm.PIPE, stdout=warm.PIPE, text=True) as process:
        yield process


@pytest.fixture
def kill(forker: warm.Popen, shop_features: Project, settings: Settings, registry: Registry) -> Kill:
    """``kill(what, point, when)``: a process that registers or promotes, killed there."""

    def run(what: str, point: str, when: str) -> None:
        where = (shop_features.path.parent, settings.home, registry.tracking_uri, registry.connection.artifacts)
        assert forker.stdin
        assert forker.stdout
        forker.stdin.write(json.dumps([*map(str, where), what, point, when]) + "\n")
        forker.stdin.flush()
        assert int(forker.stdout.readline()) == signal.SIGKILL, "it was not killed: the point was not reached"

    return run


MATRIX = pytest.mark.faults
REGISTRATION = [
    pytest.param("client.create_run", "after", marks=MATRIX),
    ("karat.registry.entry.write_folder", "before"),
    pytest.param("client.finalize_logged_model", "before", marks=MATRIX),
    pytest.param("karat.registry.entry._files", "after", marks=MATRIX),
    pytest.param("client.create_model_version", "before", marks=MATRIX),
    ("client.create_model_version", "after"),
    pytest.param("models.set_registered_model_alias", "before", marks=MATRIX),
]


@pytest.mark.parametrize(("point", "when"), REGISTRATION)
def test_registration_killed(
    kill: Kill, shop_features: Project, lake: Lake, registry: Registry, *, point: str, when: str
) -> None:
    spec = shop_features.models["leaver"]
    kill("register", point, when)
    half = registry.versions(LEAVER)
    assert registry.champion(LEAVER) is None
    assert registry.challenger(LEAVER) is None
    for version in half:  # a version that is there is whole
        assert registry.load(version).model.feature_names == ["age", "city"]
        assert version.metrics["roc_auc"] > version.baseline["roc_auc"]
    made = make_candidate(ModelContext(shop_features, spec, lake, registry))
    assert made.retrained is (not half)
    assert [v.version for v in registry.versions(LEAVER)] == [1]
    assert registry.challenger(LEAVER).version == 1
    assert promote(ModelContext(shop_features, spec, lake, registry)).promoted
    experiment = registry.client.get_experiment_by_name("shop_dev/people/leaver")
    runs = registry.client.search_runs([experiment.experiment_id])
    assert {r.info.status for r in runs} <= {"FINISHED", "KILLED"}
    assert sum(r.info.status == "FINISHED" for r in runs) == 1
    logged = registry.client.search_logged_models([experiment.experiment_id])
    assert [m.model_id for m in logged] == [registry.version(LEAVER, 1).model_id]


PROMOTION = [
    pytest.param("models.set_registered_model_alias", "before", marks=MATRIX),
    ("models.set_registered_model_alias", "after"),
    pytest.param("karat.lifecycle.promotion._settle_champion", "before", marks=MATRIX),
    ("karat.lifecycle.promotion._archive", "before"),
    pytest.param("karat.lifecycle.promotion._archive", "after", marks=MATRIX),
    pytest.param("models.delete_registered_model_alias", "before", marks=MATRIX),
]


@pytest.mark.parametrize(("point", "when"), PROMOTION)
def test_promotion_killed(
    kill: Kill, shop_features: Project, lake: Lake, registry: Registry, *, point: str, when: str
) -> None:
    spec = shop_features.models["leaver"]
    first = spec.model_copy(update={"lookups": (spec.lookups[0].model_copy(update={"features": ("city",)}),)})
    ungated = first.model_copy(update={"gates": first.gates.model_copy(update={"floors": {}})})
    make_candidate(ModelContext(shop_features, ungated, lake, registry))
    first_run = registry.version(LEAVER, 1).run_id
    registry.client.log_metric(first_run, "roc_auc", 0.9)
    registry.client.log_metric(first_run, "roc_auc_gain_low", 0.1)  # by chance a city alone would not be champion
    assert promote(ModelContext(shop_features, ungated, lake, registry)).promoted
    make_candidate(ModelContext(shop_features, spec, lake, registry))
    kill("promote", point, when)
    champion = registry.champion(LEAVER)
    assert champion is not None, "never without a champion"
    assert registry.load(champion).version == champion.version
    assert promote(ModelContext(shop_features, spec, lake, registry), 2).promoted
    held = {a: registry.by_alias(LEAVER, a) for a in ("champion", "challenger", "archived")}
    assert {a: v.version if v else None for a, v in held.items()} == {"champion": 2, "challenger": None, "archived": 1}
    assert registry.version(LEAVER, 1).tags["karat.stage"] == "archived"
