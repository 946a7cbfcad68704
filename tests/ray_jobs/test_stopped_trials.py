"""What hyperopt learns of trials that were stopped early."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from karat.declare.search import SearchSpace
from karat.training.hyperopt_search import hyperopt_space
from karat.training.search import Trial
from ray_jobs.tune_search import LOSS, ROUND, TRIAL, VALUE, _Suggestions, stopped_loss
from tests.profiles import examples

RUNGS = (16, 32, 64)
STOPS = st.tuples(st.sampled_from(RUNGS[:2]), st.floats(-1e6, 1e6))


@settings(max_examples=examples(50), deadline=None)
@given(one=STOPS, other=STOPS)
def test_the_earlier_a_trial_is_stopped_the_worse_and_at_one_rung_its_loss_decides(
    one: tuple[int, float], other: tuple[int, float]
) -> None:
    first, second = stopped_loss(RUNGS, *one), stopped_loss(RUNGS, *other)
    if one[0] != other[0]:
        assert (first > second) is (one[0] < other[0])
    elif abs(one[1] - other[1]) > 1e-3 and max(abs(one[1]), abs(other[1])) < 10:
        assert (first > second) is (one[1] > other[1])
    assert min(first, second) > 1e8, "worse than any metric"
    assert stopped_loss(RUNGS, one[0], math.nan) > first


def test_hyperopt_gets_the_values_of_finished_and_of_stopped_trials_and_none_of_failed_ones() -> None:
    for mode, sign in (("max", -1.0), ("min", 1.0)):
        space = hyperopt_space({"p": SearchSpace(low=0.0, high=1.0)})
        suggestions = _Suggestions(RUNGS, space, metric=VALUE, mode=mode, n_initial_points=20, random_state_seed=0)
        for number in range(3):
            suggestions.suggest(str(number))
        ended = Trial(0, {}, "finished", 0.8)
        suggestions.on_trial_complete("0", {ROUND: 64, LOSS: 0.1, VALUE: 0.8, TRIAL: ended})
        suggestions.on_trial_complete("1", {ROUND: 16, LOSS: 0.9, VALUE: math.nan})
        failed = Trial(2, {}, "failed", error="no")
        suggestions.on_trial_complete("2", {ROUND: 1, LOSS: 0.0, VALUE: math.nan, TRIAL: failed})
        finished, stopped = suggestions._hpopt_trials.losses()  # what hyperopt sees
        assert finished == sign * 0.8
        assert stopped == stopped_loss(RUNGS, 16, 0.9)
