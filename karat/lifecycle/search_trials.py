"""Table ``catalog.monitoring.search_trials``: one row per trial, from which an interrupted search goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import polars as pl
import pyarrow as pa

from karat import dtypes
from karat.dtypes import ARROW, Dtype
from karat.lake import Lake, Work
from karat.names import ModelName, TableName
from karat.training.search import Trial, TrialState

_COLUMNS: dict[str, tuple[Dtype, str]] = {
    "search": ("string", "The declaration's hash and the training set's digest"),
    "trial": ("int64", "Position in the search, from 0"),
    "model_name": ("string", "The registered model: catalog.models.NAME"),
    "parameters": ("string", "The searched parameters as JSON"),
    "state": ("string", "finished, stopped (it fell behind) or failed"),
    "metric": ("string", "The primary metric"),
    "value": ("float64", "The metric on the validation rows; null unless finished"),
    "losses": ("string", "JSON: the loss at each round where the trial was compared with others"),
    "seconds": ("float64", "Duration of fit and evaluation"),
    "error": ("string", "Why it failed"),
    "ended_at": ("timestamp", "When it ended"),
}
_KEY = ("search", "trial")
_SCHEMA = pa.schema(
    [pa.field(n, ARROW[t], nullable=n not in _KEY, metadata={"comment": text}) for n, (t, text) in _COLUMNS.items()]
)
_POLARS = {name: dtypes.POLARS[dtype] for name, (dtype, _) in _COLUMNS.items()}


@dataclass(frozen=True)
class SearchTrials:
    """The stored trials of one search.

    Attributes:
        lake: The lake.
        model: The registered model.
        search: What makes the search the same: the declaration's hash and the training set's digest.
        metric: The primary metric.
    """

    lake: Lake
    model: ModelName
    search: str
    metric: str

    @property
    def table(self) -> TableName:
        """The table of the model's catalog."""
        return TableName(self.model.catalog, "monitoring", "search_trials")

    def read(self) -> tuple[Trial, ...]:
        """Return the trials that are stored, in their order."""
        if not self.lake.exists(self.table):
            return ()
        rows = self.lake.scan(self.table).filter(pl.col("search") == self.search).collect()
        return tuple(
            Trial(
                number=row["trial"],
                parameters=json.loads(row["parameters"]),
                state=cast(TrialState, row["state"]),
                value=row["value"],
                seconds=row["seconds"],
                losses=tuple((int(at), float(loss)) for at, loss in json.loads(row["losses"])),
                error=row["error"] or "",
            )
            for row in rows.unique("trial", keep="any").sort("trial").iter_rows(named=True)
        )

    def write(self, trial: Trial) -> None:
        """Store a trial that has ended, in one commit.

        Raises:
            CommitConflict: Other writers changed the table again and again.
        """
        if not self.lake.exists(self.table):
            text = "Trials of every search for a model's parameters"
            self.lake.create(self.table, _SCHEMA, primary_key=_KEY, description=text)
        row = {
            "search": self.search,
            "trial": trial.number,
            "model_name": str(self.model),
            "parameters": json.dumps(trial.parameters),
            "state": trial.state,
            "metric": self.metric,
            "value": trial.value,
            "losses": json.dumps(trial.losses),
            "seconds": trial.seconds,
            "error": trial.error or None,
            "ended_at": datetime.now(UTC),
        }
        work = Work("search_trial", f"{self.search}/{trial.number}")
        self.lake.append(self.table, pl.DataFrame([row], schema=_POLARS), work=work)
