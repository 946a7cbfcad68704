"""A new home's databases are those that the servers' own migrations make."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from infra.local import new_database
from infra.local.databases import MIGRATIONS, heads
from infra.local.new_database import SCHEMAS, create_database, migrated_schema


@pytest.mark.parametrize("package", MIGRATIONS)
def test_a_new_database_has_the_schema_of_the_installed_version(package: str, tmp_path: Path) -> None:
    file = tmp_path / "new.db"
    assert create_database(package, file)
    connection = sqlite3.connect(file)
    assert {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")} == heads(package)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    assert "\n".join(connection.iterdump()) + "\n" == (SCHEMAS / f"{package}.sql").read_text()
    assert list(tmp_path.glob(".*")) == []


def test_an_existing_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    file.write_bytes(b"old")
    assert not create_database("prefect", file)
    assert file.read_bytes() == b"old"


def test_another_version_is_left_to_its_own_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_database, "heads", lambda package: {"a later one"})
    assert not create_database("mlflow", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def lines(schema: str) -> list[str]:
    """The schema's lines in an order of their own: MLflow's constraints come in any."""
    return sorted(line.strip().removesuffix(",") for line in schema.splitlines())


@pytest.mark.nightly
@pytest.mark.parametrize("package", MIGRATIONS)
def test_the_schema_is_what_the_migrations_make(package: str) -> None:
    assert lines(migrated_schema(package)) == lines((SCHEMAS / f"{package}.sql").read_text())
