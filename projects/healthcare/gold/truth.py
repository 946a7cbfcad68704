"""The planted truth of the sample, and the sample.

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

import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from karat.declare import Column, GoldTable

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
    description="The hidden state of each patient on a ward, one row for the morning after each day; sample data only",
    owner="clinical-analytics",
    key=("patient_id", "day"),
    event_time="day",
    truth=True,
    columns={
        "patient_id": Column(dtype="string", description="As in patients"),
        "day": Column(dtype="date", description="The day that follows a day on the ward"),
        "severity": Column(dtype="float64", nullable=False, description="How ill the patient was the day before"),
        "infected": Column(dtype="bool", nullable=False, description="Whether an infection was under way then"),
        "chance": Column(
            dtype="float64",
            nullable=False,
            minimum=0,
            maximum=1,
            description="Of a sepsis on this day or the next, given the state the day before",
        ),
    },
)

HISTORY = 365
#: New patients a day at scale 1, and regulars.
ARRIVALS, REGULARS, FIRST_REGULAR = 26, 60, 123
#: A regular comes back after so many days; nobody's time with the hospital is longer than that.
CYCLE = 84
#: The longest stay on a ward, and how many go home each day.
STAY, LEAVE = 21, 1 / 7
DECAY, PUSH, NOISE, RECOVER = 0.85, 0.75, 0.45, 0.12
ETHNIC = ("Asian", "Black", "Hispanic", "White", "Other")
ETHNIC_SHARES = (0.09, 0.16, 0.18, 0.52, 0.05)
_EPOCH = date(2020, 1, 1)
_PATIENTS_A_DAY = 10_000


class Draws:
    """Random numbers by address: the same (seed, stream, indices) always give the same number, in any order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def uniform(self, stream: str, *indices: np.ndarray | int) -> np.ndarray:
        """Uniform in (0, 1), in the broadcast shape of the integer indices (splitmix64 over the address)."""
        shape = np.broadcast_shapes(*(np.shape(i) for i in indices))
        state = np.full(shape, (zlib.crc32(stream.encode()) << 20) ^ self.seed, np.uint64)
        with np.errstate(over="ignore"):
            for index in indices:
                state = state + np.asarray(index, np.int64).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
                for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                    state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
                state = state ^ (state >> np.uint64(31))
        return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53

    def normal(self, stream: str, *indices: np.ndarray | int) -> np.ndarray:
        """Standard normal (Box and Muller)."""
        radius = np.sqrt(-2 * np.log(self.uniform(stream, *indices)))
        return radius * np.cos(2 * np.pi * self.uniform(f"{stream}'", *indices))

    def whole(self, low: int, high: int, stream: str, *indices: np.ndarray | int) -> np.ndarray:
        """Whole numbers from ``low`` to ``high``, both included."""
        return low + np.floor((high - low + 1) * self.uniform(stream, *indices)).astype(np.int64)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@dataclass(frozen=True)
class People:
    """Arrays of shape (n,); days count from 2020. ``number`` is a patient's address in the draws, 0 for nobody."""

    number: np.ndarray
    since: np.ndarray
    age: np.ndarray
    female: np.ndarray
    ethnicity: np.ndarray
    smoker: np.ndarray
    diabetes: np.ndarray
    burden: np.ndarray
    frailty: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> People:
        return People(*(value[rows] for value in vars(self).values()))

    @property
    def ids(self) -> np.ndarray:
        return np.char.add("PT", self.number.astype(str))


@dataclass(frozen=True)
class Episodes:
    """One time with the hospital each, in the order of ``who``: ``key`` tells a patient's episodes apart."""

    who: People
    key: np.ndarray
    start: np.ndarray
    clinic: np.ndarray
    ward: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Episodes:
        return Episodes(*(value[rows] for value in vars(self).values()))


