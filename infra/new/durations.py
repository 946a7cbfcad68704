"""Durations that a user writes as options of ``karat new``."""

from __future__ import annotations

from datetime import timedelta

from karat.declare.base import parse_duration
from karat.errors import WrongCall


def duration_option(text: str, name: str) -> timedelta:
    """Read a duration as in ``7d``.

    Args:
        text: What was written.
        name: What it is, for the error: ``window``, ``horizon``.

    Returns:
        The duration, which is not empty.

    Raises:
        WrongCall: The text is no duration, or an empty one.
    """
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise WrongCall(f"the {name} {error}") from None
    assert isinstance(found, timedelta)
    if not found:
        raise WrongCall(f"the {name} {text!r} is empty", remedy="write it as in 7d")
    return found
