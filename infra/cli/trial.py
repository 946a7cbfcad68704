"""``karat try``: a model on a sample, in process."""

from __future__ import annotations

import time
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from infra.cli.app import console, print_json
from infra.cli.gold import task_progress
from infra.cli.tables import Column, print_table
from karat.declare import load_project
from karat.lake import Lake
from karat.lifecycle.trial import TRIAL_ROWS, Trial, try_model
from karat.settings import Settings
from karat.training.cross_validation import fold_statistics
from karat.training.evaluation import beats_baseline, primary_metric

_SHOWN = 8
_COLUMNS = (
    Column("metric", whole=True),
    Column("test", number=True),
    Column("95 % interval", number=True),
    Column("baseline", number=True),
    Column("train", number=True),
)


def try_model_command(
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    model: Annotated[str, typer.Argument(help="one of the project's models")],
    *,
    rows: Annotated[int, typer.Option(min=1, help="the most gold rows to read; see --all")] = TRIAL_ROWS,
    whole: Annotated[bool, typer.Option("--all", help="read every gold row")] = False,
    search: Annotated[
        bool, typer.Option("--search", help="search for the parameters under 'search' first, in this process")
    ] = False,
    trials: Annotated[int, typer.Option(min=1, help="trials of the search")] = 10,
    out: Annotated[Path | None, typer.Option(help="folder of card and plots; KARAT_HOME/trials by default")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of tables")] = False,
) -> None:
    """Try a model on a sample of its gold rows: seconds, no server, nothing registered.

    Features, label and training set are computed from the declarations as they are now, then the model is fitted and
    compared with its baseline. Of more than `--rows` gold rows whole entities are drawn, or of a few entities the
    latest rows; what was drawn is printed. The quality checks are asked as well: rows that a run would set aside are
    left out, and a check that would stop a run is printed. The lake stays as it is. `--search` first
    tries `--trials` values of the parameters that the model declares under `search`, with the best so far. Once the
    figures are good, `karat run` trains on everything and registers a version.

    Examples:  `karat try shop comes_back --rows 20000`, `karat try healthcare sepsis --search --trials 5`
    """
    settings = Settings()
    loaded, began = load_project(project, settings), time.monotonic()
    with task_progress() as tell:
        lake = Lake(settings.lake, settings.environment)
        trial = try_model(
            loaded,
            model,
            lake,
            rows=None if whole else rows,
            search_trials=trials if search else None,
            progress=tell,
        )
    took = time.monotonic() - began
    folder = out or settings.home / "trials" / project / model
    files = trial.write(folder)
    if as_json:
        print_json(_as_json(trial, folder, files))
        return
    result = trial.run.result
    console.print(f"[bold]{escape(model)}[/] on a sample, in {took:.1f} s:", highlight=False)
    for line in trial.sample:
        console.print(f"  {line}", markup=False, highlight=False)
    _show_checks(trial)
    _show_search(trial)
    _show_metrics(trial)
    for line in _verdict(trial):
        console.print(line, markup=False, highlight=False)
    for metric, (mean, deviation) in fold_statistics(result.folds).items():
        if metric == primary_metric(result.spec, result.metrics):
            told = f"Cross-validation in {len(result.folds)} folds: {metric} {mean:.4g}, standard deviation"
            console.print(f"{told} {deviation:.2g}.", markup=False, highlight=False)
    important = [(n, share) for n, share in result.importance.items() if share > 0][:_SHOWN]
    if important:
        shown = ", ".join(f"{name} {share:.0%}" for name, share in important)
        console.print(f"Importance: {shown}.", markup=False, highlight=False)
    for warning in trial.warnings:
        console.print(f"[yellow]Warning[/] {escape(warning)}.", highlight=False)
    console.print(f"Card and plots: {folder}", markup=False, highlight=False, soft_wrap=True)
    for file in files:
        console.print(f"  {file.name}", markup=False, highlight=False, soft_wrap=True)


def _show_checks(trial: Trial) -> None:
    asked, lines = trial.checks.asked, trial.checks.lines
    if not lines:
        told = f"{asked} asked, all pass" if asked else "none is declared"
        console.print(f"Quality checks: {told}.", highlight=False)
        return
    console.print(f"Quality checks: {asked} asked, of which", highlight=False)
    for line in lines:
        console.print(f"  {line}", markup=False, highlight=False)


def _show_search(trial: Trial) -> None:
    """The best trial, and beside it the one with the kind's own parameters, which is tried first."""
    found = trial.run.search.result if trial.run.search else None
    if found is None:
        return
    best, first = found.best, found.trials[0]
    shown = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in best.parameters.items()
    )
    told = f"Search: {len(found.trials)} trials in {found.seconds:.1f} s, {found.metric} on {found.validation_rows:,}"
    told += f" validation rows. Trial {first.number}: {_number(first.value) or first.error or first.state}."
    console.print(
        f"{told} Best, trial {best.number}: {_number(best.value)} with {shown}.", markup=False, highlight=False
    )


def _show_metrics(trial: Trial) -> None:
    result, gain = trial.run.result, trial.run.gain
    chief = primary_metric(result.spec, result.metrics)
    cells = []
    for metric, value in result.metrics.items():
        interval = gain.intervals.get(metric) if gain else None
        span = f"{interval.low:.4g} to {interval.high:.4g}" if interval and isfinite(interval.low) else ""
        others = (_number(result.baseline.get(metric)), _number(result.train_metrics.get(metric)))
        cells.append((f"[bold]{metric}[/]" if metric == chief else metric, _number(value), span, *others))
    print_table(console, _COLUMNS, cells, title=f"The baseline is {escape(result.baseline_name)}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _verdict(trial: Trial) -> list[str]:
    """The gain in a sentence, and why it is not larger."""
    result, gain = trial.run.result, trial.run.gain
    chief = primary_metric(result.spec, result.metrics)
    rows = f"{result.rows['train']:,} training and {result.rows['test']:,} test rows"
    if gain is None:
        beats = "better than" if beats_baseline(result.spec, result.metrics, result.baseline) else "no better than"
        return [f"{rows}: {beats} the baseline in {chief}; these rows allow no interval."]
    surely = "better than the baseline" if gain.gain.is_positive else "not clearly better than the baseline"
    span = f"a gain of {gain.gain.value:.4g} ({gain.gain.low:.4g} to {gain.gain.high:.4g}) in {chief}"
    return [f"{rows}: {surely}, {span}.", *(f"Why not more: {reason}." for reason in gain.shortfall)]


def _as_json(trial: Trial, folder: Path, files: list[Path]) -> dict[str, Any]:
    result, gain = trial.run.result, trial.run.gain
    return {
        "model": result.spec.name,
        "sample": list(trial.sample),
        "checks": {"asked": trial.checks.asked, "found": list(trial.checks.lines)},
        "rows": result.rows,
        "metrics": result.metrics,
        "baseline": result.baseline,
        "baseline_name": result.baseline_name,
        "train_metrics": result.train_metrics,
        "gain": gain.as_metrics() if gain else {},
        "search": trial.run.search.to_dict() if trial.run.search else None,
        "folds": result.folds,
        "importance": result.importance,
        "warnings": list(trial.warnings),
        "folder": str(folder),
        "files": [f.name for f in files],
    }
