"""Python declarations: a project's files, run statement by statement with all errors told."""

from __future__ import annotations
import __future__

import ast
import builtins
import importlib.util
import inspect
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType

from pydantic import ValidationError

from karat.declare.base import Declaration, FieldErrors
from karat.errors import did_you_mean

#: Under this name the files of all projects are modules.
ROOT = "karat_projects"
_COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass
class ExecutedFile:
    """The result of running a file.

    Attributes:
        module: The module, as far as its statements ran; None if it could not be parsed.
        errors: (line, text) of each error.
        whole: Whether nothing is missing; an error of another file, told there, can be the reason.
    """

    module: ModuleType | None
    errors: list[tuple[int, str]] = field(default_factory=list)
    whole: bool = True


def run_file(path: Path, name: str, *, broken: Collection[str]) -> ExecutedFile:
    """Run a project's file statement by statement, so that one error does not hide the next.

    Args:
        path: The file.
        name: The module's name.
        broken: Modules that are incomplete; errors of imports from them are left out, as they follow from other errors.

    Returns:
        The module and the errors, each with its line and the nearest name.
    """
    try:
        parsed = _parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        told = f"{type(error).__name__}: {getattr(error, 'msg', error)}"
        return ExecutedFile(None, [(getattr(error, "lineno", None) or 1, told)], whole=False)
    except OSError:
        return ExecutedFile(None, [(1, "there is no such file")], whole=False)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__doc__ = ast.get_docstring(parsed.tree)
    sys.modules[name] = module  # dataclasses and the project's other files look for it there
    ran = ExecutedFile(module)
    _run(parsed, ran, path, broken)
    return ran


@dataclass(frozen=True)
class _ParsedFile:
    """A file's tree, its compiler flags, and the code of each statement at its top."""

    tree: ast.Module
    flags: int
    statements: tuple[tuple[ast.stmt, CodeType], ...]


@lru_cache(maxsize=1024)
def _parse(text: bytes, path: str) -> _ParsedFile:
    """Parse and compile a file, once for each of its texts: a process that serves or plans reads projects again."""
    tree = ast.parse(text, path)
    flags = _future(tree)
    codes = (compile(ast.Module([s], []), path, "exec", flags, dont_inherit=True) for s in tree.body)
    return _ParsedFile(tree, flags, tuple(zip(tree.body, codes, strict=True)))


def _run(parsed: _ParsedFile, ran: ExecutedFile, path: Path, broken: Collection[str]) -> None:
    flags, names = parsed.flags, vars(ran.module)
    missing: set[str] = set()
    for statement, code in parsed.statements:
        try:
            exec(code, names)
        except Exception as error:  # whatever a user's file raises is one of its errors
            ran.whole = False
            missing |= _made_by(statement)
            for each in _within(statement, names, flags, path) or [error]:
                if not _follows(each, _imported(statement, names), missing, broken):
                    ran.errors.extend(_told(each, statement, names, path))


def _within(node: ast.AST, names: dict[str, object], flags: int, path: Path) -> list[Exception]:
    """Run the calls inside a failed assignment one by one; give the errors of the innermost, one for each feature."""
    if isinstance(node, ast.stmt) and not isinstance(node, ast.Assign | ast.AnnAssign):
        return []
    if isinstance(node, ast.Lambda | _COMPREHENSIONS):
        return []
    found = [e for child in ast.iter_child_nodes(node) for e in _within(child, names, flags, path)]
    if found or not isinstance(node, ast.Call):
        return found
    try:
        eval(compile(ast.Expression(node), str(path), "eval", flags, dont_inherit=True), names)
    except Exception as error:
        return [error]
    return []


def _future(tree: ast.Module) -> int:
    """The compiler's flags of the file's ``from __future__ import``."""
    names = [a.name for s in tree.body if isinstance(s, ast.ImportFrom) and s.module == "__future__" for a in s.names]
    return sum({getattr(__future__, name).compiler_flag for name in names if hasattr(__future__, name)})


def _made_by(statement: ast.stmt) -> set[str]:
    """The names that it would have made at the file's top."""
    found: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
    return found


