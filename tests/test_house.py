"""The house's rules that the import contract can't say."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
ROOMS = ("karat", "flows", "tasks", "ray_jobs", "serve", "infra")
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
        for room in ROOMS
        for path in (REPO / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call | ast.Subscript)
        and ast.unparse(node).startswith(("os.environ.get('KARAT_", "os.environ['KARAT_", "os.getenv('KARAT_"))
    }
    assert not readers


def test_no_file_is_named_for_nothing():
    vague = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert not [p for p in REPO.glob("[a-z]*/**/*.py") if p.name in vague and ".venv" not in p.parts]


def test_any_stands_for_few_values():
    """At most 8 uses of ``Any`` per thousand lines; its imports do not count."""
    texts = [p.read_text() for room in ROOMS for p in (REPO / room).rglob("*.py")]
    uses = sum(isinstance(n, ast.Name) and n.id == "Any" for text in texts for n in ast.walk(ast.parse(text)))
    lines = sum(text.count("\n") for text in texts)
    assert lines > 10_000
    assert 1000 * uses / lines <= 8


#: Classes that carry a model's declaration from function to function.
DECLARATIONS = {"DeclaredModel", "ModelContext", "ModelSpec"}


class Walk(ast.NodeVisitor):
    """The functions that a declaration enters, each once and in the order of their calls, by static analysis."""

    def __init__(self) -> None:
        trees = {
            ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
                path.read_text()
            )
            for path in (REPO / "karat").rglob("*.py")
        }
        self.functions = {
            module: {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
            for module, tree in trees.items()
        }
        self.imports = {
            module: {
                alias.asname or alias.name: (node.module, alias.name)
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.module
                for alias in node.names
            }
            for module, tree in trees.items()
        }
        self.modules: list[str] = []
        self.entered: set[tuple[str, str]] = set()
        self.here = ""

    def enter(self, module: str, name: str) -> None:
        """Follow a call, if it hands the declaration on and this function was not entered before."""
        while name not in self.functions.get(module, {}):
            if name not in self.imports.get(module, {}):
                return
            module, name = self.imports[module][name]
        function = self.functions[module][name]
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        types = {word for a in arguments if a.annotation for word in ast.unparse(a.annotation).split()}
        if (module, name) in self.entered or not types & DECLARATIONS:
            return
        self.entered.add((module, name))
        if not self.modules or self.modules[-1] != module:
            self.modules.append(module)
        before, self.here = self.here, module
        for statement in function.body:
            self.visit(statement)
        self.here = before

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)  # arguments are evaluated before the call
        if isinstance(node.func, ast.Name):
            self.enter(self.here, node.func.id)


def test_a_declaration_walks_to_a_champion_without_turning_back():
    """From ``make_candidate`` to the end of ``promote`` through every branch: how often does the walk come back to a
    module that it had left? The pipeline calls down, and lower rooms do not call back."""
    walk = Walk()
    walk.enter("karat.lifecycle.candidate", "make_candidate")
    walk.enter("karat.lifecycle.promotion", "promote")
    assert len(set(walk.modules)) > 15, "the walk was lost on the way"
    assert len(walk.modules) - len(set(walk.modules)) <= 8, walk.modules
