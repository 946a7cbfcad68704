"""``karat models PROJECT MODEL``: the model card of one version."""

from __future__ import annotations

from rich.markdown import Markdown

from infra.cli.app import console, print_json
from karat.declare import load_project
from karat.errors import ModelNotFound, UnknownModel, did_you_mean
from karat.names import ModelName
from karat.registry import ModelVersion, Registry, open_registry
from karat.settings import Settings


def show_card(settings: Settings, project: str, model: str, version: int | None, *, as_json: bool) -> None:
    """Of ``version``; by default of the champion, else of the newest. Raises UnknownModel, ModelNotFound."""
    declared = load_project(project, settings)
    name, registry = declared.model_name(model), open_registry(settings)
    found = registry.version(name, version) if version else _shown(registry, name)
    if found is None:
        if model not in declared.models:
            raise UnknownModel(
                f"project {project!r} has no model {model!r}",
                where=str(declared.path),
                remedy=did_you_mean(model, declared.models),
            )
        raise ModelNotFound(
            f"{name} was not trained yet",
            where=registry.tracking_uri,
            remedy=f"karat run {project} --models {model}",
        )
    text = registry.card(found)
    if as_json:
        figures = {"metrics": found.metrics, "baseline": found.baseline, "judged": found.judged}
        print_json({"name": str(name), "version": found.version, "aliases": found.aliases, **figures, "card": text})
    elif console.is_terminal:
        console.print(f"[bold]{_standing(found)}[/]", highlight=False)
        console.print(Markdown(text))
    else:
        console.print(f"{_standing(found)}\n\n{text}", markup=False, highlight=False, soft_wrap=True)


def _shown(registry: Registry, name: ModelName) -> ModelVersion | None:
    champion = registry.champion(name)
    return champion or next(iter(registry.versions(name)), None)


def _standing(version: ModelVersion) -> str:
    alias = ", ".join(version.aliases) or "without an alias"
    decided = version.own_tags.decision or "not judged yet"
    return f"Version {version.version} of {version.created:%Y-%m-%d %H:%M} UTC, {alias}: {decided}"
