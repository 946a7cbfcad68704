"""A prediction request, checked against what the model knows before anything is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from karat.errors import InvalidRequest, LookupKeyMismatch, did_you_mean
from karat.online import coerce_key


@dataclass(frozen=True)
class PredictionRequest:
    """``entity_id`` serves a model whose rows have one key column; ``keys`` names each. ``features`` override what
    would be looked up; ``as_of_date`` (with a time zone) asks for the prediction as of then; ``explain`` False leaves
    the contributions out."""

    entity_id: str | int | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    as_of_date: datetime | None = None
    explain: bool = True

    def moment(self) -> datetime | None:
        """``as_of_date`` in UTC. Raises InvalidRequest for one without a time zone."""
        if self.as_of_date is None:
            return None
        if self.as_of_date.tzinfo is None:
            raise InvalidRequest(
                "as_of_date has no time zone", where="as_of_date", remedy="write it as in 2026-01-15T10:30:00Z"
            )
        return self.as_of_date.astimezone(UTC)

    def key_values(self, columns: Mapping[str, str], optional: Collection[str]) -> dict[str, Any]:
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

    def feature_values(self, types: Mapping[str, str]) -> dict[str, Any]:
        """The given features as plain values of their ``types``. Raises InvalidRequest."""
        return typed_values(self.features, types, "features")


def typed_values(values: Mapping[str, Any], types: Mapping[str, str], where: str) -> dict[str, Any]:
    """``values`` in their ``types``; None stays. Raises InvalidRequest, which names the field under ``where``."""
    out = {}
    for name, value in values.items():
        if name not in types:
            raise InvalidRequest(
                f"the model has no feature {name!r}", where=f"{where}.{name}", remedy=did_you_mean(name, types)
            )
        out[name] = None if value is None else _value(value, types[name], f"{where}.{name}")
    return out


def _key(value: Any, dtype: str, name: str) -> Any:
    try:
        return coerce_key(value, dtype, name)
    except LookupKeyMismatch as error:
        raise InvalidRequest(error.what, where=f"keys.{name}", remedy=error.remedy) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _time(value: Any) -> datetime:
    out = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(out, datetime) or out.tzinfo is None:
        raise ValueError(value)
    return out.astimezone(UTC)


def _accept(fits: Callable[[Any], bool], convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not fits(value):
            raise ValueError(value)
        return convert(value)

    return read


_READ: dict[str, tuple[Callable[[Any], Any], str]] = {
    "float64": (_accept(_is_number, float), "a finite number"),
    "int64": (_accept(lambda v: _is_number(v) and float(v).is_integer(), int), "a whole number"),
    "bool": (_accept(lambda v: isinstance(v, bool), bool), "true or false"),
    "string": (_accept(lambda v: isinstance(v, str), str), "a text"),
    "date": (_accept(lambda v: isinstance(v, str), date.fromisoformat), "a date, as in 2026-01-15"),
    "timestamp": (_time, "a time with its zone, as in 2026-01-15T10:30:00Z"),
}


def _value(value: Any, dtype: str, where: str) -> Any:
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


def _sequence(value: Any, dtype: str, length: int, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise InvalidRequest(
            f"{value!r} is not a list of {length} values, oldest first",
            where=where,
            remedy="give null where one is missing",
        )
    return [None if v is None else _value(v, dtype, f"{where}.{i}") for i, v in enumerate(value)]
