"""The Python blocks of docs/explanations.md run as they stand, and the page has every kind."""

import re
from pathlib import Path

import pytest

from karat.kinds import names

PAGE = (Path(__file__).parents[1] / "docs" / "explanations.md").read_text()


def test_the_blocks_run(capsys: pytest.CaptureFixture[str]):
    found: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S):
        exec(block, found)
    told = capsys.readouterr().out
    assert "(probability)" in told
    assert "in place of 280" in told


def test_every_kind_is_told():
    assert [name for name in names() if f"`{name}`" not in PAGE] == []
