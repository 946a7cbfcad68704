"""Whether what comes in still looks like what was learned from."""

from karat.monitoring.drift_table import (
    CHECKS,
    SCHEDULES,
    Check,
    ReportedCheck,
    drift_name,
    first_reported,
    found_on,
    record,
    reported,
)

__all__ = [
    "CHECKS",
    "SCHEDULES",
    "Check",
    "ReportedCheck",
    "drift_name",
    "first_reported",
    "found_on",
    "record",
    "reported",
]
