"""``karat open``: the pages of the platform, each with its login."""

from __future__ import annotations

import shlex
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from infra.cli.app import console, errors, print_json
from infra.local.environment import token_file
from infra.services import require_mlflow, require_prefect, require_ray, require_serve
from karat.credentials import USER, login_file
from karat.errors import WrongCall
from karat.settings import Settings

REQUIRE = {"prefect": require_prefect, "mlflow": require_mlflow, "ray": require_ray, "api": require_serve}


class Page(NamedTuple):
    """A page of the platform.

    Attributes:
        name: Its name in the command.
        address: Its address.
        user: The user of its login; "" where it knows none.
        asks: What it asks for; "" where it is open.
        file: The file that holds it.
        variables: What a shell exports for a client: name and value, as the shell reads it.
    """

    name: str
    address: str
    user: str = ""
    asks: str = ""
    file: Path | None = None
    variables: tuple[tuple[str, str], ...] = ()


def open_page(
    page: Annotated[
        Literal["prefect", "mlflow", "ray", "api"] | None, typer.Argument(help="only this page; all without it")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser", help="open the page in the browser, too")] = False,
    export: Annotated[
        bool, typer.Option("--export", help="print the lines with which a shell lets clients in, without the secret")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="addresses and files as JSON, without the secret")] = False,
) -> None:
    """Show the address of each page of the platform, and the login that it asks for.

    `karat up` makes the logins when it runs first. Each is in a file of its own in `.karat/`, which its owner alone can
    read. A login is printed on a terminal only: into a pipe or a log goes the name of its file.

    Examples:  `karat open`, `karat open mlflow --browser`, `eval "$(karat open prefect --export)"`
    """
    settings = Settings()
    chosen = [found for found in pages(settings) if page in (None, found.name)]
    if as_json:
        print_json([_plain(found) for found in chosen])
        return
    if export:
        sys.stdout.writelines(f"export {name}={value}\n" for found in chosen for name, value in found.variables)
        return
    if browser and page is None:
        raise WrongCall("one page can be opened in the browser, not all", remedy="as in: karat open mlflow --browser")
    if page is not None:
        REQUIRE[page](settings)
    for line in (line for found in chosen for line in _lines(found)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if settings.auth == "off":
        console.print("KARAT_AUTH is off: no page asks for a login.")
    if browser and not webbrowser.open(chosen[0].address):
        errors.print("No browser was found on this machine: open the address yourself.")


def pages(settings: Settings) -> Iterator[Page]:
    """Every page, with what it asks for and the file that holds it."""
    prefect, mlflow, ray = login_file(settings, "prefect"), login_file(settings, "mlflow"), token_file(settings)
    found = (
        Page(
            "prefect",
            settings.prefect_url,
            asks="user:password, as one text",
            file=prefect,
            variables=(
                ("PREFECT_API_URL", settings.prefect_api_url),
                ("PREFECT_API_AUTH_STRING", _content(prefect)),
            ),
        ),
        Page(
            "mlflow",
            settings.mlflow_url,
            user=USER,
            asks="password",
            file=mlflow,
            variables=(
                ("MLFLOW_TRACKING_URI", settings.mlflow_url),
                ("MLFLOW_TRACKING_USERNAME", USER),
                ("MLFLOW_TRACKING_PASSWORD", _content(mlflow, password=True)),
            ),
        ),
        Page(
            "ray",
            settings.ray_dashboard_url,
            asks="token",
            file=ray,
            variables=(
                ("RAY_API_SERVER_ADDRESS", settings.ray_dashboard_url),
                ("RAY_AUTH_MODE", "token"),
                ("RAY_AUTH_TOKEN_PATH", shlex.quote(str(ray))),
            ),
        ),
        Page("api", f"{settings.serve_url}/docs", user=USER, asks="password", file=login_file(settings, "api")),
    )
    for page in found:
        is_open = settings.serve_is_open if page.name == "api" else settings.auth == "off"
        yield _open(page) if is_open else page


def _open(page: Page) -> Page:
    """The page where it asks for nothing: a client needs its address alone."""
    return page._replace(user="", asks="", file=None, variables=page.variables[:1])


def _content(file: Path, *, password: bool = False) -> str:
    """The shell reads the file: the secret is on no command line and in no history."""
    read = "cut -d: -f2-" if password else "cat"
    return f'"$({read} {shlex.quote(str(file))})"'


def _lines(page: Page) -> Iterator[str]:
    """The address, and below it what to type: on a terminal the secret, elsewhere its file."""
    yield f"{page.name:8} {page.address}"
    if page.user:
        yield f"{'':8} user: {page.user}"
    if page.file is None:
        return
    if not page.file.is_file():
        yield f"{'':8} {page.asks}: karat up makes it"
    elif console.is_terminal:
        text = page.file.read_text().strip()
        yield f"{'':8} {page.asks}: {text.partition(':')[2] if page.asks == 'password' else text}"
    else:
        yield f"{'':8} {page.asks}: in {page.file}"


def _plain(page: Page) -> dict[str, str | None]:
    return {
        "page": page.name,
        "address": page.address,
        "user": page.user or None,
        "asks_for": page.asks or None,
        "file": str(page.file) if page.file else None,
    }
