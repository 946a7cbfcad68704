"""A project: ``project.yaml``, its gold tables, feature tables and models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from karat.declare.base import Declaration, TimeZone
from karat.declare.batch_tables import BatchTable
from karat.declare.fairness import Fairness
from karat.declare.feature_tables import FeatureTable
from karat.declare.functions import DeclaredFunction
from karat.declare.gold import GoldTable
from karat.declare.models import ModelSpec
from karat.errors import UnknownModel, did_you_mean
from karat.names import ModelName, TableName, catalog_of


def _check_cron(line: str) -> str:
    if len(line.split()) != 5:
        raise ValueError(f"{line!r} is not a cron line: minute, hour, day, month and weekday, as in '0 2 * * *'")
    return line


Cron = Annotated[str, AfterValidator(_check_cron)]


class Schedules(Declaration):
    """Cron lines in the project's time zone."""

    features: Cron = "0 2 * * *"
    inference: Cron = "0 3 * * *"
    training: Cron = "0 4 * * 0"
    master: Cron = "0 2 * * *"
    dataset_drift: Cron = "0 5 * * 1"
    prediction_drift: Cron = "0 5 1 * *"
    fairness: Cron = "0 5 1 1,4,7,10 *"


#: Seconds before each retry where a project names none. A person waits at a laptop, whose services are back within a
#: minute of their death; in production a store or a cluster may take longer, and nobody waits.
LAPTOP_DELAYS, PRODUCTION_DELAYS = (5.0, 15.0, 45.0), (300.0,)


class Retries(Declaration):
    """Retries of every task: how many, and the seconds before each; by the environment where none are named."""

    attempts: int = Field(3, ge=0)
    delay_seconds: float | None = Field(None, ge=0, description="5, 15, then 45 in rnd and dev, 300 elsewhere if unset")

    def delays(self, environment: str) -> tuple[float, ...]:
        """Seconds before the first retry, the second and so on; the last one holds for those that follow."""
        if self.delay_seconds is not None:
            return (self.delay_seconds,)
        return LAPTOP_DELAYS if environment in {"rnd", "dev"} else PRODUCTION_DELAYS


class ProjectSpec(Declaration):
    """The text of ``project.yaml``.

    ``mode`` decides what has schedules: the master deployment, or each pipeline; never both. ``feature_sets`` names
    feature tables that people ask for together. ``batch_tables`` combine the predictions of several models.
    ``environments`` overrides fields for one environment.
    """

    description: str
    owner: str
    timezone: TimeZone = "UTC"
    mode: Literal["master", "independent"] = "master"
    approval: Literal["automatic", "manual"] = "automatic"
    schedules: Schedules = Schedules()
    retries: Retries = Retries()
    feature_timeout_seconds: float = Field(7200, gt=0)
    feature_shards: int | None = Field(None, ge=1, description="pieces by entity; by the rows of gold if unset")
    feature_sets: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    batch_tables: dict[str, BatchTable] = {}
    fairness: Fairness = Field(Fairness(), description="of the models that declare none and have protected columns")
    environments: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _limits_alone(self) -> ProjectSpec:
        if self.fairness.mitigation != "none":
            raise ValueError("fairness of a project has limits alone: write the mitigation in the model's file")
        return self


#: ``sample(scale, seed, end)`` -> gold table name to frame, in the contract's columns; ``end`` is the last day.
#: Each gold file may have one; of the project's, which is all of them, ``tables=`` asks only for these tables.
Sample = Callable[..., dict[str, pl.DataFrame]]

#: ``metrics(model, rows)`` -> name to number: a project's own metrics, of the test rows of each of its models.
Metrics = Callable[[str, pl.DataFrame], Mapping[str, float]]


def gold_files(project: Path) -> tuple[Path, ...]:
    """The files that declare gold tables: ``gold.py``, the files of ``gold/``, or both.

    ``gold/_*.py`` are shared by the other files, and come before them.
    """
    one = project / "gold.py"
    many = sorted((project / "gold").glob("*.py"))
    return (*([one] if one.exists() or not many else []), *many)


