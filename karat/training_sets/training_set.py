"""Training sets: a spine with its features, pinned to versions and digested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from karat.boundary import public_verbs
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
from karat.training_sets.digest import RowDigest, digest
from karat.training_sets.feature_join import concat_features, function_outputs, join_features
from karat.training_sets.frames import Frame, convert_like, to_polars
from karat.training_sets.functions import (
    BoundFunction,
    FeatureFunction,
    FunctionLibrary,
    PinnedFunction,
    check_inputs,
    compute_and_pin,
    resolve_functions,
)
from karat.training_sets.lookups import FeatureLookup, PinnedLookup, pin
from karat.training_sets.pins import TrainingPins

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@public_verbs
@dataclass(frozen=True)
class TrainingSet:
    """A training set, frozen; ``load_df`` gives its rows.

    Attributes:
        features: Columns that a model reads, in order: the frame's own, looked-up features, outputs of functions.
        label: The label's column.
        exclude_columns: Columns that ``load_df`` leaves out.
        lookups: The pinned lookups.
        functions: The pinned feature functions.
        spine: The frame of keys and labels, ``(rows, columns)``.
        data: Spine, features and label, ``(rows, columns)``.
        report: The leakage report, one line per feature.
        pins: Every table with its Delta version and schema, every function with its source hash.
        digest: Digest of ``data``.
        given: The frame as the caller gave it.
        erased_rows: Number of rows that a rebuilt training set lacks because people were erased.
    """

    features: tuple[str, ...]
    label: str | None
    exclude_columns: tuple[str, ...]
    lookups: tuple[PinnedLookup, ...]
    functions: tuple[PinnedFunction, ...]
    spine: pl.DataFrame = field(repr=False)
    data: pl.DataFrame = field(repr=False)
    report: pl.DataFrame = field(repr=False)
    pins: TrainingPins = field(repr=False)
    digest: str
    given: Frame = field(default=None, repr=False)
    erased_rows: int = 0

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.data.height

    def plot_report(self, title: str = "") -> Figure:
        """Plot the leakage report; a model's MLflow run has it as ``plots/leakage_report.png``."""
        from karat.training_sets.leakage_plot import plot_report  # matplotlib, which scoring and serving do without

        return plot_report(self.report, title=title)

    def draw_report(self, folder: Path, title: str = "") -> Path:
        """Write ``leakage_report.png`` into ``folder``."""
        from karat.training_sets.leakage_plot import draw_report

        return draw_report(self.report, folder, title=title)

    def load_df(self) -> Frame:
        """Return features and label in the kind of frame that was given, one row per row of the spine, in its order."""
        out = self.data.drop(self.exclude_columns)
        return out if self.given is None else convert_like(out, self.given)


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
    """Check every name, join the features and compute the functions.

    Args:
        lake: The lake.
        df: The spine: keys, times and label, ``(rows, columns)``.
        feature_lookups: Lookups and functions.
        label: The label's column.
        exclude_columns: Columns that a model does not read.
        catalog: The catalog of table names that have none.
        sources: Further tables that the spine came from, with their versions.
        library: Code of feature functions; by default the catalog's project.

    Returns:
        The training set.

    Raises:
        EmptyTrainingSet: The spine has no rows, or a lookup finds none.
        TableNotFound: There is no such feature table.
        FeatureNotFound: There is no such feature.
        LookupKeyMismatch: A lookup's key does not match its table's.
        ColumnMissing: The spine lacks a column.
        LabelNotFound: The spine has no such label.
        FunctionNotFound: There is no such feature function.
        FeatureFunctionFailed: A feature function failed.
    """
    spine = to_polars(df)
    if spine.is_empty():
        raise EmptyTrainingSet(
            "no data in the training set: the frame of keys and labels has no rows",
            where=f"columns: {', '.join(spine.columns)}",
            remedy="check the filter that made the frame",
        )
    plan = plan_features(lake, spine, feature_lookups, label, exclude_columns, catalog=catalog, library=library)
    filled = join_features(lake, spine, plan.lookups, pinned=True)
    check_matches(spine, filled.report, plan.lookups)
    functions, made = compute_and_pin(plan.functions, pl.DataFrame([*spine, *filled.values]))
    known = tuple(f.pinned for f in functions)
    filled = concat_features(filled, function_outputs(made, known))
    data = pl.DataFrame([*spine, *filled.values])
    out = [c for c in data.columns if c != label and c not in exclude_columns]
    return TrainingSet(
        features=tuple(out),
        label=label,
        exclude_columns=tuple(exclude_columns),
        lookups=plan.lookups,
        functions=known,
        spine=spine,
        data=data,
        report=filled.report,
        pins=training_pins(spine, RowDigest.of(spine), plan.lookups, known, sources=sources or {}),
        digest=digest(data),
        given=df,
    )


@dataclass(frozen=True)
class FeaturePlan:
    """Checked and pinned lookups and functions of a training set.

    Attributes:
        lookups: The lookups.
        functions: The functions; the types of their inputs are not known yet.
    """

    lookups: tuple[PinnedLookup, ...]
    functions: tuple[BoundFunction, ...]


