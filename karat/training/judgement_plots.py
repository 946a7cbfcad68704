"""Plots of how far predictions can be trusted: reliability of probabilities, forecast against actual with intervals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from karat.kinds import Model, parts_of
from karat.training.fitted_evaluation import TrainingResult
from karat.training.plot_style import BLUE, GREY, ORANGE, make_axes, parent_figure, row_count

#: Entities whose labels are drawn over time, those with the most test rows.
MAX_SERIES = 4


def plot_reliability(trained: TrainingResult) -> Figure:
    """Plot how often the label is positive against the probability, in bins of as many test rows each."""
    report, scores = trained.calibration, trained.test_predictions
    assert report is not None
    left, right = make_axes(trained, f"calibration, {row_count(trained)}", panels=2)
    left.plot([0, 1], [0, 1], color=GREY, lw=1.2, ls="--", label="calibrated")
    left.plot(report.predicted, report.observed, color=BLUE, lw=2, marker="o", ms=5, label="model")
    title = f"Brier {report.brier:.4g}" + ("" if report.before is None else f"; before {report.before:.4g}")
    left.set(xlabel="mean probability of a bin", ylabel="share of positive rows", title=title)
    left.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    left.legend(frameon=False, loc="upper left")
    right.hist(scores, bins=np.linspace(0, 1, 41).tolist(), color=BLUE)
    right.set(xlabel="probability", ylabel="test rows", title="Probabilities", xlim=(-0.01, 1.01))
    return parent_figure(left)


def plot_series(trained: TrainingResult) -> Figure:
    """Plot labels and predictions of some entities over time; of a forecast its first step."""
    assert trained.time is not None
    series = list(_series(trained))
    title, size = f"predicted against actual, {row_count(trained)}", (11, 1 + 2.4 * len(series))
    axes = make_axes(trained, title, size=size, rows=len(series))
    for axis, (name, frame) in zip(axes, series, strict=True):
        when = frame["time"].to_numpy()
        axis.plot(when, frame["actual"].to_numpy(), color=GREY, lw=1.6, marker=".", ms=4, label="actual")
        axis.plot(when, frame["predicted"].to_numpy(), color=BLUE, lw=1.6, label="predicted")
        if "low" in frame.columns:
            _fill(axis, frame, trained)
        axis.set_title(name, fontsize=10, loc="left")
    axes[0].legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    axes[-1].set_xlabel("time of the row" + ("; values of the first step" if trained.model.task == "forecast" else ""))
    return parent_figure(axes[0])


def _fill(axis: Axes, frame: pl.DataFrame, trained: TrainingResult) -> None:
    assert trained.intervals is not None
    low, high = (frame[end].to_numpy() for end in ("low", "high"))
    label = f"{trained.intervals.declared:.0%} interval"
    axis.fill_between(frame["time"].to_numpy(), low, high, color=ORANGE, alpha=0.2, lw=0, label=label)


def _series(trained: TrainingResult) -> Iterator[tuple[str, pl.DataFrame]]:
    """The entities with the most test rows: name, and ``time``, ``actual``, ``predicted``, ``low`` and ``high``."""
    rows, y = trained.test_rows, trained.test_labels
    actual = parts_of(y)[1] if isinstance(y.dtype, pl.Struct) else y.cast(pl.Float64).to_numpy()
    columns = {"actual": actual, "predicted": trained.test_predictions}
    if isinstance(trained.model, Model) and trained.model.interval is not None:
        columns |= dict(zip(("low", "high"), trained.model.interval.ends(trained.test_predictions), strict=True))
    keys = [c for c in trained.entity if c in rows.columns]
    name = pl.concat_str([pl.col(c).cast(pl.String) for c in keys], separator=", ") if keys else pl.lit("all rows")
    frame = rows.select(name.alias("name"), pl.col(trained.time or "").alias("time")).with_columns(
        pl.Series(column, values if values.ndim == 1 else values[:, 0]) for column, values in columns.items()
    )
    counts = frame["name"].value_counts(sort=True).sort("count", "name", descending=[True, False])
    for entity in counts["name"].head(MAX_SERIES):
        yield str(entity), frame.filter(pl.col("name") == entity).sort("time")
