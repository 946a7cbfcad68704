"""The ``karat`` command line. A command's module is imported when that command is called."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from infra.process_end import run_to_the_end
from karat.boundary import library_failed
from karat.errors import KaratError, shorten
from karat.extras import optional_imports


class Command(NamedTuple):
    """A command: its function, and its line in ``karat --help``. The function's docstring is the command's own help."""

    target: str
    summary: str


#: Every command of ``karat``.
COMMANDS: dict[str, Command] = {
    "up": Command("infra.cli.platform:up", "Start the local platform: Ray, MLflow, Prefect, Serve."),
    "down": Command("infra.cli.platform:down", "Stop the local platform; leaves no process behind."),
    "status": Command("infra.cli.platform:status", "Say whether every part of the platform is sound."),
    "open": Command("infra.cli.open:open_page", "Show the pages of the platform, each with its login."),
    "sample": Command("infra.cli.gold:sample", "Write a project's sample gold tables."),
    "ingest": Command("infra.cli.gold:ingest", "Bring CSV, Parquet or Delta into a gold table."),
    "tables": Command("infra.cli.gold:tables", "List the tables of the lake with key, version and rows."),
    "run": Command("infra.cli.run:run", "Run a project from gold to served champions, and follow it."),
    "runs": Command("infra.cli.run:runs", "List the latest runs."),
    "new": Command("infra.cli.new:new", "Begin a project, a feature table or a model from a template that runs."),
    "try": Command("infra.cli.trial:try_model_command", "Try a model on a sample: in process, within seconds."),
    "check": Command("infra.cli.catalog:check", "Show all errors of a project's declarations at once."),
    "features": Command("infra.cli.catalog:features", "List features with type, source, window and statistics."),
    "sql": Command("infra.cli.sql:sql", "Ask the lake in SQL: every table, and the ml_ views."),
    "lineage": Command("infra.cli.lineage:show", "Show where values come from and go to, also as a picture."),
    "quality": Command("infra.cli.quality:quality", "Show the checks of a project's tables, and what each found last."),
    "drift": Command("infra.cli.drift:drift", "Show what the newest reports of a project's champions found."),
    "monitor": Command("infra.cli.monitor:monitor", "Check a project's champions for drift and fairness now."),
    "models": Command("infra.cli.models:models", "List models with champion, metrics and baseline."),
    "approve": Command("infra.cli.approve:approve", "Approve a candidate: it becomes champion if it passes its gates."),
    "explain": Command("infra.cli.explain:explain", "Explain a prediction, and say what would turn it."),
    "score": Command("infra.cli.score:score", "Score a file of keys with a model's champion."),
    "drop": Command("infra.cli.drop:drop", "Remove a table, a model or what a project has made, after a question."),
    "retain": Command("infra.cli.retain:retain", "Remove old versions that no live model needs; a dry run by default."),
    "rebuild": Command("infra.cli.rebuild:rebuild", "Make a model's training set again, byte for byte."),
}

console = Console()
errors = Console(stderr=True)


def print_json(value: Any) -> None:
    """Print ``value`` as indented JSON on standard output; every ``--json`` goes through here."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


#: What Typer raises for a wrong call.
_WrongUsage: type[Exception] = typer.BadParameter.__bases__[0]


@contextmanager
def _in_a_line() -> Iterator[None]:
    """A wrong call is told in lines of a bounded length, whatever it was given."""
    try:
        yield
    except _WrongUsage as error:
        vars(error)["message"] = shorten(str(vars(error).get("message", "")))
        raise


class LazyGroup(TyperGroup):
    """A command group that imports a command's module only when that command is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=entry.summary) for name, entry in COMMANDS.items()}

    def make_context(self, *given: Any, **more: Any) -> Any:
        """Parse the arguments of ``karat`` itself."""
        with _in_a_line():
            return super().make_context(*given, **more)

    def invoke(self, ctx: Any) -> Any:
        """Parse the arguments of the command, and run it."""
        with _in_a_line():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the command that the arguments name."""
        name, command, rest = super().resolve_command(ctx, args)  # names the nearest command where there is none
        return name, load(name) if name else command, rest


def load(name: str) -> Any:
    """Import a command, or a group of commands, and build its Typer form.

    Args:
        name: A key of ``COMMANDS``.

    Returns:
        The command that Typer makes from the function's signature and docstring.
    """
    module, function = COMMANDS[name].target.split(":")
    found = getattr(import_module(module), function)
    if isinstance(found, typer.Typer):
        return get_command(found)
    one = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    one.command(name)(found)
    return get_command(one)


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(asked: bool) -> None:
    """Print the installed version and end, if it was asked for."""
    if asked:
        typer.echo(f"karat {installed_version('karat')}")
        raise typer.Exit


@app.callback()
def karat(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="show Karat's version and end")
    ] = False,
) -> None:
    """Karat takes a team's gold tables to champion models in production, and keeps them there.

    Start with: `karat up`, then `karat run health_monitor --domain cost`, then `karat models`.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line. A KaratError becomes its message and exit status; a wrong call exits with 2.

    Another error is printed with its traceback, and below it as Karat's.
    """
    try:
        with optional_imports():
            get_command(app)(args, prog_name="karat")
    except KaratError as error:
        _stop(error)
    except Exception as error:
        traceback.print_exception(error)
        words = " ".join(sys.argv[1:] if args is None else args)
        _stop(library_failed(error, f"karat {words.partition(' ')[0]}", f"karat {words}"))
    finally:
        close_home()


def _stop(error: KaratError) -> NoReturn:
    errors.print(f"[bold red]{type(error).__name__}[/]", highlight=False)
    errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
    sys.exit(error.exit_code)


def close_home() -> None:
    """Whichever command has made the home, it is its owner's alone, whatever the umask."""
    if "karat.settings" not in sys.modules:  # the command had no settings, and so no home
        return
    credentials, settings = import_module("karat.credentials"), import_module("karat.settings")
    with suppress(KaratError, OSError):
        credentials.make_private(settings.Settings().home)


def program() -> NoReturn:
    """The command ``karat``."""
    run_to_the_end(main)


if __name__ == "__main__":
    program()
