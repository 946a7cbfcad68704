"""Plots of a trained model.

Figures are objects, without pyplot's global state, so that threads and Ray tasks can plot in parallel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn import metrics as sk

from karat.kinds import parts_of
from karat.training.fitted_evaluation import TrainingResult
from karat.training.judgement_plots import plot_reliability, plot_series
from karat.training.plot_style import BLUE, GREEN, GREY, ORANGE, make_axes, parent_figure, row_count

MAX_POINTS, MAX_BARS, MAX_CLASSES = 3000, 20, 12


def save_plots(trained: TrainingResult, folder: Path) -> list[Path]:
    """Write the PNG files that suit the model's task.

    binary, anomaly: roc_pr.png; binary, multiclass: confusion_matrix.png; binary: calibration.png; anomaly: scores.png;
    regression, forecast: predictions.png (predicted against actual, and residuals), and with a time series.png
    (predicted against actual over time, with intervals); forecast: steps.png (error of each step); multilabel:
    labels.png; clustering: clusters.png (sizes, and rows in two dimensions); all: feature_importance.png; kinds that
    learn in rounds: learning_curve.png.

    Args:
        trained: The trained model.
        folder: The folder, created if missing.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[tuple[str, Callable[[TrainingResult], Figure]]] = [*_PLOTS[trained.model.task]]
    if trained.calibration is not None:
        drawn.append(("calibration", plot_reliability))
    if trained.time is not None and trained.model.task in ("regression", "forecast"):
        drawn.append(("series", plot_series))
    drawn.append(("feature_importance", _plot_importance))
    if trained.curve:
        drawn.append(("learning_curve", _plot_curve))
    paths = []
    for name, make in drawn:
        paths.append(folder / f"{name}.png")
        make(trained).savefig(paths[-1], dpi=110)
    return paths


def _positive_rows(trained: TrainingResult) -> np.ndarray:
    y = trained.test_labels.to_numpy()
    made: np.ndarray = y == trained.model.classes[1] if trained.model.classes else y.astype(float) == 1
    return made


def _plot_roc_pr(trained: TrainingResult) -> Figure:
    left, right = make_axes(trained, f"ROC and precision-recall, {row_count(trained)}", panels=2, size=(10, 5.6))
    positive, score = _positive_rows(trained), trained.test_predictions
    for axis in (left, right):
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    if positive.any() and not positive.all():
        false, true, _ = sk.roc_curve(positive, score)
        left.plot(false, true, color=BLUE, lw=2, label=f"model, AUC {trained.metrics['roc_auc']:.3f}")
        precision, recall, _ = sk.precision_recall_curve(positive, score)
        area = trained.metrics["average_precision"]
        right.step(recall, precision, where="post", color=BLUE, lw=2, label=f"model, average precision {area:.3f}")
        decided = score >= trained.test_thresholds
        at = f"threshold {trained.model.threshold:.3g}"
        left.plot(decided[~positive].mean(), decided[positive].mean(), "o", color=ORANGE, ms=7, label=at, zorder=3)
        if decided.any():
            right.plot(decided[positive].mean(), positive[decided].mean(), "o", color=ORANGE, ms=7, label=at, zorder=3)
    _plot_baseline_curves(trained, positive, left, right)
    left.set(xlabel="false positive rate", ylabel="true positive rate (recall)", title="ROC")
    right.set(xlabel="recall", ylabel="precision", title="Precision-recall")
    for axis in (left, right):
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    return parent_figure(left)


def _plot_baseline_curves(trained: TrainingResult, positive: np.ndarray, left: Axes, right: Axes) -> None:
    """Plot the baseline: a curve if it ranks the rows, else chance."""
    score = trained.baseline_predictions
    style: dict[str, Any] = {"color": GREY, "lw": 1.5, "ls": "--"}
    if np.ptp(score) > 0 and positive.any() and not positive.all():
        false, true, _ = sk.roc_curve(positive, score)
        left.plot(false, true, **style, label=f"{trained.baseline_name}, AUC {trained.baseline['roc_auc']:.3f}")
        precision, recall, _ = sk.precision_recall_curve(positive, score)
        area = trained.baseline["average_precision"]
        right.step(
            recall, precision, where="post", **style, label=f"{trained.baseline_name}, average precision {area:.3f}"
        )
        return
    left.plot([0, 1], [0, 1], **style, label="chance, AUC 0.500")
    share = positive.mean()
    right.plot([0, 1], [share, share], **style, label=f"chance, average precision {share:.3f}")


