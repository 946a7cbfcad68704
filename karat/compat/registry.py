"""Model registry with stages; only the promotion gates make a champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from karat.boundary import public_verbs
from karat.client import FeatureEngineeringClient
from karat.compat.comparison import compare_versions
from karat.compat.declaration_index import DeclarationIndex, spellings
from karat.compat.served_model import ServedModel
from karat.declare import ModelSpec, Project
from karat.errors import ModelNotFound, PromotionRefused, UnknownModel, WrongCall, did_you_mean
from karat.lifecycle import Decision, ModelContext, promote, register_fitted
from karat.names import ARCHIVED, CHALLENGER, CHAMPION, STAGE_ALIASES, ModelName
from karat.registry import ModelVersion, Registry
from karat.settings import Settings
from karat.training_sets.training_set import TrainingSet

Version = str | int | None


@public_verbs
class ModelRegistry:
    """Versions of declared models and of models logged by hand, by any spelling of their name."""

    def __init__(self, client: FeatureEngineeringClient | None = None) -> None:
        self.client = client or FeatureEngineeringClient(settings=Settings())
        self.declared = DeclarationIndex(self.client.settings, self.client.catalog)

    @property
    def registry(self) -> Registry:
        """The client's registry."""
        return self.client.registry

    def register_model(
        self,
        model: Any,
        model_name: str,
        metrics: Mapping[str, float] | None = None,
        parameters: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        training_set: TrainingSet | None = None,
    ) -> ModelVersion:
        """Register a fitted estimator.

        Under a declared name it gets that model's lookups and label, and Karat evaluates it on the
        declaration's test rows; the given ``metrics`` become tags ``reported.NAME``. Under another name it
        needs the ``training_set`` of its fit.

        Args:
            model: A fitted estimator of scikit-learn, XGBoost or LightGBM.
            model_name: Name of the model, in any spelling.
            metrics: Reported metrics, kept as tags.
            parameters: Parameters of the fit.
            tags: Tags of the version.
            training_set: The training set of the fit; not needed for a declared model.

        Returns:
            The registered version.

        Raises:
            WrongCall: The name is not declared and there is no training set.
            SignatureError: The model does not fit the features.
            UntrustedModel: The model holds types that are not trusted.
        """
        if training_set is not None:
            name = model_name if model_name.count(".") else self._plain(model_name)
            return self.client.log_model(
                model,
                training_set=training_set,
                registered_model_name=name,
                metrics=metrics,
                parameters=parameters,
                tags=tags,
            )
        try:
            project, spec = self.declared.model(model_name)
        except UnknownModel as error:
            raise WrongCall(
                f"{model_name!r} is not declared, so its features are unknown",
                where="register_model",
                remedy=f"{error.remedy} Or give training_set=, as create_training_set makes it",
            ) from None
        context = ModelContext(project, spec, self.client.lake, self.registry)
        return register_fitted(context, model, reported=metrics, parameters=parameters, tags=tags)

    def load_model(self, model_name: str, version: Version = None) -> ServedModel:
        """Load the champion, or a version by number, alias, stage or ``latest``.

        Args:
            model_name: Name of the model, in any spelling.
            version: Number, alias, stage or ``latest``; the champion by default.

        Returns:
            The loaded version.

        Raises:
            ModelNotFound: There is no such model or version.
            NoChampion: The model has no champion.
        """
        found = self.registry.load(self.find(model_name, version))
        return ServedModel(found, str(found.name), found.version, found.run_id, tuple(found.features))

    def promote_model(self, model_name: str, version: Version = None, stage: str = "Production") -> ModelVersion:
        """Put a version (by default the challenger) into a stage.

        ``Production`` (Champion) needs the gates of its declaration. ``Staging`` (Challenger) makes it the next
        candidate. ``Archived`` is refused for the champion, which its successor archives.

        Args:
            model_name: Name of the model, in any spelling.
            version: Number or alias; the challenger by default.
            stage: ``Production``, ``Staging`` or ``Archived``, or the alias that it means.

        Returns:
            The version as it is afterwards.

        Raises:
            PromotionRefused: The version misses a gate; the message says which.
            WrongCall: There is no such stage, or the champion would be archived.
        """
        alias = STAGE_ALIASES.get(stage.lower())
        if alias is None:
            raise WrongCall(
                f"there is no stage {stage!r}", remedy=did_you_mean(stage, [s.title() for s in STAGE_ALIASES])
            )
        chosen = self.find(model_name, CHALLENGER if version is None else version)
        if alias == CHAMPION:
            decision = self.apply_gates(model_name, chosen)
            if not decision.promoted:
                raise PromotionRefused(
                    f"version {chosen.version} of {chosen.name} does not become champion: {decision.reason}",
                    where=f"champion: {decision.champion_version or 'none'}",
                    remedy="train a better version, change the gates in its declaration, or approve a waiting one",
                )
        elif alias == ARCHIVED and CHAMPION in chosen.aliases:
            raise WrongCall(
                f"version {chosen.version} is the champion of {chosen.name}, and a model needs one",
                where="promote_model(stage='Archived')",
                remedy="promote its successor, which archives it",
            )
        else:
            self.registry.set_alias(chosen, alias, f"put into {stage} by hand")
        return self.registry.version(chosen.name, chosen.version)

    def apply_gates(self, model_name: str, version: ModelVersion) -> Decision:
        """Decide by the gates and carry out the decision.

        Args:
            model_name: Name of the model, in any spelling.
            version: The candidate.

        Returns:
            The decision with its reason.

        Raises:
            UnknownModel: No project declares the model.
        """
        declaration = self._declaration(version)
        if declaration is None:
            raise UnknownModel(
                f"{version.name} is not declared, so it has no promotion gates",
                where=f"promotion of {model_name!r}",
                remedy="declare it: projects/PROJECT/models/NAME.yaml, with the gates that it must pass",
            )
        return promote(ModelContext(*declaration, self.client.lake, self.registry), version)

    def archive_model(self, model_name: str, version: Version) -> ModelVersion:
        """Archive a version that is not the champion.

        Args:
            model_name: Name of the model, in any spelling.
            version: Number, alias, stage or ``latest``.

        Returns:
            The version as it is afterwards.
        """
        return self.promote_model(model_name, version, "Archived")

    def get_model_metadata(self, model_name: str, version: Version = None) -> dict[str, Any]:
        """Return a version's stage, metrics, parameters, tags and times; by default the champion's or newest's.

        Args:
            model_name: Name of the model, in any spelling.
            version: Number, alias, stage or ``latest``; the champion by default, else the newest.

        Returns:
            The fields by name.
        """
        found = self.find(model_name, version) if version is not None else self._champion_or_newest(model_name)
        told = self.registry.metadata(found)
        return {
            "name": str(found.name),
            "version": found.version,
            "run_id": found.run_id,
            "stage": found.aliases[0] if found.aliases else "none",
            "aliases": list(found.aliases),
            "metrics": dict(found.metrics),
            "baseline": dict(found.baseline),
            "reported_metrics": dict(told.reported or {}),
            "parameters": self.registry.parameters(found),
            "tags": dict(found.tags),
            "features": list(told.features),
            "task": told.task,
            "kind": told.kind,
            "created_at": found.created,
            "deployed_at": found.own_tags.alias(CHAMPION).since if CHAMPION in found.aliases else None,
            "decision": str(found.own_tags.decision) if found.own_tags.decision else None,
        }

    def compare_models(
        self, model_name: str, version1: Version, version2: Version, metrics: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Return both versions' values by metric, the difference (second less first) and the better version.

        Both are scored on the second's test rows if the model is declared (``rows`` counts them). Otherwise
        recorded metrics are compared, each of its own rows.

        Args:
            model_name: Name of the model, in any spelling.
            version1: First version.
            version2: Second version.
            metrics: Metrics to compare; all that both have by default.

        Returns:
            ``version1``, ``version2``, ``rows`` and, by metric, both values, ``difference`` and ``better``.

        Raises:
            WrongCall: A version lacks a metric.
        """
        one, two = self.find(model_name, version1), self.find(model_name, version2)
        return compare_versions(self.client, self._declaration(two), one, two, metrics)

    def find(self, model_name: str, version: Version = None) -> ModelVersion:
        """Return a version by any spelling of the model's name; by default the champion.

        Args:
            model_name: Name of the model, in any spelling.
            version: Number, alias, stage or ``latest``; the champion by default.

        Returns:
            The version.

        Raises:
            ModelNotFound: There is no such model or version.
            NoChampion: The model has no champion.
        """
        name = self._name(model_name)
        if version is None:
            return self.registry.resolve(f"models:/{name}@{CHAMPION}")
        text = str(version)
        return self.registry.resolve(f"models:/{name}/{text.removeprefix('v') if text[1:].isdigit() else text}")

    def _name(self, text: str) -> ModelName:
        """Return the registered or declared model of that spelling."""
        wanted = set(spellings(text))
        known = self.registry.models(self.client.catalog)
        found = [n for n in known if wanted & {n.short.lower(), str(n).lower()}]
        declared = [p.model_name(m.name) for p, m in self.declared.models(text)]
        choices = sorted({*found, *declared})
        if len(choices) > 1:
            raise WrongCall(f"{text!r} may mean several", remedy=f"write one of: {', '.join(map(str, choices))}")
        if not choices:
            raise ModelNotFound(
                f"there is no model {text!r}",
                where=self.registry.tracking_uri,
                remedy=did_you_mean(text, {n.short for n in known}) or "register one first",
            )
        return choices[0]

    def _plain(self, text: str) -> str:
        return list(spellings(text))[-1]

    def _champion_or_newest(self, model_name: str) -> ModelVersion:
        name = self._name(model_name)
        return self.registry.champion(name) or self.find(model_name, "latest")

    def _declaration(self, version: ModelVersion) -> tuple[Project, ModelSpec] | None:
        """Return the declaration of a registered model."""
        found = self.declared.models(str(version.name))
        return next(((p, m) for p, m in found if p.model_name(m.name) == version.name), None)