def _people(draws: Draws, number: np.ndarray, since: np.ndarray) -> People:
    u, kind = draws.uniform("age", number), draws.uniform("age group", number)
    adult, old = 18 + 47 * np.sqrt(u), 65 + 30 * (1 - np.sqrt(1 - u))
    child = np.where(kind < 0.02, 5 * u, 5 + 13 * u)
    age = np.floor(np.select([kind < 0.06, kind < 0.56], [child, adult], old)).astype(np.int64)
    years = (age - 58) / 16
    female, smoker = draws.uniform("female", number) < 0.49, (draws.uniform("smoker", number) < 0.24) & (age > 16)
    diabetes = draws.uniform("diabetes", number) < _logistic(-2.3 + 0.6 * years)
    shares = np.cumsum(ETHNIC_SHARES)[:-1]
    burden = 0.55 * years + 0.3 * ~female + 0.4 * smoker + 0.4 * diabetes + 0.7 * draws.normal("burden", number)
    return People(
        number=number,
        since=since,
        age=age,
        female=female,
        ethnicity=np.searchsorted(shares, draws.uniform("ethnicity", number)),
        smoker=smoker,
        diabetes=diabetes,
        burden=burden,
        frailty=0.35 * years + 0.3 * diabetes + 0.7 * draws.normal("frailty", number),
    )


def _newcomers(draws: Draws, scale: float, first: int, last: int) -> Episodes:
    """Those who come on one of these days, each with one episode."""
    days = np.arange(first, last + 1)
    winter = np.cos(2 * np.pi * (days - 15) / 365.25)
    weekend = np.isin((days + 2) % 7, (5, 6))  # 2020-01-01 was a Wednesday
    expected = ARRIVALS * scale * (1 + 0.15 * winter) * np.where(weekend, 0.55, 1.15)
    count = np.minimum(np.floor(expected + draws.uniform("arrivals", days)), _PATIENTS_A_DAY - 1).astype(np.int64)
    since = np.repeat(days, count)
    place = np.arange(len(since)) - np.repeat(np.cumsum(count) - count, count)
    who = _people(draws, since * _PATIENTS_A_DAY + place, since)
    kind = draws.uniform("kind", who.number) + 0.05 * np.repeat(winter, count)
    return Episodes(who, np.zeros(len(since), np.int64), since, clinic=kind < 0.75, ward=kind > 0.6)


