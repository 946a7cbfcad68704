"""What all checks share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from karat.declare.base import Declaration

OnFail = Literal["block", "warn", "set_aside", "null"]


class Check(Declaration):
    """One rule of a table. ``on_fail`` None is the default of its kind and table; ``description`` says why it holds."""

    on_fail: OnFail | None = None
    description: str = ""

    @property
    def name(self) -> str:
        """The rule in words: its name in messages and in the table of results."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return ()

    def default(self, *, gold: bool) -> OnFail:
        """What is done where nothing else is declared."""
        return "block"

    def problem(self, dtypes: Mapping[str, str], time: str | None) -> str | None:
        """Why a table of these columns (all of ``columns`` are there) and this time column can't have it, or None."""
        return None
