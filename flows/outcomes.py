"""Outcomes of a step: a failed table or model leaves the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infra.job_records import ModelOutcome, Outcome
from karat.errors import PartlyFailed


def collect(step: Callable[..., tuple[Outcome, ...]], *args: object, **options: object) -> tuple[Outcome, ...]:
    """Return the outcomes of a task or a pipeline, failed ones included; any other error ends the run."""
    try:
        return step(*args, **options)
    except PartlyFailed as error:
        return tuple(o for o in error.outcomes if isinstance(o, Outcome))


def failed(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """Return the failed outcomes by name."""
    return {o.name: o for o in outcomes if o.error is not None}


def succeeded(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """Return the outcomes without failure by name, those with nothing to do included."""
    return {o.name: o for o in outcomes if o.state in ("done", "kept")}


def skipped(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """Return the skipped outcomes by name."""
    return {o.name: o for o in outcomes if o.state == "skipped"}


def champions_of(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return model -> version of its champion after the step; a failed model keeps its champion."""
    found = {o.name: o.champion_version for o in outcomes if isinstance(o, ModelOutcome)}
    return {name: version for name, version in found.items() if version is not None}
