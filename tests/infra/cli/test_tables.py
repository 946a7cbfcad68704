"""Tables at 80 columns: no line is longer, no value is cut."""

from __future__ import annotations

import ast
import io
import re
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rich.console import Console

from infra.cli.run import _RUN_COLUMNS
from infra.cli.summary import show_models
from infra.cli.tables import Column, print_table
from infra.code import ROOT
from infra.job_records import JobError, Outcome, TrainingOutcome
from karat.declare import Project, load_project
from karat.errors import TooFewRows
from karat.settings import Settings
from tasks.artifacts import detail_rows, model_rows, short_rows
from tasks.scope import Scope
from tests.profiles import examples

CLI = Path(ROOT) / "infra" / "cli"
#: Every tuple of columns that a command declares: module and name.
DECLARED = [
    (module.__name__, name)
    for module in (import_module(f"infra.cli.{f.stem}") for f in sorted(CLI.glob("[!_]*.py")))
    for name, value in vars(module).items()
    if isinstance(value, tuple) and value and all(isinstance(v, Column) for v in value)
]
LONG = "a_name_of_sixty_characters_as_nobody_would_type_it_by_hand_x"
TEXTS = st.text("abcdefgh_ ,.", min_size=1, max_size=70).map(str.strip).filter(bool)
COLUMNS = st.lists(
    st.builds(
        Column, st.sampled_from(["model", "rows", "key", "gain, 95 %"]), st.booleans(), st.booleans(), st.just(0)
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture
def project(settings: Settings) -> Project:
    return load_project("customers", settings.model_copy(update={"projects": ROOT / "projects"}))


def at(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, no_color=True)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def squeezed(text: str) -> list[str]:
    """Its characters in a fixed order: folding moves them between lines, and loses none."""
    return sorted(c for c in text if c.isalnum() or c == "_")


@hypothesis_settings(max_examples=examples(20), deadline=None)
@given(st.data(), COLUMNS)
def test_columns_that_stay_fold_and_lose_no_character(data: st.DataObject, columns: list[Column]) -> None:
    row = st.lists(TEXTS, min_size=len(columns), max_size=len(columns))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    console = at(80)
    print_table(console, columns, rows)
    shown = lines(console)
    assert max(map(len, shown)) <= 80
    heads = [column.name for column in columns]
    assert squeezed("".join(shown)) == squeezed("".join([*heads, *(cell for row in rows for cell in row)]))


def test_every_table_of_a_command_is_one_that_fits() -> None:
    """No command makes a table of Rich itself: a new one is tested below as soon as it declares its columns."""
    makers = set()
    for file in CLI.glob("*.py"):
        imports = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom)]
        makers |= {file.name for n in imports if "Table" in {a.name for a in n.names}}
    assert makers == {"tables.py", "follow.py"}  # the live lines of a run are as wide as the terminal
    assert len(DECLARED) >= 12


@pytest.mark.parametrize(("module", "name"), DECLARED)
def test_the_columns_of_every_command_fit_with_long_names(module: str, name: str) -> None:
    columns = getattr(import_module(module), name)
    texts = [LONG, f"{LONG}, {LONG}"]
    rows = [[f"{n + 1:,}" if c.number else text for c in columns] for n, text in enumerate(texts)]
    console, wide = at(80), at(80)
    print_table(console, columns, rows, title=f"{LONG} of {LONG}")
    assert max(map(len, lines(console))) <= 80
    print_table(wide, columns, rows, wide=True)
    heads = lines(wide)[0]
    assert all(column.name in heads for column in columns)


def test_secondary_columns_give_way_by_rank_and_are_named() -> None:
    columns = [Column("name", whole=True), Column("later", rank=2), Column("rows", number=True), Column("key", rank=1)]
    rows = [["n" * 50, "l" * 40, "1,000", "customer_id, day"]]
    console = at(80)
    print_table(console, columns, rows)
    shown = "\n".join(lines(console))
    assert "n" * 50 in shown
    assert "1,000" in shown
    assert "customer_id" in shown
    assert "--wide shows also: later" in shown
    assert "l" * 12 not in shown
    console = at(80)
    print_table(console, columns, rows, wide=True)
    (line,) = [line for line in lines(console) if "n" * 50 in line]
    assert line.split() == ["n" * 50, "l" * 40, "1,000", "customer_id,", "day"]


def test_the_summary_of_a_run_fits_and_says_why_and_what_next(project: Project, settings: Settings) -> None:
    figures = {"metrics": {"average_precision": 0.91234, "roc_auc": 0.9}, "baseline": {"average_precision": 0.5}}
    judged = {"average_precision_gain_low": 0.123, "average_precision_gain_high": 0.456, "attained": 0.97}
    done = TrainingOutcome(
        name="fraud",
        state="done",
        version=12,
        champion_version=12,
        metric="average_precision",
        judged=judged,
        **figures,
    )
    failed = Outcome(name="churn", state="failed", error=JobError.of(TooFewRows("only 3 rows", remedy="ingest more")))
    table = model_rows(Scope(settings, project, project.models), [done, failed])
    rows = [short | detail for short, detail in zip(short_rows(table), detail_rows(table), strict=True)]
    narrow, wide = at(80), at(80)
    show_models(narrow, rows, project, ended_well=False)
    show_models(wide, rows, project, ended_well=False, wide=True)
    assert max(map(len, lines(narrow))) <= 80
    shown = "\n".join(lines(narrow))
    for text in (
        "average_precision",
        "0.9123",
        "0.5",
        "0.123 to 0.456",
        "done",
        "failed",
        "TooFewRows: only 3 rows",
        "ingest more",
    ):
        assert text in shown
    assert "karat try customers churn" in shown
    assert "97%" in "\n".join(lines(wide))


def test_a_run_without_models_says_what_to_do(project: Project) -> None:
    console = at(80)
    show_models(console, [], project, ended_well=True)
    assert "karat run customers --train always" in "\n".join(lines(console))
    project.models.clear()
    console = at(80)
    show_models(console, [], project, ended_well=True)
    assert "karat new model NAME --project customers" in " ".join(lines(console))


def test_a_name_is_broken_after_its_parts_and_not_inside_a_word() -> None:
    rows = [
        [n, f"{kind}-pipeline", "health_monitor", "AwaitingRetry", "2026-12-01 13:00:00", "70.1"]
        for n, kind in (("master-hotline-of-a-plant", "inference"), ("brave-otter", "monitoring"))
    ]
    for width in (80, 90, 100, 110):
        console = at(width)
        print_table(console, _RUN_COLUMNS, rows, title="Runs")
        words = set(re.findall(r"[A-Za-z]+", "\n".join(lines(console))))
        parts = {word for row in rows for cell in row for word in re.findall(r"[A-Za-z]+", cell)}
        shown = words - {"Runs", "wide", "shows", "also", "flow", *(column.name for column in _RUN_COLUMNS)}
        assert shown <= parts, (width, shown - parts)
        assert "brave-otter" in "\n".join(lines(console))
