"""``karat``: one command line for all rooms. A command's module is imported when that command is called."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

import click
import typer
from rich.console import Console

from karat.errors import KaratError

#: command -> "module:function"; what is listed here is the command line.
COMMANDS: dict[str, str] = {
    "up": "infra.cli.platform:up",
    "down": "infra.cli.platform:down",
    "status": "infra.cli.platform:status",
    "sample": "infra.cli.gold:sample",
    "ingest": "infra.cli.gold:ingest",
    "run": "infra.cli.run:run",
    "runs": "infra.cli.run:runs",
    "check": "infra.cli.catalog:check",
    "features": "infra.cli.catalog:features",
    "models": "infra.cli.catalog:models",
    "score": "infra.cli.catalog:score",
}

console = Console()
errors = Console(stderr=True)


def print_json(value: Any) -> None:
    """The one form of ``--json``: indented, on standard output, nothing else beside it."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


class Lazy(click.Group):
    """A group whose commands live in modules that are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, function = COMMANDS[name].split(":")
        app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        app.command(name)(getattr(import_module(module), function))
        return typer.main.get_command(app)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def karat() -> None:
    """Karat takes a team's gold tables to champion models in production, and keeps them there.

    Start with:  karat up;  karat run health_monitor --domain cost;  karat models
    """


def main() -> None:
    """Entry point: a KaratError becomes its message and its exit status."""
    try:
        karat(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KaratError as error:
        errors.print(f"[bold red]{type(error).__name__}[/]", highlight=False)
        errors.print(str(error), markup=False, highlight=False)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
