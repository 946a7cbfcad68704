"""Keys of an entity that the online store knows, for the example of a request."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import islice

from karat.inference.feature_reader.table_read import TableRead
from karat.online import KeyValue, OnlineStore, Value

#: How many keys are tried: of a very long one only the digest is kept.
DECODED = 20


def example_keys(reads: Iterable[TableRead], store: OnlineStore) -> dict[str, KeyValue]:
    """Find one entity of each table.

    Args:
        reads: The tables that a model reads.
        store: The online store.

    Returns:
        Key column of a request -> value; of two tables with the same column, the first decides. Empty if nothing is
        published.

    Raises:
        StoreUnreachable: The store is down.
    """
    found: dict[str, KeyValue] = {}
    for read in reads:
        state = store.state(read.space)
        if state is None:
            continue
        for key, _ in islice(store.scan(read.space), DECODED):
            if (values := state.codec.decode(key)) is not None:
                found = dict(zip(read.key_columns, values, strict=True)) | found
                break
    return found


def plain_key(value: KeyValue) -> Value:
    """A key's value as JSON has it."""
    return value.isoformat() if isinstance(value, date) else value