@dataclass(frozen=True)
class Project:
    """A loaded and checked project in one environment."""

    name: str
    path: Path
    environment: str
    spec: ProjectSpec
    gold: dict[str, GoldTable] = field(default_factory=dict)
    tables: dict[str, FeatureTable] = field(default_factory=dict)
    models: dict[str, ModelSpec] = field(default_factory=dict)
    sample: Sample | None = None
    functions: dict[str, DeclaredFunction] = field(default_factory=dict)
    metrics: Metrics | None = None

    @property
    def catalog(self) -> str:
        """The catalog of the project's tables in this environment."""
        return catalog_of(self.name, self.environment)

    @property
    def gold_files(self) -> tuple[Path, ...]:
        """Where the gold tables and the sample are declared."""
        return gold_files(self.path)

    def gold_name(self, table: str) -> TableName:
        """The full name of a gold table."""
        return TableName(self.catalog, "gold", table)

    def table_name(self, table: str) -> TableName:
        """The full name of a feature table."""
        return TableName(self.catalog, "features", table)

    def prediction_name(self, model: str) -> TableName:
        """The full name of a model's prediction table, or of a batch table."""
        return TableName(self.catalog, "predictions", model)

    def model_name(self, model: str) -> ModelName:
        """The full name of a model in the registry."""
        return ModelName(self.catalog, model)

    def fairness_of(self, model: ModelSpec) -> Fairness:
        """The fairness limits of a model: its own, or the project's."""
        return model.fairness or self.spec.fairness

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains that have models, sorted."""
        return tuple(sorted({m.domain for m in self.models.values() if m.domain}))

    def select(self, *, domain: str | None = None, models: tuple[str, ...] = ()) -> dict[str, ModelSpec]:
        """Select the models of a domain, or those named; all by default.

        Raises:
            UnknownModel: There is no such domain or model; the message has the nearest name.
        """
        if domain is not None and domain not in self.domains:
            raise UnknownModel(
                f"project {self.name!r} has no domain {domain!r}", remedy=did_you_mean(domain, self.domains)
            )
        for name in models:
            if name not in self.models:
                raise UnknownModel(
                    f"project {self.name!r} has no model {name!r}", remedy=did_you_mean(name, self.models)
                )
        return {
            n: m
            for n, m in self.models.items()
            if (domain is None or m.domain == domain) and (not models or n in models)
        }

    def batch_tables_of(self, models: Iterable[str]) -> tuple[str, ...]:
        """The batch tables that read one of these models."""
        named = set(models)
        return tuple(n for n, t in self.spec.batch_tables.items() if not named.isdisjoint(t.models))

    def gold_of(self, tables: Iterable[str]) -> tuple[str, ...]:
        """The gold tables that these feature tables and the models on them need: sources, labels and planted truths."""
        made = set(tables)
        found = {self.tables[t].source for t in made}
        for model in self.models.values():
            if not made.isdisjoint({model.spine_table, *(lookup.table for lookup in model.lookups)}):
                found |= {part.source for part in (model.label, model.truth) if part is not None}
        return tuple(g for g in self.gold if g in found)

    def tables_of(self, models: dict[str, ModelSpec]) -> tuple[str, ...]:
        """The feature tables that these models read, in the order of their declaration."""
        read = {lookup.table for m in models.values() for lookup in m.lookups} | {
            m.spine_table for m in models.values()
        }
        return tuple(t for t in self.tables if t in read)

    def gold_read_by(self, models: dict[str, ModelSpec]) -> tuple[str, ...]:
        """The gold tables of these models' features and labels, in declared order; training needs all of them."""
        read = {self.tables[t].source for t in self.tables_of(models)}
        read |= {m.label.source for m in models.values() if m.label is not None}
        return tuple(g for g in self.gold if g in read)
