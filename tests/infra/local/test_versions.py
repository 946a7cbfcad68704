from __future__ import annotations

import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra.local.versions import BOUNDS, Bound, check_versions, unsound
from karat.errors import UnsoundVersions

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_what_is_installed_fits_together() -> None:
    assert unsound() == []
    check_versions()


def test_each_version_outside_its_bounds_is_named() -> None:
    bounds = (
        Bound("polars", "<0.1", "it is too new"),
        Bound("numpy", ">=1", "fits"),
        Bound("no-such-package", ">=1", "it is missing"),
    )
    assert [line.split()[0] for line in unsound(bounds)] == ["polars", "no-such-package"]
    with pytest.raises(UnsoundVersions, match="it is too new") as error:
        check_versions(bounds)
    assert "requirements.lock" in str(error.value)


def test_the_bounds_admit_what_the_project_requires() -> None:
    """pyproject.toml pins within them; a change there without one here would refuse to start."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    listed = chain(project["dependencies"], *project["optional-dependencies"].values())
    required = {requirement.name: requirement.specifier for requirement in map(Requirement, listed)}
    for bound in BOUNDS:
        if bound.package in required:
            pinned = [s.version for s in required[bound.package] if s.operator == "=="]
            assert all(Requirement(f"x{bound.allowed}").specifier.contains(version) for version in pinned)
