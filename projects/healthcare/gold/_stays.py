"""What happens to patients: check-ups and the assessment they lead to; days on a ward and how they end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from karat_projects.healthcare.gold._draws import Draws, logistic
from karat_projects.healthcare.gold._people import Episodes

#: The longest stay on a ward, and how many go home each day.
STAY, LEAVE = 21, 1 / 7
DECAY, PUSH, NOISE, RECOVER = 0.85, 0.75, 0.45, 0.12


@dataclass(frozen=True)
class Visits:
    """Check-ups (one to three an episode), in the order of their episodes, and the assessments that they lead to."""

    episode: np.ndarray
    number: np.ndarray
    day: np.ndarray
    assessed: np.ndarray


def visits(draws: Draws, e: Episodes) -> Visits:
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


def stays(draws: Draws, e: Episodes) -> Stays:
    who = np.flatnonzero(e.ward)
    frailty, address = e.who.frailty[who], (e.who.number[who][:, None], e.key[who][:, None])
    begin = e.start[who] + np.where(e.clinic[who], draws.whole(0, 40, "admission", *(a[:, 0] for a in address)), 0)
    days = np.arange(STAY + 1)
    shock, luck = draws.normal("shock", *address, days), draws.uniform("luck", *address, days)
    turn, home = draws.uniform("turn", *address, days), draws.uniform("home", *address, days) < LEAVE
    begins_today, (n, m) = begins(frailty), shock.shape
    severity, infected = np.zeros((n, m)), np.zeros((n, m), dtype=bool)
    severity[:, 0] = 0.5 * frailty - 0.1 + 0.8 * shock[:, 0]
    infected[:, 0] = turn[:, 0] < 2 * begins_today
    for d in days[1:]:
        infected[:, d] = np.where(infected[:, d - 1], turn[:, d] > RECOVER, turn[:, d] < begins_today)
        severity[:, d] = DECAY * severity[:, d - 1] + PUSH * infected[:, d] + NOISE * shock[:, d]
    # Whoever goes home on a morning is not at risk on that day; nobody falls ill or leaves on the first.
    home[:, 0], home[:, STAY] = False, True
    ill = (luck < hazard(severity)) & ~home
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


def begins(frailty: np.ndarray) -> np.ndarray:
    """The chance that an infection begins on a day."""
    return logistic(-3.6 + 0.4 * frailty)


def hazard(severity: np.ndarray) -> np.ndarray:
    """The chance of a sepsis on a day of this severity."""
    return logistic(-4.7 + 1.2 * severity)


def sepsis_chance(
    severity: np.ndarray, infected: np.ndarray, begins: np.ndarray, number: np.ndarray, steps: int = 2
) -> np.ndarray:
    """The chance of a sepsis within the ``steps`` days to come, by quadrature over what they may bring."""
    points, weights = np.polynomial.hermite_e.hermegauss(7)
    chance = np.zeros_like(severity)
    for ill in (False, True):
        becomes = np.where(infected, 1 - RECOVER, begins) if ill else np.where(infected, RECOVER, 1 - begins)
        for point, weight in zip(points, weights / weights.sum(), strict=True):
            next_ = DECAY * severity + PUSH * ill + NOISE * point
            now = hazard(next_)
            later = 0.0
            if steps > 1:
                later = (1 - now) * sepsis_chance(next_, np.full(len(next_), ill), begins, number + 1, steps - 1)
            chance += becomes * weight * (now + later)
    return chance * np.where(number + 1 < STAY, 1 - LEAVE, 0.0)


def heart_chance(burden: np.ndarray) -> np.ndarray:
    """The chance that an assessment of the heart is positive."""
    return logistic(-1.3 + 1.6 * burden)
