"""Whether what comes in still looks like what was learned from."""

from karat.monitoring.table import CHECKS, SCHEDULES, Check, drift_name, found_on, record, reported

__all__ = ["CHECKS", "SCHEDULES", "Check", "drift_name", "found_on", "record", "reported"]
