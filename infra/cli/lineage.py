"""``karat lineage``: from gold column to feature, model, prediction table and endpoint."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.tree import Tree

from infra.cli.app import console, errors, print_json
from infra.impact import registry_if_any
from karat.catalogue.lineage import NODE_KINDS, Lineage, Node, lineage
from karat.declare import Project, load_project
from karat.errors import PlatformError, StoreError
from karat.settings import Settings

_MOST = 12


def show(  # noqa: PLR0917 - Typer takes options by position
    project: Annotated[str, typer.Argument(help="a folder under projects/")],
    of: Annotated[
        str | None, typer.Option(help="a gold table or table.column, a feature table or table.feature, a model")
    ] = None,
    up: Annotated[bool, typer.Option("--up", help="only what it comes from")] = False,
    down: Annotated[bool, typer.Option("--down", help="only what it goes to")] = False,
    picture: Annotated[Path | None, typer.Option(help="draw it: FILE.svg, .png or .pdf")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="nodes and edges")] = False,
) -> None:
    """Show the lineage from gold column to feature, model, prediction table and endpoint.

    Without `--of` the whole project, table by table. What only a model's label reads is marked. Example:
    `karat lineage customers --of transactions.is_fraud --picture fraud.svg`
    """
    settings = Settings()
    loaded = load_project(project, settings)
    whole = _lineage(loaded, settings)
    found, chosen = whole.select(of, up=up or not down, down=down or not up) if of else (whole, set())
    if picture is not None:
        import_module("karat.catalogue.picture").draw_lineage(
            found if of else found.group_by_table(), picture, chosen=chosen, title=f"{project}: {of or 'all tables'}"
        )
        console.print(f"drawn: {picture}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(found.as_json())
    elif picture is None:
        console.print(_tree(found if of else found.group_by_table(), f"{project}: {of or 'all tables'}"))


def _lineage(project: Project, settings: Settings) -> Lineage:
    """With champions, where a registry can be asked."""
    try:
        return lineage(project, registry_if_any(settings))
    except (PlatformError, StoreError) as error:
        errors.print(f"without champions: {error.what}", highlight=False, soft_wrap=True)
        return lineage(project)


def _tree(found: Lineage, title: str) -> Tree:
    """By kind, then by table; each with what it is made from."""
    tree = Tree(f"[bold]{escape(title)}[/]")
    for kind in NODE_KINDS:
        nodes = [n for n in found.nodes if n.kind == kind]
        if not nodes:
            continue
        branch = tree.add(f"[bold]{kind}[/]")
        for group in dict.fromkeys(n.group for n in nodes):
            _group(branch, found, [n for n in nodes if n.group == group])
    return tree


def _group(branch: Tree, found: Lineage, nodes: list[Node]) -> None:
    first = nodes[0]
    note = f"  [dim]{escape(first.note)}[/]" if first.note else ""
    out = branch.add(f"{escape(first.group)}{note}")
    if not first.is_part:
        for source, role in _sources(found, first):
            out.add(f"[dim]from[/] {escape(source)}{f' [dim]({role})[/]' if role != 'value' else ''}")
        return
    for node in nodes:
        sources = _sources(found, node)
        names = [s for s, role in sources if role != "key"] or [s for s, _ in sources]
        told = ", ".join(dict.fromkeys(n.rpartition(".")[2] for n in names))
        out.add(escape(node.name) + (f" [dim]from {escape(told)}[/]" if names else ""))


def _sources(found: Lineage, node: Node) -> list[tuple[str, str]]:
    """What it is made from, table by table where that is many."""
    edges = [(found.node(a), d["role"]) for a, _, d in found.graph.in_edges(node.id, data=True)]
    named = [(f"{n.group}.{n.name}" if n.is_part else n.group, role) for n, role in edges]
    if len(named) <= _MOST:
        return named
    counts: dict[tuple[str, str], int] = {}
    for n, role in edges:
        counts[n.group, role] = counts.get((n.group, role), 0) + 1
    return [(f"{group} ({count})", role) for (group, role), count in counts.items()]
