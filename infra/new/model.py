"""A draft of a model on feature tables of a project."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from infra.new.drafts import Draft, File, check_name
from infra.new.label import LabelChoice, Rows, telling, wanted
from infra.new.render import render
from karat.clock import DAY
from karat.declare import FeatureTable, GoldTable, Project
from karat.declare.base import parse_duration
from karat.declare.models import BASELINES, DEFAULT_METRIC
from karat.errors import AlreadyThere, TableNotFound, WrongCall, did_you_mean
from karat.kinds import facts

#: What a task is learned with where nobody says.
KINDS = {
    "regression": "gradient_boosting",
    "binary": "gradient_boosting",
    "multiclass": "gradient_boosting",
    "multilabel": "random_forest",
    "anomaly": "isolation_forest",
    "clustering": "kmeans",
    "forecast": "gru",
}
#: Where a kind's own defaults are for more rows than one begins with, or take long.
PARAMETERS: dict[str, dict[str, Any]] = {
    "gradient_boosting": {"learning_rate": 0.05, "max_iter": 100, "max_leaf_nodes": 8, "min_samples_leaf": 50},
    "gru": {"hidden_size": 16, "num_layers": 1, "epochs": 10},
}
#: Days that a sequence goes back.
SEQUENCE = 28


def draft_model(
    project: Project,
    name: str,
    *,
    task: str | None = None,
    kind: str | None = None,
    labels: Sequence[str] = (),
    features: Sequence[str] = (),
    gold: str | None = None,
    horizon: str = "7d",
    domain: str = "",
    owner: str | None = None,
    description: str | None = None,
    truth: Mapping[str, str] | None = None,
) -> Draft:
    """``models/DOMAIN/NAME.yaml``, a model on the feature tables that are named, or on the project's first.

    ``labels`` is SQL over ``gold`` (where the features come from, by default); a multi-label model has several, each
    ``name=SQL``. Raises InvalidName, AlreadyThere, TableNotFound, LabelNotFound, DeclarationError (an unknown kind),
    WrongCall.
    """
    check_name(name, "model")
    if domain:
        check_name(domain, "domain")
    if name in project.models:
        raise AlreadyThere(
            f"project {project.name!r} has a model {name!r} already", remedy="take another name, or edit that"
        )
    tables, how = _tables(project, features)
    rows = Rows(tables[0], _gold(project, tables[0], gold), _days(horizon))
    label = wanted(rows, task, labels)
    kind = kind or KINDS[label.task]
    answers = owner or tables[0].owner or project.spec.owner
    about = {"owner": answers, "description": description or label.told}
    text = _text(label, kind, rows, tables, truth=dict(truth) if truth else None, **about)
    path = "/".join(filter(None, ("models", domain, f"{name}.yaml")))
    file = File(path, text, f"model {name}: {label.task} by {kind}")
    return Draft((file,), (*how, *label.chosen))


def _text(label: LabelChoice, kind: str, rows: Rows, tables: Sequence[FeatureTable], **more: Any) -> str:
    spine, task = rows.spine, label.task
    return render(
        "model.yaml",
        task=task,
        kind=kind,
        label=label.fields,
        parameters=PARAMETERS.get(kind, {}),
        label_comment=_comment(label),
        lookups=[_lookup(table, label, kind) for table in tables],
        split={"by": "time" if spine.time else "entity", "test": 0.2},
        metric="silhouette" if label.fields is None else DEFAULT_METRIC[task],
        baseline=_baseline(rows, label),
        risk_levels={"low": 0.0, "medium": 0.3, "high": 0.7} if task == "binary" else None,
        scope={"last": "7d"} if spine.time else None,
        **more,
    )


def _days(horizon: str) -> timedelta:
    try:
        days = parse_duration(horizon)
    except ValueError as error:
        raise WrongCall(f"the horizon {error}") from None
    assert isinstance(days, timedelta)
    if not days or days % DAY:
        raise WrongCall(f"the horizon {horizon!r} is no whole number of days", remedy="write it as in 7d")
    return days


def _tables(project: Project, named: Sequence[str]) -> tuple[tuple[FeatureTable, ...], tuple[str, ...]]:
    """The named feature tables, or the project's first."""
    for table in named:
        if table not in project.tables:
            raise TableNotFound(
                f"project {project.name!r} has no feature table {table!r}", remedy=did_you_mean(table, project.tables)
            )
    if named:
        return tuple(project.tables[t] for t in named), ()
    if not project.tables:
        raise TableNotFound(
            f"project {project.name!r} has no feature table",
            remedy=f"make one first: karat new features NAME --project {project.name}",
        )
    first = next(iter(project.tables.values()))
    return (first,), () if len(project.tables) == 1 else (f"features of {first.name} (--features names others)",)


def _gold(project: Project, spine: FeatureTable, named: str | None) -> GoldTable:
    if named is not None and named not in project.gold:
        raise TableNotFound(
            f"project {project.name!r} has no gold table {named!r}", remedy=did_you_mean(named, project.gold)
        )
    return project.gold[named or spine.source]


def _comment(label: LabelChoice) -> list[str]:
    """What the label means, above it."""
    if label.fields is None:
        return []
    gold = label.fields["source"]
    if label.task == "anomaly" and not label.columns:
        return ["Nobody has marked anomalies: the detector is judged by some that are planted into the test rows."]
    if not label.ahead:
        return [f"SQL over the row of {gold} that a row of features is of."]
    lines = [f"SQL over the rows of {gold} that come in the horizon, which begins the day after the features."]
    if "steps" in label.fields:
        lines = [f"SQL over the rows of {gold} of each of the next {label.fields['steps']} days."]
    return [*lines, "default: where there are none."] if "default" in label.fields else lines


def _lookup(table: FeatureTable, label: LabelChoice, kind: str) -> dict[str, Any]:
    """All features of a table; of a label that lies in the row itself not those that are made from it."""
    found: dict[str, Any] = {"table": table.name}
    if not label.ahead and (gone := telling(table, label.columns)):
        found["exclude"] = gone
    if facts(kind).sequences:
        found["sequence_length"] = SEQUENCE
    return found


def _baseline(rows: Rows, label: LabelChoice) -> dict[str, Any]:
    """Persistence if a feature sums the label's column over past days (the longest); else mean, prior or chance."""
    summed = re.fullmatch(r"sum\((\w+)\)", label.fields.get("expression", "")) if label.fields else None
    if label.task not in ("regression", "forecast") or summed is None:
        return {"strategy": "mean" if label.task == "forecast" else BASELINES[label.task][0]}
    past = [f for f in rows.spine.stored if f.function == "sum" and f.column == summed[1] and f.window and not f.where]
    if not past:
        return {"strategy": "mean"}
    longest = max(past, key=lambda f: f.window or DAY)
    ahead = DAY if label.task == "forecast" else rows.horizon
    assert longest.window is not None
    scale = ahead / longest.window
    return {"strategy": "feature", "feature": longest.name} | ({} if scale == 1 else {"scale": round(scale, 6)})