def plan_features(
    lake: Lake,
    spine: pl.DataFrame,
    feature_lookups: Sequence[FeatureLookup | FeatureFunction],
    label: str | None,
    exclude_columns: Sequence[str],
    *,
    catalog: str | None,
    library: FunctionLibrary | None,
) -> FeaturePlan:
    """Check every name and pin the lookups; reads metadata only. Arguments and errors: ``create_training_set``.

    Only the columns of ``spine`` count, not its rows.
    """
    _check_columns(spine, label, exclude_columns)
    lookups = [u for u in feature_lookups if isinstance(u, FeatureLookup)]
    uses = [u for u in feature_lookups if isinstance(u, FeatureFunction)]
    pinned = tuple(pin(lookup, lake, spine, catalog=catalog) for lookup in lookups)
    functions = resolve_functions(uses, library or FunctionLibrary(), catalog)
    _check_outputs(spine, pinned, functions)
    _check_inputs(spine, pinned, functions, label)
    return FeaturePlan(pinned, tuple(functions))


def training_pins(
    spine: pl.DataFrame,
    rows: RowDigest,
    lookups: Sequence[PinnedLookup],
    functions: Sequence[PinnedFunction],
    *,
    sources: Mapping[str, int],
) -> TrainingPins:
    """Return what a training set pins; of ``spine`` only the columns count, and ``rows`` is the digest of all rows."""
    return {
        "spine": {"digest": str(rows), "rows": rows.rows, "schema": _schema_strings(spine)},
        "lookups": [p.as_json() for p in lookups],
        "functions": [f.as_json() for f in functions],
        "sources": dict(sources),
    }


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
            remedy="bind it to columns that are known at prediction time",
        )


def _check_outputs(spine: pl.DataFrame, lookups: Sequence[PinnedLookup], functions: Sequence[BoundFunction]) -> None:
    """Check that no two columns of the training set have the same name."""
    taken = dict.fromkeys(spine.columns, "the frame")
    for lookup in lookups:
        for out in lookup.outputs:
            if out in taken:
                raise SchemaMismatch(
                    f"two columns of the training set would have the name {out!r}",
                    where=f"{taken[out]} and {lookup.table}",
                    remedy=f"rename one: FeatureLookup(..., rename_outputs={{{out!r}: '...'}})",
                )
            taken[out] = str(lookup.table)
    for pinned in (f.pinned for f in functions):
        if pinned.output in taken:
            raise SchemaMismatch(
                f"two columns of the training set would have the name {pinned.output!r}",
                where=f"{taken[pinned.output]} and the feature function {pinned.name!r}",
                remedy="name its output: FeatureFunction(..., output_name='...')",
            )
        taken[pinned.output] = f"the feature function {pinned.name!r}"


def check_matches(spine: pl.DataFrame, report: pl.DataFrame, lookups: Sequence[PinnedLookup]) -> None:
    """Check that each lookup found a row at all.

    Args:
        spine: Rows of the spine; the message shows the first.
        report: The leakage report of all rows.
        lookups: The lookups.

    Raises:
        EmptyTrainingSet: A lookup found none.
    """
    for lookup in lookups:
        lines = report.filter(pl.col("feature").is_in([*lookup.columns.values()]))
        found = lines.select(pl.col("present").sum() + pl.col("null").sum()).item()
        if lines.height and not found:
            keys = spine.select(lookup.spine_columns).head(3).rows()
            raise EmptyTrainingSet(
                f"no data in the training set: none of {lines['rows'][0]} spine rows has a row in {lookup.table}",
                where=f"join on {', '.join(lookup.spine_columns)}; the first keys: {', '.join(map(str, keys))}",
                remedy="compare these keys and times with the table's, or widen lookback_window",
            )


def _schema_strings(frame: pl.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in frame.schema.items()}


def model_inputs(frame: pl.DataFrame, features: Sequence[str]) -> pl.DataFrame:
    """Return the features as models read them: numbers and flags as float64, text as text, in the frozen order.

    Raises:
        SchemaMismatch: A feature is a sequence.
        DataError: A feature's type is one that no model reads (a list, a struct, a time).
    """
    out: list[pl.Expr] = []
    types = frame.schema  # Polars makes it anew each time it is asked for
    for name in features:
        dtype = types[name]
        if dtype == pl.Array:
            raise SchemaMismatch(
                f"the feature {name!r} is a sequence, and this kind of model reads one value per row",
                where="training set",
                remedy="choose a kind that reads sequences, or look the feature up without sequence_length",
            )
        if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
            out.append(pl.col(name).cast(pl.Float64))
        elif dtype in (pl.String, pl.Categorical, pl.Enum):
            out.append(pl.col(name).cast(pl.String))
        else:
            raise DataError(
                f"the feature {name!r} is a {dtype}, and no model reads that type",
                where="training set",
                remedy=f"add {name!r} to exclude_columns, or turn it into a number in its feature table",
            )
    return frame.select(out)
