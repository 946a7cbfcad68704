"""Former names of the drift check, for scripts written before ``drift_thresholds`` had its name."""

from __future__ import annotations

from karat.monitoring.drift_thresholds import DriftHistory, comparable_columns, drift_findings


class History(DriftHistory):
    """``DriftHistory`` under its former name."""

    none = DriftHistory.empty


judged, plain = drift_findings, comparable_columns
