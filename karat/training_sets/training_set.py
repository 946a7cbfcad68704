"""Training sets: a spine, its lookups filled in, frozen, pinned and digested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from karat.errors import (
    DataError,
    EmptyTrainingSet,
    LabelNotFound,
    LabelOverlapsFeatures,
    SchemaMismatch,
    WrongCall,
    did_you_mean,
)
from karat.lake import Lake
from karat.training_sets.digest import digest
from karat.training_sets.feature_join import JoinedFeatures, computed, join_features, together
from karat.training_sets.frames import Frame, like, to_polars
from karat.training_sets.functions import (
    BoundFunction,
    FeatureFunction,
    FunctionLibrary,
    PinnedFunction,
    check_inputs,
    learn,
    resolve,
)
from karat.training_sets.lookups import FeatureLookup, PinnedLookup, pin

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class TrainingSet:
    """A frozen training set; ``load_df`` gives its rows in the kind of frame that it was made from.

    ``features`` are the columns that a model reads, in order: those of the frame that are neither the label nor
    excluded, then the looked-up ones, then those of feature functions. ``pins`` name every table with its Delta
    version and schema, and every function with its source hash; ``digest`` is over the data in the order of the spine.
    ``erased_rows``: how many of its rows a rebuilt one lacks, because somebody was erased.
    ``report`` tells leakage: of every feature the ages of the values used, what was missing, what is younger than its
    row.
    """

    features: tuple[str, ...]
    label: str | None
    exclude_columns: tuple[str, ...]
    lookups: tuple[PinnedLookup, ...]
    functions: tuple[PinnedFunction, ...]
    spine: pl.DataFrame = field(repr=False)
    data: pl.DataFrame = field(repr=False)
    report: pl.DataFrame = field(repr=False)
    pins: dict[str, Any] = field(repr=False)
    digest: str
    given: Frame = field(default=None, repr=False)
    erased_rows: int = 0

    def plot_report(self, title: str = "") -> Figure:
        """The leakage ``report`` as a picture; a model's run in MLflow has it as ``plots/leakage_report.png``."""
        from karat.training_sets.leakage_plot import plot_report  # matplotlib, which scoring and serving do without

        return plot_report(self.report, title=title)

    def draw_report(self, folder: Path, title: str = "") -> Path:
        """Writes ``leakage_report.png`` into ``folder``."""
        from karat.training_sets.leakage_plot import draw_report

        return draw_report(self.report, folder, title=title)

    def load_df(self) -> Frame:
        """Features and label, less the excluded columns: one row per row of the spine, in its order."""
        out = self.data.drop(self.exclude_columns)
        return out if self.given is None else like(out, self.given)


def create_training_set(
    lake: Lake,
    df: Frame,
    feature_lookups: Sequence[FeatureLookup | FeatureFunction],
    label: str | None,
    exclude_columns: Sequence[str] = (),
    *,
    catalog: str | None = None,
    sources: Mapping[str, int] | None = None,
    library: FunctionLibrary | None = None,
) -> TrainingSet:
    """Checks every name, then joins, then computes. ``sources`` are further tables (with version) that the spine came
    from; ``library`` is where feature functions are found (by default in the catalog's project).

    Raises EmptyTrainingSet, TableNotFound, FeatureNotFound, LookupKeyMismatch, ColumnMissing, LabelNotFound and
    FunctionNotFound before anything is read; then FeatureFunctionFailed.
    """
    spine = to_polars(df)
    if spine.is_empty():
        raise EmptyTrainingSet(
            "no data in the training set: the frame of keys and labels has no rows",
            where=f"columns: {', '.join(spine.columns)}",
            remedy="look at the filter that made it",
        )
    _check_columns(spine, label, exclude_columns)
    lookups = [u for u in feature_lookups if isinstance(u, FeatureLookup)]
    uses = [u for u in feature_lookups if isinstance(u, FeatureFunction)]
    pinned = tuple(pin(lookup, lake, spine, catalog=catalog) for lookup in lookups)
    functions = resolve(uses, library or FunctionLibrary(), catalog)
    _check_outputs(spine, pinned, functions)
    _check_inputs(spine, pinned, functions, label)
    filled = join_features(lake, spine, pinned, pinned=True)
    _check_found(spine, filled, pinned)
    functions, made = learn(functions, pl.DataFrame([*spine, *filled.values]))
    known = tuple(f.pinned for f in functions)
    filled = together(filled, computed(made, known))
    data = pl.DataFrame([*spine, *filled.values])
    out = [c for c in data.columns if c != label and c not in exclude_columns]
    stored = digest(spine)
    return TrainingSet(
        features=tuple(out),
        label=label,
        exclude_columns=tuple(exclude_columns),
        lookups=pinned,
        functions=known,
        spine=spine,
        data=data,
        report=filled.report,
        pins={
            "spine": {"digest": stored, "rows": spine.height, "schema": _schema(spine)},
            "lookups": [p.as_json() for p in pinned],
            "functions": [f.as_json() for f in known],
            "sources": dict(sources or {}),
        },
        digest=digest(data),
        given=df,
    )


