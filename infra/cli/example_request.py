"""The request that ``karat run`` prints: one that a served champion answers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, date, datetime, time

import polars as pl

from infra.serving import read_champions
from karat.clock import utc_now
from karat.credentials import login_file
from karat.declare import DeclaredModel, Project
from karat.lake import Lake
from karat.settings import Settings


def example_call(settings: Settings, project: Project, models: tuple[str, ...]) -> str:
    """Return a curl command for the first of the models that answers and has a row to ask for; "" if none has."""
    lake, served = Lake(settings.lake, settings.environment), read_champions(settings)
    for name in models:
        model = DeclaredModel(project, project.models[name])
        if not model.spec.online or str(model.name) not in served:
            continue
        if (request := example_request(lake, model)) is not None:
            address = f"{settings.serve_url}/v1/predict/{project.name}.{name}"
            body = json.dumps(request, default=lambda v: v.isoformat() if isinstance(v, date) else str(v))
            login = "" if settings.serve_is_open else f' -u "$(cat {shlex.quote(str(login_file(settings, "api")))})"'
            return f"curl -s{login} {address} -H 'content-type: application/json' -d {shlex.quote(body)}"
    return ""


def example_request(lake: Lake, model: DeclaredModel) -> dict[str, Mapping[str, object]] | None:
    """Return the body of a request for the newest row that batch scoring predicted: it gets the same value.

    The key alone means the newest row known now, so the time is named only for an event, by which the last event of
    that time is meant, and for a row that is not known yet, as the day of today.

    Args:
        lake: The lake.
        model: The declared model.

    Returns:
        The body; None if nothing was predicted.
    """
    table, predictions = model.spine, model.project.prediction_name(model.spec.name)
    if not lake.exists(predictions):
        return None
    order = [c for c in (table.time, table.event_id) if c]
    rows = lake.scan(predictions).filter(pl.col("prediction").is_not_null())
    rows = rows.select(list(dict.fromkeys([*model.spine_columns, *order])))
    newest = (rows.top_k(1, by=order) if order else rows.head(1)).collect().to_dicts()
    if not newest:
        return None
    left_out = {table.event_id} if table.event_id and table.event_id != table.time else set()
    if (
        not table.event_id
        and table.time
        and _moment(newest[0][table.time]) + lake.info(model.spine_name).lag <= utc_now()
    ):
        left_out.add(table.time)
    return {"keys": {c: newest[0][c] for c in model.spine_columns if c not in left_out}}


def _moment(value: date) -> datetime:
    return value if isinstance(value, datetime) else datetime.combine(value, time(), UTC)
