"""Request and response schemas of the HTTP interface, as the OpenAPI page shows them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    StringConstraints,
)

#: How many rows one request may bring, and how many columns a row.
MOST_ROWS, MOST_COLUMNS = 1000, 2000
#: Characters of a name, of a key, and of a text that is a feature's value.
LONGEST_NAME, LONGEST_KEY, LONGEST_TEXT = 200, 1000, 10_000


def _up_to(most: int) -> AfterValidator:
    """A text may have ``most`` characters; what is no text is as it is."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and len(value) > most:
            raise ValueError(f"the text has {len(value)} characters, of {most} at most")
        return value

    return AfterValidator(check)


def is_date(given: object) -> bool:
    """Whether a request gives a date alone, as in 2026-01-15."""
    return isinstance(given, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", given) is not None


#: A value whose type the model or table declares; checked there, not by the schema.
JsonField = Any
KeyField = Annotated[Any, _up_to(LONGEST_KEY)]
FeatureField = Annotated[Any, _up_to(LONGEST_TEXT)]
Name = Annotated[str, StringConstraints(max_length=LONGEST_NAME)]
#: ``catalog.schema.table:feature``
Reference = Annotated[StrictStr, StringConstraints(max_length=4 * LONGEST_NAME)]
#: A moment with its time zone. A date means 00:00 UTC, as everywhere.
Moment = Annotated[AwareDatetime, BeforeValidator(lambda given: f"{given}T00:00Z" if is_date(given) else given)]
KeyText = Annotated[StrictStr, StringConstraints(max_length=LONGEST_KEY)]


class PredictBody(BaseModel):
    """A prediction request. Give ``entity_id``, or ``keys`` where a row has several key columns."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"entity_id": "user_123"}, {"keys": {"workspace_id": "ws-1"}, "features": {}}]},
    )

    entity_id: KeyText | StrictInt | None = Field(None, description="the value of a model's only key column")
    entity_type: Name | None = Field(
        None, description="if given, must be what the model's key names: customer for customer_id"
    )
    prediction_type: Name | None = Field(None, description="if given, must mean the model of the address")
    keys: dict[Name, KeyField] | None = Field(None, description="key column -> value", max_length=MOST_COLUMNS)
    features: dict[Name, FeatureField] | None = Field(
        None, description="feature -> value, in place of what is looked up", max_length=MOST_COLUMNS
    )
    as_of_date: Moment | None = Field(None, description="predict with what was known then; a date means 00:00 UTC")
    explain: bool = Field(True, description="false leaves top_features out, and saves their time")

    def fields(self) -> dict[str, JsonField]:
        """Those of a PredictionRequest."""
        return {
            "entity_id": self.entity_id,
            "keys": self.keys or {},
            "features": self.features or {},
            "as_of_date": self.as_of_date,
            "explain": self.explain,
            "entity_type": self.entity_type,
        }


class FeaturesBody(BaseModel):
    """Features by reference for up to 1,000 entity rows (``entity_rows`` is the same as ``entities``)."""

    model_config = ConfigDict(
        extra="forbid",
        validate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "features": ["cost_features:dbu_sum_7d", "cost_features:cost_volatility"],
                    "entities": [{"workspace_id": "ws-1"}, {"workspace_id": "ws-2"}],
                }
            ]
        },
    )

    features: list[Reference] = Field(
        description="table:feature, in the order of the answer", min_length=1, max_length=500
    )
    entities: list[dict[Name, KeyField]] = Field(
        description="key column -> value, one object a row",
        validation_alias=AliasChoices("entities", "entity_rows"),
        min_length=1,
        max_length=MOST_ROWS,
    )
    project: Name | None = Field(
        None, description="where bare tables are; needed where several projects have the table"
    )
    as_of_date: Moment | None = Field(None, description="the values that were known then; a date means 00:00 UTC")


class FeatureRow(BaseModel):
    """Features of one entity."""

    keys: dict[str, JsonField]
    values: list[JsonField]
    statuses: list[str]
    times: list[str | None]


class FeaturesAnswer(BaseModel):
    """Feature values in the order of the entities.

    ``values`` and ``statuses`` are in the order of ``features``; ``times`` are those of the feature rows used.
    """

    features: list[str]
    names: list[str]
    results: list[FeatureRow]
    latency_ms: float


class TopFeature(BaseModel):
    """A feature's contribution to a prediction."""

    feature_name: str
    contribution: float
    value: JsonField
    text: str


class Interval(BaseModel):
    """The ends between which the value lies with the probability ``coverage``; of a forecast by step."""

    low: float | dict[str, float]
    high: float | dict[str, float]
    coverage: float


class Answer(BaseModel):
    """A prediction. ``missing_features`` have no value; ``degraded`` says that they are more than the model declares.

    ``explanation`` has the contributions' unit, method, base, rest and total, and a sentence; or the reason for none.
    """

    prediction_id: str
    entity_id: JsonField
    keys: dict[str, JsonField]
    model: str
    prediction_type: str
    predicted_value: float | dict[str, float] | None
    predicted_class: JsonField
    confidence: float | None
    risk_level: str | None = None
    probabilities: dict[str, float] | None = None
    interval: Interval | None = None
    top_features: list[TopFeature] | None
    explanation: dict[str, JsonField]
    feature_statuses: dict[str, str]
    feature_times: dict[str, str | None]
    degraded: bool
    missing_features: list[str]
    model_version: int
    run_id: str
    prediction_date: str
    latency_ms: float


class Wrong(BaseModel):
    """An error: its class, what is wrong, where, and what to do; ``detail`` lists fields and reasons of a 422."""

    error: str
    what: str
    where: str
    remedy: str
    detail: list[dict[str, JsonField]] = []
    error_id: str | None = None


class Health(BaseModel):
    """Liveness and readiness of this replica."""

    status: str
    ready: bool
    models: int
    loaded: int
    failed: int


class ModelHealth(BaseModel):
    """Document 002's health of a model; the counts are of this replica since the version was loaded."""

    model_name: str
    model_version: int
    status: str
    deployed_at: str
    prediction_count: int
    avg_latency_ms: float | None
    error_rate: float | None
    drift_detected: bool | None
    last_prediction_at: str | None