def _check_columns(spine: pl.DataFrame, label: str | None, exclude_columns: Sequence[str]) -> None:
    if label is not None and label not in spine.columns:
        raise LabelNotFound(
            f"the frame has no label column {label!r}",
            where=f"columns: {', '.join(spine.columns)}",
            remedy=did_you_mean(label, spine.columns),
        )
    if label is not None and label in exclude_columns:
        raise WrongCall(f"the label {label!r} is among exclude_columns", remedy="leave it out of exclude_columns")


def _check_inputs(
    spine: pl.DataFrame, lookups: Sequence[PinnedLookup], functions: Sequence[BoundFunction], label: str | None
) -> None:
    columns = [*spine.columns, *(out for lookup in lookups for out in lookup.outputs)]
    check_inputs([f.pinned for f in functions], columns, f"columns: {', '.join(columns)}")
    readers = [f.pinned.name for f in functions if label in f.pinned.inputs.values()]
    if readers:
        raise LabelOverlapsFeatures(
            f"the feature function {readers[0]!r} reads the label {label!r}",
            where="FeatureFunction(input_bindings=...)",
            remedy="bind it to what is known when a prediction is asked for",
        )


def _check_outputs(spine: pl.DataFrame, lookups: Sequence[PinnedLookup], functions: Sequence[BoundFunction]) -> None:
    """No two columns of the training set bear the same name."""
    taken = dict.fromkeys(spine.columns, "the frame")
    for lookup in lookups:
        for out in lookup.outputs:
            if out in taken:
                raise SchemaMismatch(
                    f"two columns of the training set would be named {out!r}",
                    where=f"{taken[out]} and {lookup.table}",
                    remedy=f"rename one: FeatureLookup(..., rename_outputs={{{out!r}: '...'}})",
                )
            taken[out] = str(lookup.table)
    for pinned in (f.pinned for f in functions):
        if pinned.output in taken:
            raise SchemaMismatch(
                f"two columns of the training set would be named {pinned.output!r}",
                where=f"{taken[pinned.output]} and the feature function {pinned.name!r}",
                remedy="name its output: FeatureFunction(..., output_name='...')",
            )
        taken[pinned.output] = f"the feature function {pinned.name!r}"


def _check_found(spine: pl.DataFrame, filled: JoinedFeatures, lookups: Sequence[PinnedLookup]) -> None:
    """A join that found nothing at all is no training set: say which one, and show both sides' keys."""
    for lookup in lookups:
        names = list(lookup.columns.values())
        missing = filled.statuses.select(
            pl.all_horizontal(pl.col(names).cast(pl.String).is_in(["NOT_FOUND", "EXPIRED", "DEFAULTED"])).all()
        )
        if names and missing.item():
            keys = spine.select(lookup.spine_columns).head(3).rows()
            raise EmptyTrainingSet(
                f"no data in the training set: not one of {spine.height} rows has a row in {lookup.table}",
                where=f"join on {', '.join(lookup.spine_columns)}; the first keys: {', '.join(map(str, keys))}",
                remedy="compare these keys and times with the table's, or widen the lookback_window",
            )


def _schema(frame: pl.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in frame.schema.items()}


def numeric(frame: pl.DataFrame, features: Sequence[str]) -> pl.DataFrame:
    """The features as models read them: numbers and flags as float64, text as text, in the frozen order.

    Raises SchemaMismatch for a sequence, DataError for a type that no model can read (a list, a struct, a time).
    """
    out: list[pl.Expr] = []
    for name in features:
        dtype = frame.schema[name]
        if dtype == pl.Array:
            raise SchemaMismatch(
                f"the feature {name!r} is a sequence, and this kind of model reads one value a row",
                where="training set",
                remedy="take a kind that reads sequences, or look it up without sequence_length",
            )
        if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
            out.append(pl.col(name).cast(pl.Float64))
        elif dtype in (pl.String, pl.Categorical, pl.Enum):
            out.append(pl.col(name).cast(pl.String))
        else:
            raise DataError(
                f"the feature {name!r} is a {dtype}, which no model reads",
                where="training set",
                remedy=f"add {name!r} to exclude_columns, or make a number of it in its feature table",
            )
    return frame.select(out)
