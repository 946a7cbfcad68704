"""docs/contract.md: every rule of the contract names tests, and every test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "contract.md").read_text()
#: The rules of each section, by their numbers.
RULES = {
    "Feature tables": 8,
    "Point-in-time join": 7,
    "Training sets": 4,
    "Models": 5,
    "Online store": 5,
    "Errors that a user meets": 11,
}


def rows() -> list[tuple[str, int, str]]:
    found, section = [], ""
    for line in PAGE.splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif match := re.match(r"\| (\d+) \|(.*)\|$", line):
            found.append((section, int(match[1]), match[2]))
    return found


@cache
def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_rule_is_there_once():
    told: dict[str, list[int]] = {}
    for section, number, _ in rows():
        told.setdefault(section, []).append(number)
    assert told == {section: list(range(1, count + 1)) for section, count in RULES.items()}


@pytest.mark.parametrize(("section", "number", "text"), rows(), ids=lambda v: str(v)[:14].strip())
def test_a_rule_names_tests(section: str, number: int, text: str):
    assert re.search(r"`[\w/]+\.py::test_\w+`", text), f"{section} {number} names no test"


def test_the_tests_exist():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    missing = [f"{p}::{n}" for p, n in named if not (TESTS / p).exists() or n not in functions(TESTS / p)]
    assert missing == []
