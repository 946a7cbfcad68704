"""The house's rules that the import contract can't say."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PROJECT_IMPORTS = {"karat.declare", "polars", "numpy"}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


@pytest.mark.parametrize("path", sorted((REPO / "projects").rglob("*.py")), ids=lambda p: str(p.relative_to(REPO)))
def test_projects_import_declarations_polars_and_numpy_alone(path):
    shared = f"karat_projects.{path.relative_to(REPO / 'projects').parts[0]}.gold._"  # what its gold files share
    foreign = {m for m in imported(path) if m.split(".")[0] not in sys.stdlib_module_names} - PROJECT_IMPORTS
    foreign = {m for m in foreign if not m.startswith(shared)}
    assert not foreign


def test_every_room_has_chosen_its_floor():
    contract = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]
    rooms = {p.parent.name for p in REPO.glob("*/__init__.py")}
    assert rooms == set(contract["root_packages"])


def test_the_files_behind_the_ten_questions_exist():
    page = (REPO / "docs" / "house.md").read_text()
    rows = page.partition("## Ten questions")[2].partition("\n## ")[0].splitlines()
    files = [row.rsplit("|", 2)[1].strip(" `") for row in rows if row.startswith("|") and "?" in row]
    assert len(files) == 10
    assert [f for f in files if not (REPO / f).is_file()] == []


def test_only_settings_reads_karats_environment():
    readers = {
        str(path.relative_to(REPO))
        for room in ("karat", "flows", "tasks", "ray_jobs", "serve", "infra")
        for path in (REPO / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call | ast.Subscript)
        and ast.unparse(node).startswith(("os.environ.get('KARAT_", "os.environ['KARAT_", "os.getenv('KARAT_"))
    }
    assert not readers


def test_no_file_is_named_for_nothing():
    vague = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert not [p for p in REPO.glob("[a-z]*/**/*.py") if p.name in vague and ".venv" not in p.parts]
