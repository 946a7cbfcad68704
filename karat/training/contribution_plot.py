"""Plots of the contributions of a sample of rows: the greatest of them, and how each depends on its feature's value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from karat.training.contribution_sample import ContributionSample
from karat.training.plot_style import BLUE, GREY, ORANGE

#: Features that the first plot shows, and those of the second.
SHOWN, DEPENDENCES = 12, 4
_COLOURS = LinearSegmentedColormap.from_list("low to high", [BLUE, ORANGE])


def save_contribution_plots(sample: ContributionSample, folder: Path, *, title: str) -> list[Path]:
    """Write ``contributions.png`` and ``contribution_dependence.png``.

    The first has the mean absolute contribution of each feature, and a dot per row with the contribution, coloured by
    the feature's value (a beeswarm). The second has contribution against value for the greatest features. Of several
    outputs both show the one with the greatest contributions.

    Args:
        sample: Contributions of some rows.
        folder: The folder, created if missing.
        title: The model's name.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output = int(np.abs(sample.values).mean(axis=(0, 2)).argmax())
    named = f" to {sample.outputs[output]}" if sample.outputs[output] else ""
    heading = f"{title}: contributions{named}, {sample.rows:,} of {sample.test_rows:,} test rows"
    paths = []
    for name, draw in (("contributions", _plot_contributions), ("contribution_dependence", _plot_dependence)):
        paths.append(folder / f"{name}.png")
        draw(sample, output, heading).savefig(paths[-1], dpi=110)
    return paths


def _plot_contributions(sample: ContributionSample, output: int, heading: str) -> Figure:
    order = _greatest(sample, output, SHOWN)[::-1]
    figure = Figure(figsize=(11, 1.8 + 0.36 * max(len(order), 4)), layout="constrained")
    figure.suptitle(heading, fontsize=12, fontweight="bold")
    left, right = figure.subplots(1, 2, sharey=True)
    values = sample.values[:, output]
    mean = np.abs(values[:, order]).mean(axis=0)
    bars = left.barh(range(len(order)), mean, color=BLUE, height=0.7)
    left.bar_label(bars, labels=[f"{m:.2g}" for m in mean], padding=3, fontsize=8)
    left.set_xlim(0, mean.max(initial=0) * 1.15 or 1)
    left.set_yticks(range(len(order)), [sample.names[i] for i in order])
    left.set_xlabel(f"mean absolute contribution ({sample.unit})")
    for place, feature in enumerate(order):
        ranks = _ranks(sample.inputs[:, feature])
        missing = np.isnan(ranks)
        height = place + _spread(values[:, feature])
        style = {"s": 10, "alpha": 0.7, "linewidths": 0}
        right.scatter(values[missing, feature], height[missing], color=GREY, **style)
        right.scatter(
            values[~missing, feature], height[~missing], c=ranks[~missing], cmap=_COLOURS, vmin=0, vmax=1, **style
        )
    right.axvline(0, color=GREY, lw=1)
    right.set_xlabel(f"contribution ({sample.unit}); blue: low value, orange: high, grey: missing")
    _clean([left, right])
    return figure


def _plot_dependence(sample: ContributionSample, output: int, heading: str) -> Figure:
    order = _greatest(sample, output, DEPENDENCES)
    figure = Figure(figsize=(11, 3.6 * (1 + (len(order) > 2))), layout="constrained")
    figure.suptitle(heading, fontsize=12, fontweight="bold")
    axes = np.atleast_1d(figure.subplots(1 + (len(order) > 2), min(len(order), 2))).ravel().tolist()
    for axis, feature in zip(axes, order, strict=False):
        _plot_feature(axis, sample, output, feature)
    for axis in axes[len(order) :]:
        axis.set_visible(False)
    _clean(axes)
    return figure


def _plot_feature(axis: Axes, sample: ContributionSample, output: int, feature: int) -> None:
    name, x, y = sample.names[feature], sample.inputs[:, feature], sample.values[:, output, feature]
    known = ~np.isnan(x)
    categories = sample.categories.get(name)
    place = x[known]
    if categories:
        used = np.unique(place).astype(int)
        jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(place))
        place = np.searchsorted(used, place) + jitter
        axis.set_xticks(range(len(used)), [categories[code] for code in used], rotation=30, ha="right", fontsize=8)
    axis.scatter(place, y[known], s=12, alpha=0.5, color=BLUE, linewidths=0)
    if not known.all():
        mean = float(y[~known].mean())
        axis.axhline(mean, color=GREY, ls="--", lw=1.2, label=f"missing in {int((~known).sum())} rows: {mean:.2g}")
        axis.legend(frameon=False, fontsize=8)
    axis.axhline(0, color=GREY, lw=0.8)
    axis.set(xlabel=name, ylabel=f"contribution ({sample.unit})")


def _greatest(sample: ContributionSample, output: int, count: int) -> list[int]:
    mean = np.abs(sample.values[:, output]).mean(axis=0)
    made: list[int] = np.argsort(-mean, kind="stable")[:count].tolist()
    return made


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks between 0 and 1 of equal values; NaN stays."""
    out = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    distinct, codes = np.unique(values[known], return_inverse=True)
    out[known] = codes / max(len(distinct) - 1, 1)
    return out


def _spread(values: np.ndarray, bins: int = 60) -> np.ndarray:
    """Heights that keep dots of about the same value apart, within 0.4 up and down."""
    codes = np.digitize(values, np.linspace(values.min(), values.max(), bins)) if np.ptp(values) else 0 * values
    heights = np.zeros(len(values))
    widest = max(np.unique(codes, return_counts=True)[1].max(), 2)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        heights[rows] = (np.arange(len(rows)) - (len(rows) - 1) / 2) * 0.8 / widest
    return heights


def _clean(axes: Sequence[Axes]) -> None:
    for axis in axes:
        axis.grid(True, alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
