"""An LSTM fitted by two Ray workers beside one process, with the same global batch, on the same rows.

Two layers of 32 units learn a noisy number from sequences of 24 steps. Both sides make the same batches. The claim is
the loss on the validation rows, in either direction; seconds are shown. ``--rows`` takes another size, ``--dropout``
another dropout than none, which draws apart in each worker.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.events import warm_ray
from benchmarks.measure import Claim, conclude, take_turns, timed, versions
from karat.kinds import Model
from karat.training.fit_distributor import Distributor
from karat.training.fit_files import write_learned_rows
from karat.training.fit_placement import FitPlan
from karat.training.sharded_fit import sharded_fit
from ray_jobs.fitter import RayFitter

STEPS, EPOCHS, ALLOWED = 24, 6, 1.02
PARAMETERS = {"hidden_size": 32, "epochs": EPOCHS, "patience": EPOCHS}


def main() -> None:
    """Measure both sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8_000)
    parser.add_argument("--dropout", type=float, default=0.0)
    chosen = parser.parse_args()
    parameters = PARAMETERS | {"dropout": chosen.dropout}
    X, y = make_rows(chosen.rows)
    warm_ray()
    losses: dict[str, float] = {}

    def one() -> None:
        losses["one process"] = best_loss(Model("lstm", "regression", parameters).fit(X, y))

    def two() -> None:
        folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
        try:
            model = Model("lstm", "regression", parameters)
            target = model.fit_encoder(X, y)
            assert target is not None
            fit = sharded_fit(model, write_learned_rows(folder / "rows", X, y, key="rows"), "y", target)
            Distributor(RayFitter(), folder).run(fit, FitPlan("ray_train", 2, 1, False, 4 << 30))
            losses["two workers"] = best_loss(model)
        finally:
            shutil.rmtree(folder)

    seconds = take_turns({"one process": timed(one), "two workers": timed(two)}, 1, warm=0)
    one_loss, two_loss = losses["one process"], losses["two workers"]
    ratio = max(one_loss / two_loss, two_loss / one_loss)
    claim = Claim("the greater of both losses over the other", ratio, ALLOWED)
    conclude("lstm_two_workers", [claim], seconds, versions("ray", "torch"), rows=chosen.rows, loss=losses)


def best_loss(model: Model) -> float:
    """The loss on the validation rows of the epoch that is kept."""
    return min(model.kind.curve["validation"])


def make_rows(count: int) -> tuple[pl.DataFrame, pl.Series]:
    """Sequences whose products of neighbours are to be added up."""
    draw = np.random.default_rng(7)
    series = draw.normal(size=(count, STEPS)).cumsum(1) * 0.3
    y = (np.sin(series[:, 1:]) * series[:, :-1]).sum(1) + draw.normal(size=count) * 1.5
    X = pl.DataFrame({"series": pl.Series(series, dtype=pl.Array(pl.Float64, STEPS)), "last": series[:, -1]})
    return X, pl.Series("y", y)


if __name__ == "__main__":
    main()
