"""The wheel, installed without its extras into a fresh environment, does the offline work of the client.

The environment holds the base dependencies and theirs, as their metadata list them, linked from this one: no network.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from karat.extras import EXTRA_OF

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
OFFLINE = Path(__file__).parent / "wheel_offline.py"
#: Libraries of the extras; MLflow brings the others itself.
ABSENT = sorted(set(EXTRA_OF) - {"aiohttp", "fastapi", "packaging", "starlette"})


def requirements(listed: list[str], extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for requirement in map(Requirement, listed):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement.name, frozenset(requirement.extras)


def closure(listed: list[str]) -> list[Distribution]:
    """The distributions that pip would install for a list of requirements."""
    found: dict[tuple[str, frozenset[str]], Distribution] = {}
    wanted = list(requirements(listed, frozenset()))
    while wanted:
        name, extras = wanted.pop()
        if (name, extras) not in found:
            found[name, extras] = distribution(name)
            wanted += requirements(found[name, extras].requires or [], extras)
    return list({d.metadata["Name"]: d for d in found.values()}.values())


def link(distributions: list[Distribution], target: Path) -> None:
    """Links the distributions' packages into another site-packages: whole folders where no other distribution has
    files in them, else file by file."""
    names = {d.metadata["Name"] for d in distributions}
    shared = {package for package, homes in packages_distributions().items() if not names.issuperset(homes)}
    for each in distributions:
        whole = (
            file if file.parts[0] in shared else file.parents[-2] if len(file.parts) > 1 else file
            for file in each.files or []
            if ".." not in file.parts
        )
        for file in dict.fromkeys(whole):
            place = target / file
            if (source := Path(each.locate_file(file))).exists() and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(source.resolve())


def build(folder: Path) -> Path:
    """The wheel of a copy of the sources: building beside them would leave folders behind."""
    source = folder / "source"
    source.mkdir()
    for room in REPO.glob("*/__init__.py"):
        shutil.copytree(room.parent, source / room.parent.name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / file, source)
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment with the wheel and without the extras."""
    folder = tmp_path_factory.mktemp("wheel")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    link(closure(PROJECT["dependencies"]), packages)
    pip("--python", str(python), "install", "--no-deps", "--no-index", "--no-compile", str(build(folder)))
    return python.parent


def run(environment: Path, home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.defpath, "HOME": str(home), "KARAT_HOME": str(home / ".karat"), "NO_COLOR": "1"}
    # Nobody listens on port 9: models go to MLflow's database directly.
    variables |= {"KARAT_PROJECTS": str(REPO / "projects"), "KARAT_MLFLOW_PORT": "9"}
    program = [str(environment / command[0]), *command[1:]]
    return subprocess.run(program, cwd=home, env=variables, capture_output=True, text=True, check=False)


def test_the_client_works_offline(environment: Path, tmp_path: Path) -> None:
    done = run(environment, tmp_path, "python", "-I", str(OFFLINE), *ABSENT)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert str(environment.parent) in said["home"]
    assert said["features"] == [1.0, 5.0]
    assert said["predictions"] == 6
    assert "karat[torch]" in said["lstm"]
    assert "karat[boosting]" in said["xgboost"]
    assert "karat[redis]" in said["redis"]
    assert "karat[monitoring]" in said["report"]


def test_the_command_line_names_the_missing_extra(environment: Path, tmp_path: Path) -> None:
    done = run(environment, tmp_path, "karat", "check", "customers")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(environment, tmp_path, "karat", "up")
    assert done.returncode == 1
    assert "karat[platform]" in done.stderr


def test_the_wheel_holds_types_licence_and_templates(environment: Path) -> None:
    (packages,) = (environment.parent / "lib").glob("python*/site-packages")
    assert (packages / "karat" / "py.typed").exists()
    assert list(packages.glob("karat-*.dist-info/licenses/LICENSE"))
    for template in (*REPO.glob("infra/new/templates/*.j2"), *REPO.glob("karat/*/*.j2")):
        assert (packages / template.relative_to(REPO)).exists()


def test_every_import_belongs_to_the_base_or_to_an_extra() -> None:
    rooms = {room.parent.name for room in REPO.glob("*/__init__.py")} - {"benchmarks"}
    imported = {
        name.partition(".")[0]
        for room in rooms
        for file in (REPO / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.level == 0)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    base = {Requirement(text).name for text in PROJECT["dependencies"]}
    provided = {name for name, homes in packages_distributions().items() if {normal(h) for h in homes} & base}
    assert imported - sys.stdlib_module_names - rooms - provided - EXTRA_OF.keys() == set()


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def test_every_optional_library_names_its_extra() -> None:
    listed = {
        Requirement(text).name.replace("-", "_"): extra
        for extra, texts in PROJECT["optional-dependencies"].items()
        for text in texts
        if not text.startswith("karat[")
    }
    assert listed.items() <= EXTRA_OF.items()
