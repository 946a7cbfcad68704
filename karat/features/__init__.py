"""Gold to feature tables, and feature tables to rows: windows, incremental computation, as-of join, statistics."""

from karat.features.as_of import features_as_of
from karat.features.asof import Looked, Status, lookup
from karat.features.backfilling import Backfill, backfill
from karat.features.daily_statistics import daily_statistics, keep_statistics
from karat.features.engine import compute_frame
from karat.features.freshness import Freshness, is_fresh, redefined
from karat.features.sequences import Sequenced, sequences
from karat.features.statistics import statistics
from karat.features.table import FeatureResult, compute_table

__all__ = [
    "Backfill",
    "FeatureResult",
    "Freshness",
    "Looked",
    "Sequenced",
    "Status",
    "backfill",
    "compute_frame",
    "compute_table",
    "daily_statistics",
    "features_as_of",
    "is_fresh",
    "keep_statistics",
    "lookup",
    "redefined",
    "sequences",
    "statistics",
]
