"""``karat explain``: the contributions to one prediction, and the changes that would turn it."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape

from infra.cli.app import console, print_json
from infra.cli.score import reference
from infra.cli.tables import Column, Wide, print_table
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import WrongCall
from karat.inference.counterfactual import Counterfactual, find_counterfactuals
from karat.inference.prediction_log import PredictionAnswer
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.kinds import Model
from karat.lake import Lake
from karat.lifecycle import rebuild
from karat.online import open_store
from karat.registry import LoadedModel, open_registry
from karat.settings import Settings
from karat.training_sets.functions import FunctionLibrary

_COLUMNS = (Column("feature", whole=True), Column("value"), Column("contribution", number=True))


def explain(  # noqa: PLR0917 - Typer takes options by position
    model: Annotated[str, typer.Argument(help="project.model, or bare; @challenger or /3 may follow")],
    key: Annotated[str, typer.Argument(help='the entity, or a JSON object of keys: {"workspace_id": "ws-1"}')],
    counterfactual: Annotated[
        bool, typer.Option("--counterfactual", help="say with which changes the model would decide otherwise")
    ] = False,
    features: Annotated[str, typer.Option(help="JSON object: values in place of what is looked up")] = "{}",
    hold: Annotated[
        list[str] | None, typer.Option(help="a feature that may not change, besides protected and immutable ones")
    ] = None,
    to: Annotated[str | None, typer.Option(help="the class to reach; by default the likeliest other one")] = None,
    count: Annotated[int, typer.Option(min=1, max=20, help="the most counterfactuals")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of tables")] = False,
    wide: Wide = False,
) -> None:
    """Explain one prediction of a model: what each feature adds to it; with --counterfactual, what would turn it.

    The entity's features are read from the online store. Examples: `karat explain customers.churn c7`,
    `karat explain healthcare.heart_disease PT123 --counterfactual --hold max_heart_rate`
    """
    settings = Settings()
    registry, lake = open_registry(settings), Lake(settings.lake, settings.environment)
    version = registry.resolve(reference(model, registry, settings))
    loaded, library = registry.load(version), FunctionLibrary(settings)
    with closing(open_store(settings)) as store:
        predictor = Predictor(loaded, store, lake, library, projects=ProjectCatalog(settings))
        request = _request(key, features)
        answer, values = predictor.predict(request), predictor.inputs(request)
    found: list[Counterfactual] = []
    if counterfactual:
        if not isinstance(loaded.model, Model):
            raise WrongCall(
                "the model is an estimator of your own, whose rows Karat cannot change",
                where=str(loaded.name),
                remedy="ask for one of a kind of karat/kinds",
            )
        learned = rebuild(lake, registry, version, library).data
        held = loaded.metadata.held_features | set(hold or [])
        found = find_counterfactuals(loaded.model, values, learned, held=held, target=to, count=count)
    if as_json:
        print_json(_as_json(answer, found, asked=counterfactual))
        return
    _show(loaded, answer, wide=wide)
    for each in found:
        console.print(f"- {escape(each.text)}", highlight=False, soft_wrap=True)


def _request(key: str, features: str) -> PredictionRequest:
    values = _json_object(features, "--features")
    if key.lstrip().startswith("{"):
        return PredictionRequest(keys=_json_object(key, "KEY"), features=values)
    return PredictionRequest(entity_id=key, features=values)


def _json_object(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise WrongCall(f"this is no JSON: {error}", where=where, remedy='write it as {"name": "value"}') from error
    if not isinstance(found, dict):
        raise WrongCall("this is no JSON object", where=where, remedy='write it as {"name": "value"}')
    return found


def _as_json(answer: PredictionAnswer, found: list[Counterfactual], *, asked: bool) -> dict[str, object]:
    return {**answer, **({"counterfactuals": [{**asdict(f), "text": f.text} for f in found]} if asked else {})}


def _show(loaded: LoadedModel, answer: PredictionAnswer, *, wide: bool) -> None:
    told = answer["explanation"]
    console.print(
        f"{loaded.name} version {loaded.version}: {answer['predicted_value']}"
        + (f", {answer['predicted_class']}" if answer["predicted_class"] is not None else ""),
        highlight=False,
        soft_wrap=True,
    )
    if answer["top_features"] is None:
        console.print(f"No contributions: {told['reason']}", highlight=False, markup=False, soft_wrap=True)
        return
    rows = [
        (escape(f["feature_name"]), escape(_short(f["value"])), f"{f['contribution']:+.4g}")
        for f in answer["top_features"]
    ]
    rows += [(name, "", f"{told[at]:+.4g}") for name, at in (("all others", "other_features"), ("base", "base_value"))]
    rows.append(("total", "", f"{told['total']:+.4g}"))
    print_table(console, _COLUMNS, rows, wide=wide, title=f"contributions in the unit {told['unit']}")
    for line in (told["text"], *(f["text"] for f in answer["top_features"][:3]), f"Method: {told['method']}."):
        console.print(str(line), highlight=False, markup=False, soft_wrap=True)


def _short(value: object) -> str:
    text = "(missing)" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
