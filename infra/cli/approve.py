"""``karat approve``: a person's approval of a candidate."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from infra.cli.app import console
from infra.local.supervisor import Supervisor
from infra.serving import load_champions
from karat.declare import load_project
from karat.errors import ModelNotFound, PromotionRefused
from karat.lake import Lake
from karat.lifecycle import ModelContext, promote
from karat.registry import ModelVersion, open_registry
from karat.settings import Settings


def approve(
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    model: Annotated[str, typer.Argument(help="a model of the project")],
    version: Annotated[int | None, typer.Option(help="the version; the challenger by default")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="ask no question")] = False,
) -> None:
    """Approve a candidate of a project with `approval: manual`: it becomes champion if it passes every gate.

    It shows the candidate's metrics beside its baseline and asks. An approval opens no other gate: a version that does
    not beat its baseline or the champion is refused, with exit status 1. `karat models PROJECT MODEL --version N` shows
    the whole card before you decide. On a running platform the new champion answers when the command ends.

    Example:  `karat approve customers churn`
    """
    settings = Settings()
    declared = load_project(project, settings)
    spec = declared.select(models=(model,))[model]
    registry = open_registry(settings)
    context = ModelContext(declared, spec, Lake(settings.lake, settings.environment), registry)
    name = context.name
    candidate = registry.version(name, version) if version is not None else registry.challenger(name)
    if candidate is None:
        raise ModelNotFound(
            f"{name} has no challenger to approve",
            where=registry.tracking_uri,
            remedy=f"train one: karat run {project} --models {model}; or name a version: --version N",
        )
    console.print(_shown(candidate, spec.primary_metric), markup=False, highlight=False, soft_wrap=True)
    if not yes and not (sys.stdin.isatty() and typer.confirm("Make it champion?", default=False)):
        console.print(f"nothing was changed; approve it with: karat approve {project} {model} --yes")
        return
    decision = promote(context, candidate, approved=True)
    if not decision.promoted:
        raise PromotionRefused(
            f"version {candidate.version} of {name} is refused: {decision.reason}",
            where=candidate.uri,
            remedy=f"look at its card: karat models {project} {model} --version {candidate.version}",
        )
    console.print(f"version {candidate.version} of {name} is champion: {decision.reason}", highlight=False)
    if spec.online and Supervisor(settings).states():
        load_champions(settings, {str(name): candidate.version})
        console.print(f"it answers at {settings.serve_url}/v1/predict/{project}.{model}", highlight=False)


def _shown(candidate: ModelVersion, metric: str) -> str:
    lines = [f"version {candidate.version} of {candidate.name}, {candidate.created:%Y-%m-%d %H:%M} UTC"]
    for name, value in candidate.metrics.items():
        baseline = candidate.baseline.get(name)
        beside = "" if baseline is None else f"  (baseline {baseline:.4g})"
        lines.append(f"{'* ' if name == metric else '  '}{name:<20} {value:.4g}{beside}")
    return "\n".join([*lines, f"decided so far: {candidate.own_tags.decision or 'nothing'}"])