def _follows(error: Exception, imported: str, missing: set[str], broken: Collection[str]) -> bool:
    """Whether it is an earlier error over again."""
    return error.name in missing if isinstance(error, NameError) else imported in broken


def _imported(statement: ast.stmt, names: dict[str, object]) -> str:
    """The module that it imports from; "" where it does not."""
    if not isinstance(statement, ast.ImportFrom):
        return ""
    above = str(names["__package__"]).rsplit(".", statement.level - 1)[0] if statement.level else ""
    return ".".join(filter(None, (above, statement.module)))


def _told(error: Exception, statement: ast.stmt, names: dict[str, object], path: Path) -> Iterator[tuple[int, str]]:
    lines = _lines(error, path) or [statement.lineno]
    if isinstance(error, ValidationError):
        # Values come from the file's own level, not from the function that puts a declaration together.
        yield from ((lines[0], text) for text in _fields(error))
        return
    near = _nearest(error, statement, names)
    yield lines[-1], f"{type(error).__name__}: {error}{'. ' + near if near else ''}"


def _lines(error: BaseException, path: Path) -> list[int]:
    """Where in the file it was raised, from the outside inwards."""
    found, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            found.append(trace.tb_lineno)
        trace = trace.tb_next
    return found


def _fields(error: ValidationError) -> Iterator[str]:
    """Pydantic's errors of a declaration, each with its field."""
    cls = next((c for c in _declarations(Declaration) if c.__name__ == error.title), None)
    for problem in error.errors():
        raised = problem.get("ctx", {}).get("error")
        found: list[tuple[tuple[str | int, ...], str]] = [((), problem["msg"].removeprefix("Value error, "))]
        if isinstance(raised, FieldErrors):
            found = [*raised.found]
        elif problem["type"] == "extra_forbidden" and cls is not None:
            found = [((), f"unknown field. {did_you_mean(str(problem['loc'][-1]), cls.model_fields)}")]
        for loc, text in found:
            place = ".".join(str(part) for part in (*problem["loc"], *loc))
            yield f"{place}: {text}" if place else text


def _declarations(cls: type[Declaration]) -> Iterator[type[Declaration]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _declarations(sub)


def _nearest(error: Exception, statement: ast.stmt, names: dict[str, object]) -> str:
    """Suggest the nearest name for one that does not exist."""
    if isinstance(error, NameError) and error.name:
        return _close(error.name, {*names, *vars(builtins)})
    if isinstance(error, AttributeError) and error.name:
        return _close(error.name, dir(error.obj))
    if isinstance(error, ModuleNotFoundError):
        return _close_module(_imported(statement, names))
    if isinstance(error, ImportError) and (missing := re.search(r"cannot import name '(\w+)'", str(error))):
        return _close(missing[1], dir(sys.modules.get(error.name or "")))
    if isinstance(error, TypeError) and (wrong := re.match(r"(\w+)\(\).*keyword argument '(\w+)'", str(error))):
        function = names.get(wrong[1])
        return _close(wrong[2], inspect.signature(function).parameters) if callable(function) else ""
    return ""


def _close(name: str, known: object) -> str:
    """The nearest name alone: a list of all builtins helps nobody."""
    said = did_you_mean(name, [k for k in known if not str(k).startswith("__")])  # type: ignore[attr-defined]
    return said if said.startswith("Did you mean") else ""


def _close_module(imported: str) -> str:
    """Of an import from the project's own files: the nearest of those that were read."""
    folder, _, last = imported.rpartition(".")
    known = [m.removeprefix(f"{folder}.") for m in sys.modules if m.startswith(f"{folder}.")]
    return _close(last, known) if imported.startswith(f"{ROOT}.") else ""


def lines_of(path: Path, variable: str) -> ast.stmt | None:
    """The last statement at the file's top level that makes ``variable``."""
    found = [s for s in ast.parse(path.read_bytes()).body if variable in _made_by(s)]
    return found[-1] if found else None


def line_of(path: Path, variable: str, *words: str) -> int:
    """The line of the first of ``words`` in the statement that makes ``variable``; else that of the statement."""
    statement = lines_of(path, variable)
    if statement is None:
        return 1
    texts = {n.value: n.lineno for n in ast.walk(statement) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return next((texts[word] for word in words if word in texts), statement.lineno)
