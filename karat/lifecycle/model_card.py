"""The model card of a version: what it is, its data, its metrics, how sure its gain is, and why it is not larger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import get_args

import numpy as np
import polars as pl

from karat.declare.base import format_duration
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import CALIBRATED, Label, ModelSpec
from karat.lifecycle.records import FoundParameters, TrainingRun
from karat.training.cross_validation import fold_statistics
from karat.training.environment import TrainingEnvironment
from karat.training.fairness import MIN_GROUP_ROWS, RATES, FairnessRecord, FairnessReport
from karat.training.fitted_evaluation import TrainingResult
from karat.training.gain_report import ConfidenceInterval, GainReport
from karat.training.search import TrialState
from karat.training.seeds import SeedReport
from karat.training.split import GAP, TEST, TRAIN
from karat.training_sets.training_set import TrainingSet

#: MLflow's limit on a version's description.
DESCRIPTION_LIMIT = 5000
_SHOWN = 8


def card_summary(spec: ModelSpec, trained: TrainingResult, judged: GainReport | None) -> str:
    """Return the card in short, in Markdown: the version's description in the registry."""
    return "\n\n".join([spec.description, *_gains(trained, judged), *_why(judged, spec.limits)])[:DESCRIPTION_LIMIT]


def model_card(model: DeclaredModel, run: TrainingRun) -> str:
    """Return the whole model card in Markdown, a file of the version's run.

    Source: Mitchell and others, Model Cards for Model Reporting, 2019.

    Args:
        model: The declared model.
        run: The fitted and evaluated model.
    """
    spec, training_set, trained, judged = model.spec, run.training_set, run.result, run.gain
    parts = [
        f"# {model.name}",
        spec.description,
        "\n".join(_what(model, trained)),
        f"## Intended use\n\n{spec.intended_use or _undeclared('intended_use')}",
        "## Data\n\n" + "\n".join(_data(spec, training_set, run.provenance.origins)),
        "## Split\n\n" + _split(model, training_set.data, run.split) + _refit(trained),
        f"## Metrics on {trained.rows['test']} test rows\n\n" + "\n".join(_figures(trained, judged)),
        *_gains(trained, judged),
        *_why(judged),
        *_custom(run.custom),
        *_seeds(run.seeds),
        *_cross_validation(model, trained),
        *_calibration(trained),
        *_fairness(model, run),
        *_search(spec, run.search),
        f"## Limits\n\n{spec.limits or _undeclared('limits')}",
        *([f"## Notes\n\n{spec.notes}"] if spec.notes else []),
        *_importance(trained),
        *_explanation(trained),
        *_environment(run.environment, trained),
        *(["## Warnings\n\n" + "\n".join(f"- {w}" for w in trained.warnings)] if trained.warnings else []),
    ]
    return "\n\n".join(parts) + "\n"


def _undeclared(field: str) -> str:
    return f"Not declared: write `{field}` in the model's file."


def _what(model: DeclaredModel, trained: TrainingResult) -> Iterator[str]:
    spec = model.spec
    yield "| | |\n|---|---|"
    yield f"| task | {spec.task} |"
    yield f"| kind | {spec.kind} |"
    owner = spec.owner or f"{model.project.spec.owner} (of the project; the model's file names none)"
    yield f"| owner | {owner} |"
    chosen = {k: v for k, v in trained.parameters.items() if k in trained.spec.parameters}
    if chosen:
        yield f"| parameters | `{json.dumps(chosen)}` |"
    if spec.protected:
        yield f"| protected | {', '.join(spec.protected)} |"


def _data(spec: ModelSpec, training_set: TrainingSet, origins: Mapping[str, str]) -> Iterator[str]:
    for lookup in training_set.lookups:
        several = f", sequences of {lookup.sequence_length}" if lookup.sequence_length else ""
        yield f"- `{lookup.table}`, Delta version {lookup.version}{several}: {', '.join(lookup.outputs)}"
    for function in training_set.functions:
        yield f"- feature function `{function.name}`: {function.output}"
    if spec.label is not None:
        yield f"- label `{spec.label.name}`: {_label(spec.label)}"
    for table, origin in origins.items():
        yield f"- gold table `{table}`: {origin or 'of unknown origin'}"
    yield f"- {training_set.rows} rows, digest `{training_set.digest}`"