def _regulars(draws: Draws, scale: float, first: int, last: int) -> Episodes:
    """The known, who come back every ``CYCLE`` days: to the clinic and then to a ward."""
    number = FIRST_REGULAR + np.arange(max(1, round(REGULARS * scale)))
    phase = draws.whole(0, CYCLE - 1, "phase", number)
    cycles = np.arange(first // CYCLE - 1, last // CYCLE + 1)
    key = np.tile(cycles, len(number))
    who = _people(draws, np.repeat(number, len(cycles)), np.zeros(len(key), np.int64))
    every = np.ones(len(key), dtype=bool)
    found = Episodes(who, key, np.repeat(phase, len(cycles)) + key * CYCLE, clinic=every, ward=every)
    return found[(found.start >= first) & (found.start <= last)]


def _episodes(draws: Draws, scale: float, first: int, last: int) -> Episodes:
    parts = [_regulars(draws, scale, first, last), _newcomers(draws, scale, first, last)]
    who = People(*(np.concatenate(v) for v in zip(*(vars(p.who).values() for p in parts), strict=True)))
    rest = ("key", "start", "clinic", "ward")
    return Episodes(who, *(np.concatenate([getattr(p, name) for p in parts]) for name in rest))


@dataclass(frozen=True)
class Visits:
    """Check-ups (one to three an episode), in the order of their episodes, and the assessments that they lead to."""

    episode: np.ndarray
    number: np.ndarray
    day: np.ndarray
    assessed: np.ndarray


def _visits(draws: Draws, e: Episodes) -> Visits:
    address = (e.who.number, e.key)
    count = draws.whole(1, 3, "check-ups", *address) * e.clinic
    gaps = draws.whole(7, 13, "gap", *(a[:, None] for a in address), np.arange(3)) * (np.arange(3) > 0)
    days = _open(e.start[:, None] + np.cumsum(gaps, axis=1))
    episode, number = np.nonzero(np.arange(3) < count[:, None])
    final = days[np.arange(len(count)), np.maximum(count, 1) - 1]
    assessed = _open(final + draws.whole(4, 27, "wait", *address))
    lost = (draws.uniform("lost", *address) < 0.12) | (count == 0)
    return Visits(episode, number, days[episode, number], np.where(lost, -1, assessed))


def _open(day: np.ndarray) -> np.ndarray:
    """The same day, or the Monday after: the clinic is closed at weekends."""
    weekday = (day + 2) % 7
    return day + np.where(weekday == 5, 2, np.where(weekday == 6, 1, 0))


@dataclass(frozen=True)
class Stays:
    """Days on wards, in order: the episode, which day of the stay, the state on it. ``ends``: of each episode that has
    a stay, the day of its end and whether that was a sepsis."""

    episode: np.ndarray
    number: np.ndarray
    day: np.ndarray
    severity: np.ndarray
    infected: np.ndarray
    ends: tuple[np.ndarray, np.ndarray, np.ndarray]


def _stays(draws: Draws, e: Episodes) -> Stays:
    who = np.flatnonzero(e.ward)
    frailty, address = e.who.frailty[who], (e.who.number[who][:, None], e.key[who][:, None])
    begin = e.start[who] + np.where(e.clinic[who], draws.whole(0, 40, "admission", *(a[:, 0] for a in address)), 0)
    days = np.arange(STAY + 1)
    shock, luck = draws.normal("shock", *address, days), draws.uniform("luck", *address, days)
    turn, home = draws.uniform("turn", *address, days), draws.uniform("home", *address, days) < LEAVE
    begins, (n, m) = _begins(frailty), shock.shape
    severity, infected = np.zeros((n, m)), np.zeros((n, m), dtype=bool)
    severity[:, 0] = 0.5 * frailty - 0.1 + 0.8 * shock[:, 0]
    infected[:, 0] = turn[:, 0] < 2 * begins
    for d in days[1:]:
        infected[:, d] = np.where(infected[:, d - 1], turn[:, d] > RECOVER, turn[:, d] < begins)
        severity[:, d] = DECAY * severity[:, d - 1] + PUSH * infected[:, d] + NOISE * shock[:, d]
    # Whoever goes home on a morning is not at risk on that day; nobody falls ill or leaves on the first.
    home[:, 0], home[:, STAY] = False, True
    ill = (luck < _hazard(severity)) & ~home
    ill[:, 0] = False
    last = (home | ill).argmax(1)
    sepsis = ill[np.arange(n), last]
    row, number = np.nonzero(days < last[:, None])
    return Stays(
        episode=who[row],
        number=number,
        day=begin[row] + number,
        severity=severity[row, number],
        infected=infected[row, number],
        ends=(who, begin + last, sepsis),
    )


def _begins(frailty: np.ndarray) -> np.ndarray:
    """The chance that an infection begins on a day."""
    return _logistic(-3.6 + 0.4 * frailty)


def _hazard(severity: np.ndarray) -> np.ndarray:
    """The chance of a sepsis on a day of this severity."""
    return _logistic(-4.7 + 1.2 * severity)


def _sepsis_chance(
    severity: np.ndarray, infected: np.ndarray, begins: np.ndarray, number: np.ndarray, steps: int = 2
) -> np.ndarray:
    """The chance of a sepsis within the ``steps`` days to come, by quadrature over what they may bring."""
    points, weights = np.polynomial.hermite_e.hermegauss(7)
    chance = np.zeros_like(severity)
    for ill in (False, True):
        becomes = np.where(infected, 1 - RECOVER, begins) if ill else np.where(infected, RECOVER, 1 - begins)
        for point, weight in zip(points, weights / weights.sum(), strict=True):
            next_ = DECAY * severity + PUSH * ill + NOISE * point
            now = _hazard(next_)
            later = 0.0
            if steps > 1:
                later = (1 - now) * _sepsis_chance(next_, np.full(len(next_), ill), begins, number + 1, steps - 1)
            chance += becomes * weight * (now + later)
    return chance * np.where(number + 1 < STAY, 1 - LEAVE, 0.0)


@dataclass(frozen=True)
class Rows:
    """Measurements to be: the episode, an id that is also its address, day, second of the day, severity, setting."""

    episode: np.ndarray
    id: np.ndarray
    day: np.ndarray
    second: np.ndarray
    severity: np.ndarray
    ward: np.ndarray


def _ids(e: Episodes, episode: np.ndarray, slot: np.ndarray | int) -> np.ndarray:
    """Unique for slots below 1,000, whatever else is sampled."""
    return e.who.number[episode] * 1000 + e.key[episode] * 10_000_000 + slot


def _joined(clinic: Rows, ward: Rows) -> Rows:
    return Rows(*(np.concatenate(pair) for pair in zip(vars(clinic).values(), vars(ward).values(), strict=True)))


def _measured(draws: Draws, e: Episodes, visits: Visits, stays: Stays) -> Rows:
    """Once a check-up; three to seven times a day on a ward, more often the iller."""
    at_visit = _ids(e, visits.episode, visits.number)
    seconds = (8.5 * 3600 + 7 * 3600 * draws.uniform("clock", at_visit)).astype(np.int64)
    none = np.zeros(len(at_visit))
    clinic = Rows(visits.episode, at_visit, visits.day, seconds, none, none > 0)
    busy = 3 + 2 * draws.uniform("rounds", _ids(e, stays.episode, stays.number)) + 0.6 * np.maximum(stays.severity, 0)
    day, turn = np.nonzero(np.arange(7) < np.minimum(np.floor(busy), 7)[:, None])
    episode = stays.episode[day]
    at_bed = _ids(e, episode, 10 + stays.number[day] * 7 + turn)
    seconds = (5 + 18 * (turn + draws.uniform("clock", at_bed)) / 7) * 3600
    ward = Rows(episode, at_bed, stays.day[day], seconds.astype(np.int64), stays.severity[day], turn >= 0)
    return _joined(clinic, ward)


def _some(draws: Draws, stream: str, ids: np.ndarray, missing: float, values: np.ndarray) -> pl.Series:
    """The values, less a share that nobody has written down."""
    return pl.Series(values).set(pl.Series(draws.uniform(f"no {stream}", ids) < missing), None)


def _recorded(draws: Draws, ids: np.ndarray, day: np.ndarray, share: float, low: int, high: int) -> np.ndarray:
    """The day on which a row comes into the record."""
    return day + draws.whole(low, high, "delay", ids) * (draws.uniform("late", ids) < share)


def _vitals(draws: Draws, e: Episodes, at: Rows) -> pl.DataFrame:
    who, z, n = e.who[at.episode], at.severity, at.id

    def noise(stream: str) -> np.ndarray:
        return draws.normal(stream, n)

    own = 8 * draws.normal("own heart rate", who.number) + 45 * np.exp(-who.age / 4)
    pressure = 124 + 7 * who.burden + 8 * draws.normal("own pressure", who.number) - 6.5 * z + 8 * noise("pressure")
    systolic = np.clip(pressure, 65, 240)
    celsius = np.clip(36.7 + 0.35 * z + 0.35 * noise("temperature"), 34, 42.5)
    degrees = np.where(draws.uniform("fahrenheit", n) < 1 / 400, celsius * 1.8 + 32, celsius)
    clip = 96.6 - 0.9 * z + 1.1 * noise("spo2") + 2 * (who.ethnicity == 1)
    untested = at.ward | (draws.uniform("no exercise", n) < 0.15)
    highest = 202 - 0.6 * who.age - 8 * who.burden + 12 * noise("exercise")
    chest_pain = draws.uniform("angina", n) < _logistic(-1.1 + 1.3 * who.burden - 1.0 * who.female)
    columns = {
        "vital_id": n,
        "patient_id": who.ids,
        "measured_at": at.day * 86_400 + at.second,
        "recorded_on": _recorded(draws, n, at.day, 0.01, 1, 3),
        "setting": np.where(at.ward, "ward", "clinic"),
        "heart_rate": _some(draws, "heart rate", n, 0.03, np.clip(76 + own + 7 * z + 6 * noise("rate"), 35, 220)),
        "systolic_bp": _some(draws, "pressure", n, 0.04, systolic),
        "diastolic_bp": _some(
            draws, "pressure", n, 0.04, np.minimum(8 + 0.55 * systolic + 5 * noise("low"), systolic - 8)
        ),
        "respiratory_rate": _some(draws, "breath", n, 0.15, np.clip(16 + 1.7 * z + 1.8 * noise("breath"), 6, 60)),
        "temperature": _some(draws, "temperature", n, 0.1, degrees),
        "spo2": _some(draws, "spo2", n, 0.08, np.clip(clip, 60, 100)),
        "max_heart_rate": pl.Series(np.clip(highest, 70, 230)).set(pl.Series(untested), None),
        "exercise_angina": pl.Series(chest_pain).set(pl.Series(untested), None),
        "st_depression": pl.Series(np.maximum(0.4 + 0.5 * who.burden + 0.8 * noise("st"), 0)).set(
            pl.Series(untested), None
        ),
    }
    return pl.DataFrame(columns).with_columns(pl.col(pl.Float64).round(1))


#: Of each test: what it is at a burden and a severity of 0, what a unit of either adds, its noise (own to the patient,
#: and of the day), and whether all of that multiplies (on the log scale).
CLINIC = {
    "cholesterol": (200.0, 15.0, 0.0, 26.0, 16.0, False),
    "hdl": (54.0, -4.5, 0.0, 9.0, 5.0, False),
    "triglycerides": (4.85, 0.12, 0.0, 0.3, 0.2, True),
    "glucose": (4.58, 0.03, 0.0, 0.06, 0.08, True),
    "hba1c": (1.7, 0.02, 0.0, 0.05, 0.03, True),
    "creatinine": (-0.1, 0.06, 0.1, 0.15, 0.1, True),
}
WARD = {
    "lactate": (0.15, 0.0, 0.26, 0.1, 0.25, True),
    "white_cells": (2.05, 0.0, 0.15, 0.15, 0.18, True),
    "platelets": (5.45, 0.0, -0.08, 0.2, 0.12, True),
    "bilirubin": (-0.4, 0.0, 0.12, 0.25, 0.25, True),
    "crp": (2.4, 0.0, 0.5, 0.3, 0.5, True),
    "creatinine": (-0.1, 0.06, 0.1, 0.15, 0.1, True),
}
UNITS = dict.fromkeys(("cholesterol", "hdl", "triglycerides", "glucose", "creatinine", "bilirubin"), "mg/dL") | {
    "hba1c": "%",
    "lactate": "mmol/L",
    "white_cells": "10^9/L",
    "platelets": "10^9/L",
    "crp": "mg/L",
}


def _drawn(draws: Draws, e: Episodes, visits: Visits, stays: Stays) -> Rows:
    """A sample at each check-up, and each morning on a ward; ``id`` is that of the first of its six values."""
    at_visit, at_bed = _ids(e, visits.episode, visits.number * 6), _ids(e, stays.episode, 100 + stays.number * 6)
    none = np.zeros(len(at_visit))
    noon, dawn = np.full(len(at_visit), 12 * 3600), np.full(len(at_bed), 6 * 3600)
    clinic = Rows(visits.episode, at_visit, visits.day, noon, none, none > 0)
    ward = Rows(stays.episode, at_bed, stays.day, dawn, stays.severity, np.ones(len(at_bed), dtype=bool))
    return _joined(clinic, ward)


def _values(draws: Draws, e: Episodes, at: Rows, panel: dict[str, tuple], place: int) -> pl.DataFrame:
    """The results of one test of a panel: 8 % of its values are missing, of one sample in 25 all are."""
    test, (base, burden, severity, own, day, multiplies) = list(panel.items())[place]
    who, n = e.who[at.episode], at.id + place
    sugar = (0.3 if test in ("glucose", "hba1c") else 0.0) * who.diabetes
    value = base + burden * who.burden + severity * at.severity + sugar
    value = value + own * draws.normal(f"own {test}", who.number) + day * draws.normal("value", n)
    frame = pl.DataFrame(
        {
            "lab_id": n,
            "patient_id": who.ids,
            "taken_at": at.day * 86_400 + at.second,
            "recorded_on": _recorded(draws, n, at.day, 0.01, 1, 3),
            "test": np.full(len(n), test),
            "value": np.round(np.exp(value) if multiplies else np.maximum(value, 1), 2),
            "unit": np.full(len(n), UNITS[test]),
        }
    )
    found = (draws.uniform("value missing", n) > 0.08) & (draws.uniform("sample missing", at.id) > 0.04)
    return frame.filter(pl.Series(found))


def _corrected(draws: Draws, rows: pl.DataFrame) -> pl.DataFrame:
    """Of one value in 300 a wrong one came first, under the same number."""
    wrong = rows.filter(pl.Series(draws.uniform("wrong", rows["lab_id"].to_numpy()) < 1 / 300))
    return pl.concat([wrong.with_columns((pl.col("value") * 10).round(2)), rows])


def _lab_results(draws: Draws, e: Episodes, at: Rows) -> pl.DataFrame:
    parts = []
    for panel, ward in ((CLINIC, False), (WARD, True)):
        some = Rows(*(value[at.ward == ward] for value in vars(at).values()))
        parts += [_values(draws, e, some, panel, place) for place in range(len(panel))]
    return _corrected(draws, pl.concat(parts).sort("taken_at", "lab_id"))


def _outcomes(draws: Draws, e: Episodes, assessed: np.ndarray, stays: Stays) -> pl.DataFrame:
    """``assessed``: the episodes' days of assessment, -1 for none."""
    heart = np.flatnonzero(assessed >= 0)
    who, ended, sepsis = stays.ends
    episode = np.concatenate([heart, who])
    n = _ids(e, episode, np.repeat([0, 1], [len(heart), len(who)]))
    day = np.concatenate([assessed[heart], ended])
    diseased = draws.uniform("finding", n[: len(heart)]) < _heart_chance(e.who.burden[heart])
    unclear = draws.uniform("unclear", n) < 0.01
    return pl.DataFrame(
        {
            "outcome_id": n,
            "patient_id": e.who.ids[episode],
            "outcome_on": day,
            "recorded_on": _recorded(draws, n, day, 0.02, 2, 5),
            "kind": np.repeat(["heart_disease", "sepsis"], [len(heart), len(who)]),
            "positive": pl.Series(np.concatenate([diseased, sepsis])).set(pl.Series(unclear), None),
        }
    )


def _heart_chance(burden: np.ndarray) -> np.ndarray:
    """The chance that an assessment of the heart is positive."""
    return _logistic(-1.3 + 1.6 * burden)


def _truths(e: Episodes, assessed: np.ndarray, stays: Stays) -> dict[str, pl.DataFrame]:
    heart, begins = np.flatnonzero(assessed >= 0), _begins(e.who.frailty)
    burden = e.who.burden[heart]
    chance = _sepsis_chance(stays.severity, stays.infected, begins[stays.episode], stays.number)
    return {
        "heart_truth": pl.DataFrame(
            {
                "patient_id": e.who.ids[heart],
                "day": assessed[heart],
                "burden": burden,
                "chance": _heart_chance(burden),
            }
        ),
        "sepsis_truth": pl.DataFrame(
            {
                "patient_id": e.who.ids[stays.episode],
                "day": stays.day + 1,
                "severity": stays.severity,
                "infected": stays.infected,
                "chance": chance,
            }
        ),
    }


def _patients(draws: Draws, who: People) -> pl.DataFrame:
    n = who.number
    height = np.where(who.age < 18, 52 + 6.6 * who.age, np.where(who.female, 163, 177)) + 7 * draws.normal("height", n)
    index = np.where(who.age < 18, 16 + 0.3 * who.age, 26 + 0.8 * who.burden + 4 * draws.normal("weight", n))
    weight = np.clip(index, 14, 55) * (height / 100) ** 2
    frame = pl.DataFrame(
        {
            "patient_id": who.ids,
            "registered_on": who.since,
            "age": who.age,
            "gender": np.where(who.female, "Female", "Male"),
            "ethnicity": _some(draws, "ethnicity", n, 0.04, np.array(ETHNIC)[who.ethnicity]),
            "height_cm": _some(draws, "size", n, 0.06, np.clip(height, 45, 210)),
            "weight_kg": _some(draws, "size", n, 0.06, np.clip(weight, 3, 200)),
            "smoker": _some(draws, "smoking", n, 0.08, who.smoker),
            "diabetes": who.diabetes,
        }
    )
    return frame.unique("patient_id", keep="first", maintain_order=True).with_columns(pl.col(pl.Float64).round(1))


def sample(scale: float = 1.0, seed: int = 0, end: date | None = None) -> dict[str, pl.DataFrame]:
    """The project's tables for the ``HISTORY`` days up to ``end`` (yesterday, UTC, by default)."""
    last = ((end or datetime.now(UTC).date() - timedelta(days=1)) - _EPOCH).days
    first, draws = last - HISTORY + 1, Draws(seed)
    e = _episodes(draws, scale, first - CYCLE, last)
    visits, stays = _visits(draws, e), _stays(draws, e)
    frames = {
        "patients": _patients(draws, e.who),
        "vitals": _vitals(draws, e, _measured(draws, e, visits, stays)),
        "lab_results": _lab_results(draws, e, _drawn(draws, e, visits, stays)),
        "outcomes": _outcomes(draws, e, visits.assessed, stays),
        **_truths(e, visits.assessed, stays),
    }
    return {name: _until(frame, first, last) for name, frame in frames.items()}


_TIMES = ("measured_at", "taken_at", "outcome_on", "day")


def _until(frame: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """What is in the record on the last day, of the days of the history; days and seconds as dates and times."""
    time = next((c for c in _TIMES if c in frame.columns), None)
    if time is not None:
        day = pl.col(time) // (86_400 if time.endswith("_at") else 1)
        frame = frame.filter(day >= first, (pl.col("recorded_on") if "recorded_on" in frame.columns else day) <= last)
        frame = frame.sort(time, frame.columns[0], maintain_order=True)
    since = (_EPOCH - date(1970, 1, 1)).days
    dates = [c for c in ("registered_on", "recorded_on", "outcome_on", "day") if c in frame.columns]
    moments = [c for c in ("measured_at", "taken_at") if c in frame.columns]
    return frame.with_columns(
        *((pl.col(c) + since).cast(pl.Int32).cast(pl.Date) for c in dates),
        *(((pl.col(c) + since * 86_400) * 1_000_000).cast(pl.Datetime("us", "UTC")) for c in moments),
    )
