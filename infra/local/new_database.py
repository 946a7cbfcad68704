"""A new home's databases, made from the text of their schema: the servers' own migrations take 14 seconds of a core.

The text is what the migrations of the installed version make; where another version is installed, they run.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.local.databases import MIGRATIONS, heads

SCHEMAS = Path(__file__).with_name("schemas")
#: What each program makes a database with; ``{}`` is its file.
_MIGRATE = {
    "mlflow": ("-m", "mlflow", "db", "upgrade", "sqlite:///{}"),
    "prefect": ("-m", "prefect", "server", "database", "upgrade", "-y"),
}
_VERSION = re.compile(r"""INSERT INTO "alembic_version" VALUES\('(\w+)'\);""")


def create_database(package: str, file: Path) -> bool:
    """Make the package's database unless the file exists or its schema is of another version; return if it was made.

    Args:
        package: ``mlflow`` or ``prefect``.
        file: The database; it appears whole.
    """
    schema = (SCHEMAS / f"{package}.sql").read_text()
    if file.exists() or set(_VERSION.findall(schema)) != heads(package):
        return False
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    with sqlite3.connect(part) as connection:
        connection.executescript(schema)
    connection.execute("PRAGMA journal_mode=WAL")  # readers and the writer do not wait for one another
    connection.close()
    part.replace(file)
    return True


def migrated_schema(package: str) -> str:
    """The text of a database that the package's own migrations have made."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{package}.db")
        environment = os.environ | {"PREFECT_HOME": folder, "PREFECT_API_URL": ""}
        command = [sys.executable, *(word.format(file) for word in _MIGRATE[package])]
        subprocess.run(command, check=True, env=environment, cwd=folder, capture_output=True)
        connection = sqlite3.connect(file)
        try:
            return "\n".join(connection.iterdump()) + "\n"
        finally:
            connection.close()


def main() -> None:
    """Write the schemas anew, after a change of a package's version: ``python -m infra.local.new_database``."""
    for package in MIGRATIONS:
        (SCHEMAS / f"{package}.sql").write_text(migrated_schema(package))


if __name__ == "__main__":
    main()
