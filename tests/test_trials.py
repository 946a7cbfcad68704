"""The verdicts of `make kills` and `make soak`."""

from __future__ import annotations

import pytest

from benchmarks.kills import Kill, table
from benchmarks.soak import MIB, Growth, Sample, growths
from benchmarks.soak import table as soak_table


def kill(outcome: str, message: str = "", whole: float | None = 12.0) -> Kill:
    return Kill("worker", 3.0, outcome, message, 20.0, whole)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "survived"),
    [
        (kill("completed"), True),
        (kill("ended", "worker local has ended"), True),
        (kill("ended", " "), False),  # without a cause
        (kill("stuck"), False),
        (kill("completed", whole=61.0), False),
        (kill("completed", whole=None), False),
    ],
)
def test_a_kill_is_survived_by_run_and_platform(of: Kill, survived: bool) -> None:
    assert of.survived is survived


def test_the_table_of_kills_counts_each_outcome() -> None:
    lines = table([kill("completed"), kill("ended", "x", 30.0), kill("stuck", whole=None)]).splitlines()
    assert lines[1].split() == ["worker", "3", "1", "1", "1", "30.0", "inf"]
    assert max(map(len, lines)) <= 80


def test_growth_is_judged_between_the_first_and_the_last_samples() -> None:
    def at(moment: int) -> dict[str, Sample]:
        busy = 30 * (moment % 3 > 0)  # a run is under way: its connections and buffers go again
        return {
            "1": Sample("flat", 100 * MIB + busy * MIB, 40 + busy),
            "2": Sample("leaks", 100 * MIB + moment * MIB, 40),
            "3": Sample("files", 100 * MIB, 40 + moment),
            "4": Sample("small", 5 * MIB + moment * MIB // 10, 5),  # more than 5 %, and nothing
            f"job-{moment}": Sample("job", MIB * (moment + 1), 1),  # another one each time
        }

    found = {growth.kind: growth.flat for growth in growths([at(moment) for moment in range(20)])}
    assert found == {"flat": True, "leaks": False, "files": False, "small": True}
    lines = soak_table([Growth("x" * 40, 10, (1e9, 2e9), (1000, 2000))]).splitlines()
    assert max(map(len, lines)) <= 80
    assert "GREW" in lines[1]