def _label(label: Label) -> str:
    written = label.expression or "; ".join(f"{name}: {sql}" for name, sql in label.expressions.items())
    text = f"`{' '.join(written.split())}` over gold table `{label.source}`"
    if label.where:
        text += f" where `{label.where}`"
    if label.transform is not None:
        text += f", learned as its {label.transform}"
    if label.horizon is not None:
        steps = f"{label.steps} windows of " if label.steps else ""
        text += f", {steps}{format_duration(label.horizon)} from {format_duration(label.offset)} after the row on"
    return text


def _split(model: DeclaredModel, data: pl.DataFrame, split: pl.Series) -> str:
    time = model.spine.time
    by = model.spec.split.by or ("time" if time else "entity")
    parts = []
    for part, what in ((TRAIN, "to train on"), (GAP, "in the gap"), (TEST, "to test on")):
        rows = data.filter(split == part)
        if rows.height:
            span = f" ({rows[time].min()!s} to {rows[time].max()!s})" if time else ""
            parts.append(f"{rows.height} rows {what}{span}")
    return f"By {by}: {', '.join(parts)}."


def _figures(trained: TrainingResult, judged: GainReport | None) -> Iterator[str]:
    truth, intervals = (judged.oracle_metrics, judged.intervals) if judged else ({}, {})
    references = [(name, reference.metrics) for name, reference in trained.reference_models.items()]
    heads = [
        "metric",
        "model",
        "95 % interval",
        f"baseline `{trained.baseline_name}`",
        *(name for name, _ in references),
    ]
    yield f"| {' | '.join([*heads, *(['truth'] if truth else [])])} |"
    yield "|" + "---|" * (len(heads) + bool(truth))
    for metric, value in trained.metrics.items():
        cells = [metric, f"{value:.4g}", _ends(intervals.get(metric)), _number(trained.baseline.get(metric))]
        cells += [_number(metrics.get(metric)) for _, metrics in references]
        yield f"| {' | '.join([*cells, *([_number(truth.get(metric))] if truth else [])])} |"


def _custom(found: Mapping[str, float]) -> Iterator[str]:
    if found:
        rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in found.items())
        yield f"## Metrics of the project\n\n| metric | model |\n|---|---|\n{rows}"


def _seeds(report: SeedReport | None) -> Iterator[str]:
    if report is not None:
        low, high = min(report.values), max(report.values)
        yield (
            f"**Seeds**: the gain is not clear of 0, so that the model was fitted with {len(report.values)} seeds. "
            f"{report.metric} is {low:.4g} to {high:.4g}, mean {np.mean(report.values):.4g}; {report.wins} of "
            f"{len(report.values)} beat the baseline."
        )


def _cross_validation(model: DeclaredModel, trained: TrainingResult) -> Iterator[str]:
    if trained.folds:
        statistics = fold_statistics(trained.folds).items()
        rows = "\n".join(f"| {metric} | {mean:.4g} | {deviation:.3g} |" for metric, (mean, deviation) in statistics)
        by = model.spec.split.by or ("time" if model.spine.time else "entity")
        yield (
            f"## Cross-validation in {len(trained.folds)} folds by {by}\n\n"
            f"| metric | mean | standard deviation |\n|---|---|---|\n{rows}"
        )


def _refit(trained: TrainingResult) -> str:
    if trained.refitted is None:
        return ""
    return (
        "\n\n**Refitted**: after the evaluation the model was fitted again on all rows with a label, test rows "
        "included, with the same parameters; that one predicts. All figures here are those of the model before, which "
        "has not seen the test rows; thresholds, calibration and intervals are its own. Later versions are compared "
        "with it too."
    )


