"""Drafts of new files: written all or none, and only if the project with them is valid."""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from infra.expression_check import mistakes
from karat.declare import Project, load_project
from karat.errors import AlreadyThere, DeclarationError, InvalidName, PlatformError
from karat.settings import Settings

LONGEST = 40
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class File:
    """``path`` is below the project's folder; ``about`` says in a few words what it is."""

    path: str
    text: str
    about: str


@dataclass(frozen=True)
class Draft:
    """The files, and in ``chosen`` what was taken where the call left it open, each with the option that says else."""

    files: tuple[File, ...]
    chosen: tuple[str, ...] = ()


def check_name(name: str, what: str) -> str:
    """A name that may stand in tables, files, Python and SQL without quotes. Raises InvalidName with the nearest."""
    if not _NAME.fullmatch(name):
        near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").lstrip("0123456789_")
        remedy = "write it in small letters, digits and underscores, a letter first"
        raise InvalidName(
            f"{name!r} can't be the name of a {what}", remedy=f"{remedy}, as in {near!r}" if near else remedy
        )
    if len(name) > LONGEST:
        raise InvalidName(f"{name!r} is too long a name", remedy=f"{LONGEST} letters are the most")
    if keyword.iskeyword(name) or name in _reserved():
        raise InvalidName(
            f"{name!r} can't be the name of a {what}: it is a word of Python or SQL",
            remedy=f"take another, as in {name + 's'!r} or {'my_' + name!r}",
        )
    return name


@cache
def _reserved() -> set[str]:
    with duckdb.connect() as connection:
        words = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
        return {row[0] for row in connection.execute(words).fetchall()}


def tried(draft: Draft, name: str, settings: Settings) -> Project:
    """The project as it would be with the draft; nothing is written to its folder.

    Raises AlreadyThere where a file stands in the way, DeclarationError with everything that would be wrong.
    """
    folder = settings.projects / name
    for file in draft.files:
        if (folder / file.path).exists():
            raise AlreadyThere(
                f"{folder / file.path} is there already; nothing is overwritten",
                remedy="edit it, remove it, or take another name",
            )
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "projects" / name
        if folder.is_dir():
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        _write(draft, copy)
        project = load_project(name, settings.model_copy(update={"projects": copy.parent}))
        if wrong := list(mistakes(project)):
            raise DeclarationError("this would not be sound, so nothing was written", where=str(folder), errors=wrong)
    return project


def place(draft: Draft, name: str, settings: Settings) -> list[Path]:
    """Writes the draft where ``tried`` finds nothing wrong; gives the paths."""
    tried(draft, name, settings)
    folder = settings.projects / name
    try:
        return _write(draft, folder)
    except OSError as error:
        raise PlatformError(
            f"{folder} can't be written: {error}", remedy="make it writable, or set KARAT_PROJECTS to a folder that is"
        ) from error


def _write(draft: Draft, folder: Path) -> list[Path]:
    """``project.yaml`` comes last: without it nobody takes the folder for a project."""
    written = []
    for file in sorted(draft.files, key=lambda f: f.path == "project.yaml"):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as out:
            out.write(file.text)
        written.append(path)
    return written
