"""Examples of the OpenAPI page: requests of entities that the online store knows, so that each of them is answered."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import islice
from typing import Any

from karat.errors import KaratError
from karat.inference.example_keys import DECODED, plain_key
from karat.online import open_store
from karat.settings import Settings

_PREDICT, _FEATURES = "/v1/predict/{model}", "/v1/features"


def with_examples(
    described: Mapping[str, Any], predictions: Mapping[str, dict[str, object]], features: dict[str, object] | None
) -> dict[str, Any]:
    """The OpenAPI description with examples of the models and tables that this service has.

    Args:
        described: The description; it stays as it is.
        predictions: Model -> body of a prediction.
        features: Body of a call for features.

    Returns:
        The description. Without a model or a table, the general examples of the schema stay.
    """
    made = deepcopy(dict(described))
    if predictions:
        called = made["paths"][_PREDICT]["post"]
        shown = {name: {"summary": name, "value": body} for name, body in predictions.items()}
        _put(made, called, "PredictBody", shown)
        names = {name: {"value": name} for name in predictions}
        next(p for p in called["parameters"] if p["name"] == "model")["examples"] = names
    if features is not None:
        _put(made, made["paths"][_FEATURES]["post"], "FeaturesBody", {"features": {"value": features}})
    return made


def _put(described: dict[str, Any], called: dict[str, Any], schema: str, examples: dict[str, Any]) -> None:
    called["requestBody"]["content"]["application/json"]["examples"] = examples
    described["components"]["schemas"][schema].pop("examples", None)


def features_example(settings: Settings) -> dict[str, object] | None:
    """A call for features of a published table; None if no table is online."""
    try:
        store = open_store(settings)
        for state in store.states():
            if state.index != "latest":
                continue
            for key, _ in islice(store.scan(state.space), DECODED):
                if (values := state.codec.decode(key)) is not None:
                    entity = {name: plain_key(v) for (name, _), v in zip(state.key, values, strict=True)}
                    references = [f"{state.table}:{name}" for name, _ in state.columns[:2]]
                    return {"features": references, "entities": [entity]}
    except KaratError:  # the page is there while the store is not
        return None
    return None