def _calibration(trained: TrainingResult) -> Iterator[str]:
    told, held, rows = trained.calibration, trained.intervals, trained.rows.get("calibration")
    if told is None and trained.spec.task in CALIBRATED:
        yield "## Calibration\n\nMeasured for binary models alone." + (
            f" Calibrated ({trained.spec.calibration})." if trained.spec.calibration != "none" else " Not calibrated."
        )
    aside = f" on {rows} rows that are neither training nor test rows" if rows else ""
    if told is not None:
        how = f"Calibrated ({trained.spec.calibration}){aside}. " if told.before is not None else "Not calibrated. "
        before = "" if told.before is None else f" (before the calibration {told.before:.4g})"
        yield (
            f"## Calibration\n\n{how}Brier score {told.brier:.4g}{before}, expected calibration error "
            f"{told.expected_error:.3g} on the test rows; `calibration.png` shows the bins."
        )
    if held is not None:
        yield (
            f"## Prediction intervals\n\nIntervals of {held.declared:.0%}, from the residuals{aside} (split conformal "
            f"prediction): they hold {held.coverage:.1%} of the test labels. Mean width {held.width:.4g}; one interval "
            f"for all rows that holds {held.declared:.0%} of the test labels is {held.baseline_width:.4g} wide."
        )


def _fairness(model: DeclaredModel, run: TrainingRun) -> Iterator[str]:
    """Rates of every group, the widest gaps, and what the promotion gate says of them."""
    report, spec, declared = run.fairness, model.spec, model.fairness
    if report is None:
        if spec.protected:
            why = "only models that select rows, with labels to compare, are measured"
            yield f"## Fairness\n\nThe groups by {', '.join(spec.protected)} were not compared: {why}."
        else:
            yield f"## Fairness\n\nNo groups were compared. {_undeclared('protected')}"
        return
    heads = ["column", "group", "rows", *(rate.replace("_", " ") for rate in RATES)]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for group in report.groups:
        cells = [group.column, group.group, str(group.rows), *(_number(group.rates.get(rate)) for rate in RATES)]
        lines.append(f"| {' | '.join(cells)} |")
    yield "## Fairness\n\n" + "\n".join([*lines, "", *_gap_lines(model, report)])
    if declared.mitigation != "none":
        columns = ", ".join(declared.mitigated_columns(spec.protected))
        how = {
            "reweigh": f"training rows are weighed so that {columns} and the label are independent (reweighing)",
            "thresholds": f"each group of {columns} has its own decision threshold",
        }
        yield f"**Mitigation**: {how[declared.mitigation]}."


def _gap_lines(model: DeclaredModel, report: FairnessReport) -> Iterator[str]:
    declared = model.fairness
    exceeded = FairnessRecord.of(report, model.spec.protected)
    for column in model.spec.protected:
        gap, limit = report.of(declared, column), declared.limit(column)
        if gap is None:
            yield f"- {column}: not compared, fewer than two groups have {MIN_GROUP_ROWS} rows of each kind"
            continue
        bound = "no limit is declared" if limit is None else f"the limit is {limit:g}"
        over = exceeded.exceeded(declared, [column])
        verdict = "**over the limit**" if over else "within it, or not surely over it"
        yield f"- {column}: {gap}; {bound}{'' if limit is None else f', {verdict}'}"
    yield (
        f"\n{declared.metric.replace('_', ' ').capitalize()}. A rate over fewer than {MIN_GROUP_ROWS} rows is left "
        f"out. The intervals are simultaneous (bootstrap of {report.clusters} {report.cluster_unit}, max-t): a version "
        "is refused if the whole interval of a gap lies above its limit."
    )


