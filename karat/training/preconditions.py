"""What is looked at before anything is learned: columns, labels, the numbers of rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

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
from karat.training.split import TEST, TRAIN, describe
from karat.training.synthetic_anomalies import knows_both


def check_columns(spec: ModelSpec, frame: pl.DataFrame, features: Sequence[str], target: str | None) -> None:
    if not features:
        raise FeatureNotFound(
            f"model {spec.name!r} has no features", where=f"model {spec.name!r}, lookups", remedy="name some there"
        )
    for name in features:
        if name not in frame.columns:
            near = did_you_mean(name, frame.columns)
            raise FeatureNotFound(
                f"the training set has no feature {name!r}", where=f"model {spec.name!r}, lookups", remedy=near
            )
    if target is None and spec.task not in UNSUPERVISED:
        raise LabelNotFound(
            f"model {spec.name!r} is a {spec.task} model, and no label was given",
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
            f"{target!r} is the label of {spec.name!r} and one of its features",
            where=f"model {spec.name!r}, lookups",
            remedy="take it out of the lookup's features with 'exclude'",
        )


def known_anomalies(
    spec: ModelSpec, frame: pl.DataFrame, target: str | None, split: pl.Series
) -> tuple[str | None, list[str]]:
    """The label to judge by, or None where the test rows don't tell normal from anomalous; with a warning."""
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
    if knows_both(frame.filter(split == TEST)[target]):
        return target, []
    return None, [
        f"the label {target!r} knows no anomaly (or no normal row) among the test rows; the model was judged by "
        "anomalies planted into them"
    ]


def known_groups(
    spec: ModelSpec, frame: pl.DataFrame, target: str | None, split: pl.Series
) -> tuple[str | None, list[str]]:
    """The label to judge a clustering by, or None where no test row's group is known; with a warning.

    Raises UnusableLabel where the declared metric needs groups.
    """
    if target is None or target not in frame.columns:
        return target, []
    tested = frame.filter(split == TEST)[target]
    if tested.is_empty():  # which is told as what it is, and not as a matter of the label
        return None, []
    if _known(tested).any():
        return target, []
    if spec.metric == "adjusted_rand":
        raise UnusableLabel(
            f"the label of {spec.name!r} knows no group among its {len(tested)} test rows, so that "
            "adjusted_rand cannot be computed",
            where=label_place(spec),
            remedy="leave 'metric' out, and it is judged by its silhouette there; or split it otherwise "
            "('split: {by: entity}')",
        )
    return None, [f"the label {target!r} knows no group among the test rows; the model was judged by its silhouette"]


def usable(
    spec: ModelSpec, frame: pl.DataFrame, target: str | None, split: pl.Series
) -> tuple[pl.DataFrame, pl.Series, list[str]]:
    """The rows that have a label, their parts, and what was left out. Raises where too few are left."""
    if frame.is_empty():
        raise EmptyTrainingSet(
            f"the training set of {spec.name!r} has no rows",
            where=label_place(spec),
            remedy="look at its label's expression and horizon, and at the spine table's rows",
        )
    warnings: list[str] = []
    if target:
        labelled = _labelled(spec, frame[target], split)
        if not labelled.all():
            warnings.append(f"{int((~labelled).sum())} of {frame.height} rows have no label and were left out")
        frame, split = frame.filter(labelled), split.filter(labelled)
    _check_rows(spec, split)
    return frame, split, warnings


def _labelled(spec: ModelSpec, label: pl.Series, split: pl.Series) -> pl.Series:
    # These learn without labels; only where they are judged do they need them.
    needed = split == TEST if spec.task in UNSUPERVISED else pl.repeat(True, len(label), eager=True)
    parts = label.struct.unnest().get_columns() if isinstance(label.dtype, pl.Struct) else [label]
    infinite = sum(int(part.is_infinite().sum()) for part in parts if part.dtype.is_float())
    if infinite:
        raise UnusableLabel(
            f"the label of {spec.name!r} is infinite in {infinite} rows",
            where=label_place(spec),
            remedy="guard the divisions in its expression, as in x / nullif(y, 0)",
        )
    whole = known_labels(label)
    if not (whole & needed).any():
        raise UnusableLabel(
            f"the label of {spec.name!r} is null in all {len(label)} rows",
            where=label_place(spec),
            remedy="look at its expression, and whether its horizon is over for any row",
        )
    return ~needed | whole


