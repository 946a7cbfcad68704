"""Typed configuration of a model: ``load_model_config("churn").data.features_table``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from karat.boundary import public_verb
from karat.client import FeatureEngineeringClient
from karat.compat.declaration_index import DeclarationIndex
from karat.declare import ModelSpec, Project
from karat.settings import Settings


class _ConfigSection(BaseModel):
    """A frozen section, read by attribute or by ``config["data"]``."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def __getitem__(self, name: str) -> Any:
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)


class DataConfig(_ConfigSection):
    """Source of the rows; ``features_table`` is the first of ``features_tables``."""

    catalog: str
    features_table: str
    features_tables: tuple[str, ...]
    features: tuple[str, ...]
    primary_key: tuple[str, ...]
    label: str
    label_table: str
    label_expression: str


class AlgorithmConfig(_ConfigSection):
    """The kind, its parameters and the decision threshold."""

    kind: str
    task: str
    parameters: dict[str, Any]
    class_weight: str | None
    threshold: float


class TrainingConfig(_ConfigSection):
    """The split and the least number of rows."""

    split_by: str | None
    test_size: float
    seed: int
    minimum_rows: int


class ValidationConfig(_ConfigSection):
    """The promotion gates: ``margin`` over the champion, and ``thresholds`` to reach."""

    primary_metric: str
    margin: float
    thresholds: dict[str, float]


class ModelConfig(_ConfigSection):
    """A model's declaration in sections; ``spec`` is the declaration itself."""

    name: str
    project: str
    registered_name: str
    description: str
    owner: str
    data: DataConfig
    model: AlgorithmConfig
    training: TrainingConfig
    validation: ValidationConfig
    spec: ModelSpec


@public_verb
def load_model_config(name: str, client: FeatureEngineeringClient | None = None) -> ModelConfig:
    """Load the configuration of a declared model, in any spelling of its name.

    Args:
        name: Name of the model, in any spelling.
        client: The client; by default one on ``KARAT_HOME``.

    Returns:
        The typed configuration.

    Raises:
        UnknownModel: No project declares it; the message has the nearest name.
        WrongCall: Several projects declare it.
        DeclarationError: The declaration is wrong.
    """
    settings = client.settings if client else Settings()
    return _model_config(*DeclarationIndex(settings, client.catalog if client else None).model(name))


def _model_config(project: Project, spec: ModelSpec) -> ModelConfig:
    tables = [project.tables[lookup.table] for lookup in spec.lookups]
    features = [
        f.name
        for lookup, table in zip(spec.lookups, tables, strict=True)
        for f in table.stored
        if (lookup.features == "*" or f.name in lookup.features) and f.name not in lookup.exclude
    ]
    names = tuple(str(project.table_name(t.name)) for t in tables)
    return ModelConfig(
        name=spec.name,
        project=project.name,
        registered_name=str(project.model_name(spec.name)),
        description=spec.description,
        owner=spec.owner or project.spec.owner,
        data=DataConfig(
            catalog=project.catalog,
            features_table=names[0],
            features_tables=names,
            features=tuple(features),
            primary_key=project.tables[spec.spine_table].primary_key,
            label=spec.target or "",
            label_table=str(project.gold_name(spec.label.source)) if spec.label else "",
            label_expression=spec.label.written if spec.label else "",
        ),
        model=AlgorithmConfig(
            kind=spec.kind,
            task=spec.task,
            parameters=spec.parameters,
            class_weight=spec.class_weight,
            threshold=spec.threshold,
        ),
        training=TrainingConfig(
            split_by=spec.split.by, test_size=spec.split.test, seed=spec.seed, minimum_rows=spec.minimum_rows
        ),
        validation=ValidationConfig(
            primary_metric=spec.primary_metric, margin=spec.gates.margin, thresholds=spec.gates.floors
        ),
        spec=spec,
    )
