"""Contracts on gold tables: what comes in is checked, what breaks the contract is set aside with its reason.

A **map** says how a file's columns become those of a gold table. It is a YAML file, ``projects/P/maps/NAME.yaml``::

    description: Invoices as the old shop exports them
    table: orders                     # the gold table that it is for
    timezone: Europe/Berlin           # what times without a zone mean here; else the contract's, else the project's
    format:                           # for CSV; what is left out has these values, the delimiter is seen by itself
      delimiter: ";"
      encoding: latin-1               # utf-8 by default
      quote: '"'
      null_values: ["", "NULL"]       # [""] by default; blanks around numbers, dates and times never matter
    where: "type <> 'Tax'"            # an SQL condition on the file's rows: others are left out, uncounted
    columns:                          # target column: the file's column, or an SQL expression over its columns
      order_id: "Invoice No"
      placed_at: {sql: "strptime(\\"Date\\", '%d.%m.%Y %H:%M')"}
      amount: {sql: "CAST(replace(Total, ',', '.') AS DOUBLE)"}
      country: {sql: "'DE'"}

The SQL is DuckDB's, evaluated without access to files, network or extensions. Every column of a CSV is VARCHAR in it;
Parquet and Delta keep their types. ``_row`` (the row's number in its file, from 1) and ``_file`` (the file's name) can
be used as well. A plain column name keeps its text: the contract's types are read from it by ``check``, so that an
expression is needed only where the text is not what the contract wants: numbers as digits with a point, truth values
as true/false, yes/no, t/f, y/n or 1/0, dates as 2024-09-30, times as 2024-09-30 12:00:00 (a T, a fraction, Z or an
offset may follow). An expression that fails on a row sets that row aside; it does not stop the rest.
Nullable columns of the contract may be left out of ``columns``: they are null then. All others must be there.
"""

from karat.quality.check_results import CheckResult
from karat.quality.contract_check import CheckedFrame, check
from karat.quality.gold_check import asked, check_gold, kept
from karat.quality.ingest import IngestResult, ingest
from karat.quality.maps import Map, load_map
from karat.quality.origin import awaited_gold, origin, set_aside_name
from karat.quality.results_table import latest, results
from karat.quality.sample import write_sample

__all__ = [
    "CheckResult",
    "CheckedFrame",
    "IngestResult",
    "Map",
    "asked",
    "awaited_gold",
    "check",
    "check_gold",
    "ingest",
    "kept",
    "latest",
    "load_map",
    "origin",
    "results",
    "set_aside_name",
    "write_sample",
]
