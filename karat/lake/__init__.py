"""The lake: Delta tables with a contract, one commit for many writers, and a record of what each commit did."""

from karat.lake.lake import Base, Frame, Lake
from karat.lake.records import DAY_COLUMN, EVENT, Commit, StagedFile, TableInfo, Work
from karat.lake.transaction import retry_conflicts
from karat.lake.vacuum import VacuumResult

__all__ = [
    "DAY_COLUMN",
    "EVENT",
    "Base",
    "Commit",
    "Frame",
    "Lake",
    "StagedFile",
    "TableInfo",
    "VacuumResult",
    "Work",
    "retry_conflicts",
]
