"""What of a run's lines is shown on the terminal."""

import pytest

from infra.cli.follow import brief


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "Engine execution exited\nTraceback (most recent call last):\n  File ...\nKaratError: x",
            "Engine execution exited",
        ),
        ("3 of 7 failed:\n  - a: x\n  - b: y", "3 of 7 failed:\n  - a: x\n  - b: y"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_prefects_tracebacks_are_left_to_its_page(message, shown):
    assert brief(message) == shown