def _plot_predictions(trained: TrainingResult) -> Figure:
    left, right = make_axes(trained, f"predictions of {row_count(trained)}", panels=2)
    actual, predicted = _label_numbers(trained).ravel(), trained.test_predictions.ravel()
    shown = np.random.default_rng(0).permutation(len(actual))[:MAX_POINTS]
    style: dict[str, Any] = {"s": 12, "alpha": 0.35, "color": BLUE, "edgecolors": "none"}
    left.scatter(actual[shown], predicted[shown], **style)
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    left.plot(ends, ends, color=GREY, lw=1.2, ls="--", label="predicted = actual")
    left.set(xlabel=f"actual {trained.test_labels.name}", ylabel="predicted", title=_metric_title(trained))
    right.scatter(predicted[shown], (actual - predicted)[shown], **style)
    right.axhline(0, color=GREY, lw=1.2, ls="--")
    right.set(xlabel="predicted", ylabel="residual (actual - predicted)", title="Residuals")
    if _has_wide_range(actual):
        width = float(np.median(np.abs(actual[actual != 0])))
        left.set_xscale("symlog", linthresh=width)
        left.set_yscale("symlog", linthresh=width)
        right.set_xscale("symlog", linthresh=width)
        right.set_yscale("symlog", linthresh=width)
    left.legend(loc="upper left", frameon=False)
    return parent_figure(left)


def _label_numbers(trained: TrainingResult) -> np.ndarray:
    """Return labels, ``(rows,)`` or ``(rows, parts)``."""
    y = trained.test_labels
    return parts_of(y)[1] if isinstance(y.dtype, pl.Struct) else y.cast(float).to_numpy()


def _plot_steps(trained: TrainingResult) -> Figure:
    (axis,) = make_axes(trained, f"error of each step, {row_count(trained)}", size=(8, 4.4))
    y = _label_numbers(trained)
    for name, colour, found in (
        ("model", BLUE, trained.test_predictions),
        (trained.baseline_name, GREY, trained.baseline_predictions),
    ):
        errors = np.sqrt(((found - y) ** 2).mean(axis=0))
        axis.plot(range(1, len(errors) + 1), errors, color=colour, lw=2, marker="o", ms=4, label=name)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="step", ylabel="rmse")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
    return parent_figure(axis)


