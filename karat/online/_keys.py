"""Key codec: typed keys as order-preserving, self-delimiting bytes, so that no two keys share one encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

from karat.clock import (
    EPOCH,
    EPOCH_ORDINAL,
    FIRST_YEAR,
    LAST_YEAR,
    MICROSECOND,
    check_year,
    days,
    microseconds,
    to_utc,
)
from karat.errors import LookupKeyMismatch, SchemaMismatch
from karat.online._values import KeyValue

# LMDB takes keys of up to 511 bytes. A longer one keeps its beginning, for the order, and ends in its digest.
_LONGEST, _HEAD, _DIGEST = 480, 440, 32
#: Characters of a text that a request gives as a key.
LONGEST_TEXT = 4000
_STRING, _INT64, _DATE, _TIMESTAMP, _HASHED = b"\x02", b"\x10", b"\x11", b"\x12", b"\xff"


def _encode_string(value: str) -> bytes:
    return _STRING + value.encode().replace(b"\x00", b"\x00\xff") + b"\x00"


def _encode_int(value: int) -> bytes:
    return _INT64 + (value + (1 << 63)).to_bytes(8, "big")


def _encode_date(value: date) -> bytes:
    return _DATE + (days(value) + (1 << 31)).to_bytes(4, "big")


def _encode_timestamp(value: datetime) -> bytes:
    return _TIMESTAMP + (microseconds(value) + (1 << 63)).to_bytes(8, "big")


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "string": _encode_string,
    "int64": _encode_int,
    "date": _encode_date,
    "timestamp": _encode_timestamp,
}


def _take_string(key: bytes, start: int) -> tuple[str, int]:
    end = key.index(b"\x00", start)
    while key[end + 1 : end + 2] == b"\xff":
        end = key.index(b"\x00", end + 2)
    return key[start:end].replace(b"\x00\xff", b"\x00").decode(), end + 1


def _take(key: bytes, at: int) -> tuple[KeyValue, int]:
    """The value that begins at ``at`` with its tag, and where the next begins."""
    tag, start = key[at : at + 1], at + 1
    if tag == _STRING:
        return _take_string(key, start)
    if tag == _DATE:
        ordinal = int.from_bytes(key[start : start + 4], "big") - (1 << 31) + EPOCH_ORDINAL
        return date.fromordinal(ordinal), start + 4
    number = int.from_bytes(key[start : start + 8], "big") - (1 << 63)
    return (EPOCH + number * MICROSECOND if tag == _TIMESTAMP else number), start + 8


class KeyCodec:
    """Encodes the values of some key columns; ``dtypes`` are string, int64, date or timestamp.

    The bytes sort as the tuples of values do (but for keys of more than 480 bytes, which are cut and end in their
    digest). Raises SchemaMismatch for another type.
    """

    def __init__(self, columns: Sequence[str], dtypes: Sequence[str]) -> None:
        for column, dtype in zip(columns, dtypes, strict=True):
            if dtype not in _ENCODERS:
                raise SchemaMismatch(
                    f"key column {column!r} is of type {dtype}",
                    remedy="a key is made of strings, 64-bit integers, dates or timestamps",
                )
        self.columns, self.dtypes = tuple(columns), tuple(dtypes)
        self._encoders = tuple(_ENCODERS[d] for d in dtypes)

    def encode(self, values: Sequence[KeyValue | None]) -> bytes:
        """Values of the declared types, none of them None, to bytes."""
        key = b"".join([encoder(value) for encoder, value in zip(self._encoders, values, strict=True)])
        if len(key) <= _LONGEST:
            return key
        return _HASHED + key[:_HEAD] + hashlib.blake2b(key, digest_size=_DIGEST).digest()

    def decode(self, key: bytes) -> tuple[KeyValue, ...] | None:
        """The values again; None where the key was so long that only its digest was kept."""
        if key[:1] == _HASHED:
            return None
        values, at = [], 0
        for _ in self.columns:
            value, at = _take(key, at)
            values.append(value)
        return tuple(values)


def _coerce_int(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.strip().lstrip("-").isdigit() and str(int(value)) == value.strip():
        value = int(value)
    return value if isinstance(value, int) and -(1 << 63) <= value < (1 << 63) else None


def _coerce_date(value: object) -> date | None:
    if isinstance(value, datetime):
        value = value.date() if value.timetz().replace(tzinfo=None) == datetime.min.time() else None
    if isinstance(value, str):
        value = date.fromisoformat(value)
    if not isinstance(value, date):
        return None
    check_year(value)
    return value


def _coerce_timestamp(value: object) -> datetime | None:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return to_utc(value)
    return None


def _coerce_string(value: object) -> str | None:
    if not isinstance(value, int | str):
        return None
    text = str(value)
    text.encode()  # JSON can carry half a character, which is no text: a ValueError
    return text if len(text) <= LONGEST_TEXT else None


_COERCERS: dict[str, Callable[[object], KeyValue | None]] = {
    "string": _coerce_string,
    "int64": _coerce_int,
    "date": _coerce_date,
    "timestamp": _coerce_timestamp,
}


_YEARS = f"between the years {FIRST_YEAR} and {LAST_YEAR}"
_EXPECTED = {
    "string": f"of type string with up to {LONGEST_TEXT:,} characters",
    "date": f"of type date {_YEARS}",
    "timestamp": f"a timestamp with its time zone {_YEARS}",
}


def coerce_key(value: object, dtype: str, column: str) -> KeyValue:
    """``value`` as the key column's declared type where that loses nothing. Raises LookupKeyMismatch otherwise."""
    try:
        out = None if isinstance(value, bool) else _COERCERS[dtype](value)
    except ValueError:
        out = None
    if out is None:
        kind = _EXPECTED.get(dtype, f"of type {dtype}")
        raise LookupKeyMismatch(f"{value!r} is not {kind}", where=f"key column {column}", remedy="give such a value")
    return out
