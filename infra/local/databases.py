"""Checks of the servers' SQLite databases: integrity and schema version."""

from __future__ import annotations

import ast
import re
import sqlite3
from importlib.util import find_spec
from pathlib import Path

from infra.local.platform_parts import mlflow_database, prefect_database
from karat.settings import Settings

#: Where each program keeps its Alembic migrations.
MIGRATIONS = {
    "mlflow": "store/db_migrations/versions",
    "prefect": "server/database/_migrations/versions/sqlite",
}


def unsound(settings: Settings) -> list[str]:
    """One line for each database that is missing, damaged or of another schema."""
    files = {"mlflow": mlflow_database(settings), "prefect": prefect_database(settings)}
    return [line for name, file in files.items() if (line := _problem(name, file))]


def _problem(name: str, file: Path) -> str:
    if not file.is_file():
        return f"{file} does not exist"
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)
        try:
            said = connection.execute("PRAGMA quick_check(3)").fetchall()
            found = {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")}
        finally:
            connection.close()
    except sqlite3.Error as error:
        return f"{file}: {error}"
    if said != [("ok",)]:
        return f"{file} is damaged: {said[0][0]}"
    wanted = heads(name)
    return "" if found == wanted else f"{file} has the schema {found}, the installed {name} needs {wanted}"


def heads(package: str) -> set[str]:
    """The newest of the package's migrations: the one that no other builds on.

    Read from their text, as Alembic would import all of them and with them their program: three seconds.
    """
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    revisions, built_on = set(), set()
    for file in (Path(spec.submodule_search_locations[0]) / MIGRATIONS[package]).glob("[!_]*.py"):
        fields = dict(_FIELD.findall(file.read_text()))
        revisions.add(ast.literal_eval(fields["revision"]))
        below = ast.literal_eval(fields["down_revision"])
        built_on |= {below} if isinstance(below, str) else set(below or ())
    return revisions - built_on


_FIELD = re.compile(r"^((?:down_)?revision)\b[^=]*=\s*(.+)$", re.MULTILINE)
