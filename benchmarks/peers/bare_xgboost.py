"""Bare XGBoost on a Delta table: `python bare_xgboost.py TABLE ROUNDS`; the last line is JSON."""

from __future__ import annotations

import json
import sys
import time

import xgboost
from deltalake import DeltaTable


def main(table: str, rounds: int) -> None:
    """Read, fit, and say how long it took."""
    began = time.perf_counter()
    rows = DeltaTable(table).to_pyarrow_table()
    matrix = xgboost.QuantileDMatrix(rows.drop_columns("y"), rows["y"].to_numpy(), nthread=2)
    given = {"max_depth": 6, "learning_rate": 0.1, "tree_method": "hist", "objective": "reg:squarederror", "nthread": 2}
    booster = xgboost.train(given, matrix, rounds)
    seconds = time.perf_counter() - began
    loss = float(booster.eval(matrix).rpartition(":")[2])
    print(json.dumps({"seconds": seconds, "loss": loss}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
