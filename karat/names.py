"""Names: ``catalog.schema.table``, registered models and their aliases, features. All are made and parsed here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from karat.errors import WrongCall
from karat.settings import ENVIRONMENTS

SCHEMAS = ("gold", "features", "models", "predictions", "monitoring")
CHAMPION, CHALLENGER, ARCHIVED = "champion", "challenger", "archived"

#: Spellings of a model's stage, as MLflow and users write them, in lower case -> the alias.
STAGE_ALIASES = {
    "production": CHAMPION,
    "champion": CHAMPION,
    "staging": CHALLENGER,
    "challenger": CHALLENGER,
    "archived": ARCHIVED,
}
#: Schemas of tables that no model is registered in. ``features`` is a second spelling of ``models``, as documents of
#: Databricks register a model beside its features.
_NO_MODELS = frozenset(SCHEMAS) - {"features", "models"}
#: Folders are named after tables, and file systems end a name at 255 bytes.
LONGEST_PART = 200
_PART = re.compile(rf"^[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_PART - 1}}}\Z")
#: A version: MLflow keeps it as a 32-bit integer. ``str.isdigit`` would let an exponent pass.
_NUMBER = re.compile(r"^[0-9]{1,9}$")


@dataclass(frozen=True, order=True)
class TableName:
    """The full name of a table: ``catalog.schema.table``."""

    catalog: str
    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"

    @classmethod
    def parse(cls, text: str | TableName, *, catalog: str | None = None, schema: str = "features") -> TableName:
        """Parse a table name of one, two or three parts.

        Args:
            text: ``table``, ``schema.table`` or ``catalog.schema.table``; a TableName is returned as it is.
            catalog: The catalog of a name that has none.
            schema: The schema of a bare table name.

        Returns:
            The full name.

        Raises:
            WrongCall: The catalog is missing, or a part is empty or no identifier.
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
                remedy=f"write catalog.schema.table in letters, digits and underscores, {LONGEST_PART} each at most",
            )
        return cls(*parts)


def pinned_copy(name: TableName, version: int) -> TableName:
    """The table that holds the rest of a pinned version after a person was erased from it."""
    return TableName(name.catalog, "models", f"pinned__{name.schema}__{name.table}__v{version}")


def prediction_log_name(catalog: str) -> TableName:
    """The table that logs a catalog's online predictions."""
    return TableName(catalog, "monitoring", "prediction_log")


def catalog_of(project: str, environment: str) -> str:
    """The catalog of a project: ``health_monitor``, ``dev`` -> ``health_monitor_dev``."""
    return f"{project}_{environment}"


def project_of(catalog: str) -> str:
    """The project of a catalog: ``health_monitor_dev`` -> ``health_monitor``; one without environment is its own."""
    head, _, tail = catalog.rpartition("_")
    return head if head and tail in ENVIRONMENTS else catalog


@dataclass(frozen=True, order=True)
class ModelName:
    """The name of a registered model: ``catalog.schema.NAME``; declared models are in the schema ``models``."""

    catalog: str
    name: str
    schema: str = "models"

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.name}"

    @property
    def short(self) -> str:
        """The name within its catalog: ``churn``, or ``team_a.churn`` in a schema of its own."""
        return self.name if self.schema == "models" else f"{self.schema}.{self.name}"

    @classmethod
    def of_short(cls, catalog: str, short: str) -> ModelName:
        """Return the model of that catalog and ``short`` name."""
        schema, _, name = short.rpartition(".")
        return cls(catalog, name, schema or "models")

    @classmethod
    def parse(cls, text: str | ModelName, *, catalog: str | None = None) -> ModelName:
        """Parse the name of a registered model.

        Args:
            text: ``name``, ``schema.name`` or ``catalog.schema.name``. Two schemas are two models, except that
                ``features`` means ``models``.
            catalog: The catalog of a name that has none.

        Returns:
            The full name.

        Raises:
            WrongCall: The catalog is missing, a part is empty or no identifier, or the schema holds tables alone.
        """
        if isinstance(text, ModelName):
            return text
        table = TableName.parse(text, catalog=catalog, schema="models")
        if table.schema in _NO_MODELS:
            raise WrongCall(
                f"the schema {table.schema!r} holds tables, no models",
                where=str(text),
                remedy=f"write {table.catalog}.models.{table.table}, or a schema of your own",
            )
        return cls(table.catalog, table.table, "models" if table.schema == "features" else table.schema)


@dataclass(frozen=True)
class ModelRef:
    """A reference to one version of a registered model: by number, by alias, or ``latest``."""

    model: ModelName
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, uri: str, *, catalog: str | None = None) -> ModelRef:
        """Parse a model URI.

        Args:
            uri: ``models:/N/3``, ``models:/N@champion``, ``models:/N/Production``, ``models:/N/latest``, or ``N`` for
                the
                champion of N.
            catalog: The catalog of a name that has none.

        Returns:
            The reference.

        Raises:
            WrongCall: The URI has neither a version nor an alias, or its name is wrong.
        """
        body = uri.removeprefix("models:/")
        name, at, alias = body.partition("@")
        if not at:
            name, slash, alias = body.partition("/")
            alias = alias if slash else CHAMPION
        model = ModelName.parse(name, catalog=catalog)
        if _NUMBER.match(alias):
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
    """A reference to a feature: ``table:feature``, as Feast writes it; ``table`` may be a full or a short name."""

    table: str
    feature: str

    def __str__(self) -> str:
        return f"{self.table}:{self.feature}"

    @classmethod
    def parse(cls, text: str | FeatureRef) -> FeatureRef:
        """Parse a reference to a feature.

        Args:
            text: ``table:feature``; a FeatureRef is returned as it is.

        Returns:
            The reference.

        Raises:
            WrongCall: The text has another form.
        """
        if isinstance(text, FeatureRef):
            return text
        table, _, feature = text.partition(":")
        if not _PART.match(feature) or not all(_PART.match(p) for p in table.split(".")):
            raise WrongCall(
                f"{text!r} is not a reference to a feature",
                remedy="write table:feature, as in patient_demographics:age, or catalog.schema.table:feature",
            )
        return cls(table, feature)
