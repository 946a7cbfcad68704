"""What became of patients, as doctors found it: the source of labels."""

from __future__ import annotations

from karat.declare import Column, GoldTable, matches, not_null

KINDS = ("heart_disease", "sepsis")

outcomes = GoldTable(
    name="outcomes",
    description="One row a finding: an assessment of the heart, or the end of a stay on a ward, with or without sepsis",
    owner="clinical-analytics",
    key=("outcome_id",),
    event_time="outcome_on",
    checks=(
        matches("recorded_on >= outcome_on", description="Nothing is recorded before it is found"),
        not_null("positive", at_most=0.05, on_fail="warn"),
    ),
    columns={
        "outcome_id": Column(dtype="int64", description="Finding"),
        "patient_id": Column(dtype="string", nullable=False, description="As in patients"),
        "outcome_on": Column(dtype="date", nullable=False, description="UTC day of the assessment, onset or discharge"),
        "recorded_on": Column(dtype="date", description="UTC day on which it came into the record"),
        "kind": Column(dtype="string", nullable=False, allowed=KINDS, description="What was looked for"),
        "positive": Column(dtype="bool", description="Whether it was found; null where the finding was unclear"),
    },
)
