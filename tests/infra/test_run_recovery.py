"""What is done about a run whose process or worker is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.prefect_api import Run
from infra.run_recovery import CANCEL_SECONDS, CLAIMED_SECONDS, GONE_SECONDS, TRIES, Evidence, Verdict, judge
from tests.profiles import examples

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
GONE = Evidence(alive=False, gone_seconds=GONE_SECONDS, worker_started=NOW)


def run(kind: str, *, seconds: float = 60, count: int = 1, began: datetime | None = None) -> Run:
    since = (NOW - timedelta(seconds=seconds)).isoformat()
    return Run(
        id="r", name="r", state_type=kind, run_count=count, start_time=began, state={"type": kind, "timestamp": since}
    )


@pytest.mark.parametrize(
    ("of", "seen", "verdict"),
    [
        # Its worker is there, and so is its process.
        (run("RUNNING"), Evidence(alive=True, watched=True), Verdict.FINE),
        (run("RUNNING"), Evidence(alive=True, watched=False), Verdict.UNWATCHED),
        # Its end may be on its way to the server.
        (run("RUNNING"), Evidence(alive=False, gone_seconds=GONE_SECONDS - 1), Verdict.FINE),
        (run("RUNNING"), GONE, Verdict.RESUME),
        (run("RUNNING", count=TRIES), GONE, Verdict.END),
        (run("RUNNING", began=NOW - timedelta(days=2)), GONE, Verdict.END),
        # Claimed by a worker that has been followed by another one since, or by none.
        (run("PENDING", count=0), GONE, Verdict.RESUME),
        (run("PENDING", count=0), Evidence(alive=False, gone_seconds=GONE_SECONDS), Verdict.RESUME),
        # Claimed by the worker that runs now: it has some time to start the process.
        (run("PENDING"), Evidence(alive=False, gone_seconds=20, worker_started=NOW - timedelta(hours=1)), Verdict.FINE),
        (
            run("PENDING"),
            Evidence(alive=False, gone_seconds=CLAIMED_SECONDS, worker_started=NOW - timedelta(hours=1)),
            Verdict.RESUME,
        ),
        # A worker ends its own runs; of others nobody does.
        (run("CANCELLING", seconds=5), Evidence(alive=True, watched=True), Verdict.FINE),
        (run("CANCELLING", seconds=5), Evidence(alive=True, watched=False), Verdict.CANCEL),
        (run("CANCELLING", seconds=CANCEL_SECONDS + 1), Evidence(alive=True, watched=True), Verdict.CANCEL),
        (run("CANCELLING", seconds=5), GONE, Verdict.CANCEL),
    ],
)
def test_what_is_done(of: Run, seen: Evidence, verdict: Verdict) -> None:
    assert judge(of, seen, NOW) is verdict


@settings(max_examples=examples(60), deadline=None)
@given(
    kind=st.sampled_from(["PENDING", "RUNNING", "CANCELLING"]),
    seconds=st.floats(0, 10_000),
    count=st.integers(0, 5),
    process=st.sampled_from(["none", "unwatched", "watched"]),
    worker_age=st.none() | st.floats(0, 10_000),
)
def test_no_run_without_a_process_is_left_for_two_minutes_and_none_with_one_is_touched(
    kind: str, seconds: float, count: int, process: str, worker_age: float | None
) -> None:
    alive = process != "none"
    worker = None if worker_age is None else NOW - timedelta(seconds=worker_age)
    seen = Evidence(alive, watched=process == "watched", gone_seconds=0 if alive else 120, worker_started=worker)
    verdict = judge(run(kind, seconds=seconds, count=count), seen, NOW)
    if not alive:
        assert verdict in (Verdict.RESUME, Verdict.END, Verdict.CANCEL)
    elif kind != "CANCELLING":
        assert verdict in (Verdict.FINE, Verdict.UNWATCHED)
