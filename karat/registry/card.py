"""The model card of a version: what it is, what it is worth, how sure that is, and why it is not worth more."""

from __future__ import annotations

from collections.abc import Iterator

from karat.declare.models import ModelSpec
from karat.training.judgement import Judgement
from karat.training.train import Trained


def card(spec: ModelSpec, trained: Trained, judged: Judgement | None) -> str:
    """Markdown, the description of the version in the registry."""
    return "\n\n".join([spec.description, *_worth(spec, trained, judged), *_why(judged)])


def _worth(spec: ModelSpec, trained: Trained, judged: Judgement | None) -> Iterator[str]:
    metric, rows = spec.primary_metric, trained.rows
    if metric in trained.metrics and metric in trained.baseline:
        yield (
            f"**Test** ({rows['test']} rows; {rows['train']} learned from): {metric} {trained.metrics[metric]:.4g}, "
            f"baseline `{trained.baseline_name}` {trained.baseline[metric]:.4g}."
        )
    if judged is None:
        return
    gain = judged.gain
    yield (
        f"**Gain** over the baseline, more is better: {gain.value:.4g}, 95 % interval {gain.low:.4g} to "
        f"{gain.high:.4g} (paired bootstrap of {judged.groups} {judged.drawn})."
    )
    if judged.truth and judged.truth_gain is not None:
        best = judged.truth_gain
        text = f"**Truth**: the planted truth itself scores {judged.truth[metric]:.4g}, a gain of {best.value:.4g}."
        if judged.attained is not None:
            a = judged.attained
            text += f" The model attains {a.value:.0%} of it (95 % interval {a.low:.0%} to {a.high:.0%})."
        yield text


def _why(judged: Judgement | None) -> Iterator[str]:
    if judged is not None and judged.why:
        yield "**Why not more**\n\n" + "\n".join(f"- {reason}." for reason in judged.why)
