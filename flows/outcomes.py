"""A step of which some tables or models failed still hands on all its outcomes: the others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from infra.job_records import Outcome
from karat.errors import PartlyFailed


def gathered(step: Callable[..., tuple[Outcome, ...]], *args: Any, **options: Any) -> tuple[Outcome, ...]:
    """The outcomes of a task or a pipeline, the failed ones included. Any other error ends the run."""
    try:
        return step(*args, **options)
    except PartlyFailed as error:
        return tuple(o for o in error.outcomes if isinstance(o, Outcome))


def failures(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    return {o.name: o for o in outcomes if o.error is not None}


def sound(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    return {o.name: o for o in outcomes if o.state in ("done", "kept")}


def skipped(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    return {o.name: o for o in outcomes if o.state == "skipped"}


def champions_of(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """model -> champion's version, as training found it or promotion left it; a failed model keeps what it has."""
    found = {o.name: o.reference.get("champion_version") for o in outcomes}
    return {n: version for n, version in found.items() if version is not None}
