"""Row checks against plain loops: on whole frames, cut into parts, and row by row; and against pandera's verdict."""

from __future__ import annotations

import math
from typing import Any

import pandera.polars as pa
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.declare import between, is_in, matches, not_null
from karat.declare.checks import RowCheck
from karat.quality.check_results import merge_results
from karat.quality.row_checks import REASON, count_failures, split_rows
from tests.profiles import examples

SCHEMA = {"id": pl.Int64, "n": pl.Int64, "x": pl.Float64, "s": pl.String, "b": pl.Boolean}
numbers = st.one_of(st.none(), st.integers(-3, 3))
floats = st.one_of(st.none(), st.sampled_from([-1.5, -0.0, 0.0, 0.5, 2.0, math.nan, math.inf, -math.inf]))
rows = st.lists(
    st.tuples(numbers, floats, st.sampled_from([None, "a", "b", "", "A"]), st.sampled_from([None, True, False])),
    max_size=12,
)


def plainly(value: Any, low: float | None, high: float | None) -> bool:
    """Whether the value keeps the range, as the documentation has it."""
    if value is None:
        return True
    if math.isnan(value):
        return False
    return (low is None or value >= low) and (high is None or value <= high)


#: A check, and what it says of a row (n, x, s, b) in plain Python.
CASES: list[tuple[RowCheck, Any]] = [
    (not_null("x"), lambda n, x, s, b: x is not None),
    (not_null("s"), lambda n, x, s, b: s is not None),
    (between("x", 0, 1), lambda n, x, s, b: plainly(x, 0, 1)),
    (between("x", low=0), lambda n, x, s, b: plainly(x, 0, None)),
    (between("n", high=1), lambda n, x, s, b: plainly(n, None, 1)),
    (is_in("s", "a", ""), lambda n, x, s, b: s in ("a", "", None)),
    (is_in("n", "1", "2"), lambda n, x, s, b: n in (1, 2, None)),
    (matches("n >= 0 OR s = 'a'"), lambda n, x, s, b: not (n is not None and n < 0 and s not in ("a", None))),
    (matches("b"), lambda n, x, s, b: b is None or b),
    (matches("s IN ('a', 'b')"), lambda n, x, s, b: s is None or s in ("a", "b")),
]


def frame_of(data: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame([(i, *r) for i, r in enumerate(data)], schema=SCHEMA, orient="row")


@settings(max_examples=examples(40), deadline=None)
@given(data=rows, cut=st.integers(0, 12))
def test_every_check_counts_what_plain_loops_count(data, cut):
    frame, checks = frame_of(data), [c for c, _ in CASES]
    whole = count_failures(frame.lazy(), checks, ["id"])
    parts = merge_results([count_failures(piece.lazy(), checks, ["id"]) for piece in (frame[:cut], frame[cut:])])
    for (check, keeps), one, two in zip(CASES, whole, parts, strict=True):
        broken = sum(not keeps(*row) for row in data)
        assert (one.check, one.rows, one.failed) == (check, len(data), broken)
        assert (two.rows, two.failed, len(two.examples)) == (len(data), broken, min(3, broken))
        assert len(one.examples) == min(3, broken)
        assert one.state == ("blocked" if broken else "passed")  # without on_fail the strictest


@settings(max_examples=examples(40), deadline=None)
@given(data=rows, chosen=st.sets(st.integers(0, len(CASES) - 1)))
def test_a_row_is_kept_or_set_aside_with_the_first_reason_and_never_lost(data, chosen):
    frame, picked = frame_of(data), [CASES[n] for n in sorted(chosen)]
    checks = [c.model_copy(update={"on_fail": "set_aside"}) for c, _ in picked]
    good, aside = split_rows(frame, checks)
    assert good.columns == frame.columns
    assert sorted([*good["id"], *aside["id"]]) == list(range(len(data)))
    assert good["id"].to_list() == [i for i, r in enumerate(data) if all(k(*r) for _, k in picked)]
    for row in aside.rows(named=True):
        first = next(c for c, keeps in picked if not keeps(*data[row["id"]]))
        assert row[REASON] in [text for _, text in first.reasons()]


@settings(max_examples=examples(40), deadline=None)
@given(data=rows)
def test_pandera_comes_to_the_same_verdict(data):
    """Another implementation, on the rules that both have."""
    frame = frame_of(data).with_columns(pl.col("x").fill_nan(None))
    checks = [between("x", 0, 1), is_in("s", "a", "b"), not_null("n")]
    ours = [f.failed for f in count_failures(frame.lazy(), checks, [])]
    schema = pa.DataFrameSchema(
        {
            "x": pa.Column(pl.Float64, pa.Check.in_range(0, 1), nullable=True),
            "s": pa.Column(pl.String, pa.Check.isin(["a", "b"]), nullable=True),
            "n": pa.Column(pl.Int64, nullable=False),
        }
    )
    found: dict[str, int] = dict.fromkeys("xsn", 0)
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        found |= dict(errors.failure_cases.group_by("column").len().rows())
    assert list(found.values()) == ours


def test_a_share_of_rows_may_break_a_rule():
    frame = pl.DataFrame({"x": [None, 1.0, 2.0, 3.0]})
    (found,) = count_failures(frame.lazy(), [not_null("x", at_most=0.25, on_fail="block")], [])
    assert (found.failed, found.state) == (1, "passed")
    (found,) = count_failures(frame.lazy(), [not_null("x", at_most=0.2, on_fail="warn")], [])
    assert found.state == "warned"
