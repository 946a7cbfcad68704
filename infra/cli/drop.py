"""``karat drop``: removes a table, a model, or the data and models of a project."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated, Literal

import typer

from infra.cli.app import console
from infra.cli.score import reference
from infra.impact import registry_if_any
from infra.local.supervisor import Supervisor
from infra.serving import forget_champions, load_champions, read_champions
from karat.declare import project_names
from karat.errors import BreakingChange, ModelNotFound, TableNotFound, UnknownProject, did_you_mean
from karat.lake import Lake
from karat.names import ModelName, TableName, catalog_of
from karat.online import open_store
from karat.registry import Registry, open_registry
from karat.settings import Settings


def drop(
    kind: Annotated[Literal["table", "model", "project"], typer.Argument(help="what NAME is")],
    name: Annotated[str, typer.Argument(help="catalog.schema.table, project.model, or a project")],
    yes: Annotated[bool, typer.Option("--yes", help="ask no question")] = False,
    allow_breaking: Annotated[
        bool, typer.Option("--allow-breaking", help="with --yes: also what a champion reads, or a model that answers")
    ] = False,
) -> None:
    """Remove a table, a model with all its versions, or everything that a project has made, after a question.

    Before it asks, it lists what goes: tables with their rows, versions, champions that answer, and models that learned
    from a table and whose training set can't be rebuilt without it. Declarations under projects/ stay: the next run
    makes what they declare anew. One environment is touched, that of `KARAT_ENVIRONMENT`. With `--yes` nobody reads
    that list, so what is in use is refused, with exit status 2: a model that answers requests, and a table that a
    champion reads which is not removed with it.

    Example:  `karat drop table customers_dev.features.churn_features`
    """
    settings = Settings()
    lake = Lake(settings.lake, settings.environment)
    tables, models = _chosen(kind, name, settings, lake)
    listed, in_use = _consequences(tables, models, settings, lake)
    for line in [*listed, *in_use]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if yes and in_use and not allow_breaking:
        raise BreakingChange(
            f"{name} is in use: {'; '.join(in_use)}",
            remedy=f"remove it nevertheless with: karat drop {kind} {name} --yes --allow-breaking",
        )
    if not yes and not (sys.stdin.isatty() and typer.confirm("Remove this for ever?", default=False)):
        console.print(f"nothing was removed; to remove it: karat drop {kind} {name} --yes", highlight=False)
        return
    if models:
        _drop_models(models, settings)
    for table in tables:
        _drop_table(table, settings, lake)
    console.print(f"removed: {_count(len(tables), 'table')}, {_count(len(models), 'model')}")


def _chosen(kind: str, name: str, settings: Settings, lake: Lake) -> tuple[list[TableName], list[ModelName]]:
    if kind == "table":
        table = TableName.parse(name)
        if not lake.exists(table):
            near = did_you_mean(name, map(str, lake.tables()))
            raise TableNotFound(f"there is no table {name!r}", where=str(settings.lake), remedy=near)
        return [table], []
    if kind == "model":
        registry = open_registry(settings)
        model = reference(name, registry, settings).model
        if model not in registry.models():
            raise ModelNotFound(
                f"there is no model {model}",
                where=registry.tracking_uri,
                remedy=did_you_mean(str(model), map(str, registry.models())) or "no model is registered",
            )
        return [], [model]
    catalog = catalog_of(name, settings.environment)
    opened = registry_if_any(settings)
    tables, models = lake.tables(catalog), opened.models(catalog) if opened else []
    if not tables and not models:
        known = project_names(settings)
        remedy = f"{name} has made nothing in {catalog} yet" if name in known else did_you_mean(name, known)
        raise UnknownProject(f"there is nothing to remove of {name!r}", where=catalog, remedy=remedy)
    return tables, models


def _consequences(
    tables: Sequence[TableName], models: Sequence[ModelName], settings: Settings, lake: Lake
) -> tuple[list[str], list[str]]:
    """What goes, and what of it is in use, a line each."""
    lines = [f"table {table}: {lake.count(table):,} rows, version {lake.version(table)}" for table in tables]
    opened = registry_if_any(settings)
    if opened is None:
        return lines, []
    lines += [f"model {model}: {_count(len(opened.versions(model)), 'version')}" for model in models]
    answering = read_champions(settings)
    served = [f"version {answering[str(m)]} of {m} answers requests" for m in models if str(m) in answering]
    return lines, [*served, *_readers(opened, tables, models)]


def _readers(registry: Registry, tables: Sequence[TableName], dropped: Sequence[ModelName]) -> list[str]:
    """Champions, not dropped themselves, that were trained from one of the tables."""
    lines = []
    for status in registry.statuses():
        if status.champion is None or status.model in dropped:
            continue
        pinned = {str(TableName.parse(t, catalog=status.model.catalog)) for t in status.champion.own_tags.pins or {}}
        if read := pinned & {str(t) for t in tables}:
            names = ", ".join(sorted(read))
            lines.append(f"the champion {status.champion.uri} reads {names}: it can neither be rebuilt nor answer")
    return lines


def _drop_models(models: Sequence[ModelName], settings: Settings) -> None:
    registry = open_registry(settings)
    served = [str(m) for m in models if str(m) in read_champions(settings)]
    if served and Supervisor(settings).states():
        load_champions(settings, {}, without=served)
    elif served:
        forget_champions(settings, served)
    for model in models:
        registry.drop(model)


def _drop_table(table: TableName, settings: Settings, lake: Lake) -> None:
    """The online rows go first: killed in between, the table is still there and can be dropped again."""
    with closing(open_store(settings)) as store:
        for state in store.states():
            if state.table == str(table):
                store.drop(state.space)
    lake.drop(table)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
