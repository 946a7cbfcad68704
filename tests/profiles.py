"""How many examples hypothesis tries: ``ci`` with every ``make test``, ``nightly`` ten times as many.

``mutants`` tries as many as ``ci`` and stops at the first failure: nobody reads the example that catches a mutant.

The variable ``HYPOTHESIS_PROFILE`` chooses the profile. A test says how many examples ``ci`` tries:
``@settings(max_examples=examples(40), deadline=None)``.
"""

from __future__ import annotations

import os

from hypothesis import Phase, settings

FACTORS = {"ci": 1, "nightly": 10, "mutants": 1}
PHASES = {"mutants": (Phase.explicit, Phase.generate)}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")


def examples(ci: int) -> int:
    """The number of examples under the chosen profile."""
    return ci * FACTORS[PROFILE]


def load_profile() -> None:
    """Register the profiles and load the chosen one: for tests without settings of their own."""
    for name, factor in FACTORS.items():
        settings.register_profile(
            name,
            max_examples=100 * factor,
            deadline=None,
            print_blob=name == "nightly",
            phases=PHASES.get(name, tuple(Phase)),
        )
    settings.load_profile(PROFILE)
