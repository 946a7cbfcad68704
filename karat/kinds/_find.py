"""Lookup of kinds by file name, and of their tasks and parameters without loading their libraries."""

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
from karat.kinds._kind import Kind, Parameters, Problem, problems

_FOLDER = Path(__file__).parent
#: What is read from a kind's file: literals in its class.
_FACTS = ("tasks", "defaults", "sequences", "rounds_parameter", "weighs_rows", "communicator", "gpu")


@dataclass(frozen=True)
class KindFacts:
    """What a declaration is checked against.

    Attributes:
        name: The kind.
        description: The docstring of its file.
        tasks: The tasks that it learns.
        defaults: Every parameter with its default.
        sequences: Whether it reads sequences.
        weighs_rows: Whether its fit takes weights of rows.
        rounds_parameter: The parameter that counts its rounds; empty if it does not report after each round.
        communicator: Family of the network by which several workers fit it; empty if one process fits it.
        gpu: Whether it can be fitted on a GPU.
    """

    name: str
    description: str
    tasks: frozenset[str]
    defaults: Parameters
    sequences: bool = False
    rounds_parameter: str = ""
    weighs_rows: bool = False
    communicator: str = ""
    gpu: bool = False


def names() -> tuple[str, ...]:
    """The names of all kinds, sorted."""
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
    """Import the class in ``karat/kinds/NAME.py``.

    Raises:
        DeclarationError: There is no such kind (with the nearest name), or its file does not define exactly one.
        MissingExtra: The kind's library is not installed.
    """
    with optional_imports():
        module = import_module(f"karat.kinds.{_known(name)}")
    found = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Kind)]
    own = [c for c in found if c.__module__ == module.__name__]
    if len(own) != 1:
        raise DeclarationError(f"karat/kinds/{name}.py must define one subclass of Kind; it defines {len(own)}")
    return own[0]


@cache
def facts(name: str) -> KindFacts:
    """Read a kind's facts from the text of its file: loading scikit-learn for a spelling check would cost a second."""
    tree = ast.parse((_FOLDER / f"{_known(name)}.py").read_text())
    found = dict(_assigned(tree))
    described = ast.get_docstring(tree) or ""
    return KindFacts(
        name,
        described,
        frozenset(found["tasks"]),
        found["defaults"],
        bool(found.get("sequences")),
        found.get("rounds_parameter", ""),
        bool(found.get("weighs_rows")),
        found.get("communicator", ""),
        bool(found.get("gpu")),
    )


def _assigned(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        if node.targets[0].id in _FACTS:
            # frozenset({...}) is a call; its argument is the literal.
            value = node.value.args[0] if isinstance(node.value, ast.Call) else node.value
            yield node.targets[0].id, ast.literal_eval(value)


def check_declared(
    kind: str, task: str, parameters: Parameters, *, sequences: bool = False, reweighs: bool = False
) -> list[Problem]:
    """Every error of a declaration's kind, task, parameters and lookups, found without loading the kind.

    Args:
        kind: The declared kind.
        task: The declared task.
        parameters: The declared parameters.
        sequences: Whether one of the declared lookups has a ``sequence_length``.
        reweighs: Whether the declaration asks for a fit with weights of rows.

    Returns:
        The field of each error and a line of text.
    """
    if kind not in names():
        return [(("kind",), f"there is no kind {kind!r}. {did_you_mean(kind, names())}")]
    known = facts(kind)
    found = problems(kind, known.tasks, known.defaults, task, parameters)
    if reweighs and not known.weighs_rows:
        able = ", ".join(name for name in names() if task in facts(name).tasks and facts(name).weighs_rows)
        found.append((("fairness", "mitigation"), f"kind {kind!r} takes no weights of rows to reweigh; {able} do"))
    readers = [name for name in names() if facts(name).sequences]
    if sequences and not known.sequences:
        text = (
            f"kind {kind!r} reads one value per feature, but a lookup with sequence_length returns many; remove "
            f"sequence_length, or use a kind that reads sequences: {', '.join(readers)}"
        )
        found.append((("lookups",), text))
    if known.sequences and not sequences:
        text = f"kind {kind!r} reads sequences, but no lookup returns one; add sequence_length to a lookup, such as 24"
        found.append((("lookups",), text))
    return found
