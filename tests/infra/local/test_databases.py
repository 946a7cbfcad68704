from __future__ import annotations

import sqlite3
from importlib.util import find_spec
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from infra.local.databases import heads, unsound
from infra.local.environment import make_folders
from infra.local.platform_parts import mlflow_database, prefect_database
from karat.settings import Settings


def write(file: Path, revision: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [revision])
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [(f"run {i}" * 20,) for i in range(1000)])
    connection.close()


@pytest.fixture
def sound(settings: Settings) -> Settings:
    make_folders(settings)
    write(mlflow_database(settings), *heads("mlflow"))
    write(prefect_database(settings), *heads("prefect"))
    return settings


@pytest.mark.parametrize(
    ("package", "folder", "versions"),
    [
        ("mlflow", "store/db_migrations", "versions"),
        ("prefect", "server/database/_migrations", "versions/sqlite"),
    ],
)
def test_heads_are_those_that_alembic_finds(package: str, folder: str, versions: str) -> None:
    root = Path(find_spec(package).submodule_search_locations[0]) / folder
    assert heads(package) == set(ScriptDirectory(str(root), version_locations=[str(root / versions)]).get_heads())


def test_sound(sound: Settings) -> None:
    assert unsound(sound) == []


def test_missing(settings: Settings) -> None:
    assert [line.endswith("does not exist") for line in unsound(settings)] == [True, True]


def test_damaged(sound: Settings) -> None:
    file = mlflow_database(sound)
    content = bytearray(file.read_bytes())
    content[-20000:-10000] = b"\xff" * 10000
    file.write_bytes(content)
    (line,) = unsound(sound)
    assert str(file) in line


def test_not_a_database(sound: Settings) -> None:
    prefect_database(sound).write_text("something else" * 1000)
    (line,) = unsound(sound)
    assert "not a database" in line


def test_other_schema(sound: Settings) -> None:
    with sqlite3.connect(prefect_database(sound)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'older'")
    connection.close()
    (line,) = unsound(sound)
    assert "schema {'older'}" in line
