"""docs/kinds.md lists every kind with its tasks, and every parameter with its default and a meaning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from karat.kinds import facts, names

PAGE = (Path(__file__).parents[3] / "docs" / "kinds.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S))


def test_the_page_has_every_kind_and_no_other():
    assert set(SECTIONS) == set(names())


@pytest.mark.parametrize("kind", names())
def test_the_page_says_of_a_kind_what_its_code_says(kind: str):
    section, known = SECTIONS[kind], facts(kind)
    tasks = re.search(r"^Tasks: ([\w, ]+)\.", section, flags=re.M)
    assert tasks is not None
    assert set(tasks[1].split(", ")) == set(known.tasks)
    assert ("Reads sequences" in section) == known.sequences
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| (\S.*) \|$", section, flags=re.M)
    assert {name: yaml.safe_load(default) for name, default, _ in rows} == known.defaults
