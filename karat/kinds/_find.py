"""Kinds by their file's name, and what they take, without loading their libraries."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from karat.errors import DeclarationError, did_you_mean
from karat.extras import optional_imports
from karat.kinds._kind import Kind, problems

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class KindFacts:
    """What a declaration needs to know of a kind: its tasks, its parameters' defaults, whether it reads sequences."""

    name: str
    description: str
    tasks: frozenset[str]
    defaults: dict[str, Any]
    sequences: bool = False


def names() -> tuple[str, ...]:
    """Every kind there is, sorted."""
    return tuple(sorted(p.stem for p in _FOLDER.glob("*.py") if not p.stem.startswith("_")))


def _known(name: str) -> str:
    if name not in names():
        raise DeclarationError(
            f"there is no kind {name!r}",
            remedy=f"{did_you_mean(name, names())} A new kind is a file karat/kinds/{name}.py",
        )
    return name


@cache
def load_kind(name: str) -> type[Kind]:
    """The class in ``karat/kinds/NAME.py``, loaded now. Raises DeclarationError with the nearest name, MissingExtra."""
    with optional_imports():
        module = import_module(f"karat.kinds.{_known(name)}")
    found = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Kind)]
    own = [c for c in found if c.__module__ == module.__name__]
    if len(own) != 1:
        raise DeclarationError(f"karat/kinds/{name}.py must define one subclass of Kind; it defines {len(own)}")
    return own[0]


@cache
def facts(name: str) -> KindFacts:
    """Read from the text of the kind's file: loading scikit-learn for a spelling check would cost a second."""
    tree = ast.parse((_FOLDER / f"{_known(name)}.py").read_text())
    found = dict(_assigned(tree))
    described = ast.get_docstring(tree) or ""
    return KindFacts(name, described, frozenset(found["tasks"]), found["defaults"], bool(found.get("sequences")))


def _assigned(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        if node.targets[0].id in ("tasks", "defaults", "sequences"):
            # frozenset({...}) is a call; its argument is the literal.
            value = node.value.args[0] if isinstance(node.value, ast.Call) else node.value
            yield node.targets[0].id, ast.literal_eval(value)


def check_declared(
    kind: str, task: str, parameters: dict[str, Any], *, sequences: bool = False
) -> list[tuple[tuple[str, ...], str]]:
    """What is wrong with a declaration's kind, task, parameters and (where its lookups bring ``sequences``) lookups:
    (field, text) of each error, without loading."""
    if kind not in names():
        return [(("kind",), f"there is no kind {kind!r}. {did_you_mean(kind, names())}")]
    known = facts(kind)
    found = problems(kind, known.tasks, known.defaults, task, parameters)
    readers = [name for name in names() if facts(name).sequences]
    if sequences and not known.sequences:
        text = (
            f"kind {kind!r} reads one value a row, and a lookup with sequence_length brings many; leave "
            f"sequence_length out, or take a kind that reads sequences: {', '.join(readers)}"
        )
        found.append((("lookups",), text))
    if known.sequences and not sequences:
        text = f"kind {kind!r} reads sequences, and no lookup brings one: give a lookup sequence_length, as in 24"
        found.append((("lookups",), text))
    return found
