"""How sure it is that a model is better than its baseline, and how far it comes towards the planted truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER, UNSUPERVISED
from karat.training.evaluate import evaluate
from karat.training.groups import Groups, groups_of
from karat.training.reasons import reasons
from karat.training.resampled import figure, resample
from karat.training.train import Trained
from karat.training.truth import TRUTH

RESAMPLES = 1000
LEVEL = 0.95
#: The share of the way from the baseline to the truth that a model is asked for.
WANTED = 0.7
#: With more resamples than this share on which the metric has no value, an interval would be of the others alone.
_WITHOUT_VALUE = 0.1


@dataclass(frozen=True)
class Interval:
    """A difference or a share, with the ends of its 95 % interval; NaN where the rows allow none."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the whole interval lies above 0."""
        return bool(self.low > 0)


@dataclass(frozen=True)
class Judgement:
    """What the test rows say of ``metric``, all in its better direction: more is better.

    ``gain`` is the model's over the baseline, ``truth_gain`` that of the planted truth, ``attained`` the first as a
    share of the second; ``truth`` are the truth's metrics. ``groups`` were drawn as one. ``why`` says in words why the
    gain is not clear of 0, or 70 % of the truth's is not reached; empty where both hold.
    """

    metric: str
    gain: Interval
    groups: int
    drawn: str
    truth: dict[str, float] = field(default_factory=dict)
    truth_gain: Interval | None = None
    attained: Interval | None = None
    why: tuple[str, ...] = ()

    def as_metrics(self) -> dict[str, float]:
        """Under the names by which they are logged."""
        m, gain = self.metric, self.gain
        found = {f"{m}_gain": gain.value, f"{m}_gain_low": gain.low, f"{m}_gain_high": gain.high}
        found |= {f"truth_{name}": value for name, value in self.truth.items()}
        if self.attained is not None:
            found |= {"attained": self.attained.value}
            found |= {"attained_low": self.attained.low, "attained_high": self.attained.high}
        return {name: value for name, value in found.items() if np.isfinite(value)}


def is_judged(name: str) -> bool:
    """Whether a logged metric is one of ``as_metrics``."""
    return name.startswith(("truth_", "attained")) or name.endswith(("_gain", "_gain_low", "_gain_high"))


def judge(trained: Trained, *, entity: Sequence[str] = (), time: str | None = None) -> Judgement | None:
    """The gain over the baseline in the primary metric, with a paired bootstrap's 95 % percentile interval (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8.5 and 13): model, baseline and truth are scored on
    the same 1,000 draws of test rows. The rows of one ``entity`` are not independent, so whole entities are drawn (a
    cluster bootstrap: Field and Welsh, JRSS B 69, 2007); see ``groups_of`` for few entities.

    The truth is judged on the rows that have one, beside model and baseline on the same. None for models without
    labels to learn from, whose gates are others, and for metrics that are no function of sums.
    """
    spec = trained.spec
    if spec.task in UNSUPERVISED or trained.planted:
        return None
    rows = trained.test_rows
    groups = groups_of(rows, entity=entity, time=time, horizon=spec.horizon_end)
    truth = _plain(rows[TRUTH]) if TRUTH in rows.columns else np.full(len(trained.test_labels), np.nan)
    known = np.isfinite(truth.reshape(len(truth), -1)).all(axis=1)
    if not known.any():
        return _judged(trained, groups, None)
    if not known.all():
        whole = _judged(trained, groups, None)
        part = _judged(_only(trained, known), _numbered(groups, known), truth[known])
        return _together(trained, whole, part)
    return _judged(trained, groups, truth)


def _judged(trained: Trained, groups: Groups, truth: np.ndarray | None) -> Judgement | None:
    spec, model = trained.spec, trained.model
    metric, y = spec.primary_metric, _plain(trained.test_labels)
    answers = [trained.test_predictions, trained.baseline_predictions, *([] if truth is None else [truth])]
    how = {"threshold": model.threshold, "classes": model.classes or ()}
    figures = [figure(spec.task, metric, y, np.asarray(answer), **how) for answer in answers]
    whole = [f for f in figures if f is not None]
    if len(whole) < len(answers):
        return None
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    drawn = sign * resample(whole, groups.codes, resamples=RESAMPLES, seed=spec.seed)
    point = [sign * f.of_all() for f in whole]
    gain = _interval(point[0] - point[1], drawn[:, 0] - drawn[:, 1])
    if truth is None:
        found = Judgement(metric, gain, groups.number, groups.what)
    else:
        best = _interval(point[2] - point[1], drawn[:, 2] - drawn[:, 1])
        found = Judgement(
            metric,
            gain,
            groups.number,
            groups.what,
            truth=evaluate(spec.task, trained.test_labels, truth, threshold=model.threshold, classes=model.classes),
            truth_gain=best,
            # Where the truth itself can't be told from the baseline a share of its gain is noise over noise.
            attained=_share(point, drawn) if best.clear else None,
        )
    return _with_reasons(trained, found)


def _with_reasons(trained: Trained, found: Judgement) -> Judgement:
    why = () if _holds(found) else tuple(reasons(trained, found))
    return Judgement(**{**found.__dict__, "why": why})


def _holds(found: Judgement) -> bool:
    near = found.truth_gain is None or (found.attained is not None and found.attained.value >= WANTED)
    return found.gain.clear and near


def _interval(value: float, drawn: np.ndarray) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if len(known) < len(drawn) * (1 - _WITHOUT_VALUE):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(known, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(value, float(low), float(high))


def _share(point: list[float], drawn: np.ndarray) -> Interval:
    with np.errstate(all="ignore"):
        shares = (drawn[:, 0] - drawn[:, 1]) / (drawn[:, 2] - drawn[:, 1])
    return _interval((point[0] - point[1]) / (point[2] - point[1]), shares)


def _together(trained: Trained, whole: Judgement | None, part: Judgement | None) -> Judgement | None:
    """The gain on all rows; what the truth says on those that have one."""
    if whole is None or part is None:
        return whole
    found = Judgement(
        **{**whole.__dict__, "truth": part.truth, "truth_gain": part.truth_gain, "attained": part.attained}
    )
    return _with_reasons(trained, found)


def _only(trained: Trained, rows: np.ndarray) -> Trained:
    return Trained(
        **{
            **trained.__dict__,
            "test_labels": trained.test_labels.filter(pl.Series(rows)),
            "test_predictions": trained.test_predictions[rows],
            "baseline_predictions": trained.baseline_predictions[rows],
        }
    )


def _numbered(groups: Groups, rows: np.ndarray) -> Groups:
    left, codes = np.unique(groups.codes[rows], return_inverse=True)
    return Groups(codes, len(left), groups.what)


def _plain(values: pl.Series) -> np.ndarray:
    """(n,), or (n, parts) for a struct or a list; null is NaN in numbers."""
    if isinstance(values.dtype, pl.Struct):
        return values.struct.unnest().to_numpy()
    if isinstance(values.dtype, pl.List | pl.Array):
        parts = next((len(v) for v in values.to_list() if v is not None), 1)
        return np.array([[np.nan] * parts if v is None else v for v in values.to_list()], dtype=float)
    return values.to_numpy()
