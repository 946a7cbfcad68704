"""Plot of the rates of each group of the protected columns."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from karat.training.fairness import RATES, FairnessReport
from karat.training.plot_style import BLUE, GREEN, ORANGE

#: Groups of one column that are drawn, the largest first.
MAX_GROUPS = 12


def save_fairness_plot(report: FairnessReport, folder: Path, *, title: str) -> Path:
    """Write ``fairness.png``: a panel for each protected column, with the rates of its groups.

    Args:
        report: The measured rates.
        folder: The folder, which exists.
        title: The model's name.

    Returns:
        The file.
    """
    columns = list(dict.fromkeys(g.column for g in report.groups))
    figure = Figure(figsize=(max(5.0, 4.2 * len(columns)), 4.6), layout="constrained")
    figure.suptitle(f"{title}: rates of each group, test rows", fontsize=12, fontweight="bold")
    for axis, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        groups = sorted((g for g in report.groups if g.column == column), key=lambda g: -g.rows)[:MAX_GROUPS]
        for k, (rate, colour) in enumerate(zip(RATES, (BLUE, GREEN, ORANGE), strict=True)):
            places = [i + 0.27 * (k - 1) for i, g in enumerate(groups) if rate in g.rates]
            values = [g.rates[rate] for g in groups if rate in g.rates]
            axis.bar(places, values, width=0.25, color=colour, label=rate.replace("_", " "))
        axis.set_xticks(range(len(groups)), [f"{g.group}\n{g.rows:,}" for g in groups])
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set(title=column, ylim=(0, 1.02), xlabel="group, rows")
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, loc="upper left", fontsize=8)
    path = folder / "fairness.png"
    figure.savefig(path, dpi=110)
    return path
