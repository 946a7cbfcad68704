"""``karat new``: a project, a feature table or a model from a template that runs."""

from __future__ import annotations

import getpass
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError
from rich.markup import escape

from infra.cli.app import console
from infra.cli.tables import Column, print_table
from infra.new.columns import names_of
from infra.new.drafts import Draft, place
from infra.new.feature_lines import Grain
from infra.new.features import FeaturesDraft, TableOptions, draft_features, source_of
from infra.new.from_file import Told
from infra.new.model import ModelOptions, draft_model
from infra.new.project import About, FileDraft, draft_project, draft_project_on
from infra.new.row_count import RowCount, count_rows
from infra.new.text_variety import TextVariety, variety_of
from karat.declare import Project, load_project
from karat.errors import WrongCall
from karat.lake import Lake
from karat.names import TableName
from karat.quality.maps import Format
from karat.quality.origin import SAMPLE, origin
from karat.settings import Settings

Task = Literal["regression", "binary", "multiclass", "multilabel", "anomaly", "clustering", "forecast"]
In = Annotated[str, typer.Option("--project", "-p", help="a folder under projects/")]
Owner = Annotated[str | None, typer.Option(help="who answers for it; as the project or table has it by default")]
OfFile = Annotated[str | None, typer.Option(help="of FILE: the columns that tell its rows apart: A,B")]
Gold = Annotated[str | None, typer.Option(help="the gold table")]

new = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Begin a project, a feature table or a model from a template that runs as it stands.

    Nothing is overwritten, and nothing is written that `karat check` would find fault with. Start with:
    `karat new project shop`, then `karat run shop`. From your own CSV to a served model:
    docs/from-csv-to-champion.md""",
)


@new.command()
def project(
    name: Annotated[str, typer.Argument(help="the folder under projects/ that is made")],
    *,
    file: Annotated[
        Path | None,
        typer.Option("--from", help="your own rows: CSV, JSON, Parquet or Excel; without it, a sample"),
    ] = None,
    table: Annotated[str | None, typer.Option(help="what its gold table has a row of; orders, or as FILE")] = None,
    entity: Annotated[
        str | None, typer.Option(help="the column by which one asks for predictions; of FILE also series: all rows")
    ] = None,
    key: OfFile = None,
    time: Annotated[str | None, typer.Option(help="of FILE: the column that says when a row was")] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--set", help="of FILE: COLUMN=TYPE, as in zip=string or day=date:%m/%d/%Y; may be repeated"),
    ] = None,
    nulls: Annotated[
        list[str] | None, typer.Option("--null", help="of FILE: a text that means no value; may be repeated")
    ] = None,
    join: Annotated[
        list[str] | None,
        typer.Option("--join", help="of FILE: a time of a day and a clock, as in at=date,time; may be repeated"),
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="of FILE: a character, \\t or whitespace")] = None,
    encoding: Annotated[str | None, typer.Option(help="of FILE: utf-8, utf-16, windows-1252, ...")] = None,
    quote: Annotated[str | None, typer.Option(help="of FILE: the quote character")] = None,
    sheet: Annotated[str | None, typer.Option(help="of an Excel FILE: the sheet")] = None,
    skip: Annotated[int | None, typer.Option(help="of FILE: lines before the header")] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="of FILE: whether its first line names the columns")
    ] = None,
    header_rows: Annotated[
        int | None, typer.Option(help="of FILE: rows of its header; 2 if names of groups stand above those of columns")
    ] = None,
    names: Annotated[str | None, typer.Option(help="of FILE: the names of its columns: A,B,C")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what FILE is taken for; write nothing")] = False,
    description: Annotated[str | None, typer.Option(help="one line")] = None,
    owner: Annotated[str | None, typer.Option(help="who answers for it; your login by default")] = None,
    timezone: Annotated[str, typer.Option(help="of its times and schedules, as in Europe/Berlin")] = "UTC",
) -> None:
    """Begin a project: a gold table with sample rows, a feature table, and a model on it.

    The sample has a planted truth, written down in `gold.py`, so that one sees how far the model comes. With `--from`
    the gold table's contract is that of your own file, beside it the map that brings the file in; features and a model
    are for the next two commands. A table shows what each column was taken for, with values as evidence; `--set`
    changes it. Forms for `--set`: `date:%d.%m.%Y`, `date:de:%d. %B %Y` (a language), `date:week`, `date:quarter`,
    `timestamp:epoch_ms`, `float64:comma` (1.234,5), `float64:point` (1,234.5), `float64:percent`. Examples:

    `karat new project shop`

    `karat new project bakery --from sales.csv --entity customer_no`

    `karat new project iris --from iris.data --no-header --names length,width,species`
    """
    settings = Settings()
    about = About(owner or _login(), description, timezone)
    form: dict[str, object] = {"delimiter": delimiter, "encoding": encoding, "quote": quote, "skip": skip}
    form |= {"sheet": sheet, "header": header, "header_rows": header_rows, "names": _listed(names) or None}
    declared = {k: v for k, v in form.items() if v is not None}
    if file is None:
        if key or time or types or nulls or join or declared or dry_run:
            raise WrongCall(
                "--key, --time, --set and the options of a format are of a file", remedy="name it with --from FILE"
            )
        draft = draft_project(name, settings, table=table or "orders", entity=entity or "customer_id", about=about)
        _place(draft, name, settings)
        _next(
            f"karat check {name}   # its declarations, without running anything",
            "karat up   # the platform; safe to call again",
            f"karat run {name}   # sample rows, features, training, predictions, serving",
        )
        return
    told = Told(
        _listed(key), time, entity, _format(declared), _types(types or []), tuple(nulls or ()), _joins(join or [])
    )
    drafted = draft_project_on(file, name, settings, table=table, about=about, told=told)
    _show_columns(drafted, file)
    if dry_run:
        for line in drafted.chosen:
            console.print(f"taken: {line}", markup=False, highlight=False, soft_wrap=True)
        return
    _place(drafted, name, settings)
    (gold,) = load_project(name, settings).gold.values()
    whose = f" --entity {drafted.entity}" if drafted.entity and drafted.entity not in gold.key else ""
    _next(
        f"karat ingest {name} {gold.name} {file}   # its rows; those that break the contract are set aside",
        f"karat new features NAME --project {name}{whose}",
        f"karat new model NAME --project {name}",
    )


@new.command()
def features(
    name: Annotated[str, typer.Argument(help="the feature table that is made")],
    project: In,
    *,
    gold: Gold = None,
    entity: Annotated[str | None, typer.Option(help="whose features: a column of gold, or several: A,B")] = None,
    grain: Annotated[Grain | None, typer.Option(help="what a row stands for; day where gold has a time")] = None,
    columns: Annotated[str | None, typer.Option(help="gold columns that become features: A,B; all by default")] = None,
    windows: Annotated[
        str | None, typer.Option(help="how far back they look: 7d,28d; with --grain event 1h,24h")
    ] = None,
    aggregates: Annotated[
        list[str] | None,
        typer.Option("--aggregate", help="of a column: COLUMN=sum or COLUMN=mean,max; may be repeated"),
    ] = None,
    owner: Owner = None,
) -> None:
    """Begin a feature table: what a gold table's contract lets one compute, a line a feature.

    `--grain day`: a row for each entity and day, with counts, sums, means and shares of past days, weekday and month.
    `--grain event`: a row for each row of gold (a payment, an hourly reading), with its own columns and what its entity
    did in the windows before it, hours too. `--grain entity`: a row for each entity without time, its columns as they
    are. Every column that can be a feature becomes one; what is left out is told, with the reason. What adds up (an
    amount) is summed, what does not (a temperature, a price, a rate) is averaged; a table shows the choice with its
    reason, and `--aggregate` changes it. On a terminal the grain and the columns are asked for. Examples:

    `karat new features basket --project shop --gold orders --entity customer_id`

    `karat new features readings --project plant --grain event --windows 1h,24h`

    `karat new features sales --project shop --aggregate price=max --aggregate visitors=sum,mean`
    """
    settings = Settings()
    loaded = load_project(project, settings)
    options = TableOptions(gold, _listed(entity), grain, _listed(columns), _listed(windows), _aggregates(aggregates))
    options = replace(_asked(loaded, options), owner=owner, texts=_varieties(loaded, settings, gold))
    draft = draft_features(loaded, name, options)
    _show_uses(draft)
    _place(draft, project, settings)
    _next(
        f"karat new model NAME --project {project} --features {name}",
        f"karat features {project} --table {name}   # its features, with their figures once they are computed",
        f"karat run {project}   # computes it, and whatever models read it",
    )


@new.command()
def model(
    name: Annotated[str, typer.Argument(help="the model that is made")],
    project: In,
    *,
    label: Annotated[
        list[str] | None,
        typer.Option(help="SQL over gold: what is foretold; a multilabel model has several, each name=SQL"),
    ] = None,
    features: Annotated[str | None, typer.Option(help="feature tables: A,B; the first by default")] = None,
    task: Annotated[Task | None, typer.Option(help="by the label's type if it is not named")] = None,
    kind: Annotated[str | None, typer.Option(help="a file in karat/kinds; by the task if it is not named")] = None,
    gold: Gold = None,
    horizon: Annotated[
        str | None, typer.Option(help="how far ahead the label looks: 7d (over days the default), 1h (of events)")
    ] = None,
    transform: Annotated[Literal["log1p", "log"] | None, typer.Option(help="learn a number as its logarithm")] = None,
    test_from: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="the first test day; the last fifth by default")
    ] = None,
    folds: Annotated[int | None, typer.Option(min=2, max=20, help="also cross-validate in so many folds")] = None,
    domain: Annotated[str, typer.Option(help="the folder under models/ that it is filed in")] = "",
    description: Annotated[str | None, typer.Option(help="one line; what the label says by default")] = None,
    owner: Owner = None,
) -> None:
    """Begin a model on feature tables of a project.

    The label of a day is an aggregate over the gold rows of the days after it: `sum(amount)`, `count(*) > 0`. The label
    of an event is a column of its own row (`is_fraud`), or with `--horizon` an aggregate over what comes after it.
    Where gold has no time, it is a column. Without `--label` it is the first sum, or the last column, that is fit; what
    was taken is said, and settings for few rows are written where the lake has few. Examples:

    `karat new model big_spender --project shop --label "sum(amount) > 100" --horizon 14d`

    `karat new model next_hour --project plant --label "avg(load)" --horizon 1h --features readings`
    """
    settings = Settings()
    loaded = load_project(project, settings)
    options = ModelOptions(
        task=task,
        kind=kind,
        labels=label or (),
        features=_listed(features),
        gold=gold,
        horizon=horizon,
        transform=transform,
        test_from=test_from.date() if test_from else None,
        folds=folds,
        domain=domain,
        description=description,
        owner=owner,
        count=_row_count(loaded, settings, _listed(features)),
    )
    draft = draft_model(loaded, name, options)
    _place(draft, project, settings)
    _next(
        f"karat try {project} {name}   # what it is worth, on a sample and without a server",
        f"karat run {project} --models {name}   # features, training, predictions, serving",
        f"karat models {project}   # what it is worth beside a naive baseline",
    )


def _format(declared: dict[str, Any]) -> Format:
    """What the options say of a CSV file. Raises WrongCall."""
    try:
        return Format.model_validate(declared)
    except ValidationError as error:
        first = error.errors()[0]
        raise WrongCall(
            f"--{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}", remedy="see karat new project --help"
        ) from None


def _types(given: list[str]) -> dict[str, str]:
    """``COLUMN=TYPE`` as a mapping; the name may hold an equals sign. Raises WrongCall."""
    found = {}
    for one in given:
        column, sign, dtype = one.rpartition("=")
        if not sign or not column or not dtype:
            raise WrongCall(f"--set {one!r} is no COLUMN=TYPE", remedy="write it as in --set zip=string")
        found[column] = dtype
    return found


def _aggregates(given: list[str] | None) -> dict[str, tuple[str, ...]]:
    """``COLUMN=FUNCTION,...`` as a mapping. Raises WrongCall."""
    found = {}
    for one in given or []:
        column, sign, functions = one.rpartition("=")
        if not sign or not column or not _listed(functions):
            raise WrongCall(
                f"--aggregate {one!r} is no COLUMN=FUNCTION", remedy="write it as in --aggregate price=mean"
            )
        found[column] = _listed(functions)
    return found


def _joins(given: list[str]) -> dict[str, tuple[str, str]]:
    """``NAME=DAY,CLOCK`` as a mapping. Raises WrongCall."""
    found = {}
    for one in given:
        name, _, parts = one.partition("=")
        day, _, clock = parts.partition(",")
        if not (name and day and clock) or "," in clock:
            raise WrongCall(f"--join {one!r} is no NAME=DAY,CLOCK", remedy="write it as in --join at=date,time")
        found[name] = (day, clock)
    return found


def _show_columns(draft: FileDraft, file: Path) -> None:
    """What each column was taken for, with the values that say so."""
    cells = []
    for column in draft.columns:
        named = column.source if names_of([column.source]) == [column.source] else f"{column.source} → {column.name}"
        values = " · ".join(v if len(v) <= 20 else f"{v[:19]}…" for v in column.evidence)
        cells.append([escape(text) for text in (named, column.dtype, values, column.told)])
    print_table(console, _COLUMNS, cells, title=f"{escape(file.name)} is read as")


def _show_uses(draft: FeaturesDraft) -> None:
    """What becomes of each column, with the reason."""
    if draft.uses:
        cells = [[escape(text) for text in (use.column, use.made, use.reason)] for use in draft.uses]
        print_table(console, _USES, cells)
        console.print("--aggregate COLUMN=sum,mean,... makes others of a column.", highlight=False)


_USES = (Column("column", whole=True), Column("becomes"), Column("because"))
_COLUMNS = (Column("column"), Column("type", whole=True), Column("values, such as"), Column("note"))
#: More columns than this are asked for on a terminal.
_MANY = 12


def _asked(project: Project, options: TableOptions) -> TableOptions:
    """The options, with grain and columns asked for on a terminal where the call leaves them open."""
    if not (sys.stdin.isatty() and console.is_terminal):
        return options
    source, _ = source_of(project, options.gold)
    if options.grain is None and source.event_time is not None:
        console.print(f"A row of the table stands for: day, event (a row of {source.name}), or entity", highlight=False)
        answer = typer.prompt("grain", default="day")  # a wrong one is refused with the nearest
        options = replace(options, grain=answer)
    if not options.columns and len(source.columns) > _MANY:
        console.print(f"Columns of {source.name}: {', '.join(source.columns)}", markup=False, highlight=False)
        answer = typer.prompt("columns that become features, as A,B", default="all")
        options = options if answer == "all" else replace(options, columns=_listed(answer))
    return options


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _row_count(project: Project, settings: Settings, features: tuple[str, ...]) -> RowCount | None:
    """The rows that the model will learn from; None where the lake has no gold, or holds the sample's."""
    spine = next((project.tables[t] for t in features if t in project.tables), None)
    spine = spine or next(iter(project.tables.values()), None)
    if spine is None or spine.source not in project.gold:
        return None
    lake, source = Lake(settings.lake, settings.environment), project.gold[spine.source]
    name = project.gold_name(spine.source)
    known = lake.exists(name) and origin(lake, name) != SAMPLE
    return count_rows(lake, name, source, spine) if known else None


