"""The contributions to one prediction beside shap's TreeExplainer, on the same trees and the same row, in one thread.

Per kind: Karat's contributions of one encoded row in the margin, and shap's values of it; for a forest in the
probability. Both sides are checked to agree. The clocks start with both explainers ready. The whole explanation, with
the change of unit, is measured beside them, also of the kinds that TreeExplainer does not read. 10,000 training rows by
20 columns; sequences of 24 steps by 6 columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import shap

from benchmarks.measure import Claim, conclude, take_turns, timed, versions
from karat.kinds import Model

ROWS, COLUMNS, RUNS, REPEATS = 10_000, 20, 7, 20
#: Kind -> its parameters, the milliseconds that one row may take, and the library's own model.
KINDS: dict[str, tuple[dict[str, object], float, Callable[[Model], object]]] = {
    "xgboost": ({"n_estimators": 100, "early_stopping_rounds": 0}, 1.0, lambda m: m.kind._booster),
    "lightgbm": ({"num_boost_round": 100, "early_stopping_rounds": 0}, 1.0, lambda m: m.kind._boosters[0]),
    "gradient_boosting": ({"max_iter": 100, "early_stopping": False}, 1.0, lambda m: m.kind._estimator),
    "random_forest": ({"n_estimators": 100, "n_jobs": 2}, 10.0, lambda m: m.kind._forest),
}


def main() -> None:
    """Measure every kind in turn."""
    frame, y = make_rows()
    seconds: dict[str, list[float]] = {}
    claims: list[Claim] = []
    for kind, (parameters, allowed, library) in KINDS.items():
        model = Model(kind, "binary", parameters).fit(frame, y)
        X = model.encoder.encode(frame[:1])
        peer = shap.TreeExplainer(library(model))
        agree(model, peer, X)
        prediction = model.predict_encoded(X)

        def ours(model: Model = model, X: np.ndarray = X) -> None:
            for _ in range(REPEATS):
                model.kind.contributions(X)

        def whole(model: Model = model, X: np.ndarray = X, prediction: np.ndarray = prediction) -> None:
            for _ in range(REPEATS):
                model.contributions(X, [0], prediction=prediction)

        def theirs(peer: shap.TreeExplainer = peer, X: np.ndarray = X) -> None:
            for _ in range(REPEATS):
                peer.shap_values(X, check_additivity=False)

        sides = {f"{kind}: karat": timed(ours), f"{kind}: karat, whole": timed(whole), f"{kind}: shap": timed(theirs)}
        taken = {name: [t / REPEATS for t in each] for name, each in take_turns(sides, RUNS).items()}
        own, all_of_it, other = (float(np.median(each)) for each in taken.values())
        print(f"{kind}: {own * 1e3:.2f} ms, whole {all_of_it * 1e3:.2f} ms, shap {other * 1e3:.2f} ms", flush=True)
        claims.append(Claim(f"{kind}: one row over shap's TreeExplainer", own / other, 1.0))
        claims.append(Claim(f"{kind}: milliseconds of one whole explanation", all_of_it * 1e3, allowed))
        seconds |= taken
    seconds |= others(frame)
    libraries = versions("shap", "numba", "xgboost", "lightgbm", "scikit-learn")
    conclude("explain", claims, seconds, libraries, rows=ROWS, columns=COLUMNS)


def make_rows() -> tuple[pl.DataFrame, pl.Series]:
    """Numbers with an interaction; no missing values or texts, which shap does not read of every library."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(ROWS, COLUMNS))
    label = X[:, 0] + X[:, 1] * X[:, 2] + draw.normal(size=ROWS) > 0
    return pl.DataFrame({f"f{k}": X[:, k] for k in range(COLUMNS)}), pl.Series("y", label)


def others(frame: pl.DataFrame) -> dict[str, list[float]]:
    """Seconds of a whole explanation by kinds that are not checked against shap."""
    draw = np.random.default_rng(1)
    steps = draw.normal(size=(400, 24, 6))
    sequences = pl.DataFrame(
        {f"s{k}": pl.Series(steps[:, :, k], dtype=pl.Array(pl.Float64, 24)) for k in range(6)},
    )
    value = pl.Series("y", steps[:, -1].sum(axis=1))
    cases: dict[str, Model] = {
        "linear_regression": Model("linear_regression", "regression").fit(frame, frame["f0"].alias("y")),
        "kmeans": Model("kmeans", "clustering", {"n_init": 1}).fit(frame),
        "isolation_forest": Model("isolation_forest", "anomaly").fit(frame),
        "lstm": Model("lstm", "regression", {"epochs": 1}).fit(sequences, value),
        "gru": Model("gru", "regression", {"epochs": 1}).fit(sequences, value),
    }
    found = {}
    for kind, model in cases.items():
        X = model.encoder.encode((sequences if kind in ("lstm", "gru") else frame)[:1])
        taken = take_turns({kind: timed(lambda model=model, X=X: model.contributions(X))}, RUNS)[kind]
        print(f"{kind}: whole {np.median(taken) * 1e3:.2f} ms", flush=True)
        found[f"{kind}: karat, whole"] = taken
    return found


def agree(model: Model, peer: shap.TreeExplainer, X: np.ndarray) -> None:
    """Both sides compute the same values."""
    theirs = np.asarray(peer.shap_values(X, check_additivity=False), dtype=float).reshape(1, COLUMNS, -1)[..., -1]
    np.testing.assert_allclose(model.kind.contributions(X).values[:, 0], theirs, atol=1e-5)


if __name__ == "__main__":
    main()
