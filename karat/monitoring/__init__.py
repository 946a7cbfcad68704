"""Monitoring: drift of features and predictions, fairness over time, against what each champion was trained on."""

from karat.monitoring.drift_table import (
    CHECKS,
    SCHEDULES,
    Check,
    ReportedCheck,
    checks_of,
    drift_name,
    first_checks,
    latest_checks,
    read_drift,
    write_drift,
)

__all__ = [
    "CHECKS",
    "SCHEDULES",
    "Check",
    "ReportedCheck",
    "checks_of",
    "drift_name",
    "first_checks",
    "latest_checks",
    "read_drift",
    "write_drift",
]
