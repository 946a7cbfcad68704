"""A draft of a project: a gold table with a sample, feature tables and a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infra.new.columns import InferredColumn, names_of
from infra.new.drafts import LONGEST, Draft, File, check_name, tried
from infra.new.features import TableOptions, draft_features
from infra.new.from_file import Told, contract_of
from infra.new.model import ModelOptions, draft_model
from infra.new.render import render
from karat.errors import AlreadyThere, InvalidName
from karat.settings import Settings


@dataclass(frozen=True)
class About:
    """What ``project.yaml`` says; without a description it says what the template is for."""

    owner: str = "nobody"
    description: str | None = None
    timezone: str = "UTC"

    def file(self, otherwise: str) -> File:
        """``project.yaml``; ``otherwise`` describes the project if the user gave no description."""
        told = self.description or otherwise
        text = render("project.yaml", description=told, owner=self.owner, timezone=self.timezone)
        return File("project.yaml", text, "owner, schedules, approval")


#: Days for which a mood of the sample holds.
STRETCH = 42


def draft_project(
    name: str,
    settings: Settings,
    *,
    table: str = "orders",
    entity: str = "customer_id",
    about: About = About(),
) -> Draft:
    """All files of ``projects/NAME``. Raises InvalidName, AlreadyThere."""
    _refuse_taken(name, settings)
    begun = (
        about.file(f"What {_who(entity)}s will do, foretold from their {table}"),
        _gold(name, check_name(table, "gold table"), check_name(entity, "column"), about.owner),
    )
    return Draft(_with_features(begun, name, settings, table, entity))


@dataclass(frozen=True)
class FileDraft(Draft):
    """The draft of a project on a file: the columns that were inferred, and whose its rows are."""

    columns: tuple[InferredColumn, ...] = ()
    entity: str = ""


def draft_project_on(
    path: Path, name: str, settings: Settings, *, table: str | None = None, about: About = About(), told: Told = Told()
) -> FileDraft:
    """Draft a project whose gold table is as the file has it, without a sample; features and models come later.

    Args:
        path: The file.
        name: The project's name.
        settings: Where the projects are.
        table: The gold table; as the file is called by default.
        about: What ``project.yaml`` says.
        told: What the user says of the file.

    Returns:
        The draft.

    Raises:
        InvalidName: A name is none.
        AlreadyThere: The project exists.
        KaratError: As ``contract_of``.
    """
    _refuse_taken(name, settings)
    made = contract_of(path, name, table or table_name(path), owner=about.owner, told=told)
    files = (about.file(f"What {path.name} lets one foretell"), *made.files)
    return FileDraft(files, made.chosen, made.columns, made.shape.entity)


def table_name(path: Path) -> str:
    """A gold table's name after a file: ``2024 Sales.csv.gz`` becomes ``t_2024_sales``."""
    stem = path.name.split(".")[0] or path.stem
    name = names_of([stem])[0]
    name = (f"t_{name.removeprefix('column_')}" if stem[:1].isdigit() else name)[:LONGEST].strip("_")
    try:
        return check_name(name, "gold table")
    except InvalidName:  # a word of SQL or Python
        return check_name(f"{name}_rows", "gold table")


def _refuse_taken(name: str, settings: Settings) -> None:
    check_name(name, "project")
    folder = settings.projects / name
    if folder.exists():
        raise AlreadyThere(
            f"{folder} is there already; nothing is overwritten", remedy="take another name, or work in that folder"
        )


def _gold(project: str, table: str, entity: str, owner: str) -> File:
    row = table.removesuffix("s")
    key = f"{row}_id" if f"{row}_id" != entity else "row_id"
    text = render(
        "gold.py",
        project=project,
        table=table,
        entity=entity,
        key=key,
        time="happened_at",
        who=_who(entity),
        prefix=entity[0],
        owner=owner,
        stretch=STRETCH,
    )
    return File("gold.py", text, f"gold tables {table} and {table}_truth: their contracts, and a sample of rows")


def _who(entity: str) -> str:
    return entity.removesuffix("_id").replace("_", " ")


def _with_features(begun: tuple[File, ...], name: str, settings: Settings, table: str, entity: str) -> tuple[File, ...]:
    """The files so far, and a feature table and a model as the other templates make them."""
    features = f"{_who(entity).replace(' ', '_')}_{table}"
    features = features if len(features) <= LONGEST else f"{table[: LONGEST - 9]}_features"
    project = tried(Draft(begun), name, settings)
    drafted = draft_features(project, features, TableOptions(gold=table, entity=[entity]))
    begun = (*begun, *drafted.files)
    project = tried(Draft(begun), name, settings)
    truth = {"source": f"{table}_truth", "expression": "chance"}
    told = f"The probability that a {_who(entity)} has any of {table} in the next 7 days"
    model = draft_model(project, "comes_back", ModelOptions(labels=["count(*) > 0"], truth=truth, description=told))
    return (*begun, *model.files)
