"""Online store: the latest row of every entity, read in microseconds. One file per backend, found by its name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from karat.errors import WrongCall, did_you_mean
from karat.extras import optional_imports
from karat.online._expiry import is_expired, lookback_microseconds
from karat.online._keys import KeyCodec, coerce_key
from karat.online._publish import PublishResult, publish_table
from karat.online._row_reader import Row, RowReader
from karat.online._store import Index, KeySpace, OnlineStore, PublishState
from karat.online._tails import MARGIN, EventSource, Tail, TailReader
from karat.online._values import Keys, KeyValue, Value, Values
from karat.settings import Settings

__all__ = [
    "MARGIN",
    "EventSource",
    "Index",
    "KeyCodec",
    "KeySpace",
    "KeyValue",
    "Keys",
    "OnlineStore",
    "PublishResult",
    "PublishState",
    "Row",
    "RowReader",
    "Tail",
    "TailReader",
    "Value",
    "Values",
    "backends",
    "coerce_key",
    "is_expired",
    "lookback_microseconds",
    "open_store",
    "publish_table",
]


def backends() -> tuple[str, ...]:
    """List the kinds of online store: the files of this folder without a leading underscore."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py")))


def load_backend(kind: str) -> type[OnlineStore]:
    """The class ``Store`` of ``karat/online/KIND.py``. Raises WrongCall with the nearest kind, MissingExtra."""
    if kind not in backends():
        raise WrongCall(
            f"there is no online store of kind {kind!r}",
            where="KARAT_ONLINE__KIND",
            remedy=did_you_mean(kind, backends()),
        )
    with optional_imports():
        store: type[OnlineStore] = import_module(f"karat.online.{kind}").Store
    return store


def open_store(settings: Settings) -> OnlineStore:
    """Open the online store of these settings; one process gets the same store each time.

    Raises:
        WrongCall: The kind is unknown.
        StoreUnreachable: The store can't be opened.
    """
    return load_backend(settings.online.kind).open(settings)
