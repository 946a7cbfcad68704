"""Plot of the leakage report: the status and the age of the values used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

# Okabe and Ito's colours, which colour-blind readers tell apart.
STATUS_COLOURS = {
    "present": "#0072B2",
    "null": "#E69F00",
    "not_found": "#7F7F7F",
    "expired": "#CC79A7",
    "defaulted": "#56B4E9",
}
LEAK_COLOUR, AGE_COLOUR = "#D55E00", "#0072B2"
MAX_FEATURES = 40


def plot_report(report: pl.DataFrame, *, title: str = "") -> Figure:
    """Plot the report in two panels, one line per feature: shares of the statuses, and ages in days.

    Ages run from least to greatest, with the median. Ages under zero are leaks and orange. The plot shows the 40
    features with the most missing values.
    """
    lines = report.with_columns(missing=pl.col("rows") - pl.col("present"))
    lines = lines.sort("younger", "missing", descending=True, maintain_order=True).head(MAX_FEATURES).reverse()
    figure = Figure(figsize=(12, 1.8 + 0.27 * max(lines.height, 4)), layout="constrained")
    shown = f"{lines.height} of {report.height}" if lines.height < report.height else f"{report.height}"
    figure.suptitle(f"{title}{': ' if title else ''}leakage report, {shown} features", fontsize=12, fontweight="bold")
    left, right = figure.subplots(1, 2, sharey=True)
    for axis in (left, right):
        axis.grid(True, axis="x", alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
    _plot_statuses(left, lines)
    _plot_ages(right, lines)
    return figure


def draw_report(report: pl.DataFrame, folder: Path, *, title: str = "") -> Path:
    """Write ``leakage_report.png`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "leakage_report.png"
    plot_report(report, title=title).savefig(path, dpi=110)
    return path


def _plot_statuses(axis: Axes, lines: pl.DataFrame) -> None:
    places, start = np.arange(lines.height), np.zeros(lines.height)
    rows = np.maximum(lines["rows"].to_numpy(), 1)
    for status, colour in STATUS_COLOURS.items():
        share = lines[status].to_numpy() / rows
        if share.any():
            axis.barh(places, share, left=start, color=colour, height=0.7, label=status.replace("_", " "))
        start = start + share
    axis.set_yticks(places, lines["feature"].to_list(), fontsize=8)
    axis.set(xlim=(0, 1), xlabel="share of the rows", title="Status of the values")
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12 - 0.6 / max(lines.height, 4)), ncols=5, frameon=False)


def _plot_ages(axis: Axes, lines: pl.DataFrame) -> None:
    days = {
        c: lines[c].dt.total_seconds().cast(pl.Float64).to_numpy() / 86400 for c in ("age_min", "age_median", "age_max")
    }
    known = np.isfinite(days["age_median"])
    young = lines["younger"].to_numpy() > 0
    for which, colour, name in (
        (known & ~young, AGE_COLOUR, "not later than the row"),
        (known & young, LEAK_COLOUR, "later than the row: a leak"),
    ):
        if which.any():
            places = np.arange(lines.height)[which]
            axis.hlines(places, days["age_min"][which], days["age_max"][which], color=colour, lw=2.5, alpha=0.5)
            axis.plot(days["age_median"][which], places, "o", color=colour, ms=5, label=name)
    axis.axvline(0, color="black", lw=0.8)
    axis.set(xlabel="age in days: least, median, greatest", title="Age of the values used")
    if known.any():
        axis.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.12 - 0.6 / max(lines.height, 4)), ncols=2, frameon=False
        )
    else:
        axis.text(0.5, 0.5, "no point-in-time join: no ages", transform=axis.transAxes, ha="center", color="#7F7F7F")
