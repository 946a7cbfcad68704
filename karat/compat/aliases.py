"""MLflow's calls that move aliases, which here go through the promotion gates."""

from __future__ import annotations

from karat.boundary import public_verbs
from karat.client import FeatureEngineeringClient
from karat.compat.registry import ModelRegistry
from karat.errors import ModelNotFound, NoChampion, WrongCall, did_you_mean
from karat.names import ARCHIVED, CHAMPION, STAGE_ALIASES
from karat.registry import ModelVersion


@public_verbs
class MlflowClient:
    """MLflow's calls that read and move aliases, for any spelling of a model and a stage."""

    def __init__(self, client: FeatureEngineeringClient | None = None) -> None:
        self.models = ModelRegistry(client)

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion | None:
        """Return the version with the alias, or None.

        Args:
            name: Name of the model, in any spelling.
            alias: Alias or stage, in any case.

        Returns:
            The version; None if the model or the alias does not exist.
        """
        try:
            return self.models.find(name, _parse_alias(alias))
        except (ModelNotFound, NoChampion):
            return None

    def set_registered_model_alias(self, name: str, alias: str, version: str | int) -> None:
        """Set an alias.

        ``Champion`` needs the gates. ``Archived`` leaves a champion as it is until its successor passes them,
        so that the model always has a champion.

        Args:
            name: Name of the model, in any spelling.
            alias: Alias or stage, in any case.
            version: Number of the version.

        Raises:
            PromotionRefused: The version does not pass the gates.
            WrongCall: There is no such alias.
        """
        chosen = self.models.find(name, version)
        if _parse_alias(alias) == ARCHIVED and CHAMPION in chosen.aliases:
            return
        self.models.promote_model(name, version, _parse_alias(alias))


def _parse_alias(text: str) -> str:
    found = STAGE_ALIASES.get(text.lower())
    if found is None:
        raise WrongCall(f"there is no alias {text!r}", remedy=did_you_mean(text, STAGE_ALIASES))
    return found
