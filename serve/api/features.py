"""Answer of ``POST /v1/features``."""

from __future__ import annotations

import time
from datetime import date
from functools import lru_cache
from pathlib import Path

from karat.declare.project_catalog import ProjectCatalog
from karat.errors import EntityNotFound, FeatureNotFound, InvalidRequest, TableNotFound, WrongCall
from karat.inference.features import FeatureValues, online_features
from karat.lake import Lake
from karat.names import catalog_of
from karat.online import open_store
from karat.settings import Settings
from serve.api.bodies import FeaturesBody


def answer(settings: Settings, body: FeaturesBody) -> dict[str, object]:
    """Raises InvalidRequest, EntityNotFound where no table knows any of the entities, StoreUnreachable."""
    began = time.perf_counter()
    found = _read(settings, body)
    if len(found.unknown) == len(body.entities):
        shown = ", ".join(f"{name}={value!r}" for name, value in body.entities[0].items())
        raise EntityNotFound(
            f"no table asked for knows {'any of the entities, such as ' if len(body.entities) > 1 else ''}{shown}",
            where="entities",
            remedy="check the keys",
        )
    rows = zip(found.keys, found.values, found.statuses, found.times, strict=True)
    return {
        "features": body.features,
        "names": list(found.names),
        "results": [
            {
                "keys": {name: _plain(value) for name, value in keys.items()},
                "values": [_plain(v) for v in values],
                "statuses": statuses,
                "times": [_plain(at) for at in times],
            }
            for keys, values, statuses, times in rows
        ],
        "latency_ms": round((time.perf_counter() - began) * 1000, 3),
    }


@lru_cache(maxsize=8)
def _known(projects: Path, environment: str) -> ProjectCatalog:
    return ProjectCatalog(Settings(projects=projects, environment=environment))


def known_projects(settings: Settings) -> ProjectCatalog:
    """The declarations, read once in this process."""
    return _known(settings.projects, settings.environment)


def _read(settings: Settings, body: FeaturesBody) -> FeatureValues:
    catalog = catalog_of(body.project, settings.environment) if body.project else None
    lake, store = Lake(settings.lake, settings.environment), open_store(settings)
    try:
        return online_features(
            lake,
            store,
            body.features,
            body.entities,
            catalog=catalog,
            as_of=body.as_of_date,
            projects=known_projects(settings),
        )
    except InvalidRequest:
        raise
    except (TableNotFound, FeatureNotFound, WrongCall) as error:  # a wrong field of the request, not a wrong address
        raise InvalidRequest(error.what, where="features", remedy=error.remedy) from error


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value