def _plot_labels(trained: TrainingResult) -> Figure:
    """Plot the ROC curve of each label that has both classes among the test rows."""
    names, y = parts_of(trained.test_labels)
    (axis,) = make_axes(trained, f"ROC of each label, {row_count(trained)}", size=(7, 5.4))
    for k, name in enumerate(names):
        if 0 < y[:, k].sum() < len(y):
            false, true, _ = sk.roc_curve(y[:, k], trained.test_predictions[:, k])
            area = sk.roc_auc_score(y[:, k], trained.test_predictions[:, k])
            axis.plot(false, true, lw=2, label=f"{name}, AUC {area:.3f}")
    axis.plot([0, 1], [0, 1], color=GREY, lw=1.5, ls="--", label="chance, AUC 0.500")
    axis.set(xlabel="false positive rate", ylabel="true positive rate (recall)", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axis.legend(frameon=False)
    return parent_figure(axis)


def _plot_clusters(trained: TrainingResult) -> Figure:
    left, right = make_axes(trained, f"clusters of {row_count(trained)}", panels=2)
    clusters, space = trained.test_predictions.astype(int), trained.model.space(trained.test)
    numbers, sizes = np.unique(clusters, return_counts=True)
    left.bar([str(n) for n in numbers], sizes, color=BLUE)
    left.set(xlabel="cluster", ylabel="rows", title="Sizes")
    _, _, axes = np.linalg.svd(space - space.mean(0), full_matrices=False)
    flat = (space - space.mean(0)) @ axes[:2].T
    shown = np.random.default_rng(0).permutation(len(flat))[:MAX_POINTS]
    second = flat[shown, 1] if flat.shape[1] > 1 else np.zeros(len(shown))
    right.scatter(flat[shown, 0], second, c=clusters[shown], cmap="tab10", s=12, alpha=0.6, edgecolors="none")
    right.set(xlabel="first principal component", ylabel="second", title="Rows")
    return parent_figure(left)


def _has_wide_range(values: np.ndarray) -> bool:
    """Whether a few large values would squeeze all others into a corner."""
    size = np.abs(values[values != 0])
    return len(size) > 0 and size.max() > 50 * np.median(size)


def _metric_title(trained: TrainingResult) -> str:
    name = trained.spec.primary_metric
    theirs = trained.baseline.get(name, float("nan"))
    return f"{name} {trained.metrics[name]:.4g}; baseline ({trained.baseline_name}) {theirs:.4g}"


def _plot_confusion(trained: TrainingResult) -> Figure:
    labels = trained.test_labels.to_list()
    decided = trained.model.outputs(trained.test_predictions, trained.test_thresholds)["prediction"].tolist()
    names = sorted({*trained.model.classes, *labels}, key=lambda c: (c not in trained.model.classes, str(c)))
    names = [*trained.model.classes, *[n for n in names if n not in trained.model.classes]]
    counts = sk.confusion_matrix([names.index(v) for v in labels], [names.index(v) for v in decided])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(4.4 + 0.5 * len(names), 11.0)
    at = f" at threshold {trained.model.threshold:.3g}" if trained.model.task == "binary" else ""
    (axis,) = make_axes(trained, f"confusion{at}, {row_count(trained)}", size=(side + 1.6, side))
    axis.grid(False)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks, text = range(len(names)), [str(n) for n in names]
    axis.set(
        xticks=ticks, yticks=ticks, yticklabels=text, xlabel="predicted", ylabel=f"actual {trained.test_labels.name}"
    )
    axis.set_xticklabels(
        text, rotation=45 if max(map(len, text)) > 6 else 0, ha="right" if max(map(len, text)) > 6 else "center"
    )
    for row, column in np.ndindex(*counts.shape) if len(names) <= MAX_CLASSES else ():
        colour = "white" if shares[row, column] > 0.55 else "black"
        told = f"{counts[row, column]:,}\n{shares[row, column]:.0%}"
        axis.text(column, row, told, ha="center", va="center", color=colour, fontsize=9)
    bar = parent_figure(axis).colorbar(image, ax=axis, shrink=0.8, format=PercentFormatter(1.0))
    bar.set_label("share of the actual class")
    return parent_figure(axis)


def _plot_scores(trained: TrainingResult) -> Figure:
    (axis,) = make_axes(trained, f"anomaly scores, {row_count(trained)}", size=(8, 4.4))
    positive, score = _positive_rows(trained), trained.test_predictions
    edges = np.linspace(score.min(), score.max() + 1e-9, 40)
    for rows, colour, name in ((~positive, BLUE, "normal"), (positive, ORANGE, "anomalous")):
        if rows.any():
            weights = np.full(int(rows.sum()), 1 / rows.sum())
            label = f"{name} ({int(rows.sum()):,})"
            axis.hist(score[rows], bins=edges.tolist(), weights=weights, color=colour, alpha=0.55, label=label)
    axis.axvline(trained.model.threshold, color=GREY, ls="--", lw=1.5, label=f"threshold {trained.model.threshold:.3g}")
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set(xlabel="score (greater: more anomalous)", ylabel="share of its rows")
    axis.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return parent_figure(axis)


def _plot_importance(trained: TrainingResult) -> Figure:
    top = list(trained.importance.items())[:MAX_BARS][::-1]
    own = trained.model.importance() is not None
    how = "the model's own importance" if own else f"of the loss in {trained.spec.primary_metric} when shuffled"
    of = f"top {len(top)} of {len(trained.importance)}" if len(top) < len(trained.importance) else f"{len(top)}"
    (axis,) = make_axes(trained, f"feature importance, {of} features", size=(8, 1.5 + 0.27 * max(len(top), 4)))
    bars = axis.barh([name for name, _ in top], [share for _, share in top], color=BLUE, height=0.7)
    axis.bar_label(bars, labels=[f"{share:.1%}" for _, share in top], padding=3, fontsize=8)
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.set_xlim(0, max([share for _, share in top], default=0) * 1.12 or 1)
    axis.set_xlabel(f"share ({how})")
    axis.grid(False, axis="y")
    return parent_figure(axis)


def _plot_curve(trained: TrainingResult) -> Figure:
    (axis,) = make_axes(trained, "learning curve", size=(8, 4.4))
    for (part, losses), colour in zip(trained.curve.items(), (BLUE, ORANGE, GREEN), strict=False):
        axis.plot(range(1, len(losses) + 1), losses, color=colour, lw=2, label=part)
    if held_out := trained.curve.get("validation"):
        best = int(np.argmin(held_out))
        axis.axvline(best + 1, color=GREY, ls="--", lw=1.2, label=f"best: round {best + 1}, {held_out[best]:.4g}")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="round", ylabel=trained.curve_metric)
    axis.legend(frameon=False)
    return parent_figure(axis)


_PLOTS: dict[str, tuple[tuple[str, Callable[[TrainingResult], Figure]], ...]] = {
    "regression": (("predictions", _plot_predictions),),
    "binary": (("roc_pr", _plot_roc_pr), ("confusion_matrix", _plot_confusion)),
    "multiclass": (("confusion_matrix", _plot_confusion),),
    "multilabel": (("labels", _plot_labels),),
    "anomaly": (("roc_pr", _plot_roc_pr), ("scores", _plot_scores)),
    "clustering": (("clusters", _plot_clusters),),
    "forecast": (("predictions", _plot_predictions), ("steps", _plot_steps)),
}
