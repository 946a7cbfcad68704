"""What became of patients: the contract, what the sample's planted truth says of it, and the sample.

THE PLANTED TRUTH. Every number is a pure function of (seed, patient, day, ...): a later ``end`` adds days, and the rows
that came late, and changes no other. Patients come (fewer at weekends, more to the wards in winter), are seen for some
weeks and do not come again; a few regulars (PT123 is the first) come back every twelve weeks. Three states are hidden:

- ``burden`` of a patient: how far the arteries have hardened. 0.55 age (in units of 16 years from 58) + 0.3 for men
  + 0.4 for smokers + 0.4 for diabetics + 0.7 of a standard normal that nothing tells. Blood pressure, cholesterol, HDL,
  ST depression, exercise angina and the highest heart rate of an exercise test follow it, each with noise of its own.
  One to three check-ups lead to one assessment of the heart, two months after the first at the latest (one in eight
  never comes); it is positive with the probability logistic(-1.3 + 1.6 burden).
- ``frailty`` of a patient: 0.35 age + 0.3 for diabetics + 0.7 of a normal.
- ``severity`` of a patient on a ward, and whether an infection is under way: tomorrow's severity is 0.85 of today's,
  + 0.75 under an infection, + 0.45 of a normal. An infection begins with logistic(-3.6 + 0.4 frailty) a day and ends
  with 0.12. Each day brings a sepsis with logistic(-4.7 + 1.2 severity), which ends the stay; otherwise one in seven
  goes home each day, after three weeks everyone. Heart rate, breathing, temperature, pressure, saturation, lactate,
  white cells, CRP, platelets, creatinine and bilirubin follow the severity with noise; who is iller is measured more
  often.

So a finding is drawn from a state that measurements only hint at. Two things are unfair, as in real hospitals: finger
clips read two points too high on Black patients, and women with the same burden report exercise angina less.

Rows that real systems have: measurements and values that come one to three days late (1 %), findings two to five days
late (2 %) or unclear (1 %), temperatures in Fahrenheit (one in 400: set aside), values that the laboratory corrects
(one in 300: the same number twice, the last counts), vital signs and tests left out (3 % to 15 %), patients whose
ethnicity, size or smoking nobody wrote down.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from karat_projects.healthcare.gold._draws import Draws
from karat_projects.healthcare.gold._people import Episodes, episodes, span
from karat_projects.healthcare.gold._rows import ids, recorded, until
from karat_projects.healthcare.gold._stays import Stays, begins, heart_chance, sepsis_chance, stays, visits

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

heart_truth = GoldTable(
    name="heart_truth",
    description="The hidden state behind each assessment of the heart, one row a patient and day; sample data only",
    owner="clinical-analytics",
    key=("patient_id", "day"),
    event_time="day",
    truth=True,
    columns={
        "patient_id": Column(dtype="string", description="As in patients"),
        "day": Column(dtype="date", description="Day of the assessment"),
        "burden": Column(dtype="float64", nullable=False, description="How far the arteries have hardened"),
        "chance": Column(dtype="float64", nullable=False, minimum=0, maximum=1, description="Of a positive finding"),
    },
)

sepsis_truth = GoldTable(
    name="sepsis_truth",
    description="The hidden state of each patient on a ward, one row a day; sample data only",
    owner="clinical-analytics",
    key=("patient_id", "day"),
    event_time="day",
    truth=True,
    columns={
        "patient_id": Column(dtype="string", description="As in patients"),
        "day": Column(dtype="date", description="Day on the ward"),
        "severity": Column(dtype="float64", nullable=False, description="How ill the patient is"),
        "infected": Column(dtype="bool", nullable=False, description="Whether an infection is under way"),
        "chance": Column(
            dtype="float64",
            nullable=False,
            minimum=0,
            maximum=1,
            description="Of a sepsis within the two days that follow, given this day's state",
        ),
    },
)


def _outcomes(draws: Draws, e: Episodes, assessed: np.ndarray, days: Stays) -> pl.DataFrame:
    """``assessed``: the episodes' days of assessment, -1 for none."""
    heart = np.flatnonzero(assessed >= 0)
    who, ended, sepsis = days.ends
    episode = np.concatenate([heart, who])
    n = ids(e, episode, np.repeat([0, 1], [len(heart), len(who)]))
    day = np.concatenate([assessed[heart], ended])
    diseased = draws.uniform("finding", n[: len(heart)]) < heart_chance(e.who.burden[heart])
    unclear = draws.uniform("unclear", n) < 0.01
    return pl.DataFrame(
        {
            "outcome_id": n,
            "patient_id": e.who.ids[episode],
            "outcome_on": day,
            "recorded_on": recorded(draws, n, day, 0.02, (2, 5)),
            "kind": np.repeat(["heart_disease", "sepsis"], [len(heart), len(who)]),
            "positive": pl.Series(np.concatenate([diseased, sepsis])).set(pl.Series(unclear), None),
        }
    )


def _truths(e: Episodes, assessed: np.ndarray, days: Stays) -> dict[str, pl.DataFrame]:
    heart = np.flatnonzero(assessed >= 0)
    burden = e.who.burden[heart]
    chance = sepsis_chance(days.severity, days.infected, begins(e.who.frailty)[days.episode], days.number)
    return {
        "heart_truth": pl.DataFrame(
            {
                "patient_id": e.who.ids[heart],
                "day": assessed[heart],
                "burden": burden,
                "chance": heart_chance(burden),
            }
        ),
        "sepsis_truth": pl.DataFrame(
            {
                "patient_id": e.who.ids[days.episode],
                "day": days.day,
                "severity": days.severity,
                "infected": days.infected,
                "chance": chance,
            }
        ),
    }


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """``outcomes`` and their truth, of the year up to ``end`` (yesterday, UTC, by default): 10,000 at scale 1."""
    draws = Draws(seed)
    e = episodes(draws, scale, end)
    assessed, days = visits(draws, e).assessed, stays(draws, e)
    frames = {"outcomes": _outcomes(draws, e, assessed, days), **_truths(e, assessed, days)}
    return {name: until(frame, *span(end)) for name, frame in frames.items()}
