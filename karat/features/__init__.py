"""Gold to feature tables, and feature tables to rows: windows, incremental computation, as-of join, statistics."""

from karat.features.backfilling import BackfillRequest, backfill
from karat.features.daily_statistics import daily_statistics, keep_statistics
from karat.features.engine import compute_frame
from karat.features.materialize import MaterializationResult, compute_table
from karat.features.on_the_fly import features_as_of
from karat.features.point_in_time import MISSING, JoinResult, Status, point_in_time_join
from karat.features.sequences import SequenceResult, sequence_join
from karat.features.statistics import statistics
from karat.features.table_freshness import Freshness, is_fresh, redefined

__all__ = [
    "MISSING",
    "BackfillRequest",
    "Freshness",
    "JoinResult",
    "MaterializationResult",
    "SequenceResult",
    "Status",
    "backfill",
    "compute_frame",
    "compute_table",
    "daily_statistics",
    "features_as_of",
    "is_fresh",
    "keep_statistics",
    "point_in_time_join",
    "redefined",
    "sequence_join",
    "statistics",
]
