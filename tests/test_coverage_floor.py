"""The coverage floor only rises."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "raise_floor.py"))
TEXT = "[tool.coverage.report]\nfail_under = 80\n"


@pytest.mark.parametrize(("measured", "floor"), [(79.9, 80), (80.4, 80), (81.99, 81), (100.0, 100)])
def test_the_floor_only_rises(measured: float, floor: int) -> None:
    assert SCRIPT["raised"](TEXT, measured) == f"[tool.coverage.report]\nfail_under = {floor}\n"


def test_pyproject_has_one_floor() -> None:
    text = SCRIPT["PYPROJECT"].read_text()
    assert SCRIPT["raised"](text, 0.0) == text