def _ingested(project: Project, settings: Settings, table: str) -> tuple[Lake, TableName] | None:
    """The lake and the name of a gold table that has a user's rows."""
    if table not in project.gold:
        return None
    lake, name = Lake(settings.lake, settings.environment), project.gold_name(table)
    return (lake, name) if lake.exists(name) and origin(lake, name) != SAMPLE else None


#: Rows by which the variety of texts is judged.
_JUDGED = 200_000


def _varieties(project: Project, settings: Settings, gold: str | None) -> dict[str, TextVariety]:
    """The variety of the texts of the gold table that features will read; empty where it has no rows of a user's."""
    source, _ = source_of(project, gold)
    if not (read := _ingested(project, settings, source.name)):
        return {}
    lake, name = read
    texts = [c for c, declared in source.columns.items() if declared.dtype == "string" and c not in source.key]
    rows = lake.scan(name).select(texts).head(_JUDGED).collect()
    return {c: variety_of(rows[c]) for c in texts}


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "nobody"


def _place(draft: Draft, project: str, settings: Settings) -> None:
    place(draft, project, settings)
    folder = settings.projects / project
    width = max(len(file.path) for file in draft.files)
    console.print(f"written in {_near(folder)}:", highlight=False, soft_wrap=True)
    for file in draft.files:
        console.print(f"  {file.path:<{width}}  {file.about}", markup=False, highlight=False, soft_wrap=True)
    for line in draft.chosen:
        console.print(f"taken: {line}", markup=False, highlight=False, soft_wrap=True)


def _near(folder: Path) -> Path:
    """As one would type it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _next(*commands: str) -> None:
    console.print("next:", highlight=False)
    for command in commands:
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
