"""How many examples hypothesis tries: half of what a test names with every ``make test`` (``ci``), others each time;
``nightly`` ten times what it names.

``mutants`` tries what it names and stops at the first failure: nobody reads the example that catches a mutant.

The variable ``HYPOTHESIS_PROFILE`` chooses the profile. A test names its number as
``@settings(max_examples=examples(40), deadline=None)``.
"""

from __future__ import annotations

import math
import os

from hypothesis import Phase, settings

FACTORS = {"ci": 0.5, "nightly": 10, "mutants": 1}
PHASES = {"mutants": (Phase.explicit, Phase.generate)}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")


def examples(named: int) -> int:
    """The number of examples under the chosen profile."""
    return math.ceil(named * FACTORS[PROFILE])


def load_profile() -> None:
    """Register the profiles and load the chosen one: for tests without settings of their own."""
    for name, factor in FACTORS.items():
        settings.register_profile(
            name,
            max_examples=math.ceil(100 * factor),
            deadline=None,
            print_blob=name == "nightly",
            phases=PHASES.get(name, tuple(Phase)),
        )
    settings.load_profile(PROFILE)
