"""Refit on later rows: is a model that was fitted again on all rows better on the rows that come after?

For each model with a time, the last days of its training set are set aside in windows, one after the other. On the rows
before a window the model is trained as declared (``judged``: fitted on its training rows, its own test rows apart), and
fitted again on all rows before the window (``refitted``). Both predict the window, whose rows neither has seen. A line
of JSON per model and window goes to ``--out``; lines that are there are not computed again. Models without a time are
tested on entities that neither has seen.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from statistics import mean, median

import numpy as np
import polars as pl
from scipy.stats import binomtest, wilcoxon

from benchmarks.measure import RESULTS
from karat.declare import load_project
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import UNSUPERVISED
from karat.errors import KaratError
from karat.features import compute_table
from karat.lake import Lake
from karat.lifecycle.version_comparison import relative_gain
from karat.quality import write_sample
from karat.settings import Settings
from karat.training.evaluation import evaluate
from karat.training.refit import refit_on_all
from karat.training.split import TEST, TRAIN, split_rows
from karat.training.train import train
from karat.training_sets.declared_training_set import declared_training_set
from karat.training_sets.labels import label_spine
from karat.training_sets.protected_columns import with_protected

ROOT = Path(__file__).parents[1]
PROJECTS = ("customers", "healthcare", "hydroponics", "roi", "health_monitor")


@dataclass(frozen=True)
class Window:
    """Both models on one window of later rows; ``gain`` is the refitted one's, relative, more is better."""

    project: str
    model: str
    window: int
    metric: str
    rows: int
    judged: float
    refitted: float
    gain: float


def windows(model: DeclaredModel, frame: pl.DataFrame, share: float, number: int) -> Iterator[tuple[pl.DataFrame, ...]]:
    """The rows before each window of later rows, and those of the window, the latest window first."""
    spine, spec = model.spine, model.spec
    timed = spine.time is not None and spec.split.by != "entity"
    for k in range(number):
        outer = spec.model_copy(
            update={
                "seed": spec.seed + 10 + k,
                "split": spec.split.model_copy(update={"test": share, "test_from": None}),
            }
        )
        parts = split_rows(frame, outer, time=spine.time, entity=spine.entity)
        before, later = frame.filter(parts == TRAIN), frame.filter(parts == TEST)
        if before.is_empty() or later.is_empty():
            return
        yield before, later
        if timed and spine.time is not None:
            first = later[spine.time].cast(pl.Date).min()
            frame = frame.filter(pl.col(spine.time).cast(pl.Date) < first)


def compare(model: DeclaredModel, lake: Lake, share: float, number: int) -> Iterator[Window]:
    spec, spine, target = model.spec, model.spine, model.spec.target
    training_set = declared_training_set(model, lake, label_spine(model, lake))
    rows = with_protected(model, lake, training_set.data)
    supervised = None if spec.task in UNSUPERVISED else target
    small = spec.model_copy(update={"minimum_rows": 1})
    for k, (before, later) in enumerate(windows(model, rows, share, number)):
        split = split_rows(before, small, time=spine.time, entity=spine.entity)
        how = {"features": training_set.features, "label": supervised, "split": split}
        known = target if target and before[target].null_count() < before.height else None
        judged = None if supervised else known
        made = train(small, before, **how, evaluation_label=judged, time=spine.time, entity=spine.entity)
        values = {}
        again = refit_on_all(small, made.model, before, label=target, time=spine.time)
        for name, one in (("judged", made.model), ("refitted", again)):
            labels = later[target] if target else None
            space = one.space(later) if spec.task == "clustering" else None
            classes = one.classes or None
            decided = {"threshold": one.thresholds(later), "classes": classes, "space": space}
            values[name] = evaluate(spec.task, labels, one.predict(later), **decided).get(spec.primary_metric)
        if None in values.values():
            continue
        gain = relative_gain(spec.primary_metric, values["refitted"], values["judged"])
        yield Window(model.project.name, spec.name, k, spec.primary_metric, later.height, **values, gain=gain)


def lake_of(name: str, home: Path) -> tuple[Lake, list[DeclaredModel]]:
    settings = Settings(home=home, projects=ROOT / "projects")
    project = load_project(name, settings)
    lake = Lake(settings.lake, settings.environment)
    if not (home / "made").exists():
        write_sample(project, lake, scale=1.0, seed=0)
        for table in project.tables:
            compute_table(project, table, lake)
        (home / "made").touch()
    return lake, [DeclaredModel(project, spec) for spec in project.models.values()]


def told(found: list[Window]) -> str:
    by_model: dict[str, list[float]] = {}
    for window in found:
        by_model.setdefault(f"{window.project}.{window.model}", []).append(window.gain)
    means = {name: mean(gains) for name, gains in by_model.items()}
    wins = sum(gain > 0 for gain in means.values())
    losses = sum(gain < 0 for gain in means.values())
    lines = [f"{name:55s} {gain:+.2%}" for name, gain in sorted(means.items(), key=lambda pair: pair[1])]
    chance = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    values = np.array(list(means.values()))
    rank = wilcoxon(values).pvalue if len(values) > 5 else float("nan")
    summary = (
        f"{len(means)} models, {len(found)} windows: the refitted model is better for {wins}, worse for {losses}; "
        f"median gain {median(means.values()):+.2%}, mean {mean(means.values()):+.2%}; "
        f"sign test p = {chance:.3g}, Wilcoxon p = {rank:.3g}"
    )
    return "\n".join([*lines, summary])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("projects", nargs="*", default=PROJECTS)
    parser.add_argument("--share", type=float, default=0.1, help="share of the days in a window")
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--skip", nargs="*", default=(), help="kinds to leave out, such as lstm gru")
    parser.add_argument("--home", type=Path, help="folder of the lakes, kept; a temporary one by default")
    parser.add_argument("--out", type=Path, default=RESULTS / "refit_later_rows.jsonl")
    called = parser.parse_args()
    done = [Window(**json.loads(line)) for line in called.out.read_text().splitlines()] if called.out.exists() else []
    called.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name in called.projects:
            lake, models = lake_of(name, (called.home or Path(temporary)) / name)
            for model in models:
                if model.spec.kind in called.skip or any((w.project, w.model) == (name, model.spec.name) for w in done):
                    continue
                began = time.monotonic()
                try:
                    found = list(compare(model, lake, called.share, called.windows))
                except KaratError as error:
                    print(f"{name}.{model.spec.name}: {error.what}", flush=True)
                    continue
                with called.out.open("a") as file:
                    file.writelines(json.dumps(asdict(window)) + "\n" for window in found)
                done += found
                gains = ", ".join(f"{w.gain:+.2%}" for w in found)
                seconds = timedelta(seconds=round(time.monotonic() - began))
                print(f"{name}.{model.spec.name}: {model.spec.primary_metric} {gains} ({seconds})", flush=True)
    print(told(done))


if __name__ == "__main__":
    main()
