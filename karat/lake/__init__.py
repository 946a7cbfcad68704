"""The lake: Delta tables with a contract, one commit for many writers, and a record of what each commit did."""

from karat.lake.lake import Base, Frame, Lake
from karat.lake.records import DAY_COLUMN, EVENT, Commit, Staged, TableInfo, Work
from karat.lake.vacuum import Vacuumed

__all__ = ["DAY_COLUMN", "EVENT", "Base", "Commit", "Frame", "Lake", "Staged", "TableInfo", "Vacuumed", "Work"]
