"""Whether what comes in still looks like what was learned from."""

from karat.monitoring.table import (
    CHECKS,
    SCHEDULES,
    Check,
    Reported,
    drift_name,
    first_reported,
    found_on,
    record,
    reported,
)

__all__ = ["CHECKS", "SCHEDULES", "Check", "Reported", "drift_name", "first_reported", "found_on", "record", "reported"]
