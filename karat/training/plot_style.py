"""Colours and axes that all plots of a model share.

Figures are objects, without pyplot's global state, so that threads and Ray tasks can plot in parallel.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from karat.training.fitted_evaluation import TrainingResult

# Okabe and Ito's colours, which colour-blind readers tell apart.
BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#7F7F7F", "#009E73"


def make_axes(
    trained: TrainingResult, title: str, panels: int = 1, size: tuple[float, float] = (10, 4.6), *, rows: int = 1
) -> list[Axes]:
    """Make a figure with the model's name and a title.

    Args:
        trained: The trained model.
        title: What is drawn.
        panels: Panels side by side.
        size: Width and height in inches.
        rows: Panels below each other.

    Returns:
        The axes, row by row.
    """
    figure = Figure(figsize=size, layout="constrained")
    name = trained.spec.name or trained.model.kind_name
    figure.suptitle(f"{name}: {title}", fontsize=12, fontweight="bold")
    axes: list[Axes] = np.ravel(figure.subplots(rows, panels)).tolist()
    for axis in axes:
        axis.grid(True, alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
    return axes


def parent_figure(axis: Axes) -> Figure:
    """Return the figure of an axis."""
    figure = axis.get_figure()
    assert isinstance(figure, Figure)
    return figure


def row_count(trained: TrainingResult) -> str:
    """Return the number of test rows in words."""
    return f"{trained.rows['test']:,} test rows" + (", synthetic anomalies" if trained.planted else "")
