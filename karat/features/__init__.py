"""Gold to feature tables, and feature tables to rows: windows, incremental computation, as-of join, statistics."""

from karat.features.asof import Looked, Status, lookup
from karat.features.engine import compute_frame

__all__ = ["Looked", "Status", "compute_frame", "lookup"]
