"""``karat up``, ``down`` and ``status``."""

from __future__ import annotations


def up() -> None:
    """Starts the local platform."""
