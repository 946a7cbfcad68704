"""Every name is made and mapped here: ``catalog.schema.table``, registered models, aliases."""

from __future__ import annotations

import re
from dataclasses import dataclass

from karat.errors import WrongCall
from karat.settings import ENVIRONMENTS

SCHEMAS = ("gold", "features", "models", "predictions", "monitoring")
CHAMPION, CHALLENGER, ARCHIVED = "champion", "challenger", "archived"

# The documents' spellings of a model's stage (000: /Production, 002: Staging, 003: Champion, Archived).
STAGE_ALIASES = {
    "production": CHAMPION,
    "champion": CHAMPION,
    "staging": CHALLENGER,
    "challenger": CHALLENGER,
    "archived": ARCHIVED,
}
_PART = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True, order=True)
class TableName:
    """``catalog.schema.table``, all three parts."""

    catalog: str
    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"

    @classmethod
    def parse(cls, text: str | TableName, *, catalog: str | None = None, schema: str = "features") -> TableName:
        """A bare name is read in ``schema`` of ``catalog``, a two-part name in ``catalog``.

        Raises WrongCall where a part is missing, empty or not an identifier.
        """
        if isinstance(text, TableName):
            return text
        parts = text.split(".")
        if len(parts) == 1:
            parts = [schema, *parts]
        if len(parts) == 2:
            if catalog is None:
                raise WrongCall(
                    f"the table name {text!r} has no catalog",
                    remedy="write catalog.schema.table, or give the client a catalog: "
                    "FeatureEngineeringClient(catalog='customers_dev')",
                )
            parts = [catalog, *parts]
        if len(parts) != 3 or not all(_PART.match(p) for p in parts):
            raise WrongCall(
                f"{text!r} is not a table name",
                remedy="write catalog.schema.table in letters, digits and underscores",
            )
        return cls(*parts)


def pinned_copy(name: TableName, version: int) -> TableName:
    """The table that holds what is left of a pinned version from which somebody was erased."""
    return TableName(name.catalog, "models", f"pinned__{name.schema}__{name.table}__v{version}")


def prediction_log_name(catalog: str) -> TableName:
    """The table of what was predicted online."""
    return TableName(catalog, "monitoring", "prediction_log")


def catalog_of(project: str, environment: str) -> str:
    """``health_monitor``, ``dev`` -> ``health_monitor_dev``."""
    return f"{project}_{environment}"


def project_of(catalog: str) -> str:
    """``health_monitor_dev`` -> ``health_monitor``; a catalog without an environment is its own project."""
    head, _, tail = catalog.rpartition("_")
    return head if head and tail in ENVIRONMENTS else catalog


@dataclass(frozen=True, order=True)
class ModelName:
    """A registered model: ``catalog.models.NAME``."""

    catalog: str
    name: str

    def __str__(self) -> str:
        return f"{self.catalog}.models.{self.name}"

    @classmethod
    def parse(cls, text: str | ModelName, *, catalog: str | None = None) -> ModelName:
        """Takes ``name``, ``schema.name`` and ``catalog.schema.name`` (the documents write ``features`` as schema)."""
        if isinstance(text, ModelName):
            return text
        table = TableName.parse(text, catalog=catalog, schema="models")
        return cls(table.catalog, table.table)


@dataclass(frozen=True)
class ModelRef:
    """One version of a registered model: by number, by alias, or the ``latest``."""

    model: ModelName
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, uri: str, *, catalog: str | None = None) -> ModelRef:
        """``models:/N/3``, ``models:/N@champion``, ``models:/N/Production``, ``models:/N/latest``, or ``N``.

        A name alone means its champion. Raises WrongCall where the rest is none of these.
        """
        body = uri.removeprefix("models:/")
        name, at, alias = body.partition("@")
        if not at:
            name, slash, alias = body.partition("/")
            alias = alias if slash else CHAMPION
        model = ModelName.parse(name, catalog=catalog)
        if alias.isdigit():
            return cls(model, version=int(alias))
        if alias == "latest":
            return cls(model, alias="latest")
        mapped = STAGE_ALIASES.get(alias.lower())
        if mapped is None:
            raise WrongCall(
                f"{alias!r} is neither a version nor an alias of a model",
                where=uri,
                remedy="write models:/NAME@champion, models:/NAME@challenger, models:/NAME/3 or models:/NAME/latest",
            )
        return cls(model, alias=mapped)

    def __str__(self) -> str:
        return f"models:/{self.model}/{self.version}" if self.version else f"models:/{self.model}@{self.alias}"


@dataclass(frozen=True, order=True)
class FeatureRef:
    """``table:feature``, as document 004 and Feast write a feature; ``table`` is as it was written."""

    table: str
    feature: str

    def __str__(self) -> str:
        return f"{self.table}:{self.feature}"

    @classmethod
    def parse(cls, text: str | FeatureRef) -> FeatureRef:
        """Raises WrongCall where ``text`` is not of that form."""
        if isinstance(text, FeatureRef):
            return text
        table, _, feature = text.partition(":")
        if not _PART.match(feature) or not all(_PART.match(p) for p in table.split(".")):
            raise WrongCall(
                f"{text!r} is not a reference to a feature",
                remedy="write table:feature, as in patient_demographics:age, or catalog.schema.table:feature",
            )
        return cls(table, feature)
