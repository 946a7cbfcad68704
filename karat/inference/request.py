"""Prediction request: checked against the model's keys and features before anything is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TypeGuard

from karat.clock import to_utc
from karat.errors import InvalidRequest, LookupKeyMismatch, did_you_mean
from karat.online import KeyValue, Value, coerce_key


@dataclass(frozen=True)
class PredictionRequest:
    """Request for one prediction.

    Attributes:
        entity_id: The key of a model whose rows have one key column.
        keys: Key column -> value.
        features: Feature -> value, in place of what would be looked up.
        as_of_date: The moment to predict as of, with its time zone; None is now.
        explain: Whether the answer lists contributions.
        entity_type: What the entity is, as ``customer`` for ``customer_id``; None is whatever the model's rows are.
    """

    entity_id: str | int | None = None
    keys: Mapping[str, object] = field(default_factory=dict)
    features: Mapping[str, object] = field(default_factory=dict)
    as_of_date: datetime | None = None
    explain: bool = True
    entity_type: str | None = None

    def moment(self) -> datetime | None:
        """``as_of_date`` in UTC. Raises InvalidRequest for one without a time zone, or outside of the calendar."""
        return None if self.as_of_date is None else moment_of(self.as_of_date)

    def key_values(self, columns: Mapping[str, str], optional: Collection[str]) -> dict[str, KeyValue]:
        """The values of the key ``columns`` (name -> type); ``optional`` ones, times, may be absent.

        Raises InvalidRequest for a key that is missing, unknown, given twice, or of another type.
        """
        given = dict(self.keys)
        needed = [c for c in columns if c not in optional]
        if self.entity_id is not None:
            if len(needed) != 1:
                raise InvalidRequest(
                    f"the model's rows have {len(needed)} key columns, so entity_id does not say which row is meant",
                    where="entity_id",
                    remedy=f"give keys with {', '.join(needed)}",
                )
            if given.get(needed[0], self.entity_id) != self.entity_id:
                raise InvalidRequest(
                    f"keys.{needed[0]} is another than entity_id", where="entity_id", remedy="give one"
                )
            given[needed[0]] = self.entity_id
        for name in given:
            if name not in columns:
                raise InvalidRequest(
                    f"the model has no key column {name!r}", where=f"keys.{name}", remedy=did_you_mean(name, columns)
                )
        for name in needed:
            if given.get(name) is None:
                field_name = "entity_id" if len(needed) == 1 and not self.keys else f"keys.{name}"
                raise InvalidRequest(
                    f"the key column {name!r} is missing", where=field_name, remedy=f"give {', '.join(needed)}"
                )
        return {name: _key(value, columns[name], name) for name, value in given.items() if value is not None}

    def feature_values(self, types: Mapping[str, str]) -> dict[str, Value]:
        """The given features as plain values of their ``types``. Raises InvalidRequest."""
        return typed_values(self.features, types, "features")


def moment_of(as_of: datetime) -> datetime:
    """The moment that a request names, in UTC.

    Raises:
        InvalidRequest: It has no time zone, or is no time that can be looked up.
    """
    if as_of.tzinfo is None:
        raise InvalidRequest(
            "as_of_date has no time zone", where="as_of_date", remedy="write it as in 2026-01-15T10:30:00Z"
        )
    try:
        return to_utc(as_of)
    except ValueError as error:
        raise InvalidRequest(str(error), where="as_of_date", remedy="give a moment of your data") from error


def typed_values(values: Mapping[str, object], types: Mapping[str, str], where: str) -> dict[str, Value]:
    """``values`` in their ``types``; None stays. Raises InvalidRequest, which names the field under ``where``."""
    out = {}
    for name, value in values.items():
        if name not in types:
            raise InvalidRequest(
                f"the model has no feature {name!r}", where=f"{where}.{name}", remedy=did_you_mean(name, types)
            )
        out[name] = None if value is None else _value(value, types[name], f"{where}.{name}")
    return out


def _key(value: object, dtype: str, name: str) -> KeyValue:
    try:
        return coerce_key(value, dtype, name)
    except LookupKeyMismatch as error:
        raise InvalidRequest(error.what, where=f"keys.{name}", remedy=error.remedy) from error


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _time(value: object) -> datetime:
    out = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(out, datetime) or out.tzinfo is None:
        raise ValueError(value)
    return out.astimezone(UTC)


def _float(value: object) -> float:
    if not _is_number(value):
        raise ValueError(value)
    return float(value)


def _int(value: object) -> int:
    if not _is_number(value) or not float(value).is_integer():
        raise ValueError(value)
    return int(value)


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _date(value: object) -> date:
    return date.fromisoformat(_text(value))


_READ: dict[str, tuple[Callable[[object], Value], str]] = {
    "float64": (_float, "a finite number"),
    "int64": (_int, "a whole number"),
    "bool": (_bool, "true or false"),
    "string": (_text, "a text"),
    "date": (_date, "a date, as in 2026-01-15"),
    "timestamp": (_time, "a time with its zone, as in 2026-01-15T10:30:00Z"),
}


def _value(value: object, dtype: str, where: str) -> Value:
    inner, _, length = dtype.rstrip("]").partition("[")
    if length:
        return _sequence(value, inner, int(length), where)
    read, expected = _READ[dtype]
    try:
        return read(value)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{value!r} is not {expected}", where=where, remedy="give such a value, or null"
        ) from error


def _sequence(value: object, dtype: str, length: int, where: str) -> list[Value]:
    if not isinstance(value, list) or len(value) != length:
        raise InvalidRequest(
            f"{value!r} is not a list of {length} values, oldest first",
            where=where,
            remedy="give null where one is missing",
        )
    return [None if v is None else _value(v, dtype, f"{where}.{i}") for i, v in enumerate(value)]
