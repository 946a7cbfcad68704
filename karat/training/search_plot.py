"""Picture of a search: its history, the parameters of each trial, and how much each parameter matters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestRegressor

from karat.declare.models import HIGHER_IS_BETTER
from karat.training.plot_style import BLUE, GREY, ORANGE
from karat.training.search import SearchResult, Trial

FILE = "search.png"


def save_search_plot(search: SearchResult, folder: Path) -> Path:
    """Draw a search into ``folder / FILE``.

    The importance of a parameter is that of a random forest that predicts the trials' values from their parameters.

    Args:
        search: The search.
        folder: An existing folder.
    """
    figure = Figure(figsize=(12, 8), layout="constrained")
    panels = figure.subplot_mosaic([["history", "importance"], ["parallel", "parallel"]])
    finished = [t for t in search.trials if t.value is not None]
    figure.suptitle(
        f"{len(search.trials)} trials, {search.count('stopped')} stopped early, {search.count('failed')} failed; "
        f"best {search.metric} {search.best.value:.4g} on {search.validation_rows:,} validation rows"
    )
    _history(panels["history"], search, finished)
    _importance(panels["importance"], finished)
    _parallel(panels["parallel"], search, finished)
    path = folder / FILE
    figure.savefig(path, dpi=110)
    return path


def _history(axis: Axes, search: SearchResult, finished: list[Trial]) -> None:
    numbers, values = [t.number for t in finished], np.array([t.value for t in finished], dtype=float)
    best = np.maximum.accumulate(values) if HIGHER_IS_BETTER[search.metric] else np.minimum.accumulate(values)
    axis.scatter(numbers, values, s=18, color=BLUE, alpha=0.6, label="trial")
    axis.step(numbers, best, where="post", color=ORANGE, lw=2, label="best so far")
    axis.set(xlabel="trial", ylabel=search.metric, title="History")
    axis.legend(frameon=False)


def _importance(axis: Axes, finished: list[Trial]) -> None:
    axis.set(title="Importance of the parameters", xlabel="share")
    names = list(finished[0].parameters)
    X = np.column_stack([_positions([t.parameters[n] for t in finished])[0] for n in names])
    y = np.array([t.value for t in finished], dtype=float)
    if len(finished) < 2 * len(names) or np.ptp(y) == 0:
        axis.text(0.5, 0.5, f"too few trials ({len(finished)})", ha="center", va="center", transform=axis.transAxes)
        return
    shares = RandomForestRegressor(100, random_state=0).fit(X, y).feature_importances_
    order = np.argsort(shares)
    axis.barh([names[i] for i in order], shares[order], color=BLUE)


def _parallel(axis: Axes, search: SearchResult, finished: list[Trial]) -> None:
    """One line per trial over its parameters; the colour is its value."""
    names = list(finished[0].parameters)
    values = np.array([t.value for t in finished], dtype=float)
    sign = 1 if HIGHER_IS_BETTER[search.metric] else -1
    rank = np.argsort(np.argsort(sign * values)) / max(len(values) - 1, 1)
    heights = []
    for k, name in enumerate(names):
        positions, ends = _positions([t.parameters[name] for t in finished])
        heights.append(positions)
        for at, text in ends:
            axis.annotate(text, (k, at), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center")
    lines = np.column_stack(heights)
    for line, place in sorted(zip(lines.tolist(), rank.tolist(), strict=True), key=lambda pair: pair[1]):
        best = place == 1.0
        axis.plot(line, color=ORANGE if best else BLUE, alpha=1.0 if best else 0.1 + 0.5 * place, lw=2.5 if best else 1)
    for k in range(len(names)):
        axis.axvline(k, color=GREY, lw=1)
    axis.set(xticks=range(len(names)), yticks=[], title="Parameters of each finished trial (orange: the best)")
    axis.set_xticklabels(names)
    axis.set_xlim(-0.2, max(len(names) - 1, 0) + 0.5)


def _positions(given: list[object]) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Places of values between 0 and 1, and the texts of the ends (of every choice, if they are not all numbers)."""
    numbers = [v for v in given if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(given):
        values = np.array(numbers, dtype=float)
        # Orders of magnitude apart: as far from each other on the axis as on a logarithmic one.
        wide = values.min() > 0 and values.max() / values.min() > 30
        scaled = np.log(values) if wide else values
        span = np.ptp(scaled) or 1.0
        return (scaled - scaled.min()) / span, [(0.0, f"{values.min():.3g}"), (1.0, f"{values.max():.3g}")]
    texts = sorted({str(v) for v in given})
    places = {text: k / max(len(texts) - 1, 1) for k, text in enumerate(texts)}
    return np.array([places[str(v)] for v in given]), [(at, text) for text, at in places.items()]
