"""Document 003's way of moving a model's stages: MLflow's own calls, which here go through the gates."""

from __future__ import annotations

from karat.client import FeatureEngineeringClient
from karat.compat.registry import ModelRegistry
from karat.errors import ModelNotFound, NoChampion, WrongCall, did_you_mean
from karat.names import ARCHIVED, CHAMPION, STAGE_ALIASES
from karat.registry import ModelVersion


class MlflowClient:
    """The calls of MLflow's client that move and read aliases, by any spelling of a model and of a stage."""

    def __init__(self, client: FeatureEngineeringClient | None = None) -> None:
        self.models = ModelRegistry(client)

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion | None:
        """None where nobody has it."""
        try:
            return self.models.find(name, _alias(alias))
        except (ModelNotFound, NoChampion):
            return None

    def set_registered_model_alias(self, name: str, alias: str, version: str | int) -> None:
        """``Champion`` is given by the gates (PromotionRefused); ``Archived`` to the champion only when its successor
        has passed them: asked for before that, it stays champion, so that the model always has one."""
        chosen = self.models.find(name, version)
        if _alias(alias) == ARCHIVED and CHAMPION in chosen.aliases:
            return
        self.models.promote_model(name, version, _alias(alias))


def _alias(text: str) -> str:
    found = STAGE_ALIASES.get(text.lower())
    if found is None:
        raise WrongCall(f"there is no alias {text!r}", remedy=did_you_mean(text, STAGE_ALIASES))
    return found
