"""The documentation keeps up: every command and setting stands in it, every link leads somewhere."""

import re
from pathlib import Path

import pytest

from infra.cli.app import COMMANDS
from karat.catalogue.page import markdown
from karat.declare import load_project, project_names
from karat.settings import Settings

REPO = Path(__file__).parents[1]
COMMANDS_PAGE = (REPO / "docs" / "commands.md").read_text()


def test_every_command_is_documented():
    documented = set(re.findall(r"^\| `karat (\w+)", COMMANDS_PAGE, flags=re.M))
    assert documented == set(COMMANDS)


def test_every_setting_is_documented():
    documented = {
        name.split("__")[0].removeprefix("KARAT_").lower() for name in re.findall(r"KARAT_\w+", COMMANDS_PAGE)
    }
    assert documented == set(Settings.model_fields)


@pytest.mark.parametrize("page", [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_catalogue_is_that_of_the_declarations():
    settings = Settings(projects=REPO / "projects")
    written = (REPO / "docs" / "catalogue.md").read_text()
    now = markdown([load_project(name, settings) for name in project_names(settings)])
    assert written == now, "karat features --markdown docs/catalogue.md"
