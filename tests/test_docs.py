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


def test_every_decision_is_in_the_index():
    index = (REPO / "docs" / "decisions" / "index.md").read_text()
    assert [p.name for p in (REPO / "docs" / "decisions").glob("0*.md") if f"]({p.name})" not in index] == []


def test_every_page_is_in_the_navigation():
    navigation = (REPO / "mkdocs.yml").read_text()
    pages = [p.relative_to(REPO / "docs") for p in (REPO / "docs").rglob("*.md") if p.parent.name != "decisions"]
    assert [str(p) for p in pages if f": {p}\n" not in navigation] == []


def test_the_python_of_the_five_minutes_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("KARAT_HOME", str(tmp_path))
    (block,) = re.findall(r"^```python\n(.*?)^```", (REPO / "docs" / "five-minutes.md").read_text(), flags=re.M | re.S)
    names: dict = {}
    exec(block, names)
    assert names["training_set"].load_df()["spent"].to_list() == [3.0, 8.0, 5.0, 1.0]
