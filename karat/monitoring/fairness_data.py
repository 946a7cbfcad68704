"""The rows on which a champion's fairness is measured: those it was tested on, and those of the quarter since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from karat.declare.declared_model import DeclaredModel
from karat.declare.models import Lookup
from karat.errors import TrainingError
from karat.monitoring.reference_current import Champion, Side
from karat.training.split import TEST
from karat.training_sets.feature_join import join_features
from karat.training_sets.labels import label_spine
from karat.training_sets.lookups import declared_lookups, pin

QUARTER = timedelta(days=91)
#: The tasks that pick some rows and leave others.
TASKS = ("binary", "anomaly")


@dataclass(frozen=True)
class FairnessData:
    """``rows``: ``selected``, ``positive`` and the protected columns, first of the ``tested`` rows, then of the
    ``newer`` ones; ``first`` and ``last``: the days of those newer than the training set, None without any."""

    rows: pl.DataFrame
    told: tuple[str, ...]
    tested: int
    newer: int
    first: date | None = None
    last: date | None = None


def audit_of(champion: Champion) -> FairnessData:
    """The rows that the champion was tested on, with their labels, and the newer ones, with what labels have come."""
    tested = champion.reference(champion.learned_from((TEST,)))
    sides, first, last = [_rows(champion, tested)], None, None
    until, newest = champion.trained_until, champion.newest
    if until is not None and newest is not None and newest > until:
        first, last = max(until + timedelta(days=1), newest - QUARTER + timedelta(days=1)), newest
        sides.append(_rows(champion, _labelled(champion, champion.current(first, last))))
    rows = pl.concat(sides)
    labels = rows.height - rows["positive"].null_count()
    newer = rows.height - tested.rows
    since = f" and {newer:,} rows of {first} to {last}" if first else ""
    told = f"{tested.rows:,} rows of the test{since}; {labels:,} have a label."
    return FairnessData(rows, (told,), tested.rows, newer, first, last)


def _labelled(champion: Champion, side: Side) -> Side:
    """With the labels that have come; where gold has none at all, without."""
    label = str(champion.spec.target)
    try:
        known = label_spine(champion.context, champion.lake).select(*champion.key, label)
    except TrainingError:
        known = side.keys.clear().select(*champion.key, pl.lit(None).alias(label))
    keys = side.keys.join(known, on=champion.key, how="left", nulls_equal=True, maintain_order="left")
    return Side(keys, side.inputs, side.days, side.total)


def _rows(champion: Champion, side: Side) -> pl.DataFrame:
    model = champion.loaded.model
    label = side.keys[str(champion.spec.target)]
    yes = model.classes[1] if model.classes else 1
    positive = (label == yes).cast(pl.Boolean)  # null where no label has come
    selected = pl.Series(model.predict(side.inputs) >= model.threshold)
    groups = _groups(champion, side.keys)
    return pl.DataFrame([selected.alias("selected"), positive.alias("positive"), *groups])


def _groups(champion: Champion, keys: pl.DataFrame) -> list[pl.Series]:
    """The protected columns, of the rows' own keys or of the tables that the model looks up, as they are now."""
    project, spec, found = champion.context.project, champion.spec, {}
    for column in spec.protected:
        if column in keys.columns:
            found[column] = keys[column]
            continue
        tables = dict.fromkeys((spec.spine_table, *(lookup.table for lookup in spec.lookups)))
        table = next(t for t in tables if column in {f.name for f in project.tables[t].stored})
        # The rows stay those of the model: without its spine named, the column's own table would be taken for it.
        alone = (Lookup(table=table, features=(column,)),)
        asked = spec.model_copy(update={"spine": spec.spine_table, "lookups": alone})
        pinned = [pin(lookup, champion.lake, keys) for lookup in declared_lookups(DeclaredModel(project, asked))]
        found[column] = join_features(champion.lake, keys, pinned).values[column]
    return [found[c].cast(pl.String).alias(c) for c in spec.protected]