def label_place(spec: ModelSpec) -> str:
    """Where a label is declared, for messages."""
    if spec.label is None:
        return f"model {spec.name!r}"
    return f"model {spec.name!r}, label.expression {spec.label.written!r} over {spec.label.source!r}"


def known_labels(label: pl.Series) -> pl.Series:
    """Which rows have a label: all its parts, neither null nor NaN."""
    parts = label.struct.unnest().get_columns() if isinstance(label.dtype, pl.Struct) else [label]
    known = pl.DataFrame([_known(part).alias(str(k)) for k, part in enumerate(parts)])
    return known.select(pl.all_horizontal(pl.all()).alias("known")).to_series()


def _known(part: pl.Series) -> pl.Series:
    known = part.is_not_null()
    return known & part.is_not_nan().fill_null(False) if part.dtype.is_float() else known


def _check_rows(spec: ModelSpec, split: pl.Series) -> None:
    if not (split == TRAIN).any():
        raise EmptyTrainingSet(
            f"the split of {spec.name!r} leaves no rows to learn from: {describe(split, spec)}",
            where=f"model {spec.name!r}, split",
            remedy="shorten the label's horizon, take a smaller 'split.test', or gather more days",
        )
    if not (split == TEST).any():
        raise TooFewRows(
            f"the split of {spec.name!r} leaves no rows for the test: {describe(split, spec)}",
            where=f"model {spec.name!r}, split",
            remedy="take a larger 'split.test', or gather more rows",
        )
    # Rows in the gap before the test serve nobody.
    of_use = int(split.is_in([TRAIN, TEST]).sum())
    if of_use < spec.minimum_rows:
        raise TooFewRows(
            f"model {spec.name!r} has {of_use} rows of use, fewer than its minimum of {spec.minimum_rows}: "
            f"{describe(split, spec)}",
            where=f"model {spec.name!r}, minimum_rows",
            remedy="gather more rows, or lower 'minimum_rows' in its declaration",
        )


def check_label(spec: ModelSpec, learned: pl.DataFrame, test: pl.DataFrame, target: str | None) -> None:
    """What can be learned from, and what the primary metric can be computed on."""
    if target is None or spec.task in UNSUPERVISED:
        return
    if spec.task == "multilabel":
        _check_each(spec, learned[target])
        return
    parts = [("rows to learn from", learned)]
    if spec.task == "binary" and spec.primary_metric in ("roc_auc", "average_precision"):
        parts.append(("test rows", test))
    for what, rows in parts:
        if rows[target].n_unique() == 1:
            raise UnusableLabel(
                f"the label of {spec.name!r} has a single value, {rows[target][0]!r}, in all {rows.height} {what}",
                where=label_place(spec),
                remedy="look at its expression; or gather more rows, or split them otherwise ('split: {by: entity}')",
            )
    if spec.task == "multiclass" and spec.primary_metric == "roc_auc":
        _check_every_class(spec, learned[target], test[target])


def _check_every_class(spec: ModelSpec, learned: pl.Series, test: pl.Series) -> None:
    """roc_auc holds each class against the rest, so that every class must be among the test rows."""
    missing = [c for c in learned.unique().sort().to_list() if c not in set(test.to_list())]
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UnusableLabel(
            f"the label of {spec.name!r} has {'the class' if len(missing) == 1 else 'the classes'} {shown} among the "
            f"rows to learn from and in none of the {len(test)} test rows, so that roc_auc cannot be computed",
            where=label_place(spec),
            remedy="choose a metric that does without ('metric: log_loss'), put rare classes together in its "
            "expression, or give every class test rows: more rows, a larger 'split.test', or 'split: {by: entity}'",
        )


def _check_each(spec: ModelSpec, learned: pl.Series) -> None:
    for name in learned.struct.fields:
        part = learned.struct.field(name)
        if part.n_unique() == 1:
            raise UnusableLabel(
                f"{name!r} of the labels of {spec.name!r} has a single value, {part[0]!r}, in all {len(part)} rows to "
                "learn from",
                where=label_place(spec),
                remedy="look at its expression, gather more rows, or leave this label out",
            )
