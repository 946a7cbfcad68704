"""Declarations by name, as far as their files could be read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from karat.declare.python_files import line_of

T = TypeVar("T")


class Declarations(dict[str, T]):
    """Declarations by name.

    Attributes:
        whole: Whether all files could be read; if not, a missing name may be declared in one that could not.
        places: The file and the variable of each declaration in a Python file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.whole = True
        self.places: dict[str, tuple[Path, str]] = {}

    def lacks(self, name: str) -> bool:
        """Whether nothing of this name is declared, nor can be among what could not be read."""
        return self.whole and name not in self

    def line_of(self, name: str, *words: str) -> int:
        """The line in its file on which the declaration says the first of ``words``, or on which it begins."""
        path, variable = self.places[name]
        return line_of(path, variable, *words)
