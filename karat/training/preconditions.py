"""Checks before any fit: columns, labels and numbers of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from karat.declare.base import format_duration
from karat.declare.models import UNSUPERVISED, ModelSpec
from karat.errors import (
    EmptyTrainingSet,
    FeatureNotFound,
    LabelNotFound,
    LabelOverlapsFeatures,
    TooFewRows,
    UnusableLabel,
    did_you_mean,
)
from karat.training.split import GAP, TEST, TRAIN
from karat.training.synthetic_anomalies import has_both_classes

#: Features and label of some rows; the label is None for a model that learns without one.
LabelledRows = tuple[pl.DataFrame, pl.Series | None]


@dataclass(frozen=True)
class PreparedRows:
    """Rows that a model may learn from and be evaluated on.

    Attributes:
        learned: Features and label of the training rows.
        test: Features and label of the test rows.
        learned_rows: The training rows with all their columns.
        test_rows: The test rows with all their columns.
        warnings: What is unusual about the rows.
    """

    learned: LabelledRows
    test: LabelledRows
    learned_rows: pl.DataFrame
    test_rows: pl.DataFrame
    warnings: tuple[str, ...]


def prepare_rows(
    spec: ModelSpec, frame: pl.DataFrame, features: Sequence[str], label: str | None, split: pl.Series
) -> PreparedRows:
    """Check the rows of a training set and divide them into training and test rows.

    Args:
        spec: The model's declaration.
        frame: The training set, ``(rows, columns)``.
        features: Columns that the model reads, in order.
        label: Column that the model learns or is evaluated by.
        split: "train", "gap" or "test" for each row, ``(rows,)``.

    Raises:
        TrainingError: what ``train`` raises before a fit.
    """
    target = label
    warnings: list[str] = []
    if spec.task == "anomaly":
        target, warnings = anomaly_label(spec, frame, label, split)
    elif spec.task == "clustering":
        target, warnings = group_label(spec, frame, label, split)
    check_columns(spec, frame, features, target)
    rows, parts, left_out = labelled_rows(spec, frame, target, split)
    learned, test = rows.filter(parts == TRAIN), rows.filter(parts == TEST)
    check_label(spec, learned, test, target)
    both = ((part.select(features), part[target] if target else None) for part in (learned, test))
    return PreparedRows(next(both), next(both), learned, test, (*warnings, *left_out))


def check_columns(spec: ModelSpec, frame: pl.DataFrame, features: Sequence[str], target: str | None) -> None:
    """Check that the training set has the features and the label.

    Raises:
        FeatureNotFound: There are no features, or the training set lacks one.
        LabelNotFound: The task needs a label and none is given, or the training set lacks it.
        LabelOverlapsFeatures: The label is a feature.
    """
    if not features:
        raise FeatureNotFound(
            f"model {spec.name!r} has no features", where=f"model {spec.name!r}, lookups", remedy="select features"
        )
    for name in features:
        if name not in frame.columns:
            near = did_you_mean(name, frame.columns)
            raise FeatureNotFound(
                f"the training set has no feature {name!r}", where=f"model {spec.name!r}, lookups", remedy=near
            )
    if target is None and spec.task not in UNSUPERVISED:
        raise LabelNotFound(
            f"model {spec.name!r} is a {spec.task} model and has no label",
            where=f"model {spec.name!r}, label",
            remedy="declare one: label: {source: GOLD_TABLE, expression: SQL}",
        )
    if target is not None and target not in frame.columns:
        near = did_you_mean(target, frame.columns)
        raise LabelNotFound(
            f"the training set has no label {target!r}", where=f"model {spec.name!r}, label", remedy=near
        )
    if target in features:
        raise LabelOverlapsFeatures(
            f"{target!r} is both the label and a feature of {spec.name!r}",
            where=f"model {spec.name!r}, lookups",
            remedy="remove it from the lookup's features with 'exclude'",
        )


def anomaly_label(
    spec: ModelSpec, frame: pl.DataFrame, target: str | None, split: pl.Series
) -> tuple[str | None, list[str]]:
    """Return the label that evaluates an anomaly model, and warnings.

    Returns:
        None as label if the test rows have no normal or no anomalous row.

    Raises:
        UnusableLabel: The label has values other than 0 and 1.
    """
    if target is None or target not in frame.columns:
        return target, []
    known = frame[target].drop_nulls()
    if (
        not (known.dtype.is_numeric() or known.dtype == pl.Boolean)
        or not known.cast(pl.Float64).is_in([0.0, 1.0]).all()
    ):
        raise UnusableLabel(
            f"the label of {spec.name!r} must be 1 for an anomaly and 0 for a normal row; it is {known.dtype}, with "
            f"values such as {', '.join(map(repr, known.unique().sort().head(3).to_list()))}",
            where=label_place(spec),
            remedy="write it as a condition, as in max(incident::int)",
        )
    if has_both_classes(frame.filter(split == TEST)[target]):
        return target, []
    return None, [
        f"the label {target!r} marks no anomaly (or no normal row) among the test rows; the model was evaluated by "
        "synthetic anomalies"
    ]


def group_label(
    spec: ModelSpec, frame: pl.DataFrame, target: str | None, split: pl.Series
) -> tuple[str | None, list[str]]:
    """Return the label that evaluates a clustering, and warnings.

    Returns:
        None as label if no test row has a known group.

    Raises:
        UnusableLabel: The declared metric needs groups.
    """
    if target is None or target not in frame.columns:
        return target, []
    tested = frame.filter(split == TEST)[target]
    if tested.is_empty():  # another check reports the empty test
        return None, []
    if _value_mask(tested).any():
        return target, []
    if spec.metric == "adjusted_rand":
        raise UnusableLabel(
            f"adjusted_rand cannot be computed: the label of {spec.name!r} names no group among its {len(tested)} "
            "test rows",
            where=label_place(spec),
            remedy="leave 'metric' out to use the silhouette, or split by entity ('split: {by: entity}')",
        )
    return None, [f"the label {target!r} names no group among the test rows; the model was evaluated by its silhouette"]


def labelled_rows(
    spec: ModelSpec, frame: pl.DataFrame, target: str | None, split: pl.Series
) -> tuple[pl.DataFrame, pl.Series, list[str]]:
    """Return the rows that have a label, their parts of the split, and warnings.

    Raises:
        EmptyTrainingSet: There are no rows, or none to train on.
        TooFewRows: Fewer rows than ``minimum_rows``, or none to test on.
        UnusableLabel: The label is infinite somewhere or null everywhere.
    """
    if frame.is_empty():
        raise EmptyTrainingSet(
            f"the training set of {spec.name!r} has no rows",
            where=label_place(spec),
            remedy="check the label's expression and horizon, and the spine table's rows",
        )
    warnings: list[str] = []
    if target:
        labelled = _has_label(spec, frame[target], split)
        if not labelled.all():
            warnings.append(f"{int((~labelled).sum())} of {frame.height} rows have no label and were left out")
        frame, split = frame.filter(labelled), split.filter(labelled)
    _check_rows(spec, split)
    return frame, split, warnings


def _has_label(spec: ModelSpec, label: pl.Series, split: pl.Series) -> pl.Series:
    # Unsupervised models need labels for the test rows alone.
    needed = split == TEST if spec.task in UNSUPERVISED else pl.repeat(True, len(label), eager=True)
    parts = label.struct.unnest().get_columns() if isinstance(label.dtype, pl.Struct) else [label]
    infinite = sum(int(part.is_infinite().sum()) for part in parts if part.dtype.is_float())
    if infinite:
        raise UnusableLabel(
            f"the label of {spec.name!r} is infinite in {infinite} rows",
            where=label_place(spec),
            remedy="guard the divisions in its expression, as in x / nullif(y, 0)",
        )
    whole = label_mask(label)
    if not (whole & needed).any():
        raise UnusableLabel(
            f"the label of {spec.name!r} is null in all {len(label)} rows",
            where=label_place(spec),
            remedy="check the label's expression, and whether its horizon is over for any row",
        )
    return ~needed | whole


def label_place(spec: ModelSpec) -> str:
    """Return where the label is declared, for messages."""
    if spec.label is None:
        return f"model {spec.name!r}"
    return f"model {spec.name!r}, label.expression {spec.label.written!r} over {spec.label.source!r}"


def label_mask(label: pl.Series) -> pl.Series:
    """Return which rows have a label, ``(rows,)``: all its parts, neither null nor NaN."""
    parts = label.struct.unnest().get_columns() if isinstance(label.dtype, pl.Struct) else [label]
    known = pl.DataFrame([_value_mask(part).alias(str(k)) for k, part in enumerate(parts)])
    return known.select(pl.all_horizontal(pl.all()).alias("known")).to_series()


def _value_mask(part: pl.Series) -> pl.Series:
    known = part.is_not_null()
    return known & part.is_not_nan().fill_null(False) if part.dtype.is_float() else known


def _check_rows(spec: ModelSpec, split: pl.Series) -> None:
    if not (split == TRAIN).any():
        raise EmptyTrainingSet(
            f"the split of {spec.name!r} leaves no training rows: {_split_counts(split, spec)}",
            where=f"model {spec.name!r}, split",
            remedy="shorten the label's horizon, set a smaller 'split.test' or a later 'split.test_from', or collect "
            "more days",
        )
    if not (split == TEST).any():
        raise TooFewRows(
            f"the split of {spec.name!r} leaves no test rows: {_split_counts(split, spec)}",
            where=f"model {spec.name!r}, split",
            remedy="set a larger 'split.test' or an earlier 'split.test_from', or collect more rows",
        )
    usable = int(split.is_in([TRAIN, TEST]).sum())
    if usable < spec.minimum_rows:
        raise TooFewRows(
            f"model {spec.name!r} has {usable} training and test rows, fewer than its minimum of {spec.minimum_rows}: "
            f"{_split_counts(split, spec)}",
            where=f"model {spec.name!r}, minimum_rows",
            remedy="collect more rows, or lower 'minimum_rows' in the declaration",
        )


def check_label(spec: ModelSpec, learned: pl.DataFrame, test: pl.DataFrame, target: str | None) -> None:
    """Check that the label can be learned and that the primary metric can be computed.

    Raises:
        UnusableLabel: The label has a single value, or a class has no test rows.
    """
    if target is None or spec.task in UNSUPERVISED:
        return
    if spec.task == "multilabel":
        _check_multilabel(spec, learned[target])
        return
    parts = [("training rows", learned)]
    if spec.task == "binary" and spec.primary_metric in ("roc_auc", "average_precision"):
        parts.append(("test rows", test))
    for what, rows in parts:
        if rows[target].n_unique() == 1:
            raise UnusableLabel(
                f"the label of {spec.name!r} has a single value, {rows[target][0]!r}, in all {rows.height} {what}",
                where=label_place(spec),
                remedy="check the label's expression, collect more rows, or split by entity ('split: {by: entity}')",
            )
    if spec.task == "multiclass" and spec.primary_metric == "roc_auc":
        _check_every_class(spec, learned[target], test[target])


def _check_every_class(spec: ModelSpec, learned: pl.Series, test: pl.Series) -> None:
    """Check that every class is among the test rows: roc_auc compares each class with the rest."""
    missing = [c for c in learned.unique().sort().to_list() if c not in set(test.to_list())]
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UnusableLabel(
            f"roc_auc cannot be computed for {spec.name!r}: {'the class' if len(missing) == 1 else 'the classes'} "
            f"{shown} of the training rows {'has' if len(missing) == 1 else 'have'} none of the {len(test)} test rows",
            where=label_place(spec),
            remedy="choose another metric ('metric: log_loss'), merge rare classes in the label's expression, or give "
            "every class test rows: more rows, a larger 'split.test', or 'split: {by: entity}'",
        )


def _check_multilabel(spec: ModelSpec, learned: pl.Series) -> None:
    for name in learned.struct.fields:
        part = learned.struct.field(name)
        if part.n_unique() == 1:
            raise UnusableLabel(
                f"the label {name!r} of {spec.name!r} has a single value, {part[0]!r}, in all {len(part)} training "
                "rows",
                where=label_place(spec),
                remedy="check its expression, collect more rows, or leave this label out",
            )


def _split_counts(split: pl.Series, spec: ModelSpec) -> str:
    """Describe how many rows fell into each part, for messages."""
    counts = {part: int((split == part).sum()) for part in (TRAIN, GAP, TEST)}
    gap = f" (the label ends {format_duration(spec.horizon_end)} after its row)" if counts[GAP] else ""
    return f"{counts[TRAIN]} training rows, {counts[GAP]} in the gap{gap}, {counts[TEST]} test rows"
