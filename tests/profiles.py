"""How many examples hypothesis tries: ``ci`` with every ``make test``, ``nightly`` ten times as many.

The variable ``HYPOTHESIS_PROFILE`` chooses the profile. A test says how many examples ``ci`` tries:
``@settings(max_examples=examples(40), deadline=None)``.
"""

from __future__ import annotations

import os

from hypothesis import settings

FACTORS = {"ci": 1, "nightly": 10}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")


def examples(ci: int) -> int:
    """The number of examples under the chosen profile."""
    return ci * FACTORS[PROFILE]


def load_profile() -> None:
    """Register both profiles and load the chosen one: for tests without settings of their own."""
    for name, factor in FACTORS.items():
        settings.register_profile(name, max_examples=100 * factor, deadline=None, print_blob=name == "nightly")
    settings.load_profile(PROFILE)