def _search(spec: ModelSpec, found: FoundParameters | None) -> Iterator[str]:
    if found is None:
        return
    parameters = f"`{json.dumps(found.parameters)}`"
    if found.result is None:
        yield f"## Search\n\nThe parameters {parameters} were found by the search of version {found.version}."
        return
    search, best = found.result, found.result.best
    counts = ", ".join(f"{search.count(state)} {state}" for state in get_args(TrialState))
    yield (
        f"## Search\n\n{len(search.trials)} trials of {', '.join(spec.search)} in {search.seconds:.0f} s: {counts}. "
        f"The best, trial {best.number}, has {search.metric} {best.value:.4g} on {search.validation_rows} validation "
        f"rows, which are part of the training rows: {parameters}. The model was then fitted on all training rows."
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _ends(interval: ConfidenceInterval | None) -> str:
    if interval is None or not np.isfinite(interval.low):
        return ""
    return f"{interval.low:.4g} to {interval.high:.4g}"


def _gains(trained: TrainingResult, judged: GainReport | None) -> Iterator[str]:
    if judged is None:
        yield "**Gain**: these rows allow no interval of the primary metric."
        return
    gain, metric, rows = judged.gain, judged.metric, trained.rows
    yield (
        f"**Gain** in {metric} over the baseline `{trained.baseline_name}`, more is better: {_over(gain)}. "
        f"{rows['test']} test rows, {rows['train']} training rows; "
        f"paired bootstrap of {judged.clusters} {judged.cluster_unit}."
    )
    for name, gain_over in judged.reference_models.items():
        reference = trained.reference_models[name]
        on = "the same rows" if reference.known is None else f"the {reference.known.sum()} rows that have its value"
        yield f"**Gain** over {name} ({reference.name}) on {on}: {_over(gain_over)}."
    if judged.oracle_metrics and judged.oracle_gain is not None:
        best = _over(judged.oracle_gain)
        text = f"**Truth**: the sample's planted truth scores {judged.oracle_metrics[metric]:.4g}, a gain of {best}."
        if judged.attained is not None:
            a = judged.attained
            text += f" The model attains {a.value:.0%} of it (95 % interval {a.low:.0%} to {a.high:.0%})."
        yield text


def _over(interval: ConfidenceInterval) -> str:
    if not np.isfinite(interval.low):
        return f"{interval.value:.4g}, without an interval"
    return f"{interval.value:.4g}, 95 % interval {interval.low:.4g} to {interval.high:.4g}"


def _why(judged: GainReport | None, limits: str = "") -> Iterator[str]:
    if judged is not None and judged.shortfall:
        declared = [limits.strip().rstrip(".")] if limits else []
        yield "**Why not more**\n\n" + "\n".join(f"- {reason}." for reason in (*judged.shortfall, *declared))


def _environment(where: TrainingEnvironment | None, trained: TrainingResult) -> Iterator[str]:
    placed = [] if trained.placement is None else [str(trained.placement)]
    if trained.refitted is not None and trained.distributed:
        placed.append("The same workers fitted it again on all rows.")
    if where is not None or placed:
        yield "## Training"
    if placed:
        yield " ".join(placed)
    if where is not None:
        yield (
            f"{where.seconds:.3g} s on {where.cores} cores and {where.memory_gib:g} GiB "
            f"({where.system}, Python {where.python}); the process held at most {where.peak_memory_mib:.0f} MiB. "
            "Versions of the libraries are in `environment.json`, the steps and rounds in `training.log`."
        )


def _importance(trained: TrainingResult) -> Iterator[str]:
    important = [(name, share) for name, share in trained.importance.items() if share > 0][:_SHOWN]
    if important:
        yield "## Feature importance\n\n" + ", ".join(f"{name} {share:.0%}" for name, share in important)


def _explanation(trained: TrainingResult) -> Iterator[str]:
    sample = trained.contributions
    if sample is None:
        return
    greatest = [f"{name} {value:.2g}" for name, value in list(sample.mean_absolute.items())[:_SHOWN] if value > 0]
    yield (
        f"## Explanation\n\nA prediction lists what each feature adds to it, in the unit {sample.unit}; base and "
        f"contributions add up to the prediction. Method: {sample.method}.\n\nMean absolute contribution over "
        f"{sample.rows} of {sample.test_rows} test rows: {', '.join(greatest) or 'none is above 0'}."
    )
