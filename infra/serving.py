"""The champions that the inference application serves: kept in a file, sent as its user_config."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

from infra.serve_application import (
    PAUSE_SECONDS,
    ask,
    champions_file,
    configure,
    deploy_application,
    is_settled,
    read_champions,
)
from infra.services import require_ray
from karat.errors import KaratError, ModelNotFound, ServiceDown
from karat.names import CHAMPION, ModelName, catalog_of
from karat.registry.staging import keep_staged, stage_version
from karat.settings import Settings

LOAD_SECONDS = 120.0
log = logging.getLogger("karat.serving")


def load_champions(
    settings: Settings,
    champions: Mapping[str, int],
    *,
    without: Collection[str] = (),
    timeout: float = LOAD_SECONDS,
) -> None:
    """Makes these versions (``project.model`` or registered name -> version) answer; returns when they do.

    They are merged into those on file. Those ``without`` are taken out, and so are other models of the same projects
    that are champions no longer.
    Raises WrongCall for a name, ServiceDown where Ray does not answer, ModelNotFound where a version can't be loaded
    in time.
    """
    given = {_registered(settings, name): int(version) for name, version in champions.items()}
    with _locked(settings):
        before = read_champions(settings)
        gone = {_registered(settings, name) for name in without}
        kept = {
            n: v for n, v in before.items() if n not in gone and (n in given or _still_champion(settings, n, given))
        }
        wanted = {**kept, **given}
        _write_champions(settings, wanted)
    require_ray(settings)
    _stage(settings, {name: version for name, version in given.items() if before.get(name) != version}, wanted)
    configure(settings, wanted)
    _await_loaded(settings, given, before.keys() - wanted.keys(), timeout)


def forget_champions(settings: Settings, names: Collection[str]) -> None:
    """Takes models off the file alone, while no platform runs: the next one does not ask for them."""
    gone = {_registered(settings, name) for name in names}
    with _locked(settings):
        before = read_champions(settings)
        left = {n: v for n, v in before.items() if n not in gone}
        _write_champions(settings, left)
        keep_staged(settings.staged_models, ((ModelName.parse(name), version) for name, version in left.items()))


def _stage(settings: Settings, changed: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    """Copies what the replicas are to load, anew, and removes the copies of what they no longer serve.

    A version that can't be copied is left to the replicas: they try again, and show why.
    """
    if changed:
        from karat.registry import open_registry  # MLflow and scikit-learn: seconds, which few calls need

        for name, version in changed.items():
            try:
                registry = open_registry(settings)
                stage_version(registry, registry.version(ModelName.parse(name), version), settings.staged_models)
            except (KaratError, OSError) as error:
                log.warning("version %s of %s could not be copied for serving: %s", version, name, error)
    keep_staged(settings.staged_models, ((ModelName.parse(name), version) for name, version in wanted.items()))


def _registered(settings: Settings, name: str) -> str:
    """``project.model`` is of this environment's catalog; a registered name stands for itself."""
    project, dot, model = name.partition(".")
    if dot and "." not in model:
        return str(ModelName(catalog_of(project, settings.environment), model))
    return str(ModelName.parse(name))


def _still_champion(settings: Settings, name: str, given: Mapping[str, int]) -> bool:
    """False where ``name`` is of a project that is given and MLflow says that it has no champion."""
    model = ModelName.parse(name)
    if model.catalog not in {ModelName.parse(g).catalog for g in given}:
        return True
    try:
        from karat.registry import open_registry  # MLflow and scikit-learn: seconds, which few calls need

        return open_registry(settings).champion(model) is not None
    except KaratError as error:  # what can't be asked now stays as it is
        log.warning("whether %s still has a %s could not be asked: %s", name, CHAMPION, error.what)
        return True


def _write_champions(settings: Settings, champions: Mapping[str, int]) -> None:
    path = champions_file(settings)
    fresh = path.with_suffix(f".{os.getpid()}")
    with fresh.open("w") as out:
        json.dump({"champions": dict(sorted(champions.items()))}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Held while the file is read and written anew: flows of several projects end at any time."""
    champions_file(settings).parent.mkdir(parents=True, exist_ok=True)
    with champions_file(settings).with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _await_loaded(settings: Settings, champions: Mapping[str, int], gone: Set[str], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        shown = ask(settings, "/v1/models")
        models = {m["registered_name"]: m for m in (shown or {"models": []})["models"]}
        missing = {n: v for n, v in champions.items() if models.get(n, {}).get("loaded_version") != v}
        # A replica that answers so has begun after the others, or with them: none is left that Serve has yet to tell.
        if shown is not None and not missing and not gone & models.keys() and is_settled(settings):
            return
        if time.monotonic() > deadline:
            raise _not_loaded(settings, missing, models if shown is not None else None)
        time.sleep(PAUSE_SECONDS)


def _not_loaded(settings: Settings, missing: Mapping[str, int], models: Mapping[str, Any] | None) -> KaratError:
    if models is None:
        return ServiceDown(
            "the inference application does not answer", where=settings.serve_url, remedy="karat up; karat status"
        )
    if not missing:
        return ServiceDown(
            "the inference application does not take over its configuration",
            where=f"{settings.ray_dashboard_url}/#/serve",
            remedy="look at Serve's page there, and run again",
        )
    name, version = next(iter(missing.items()))
    why = models.get(name, {}).get("error") or "it is still being loaded"
    return ModelNotFound(
        f"{len(missing)} of the champions do not answer yet: version {version} of {name}: {why}",
        where=f"{settings.serve_url}/v1/models",
        remedy="the service goes on trying; look at GET /v1/models, at karat status, and run again",
    )


__all__ = ["deploy_application", "forget_champions", "load_champions", "read_champions"]
