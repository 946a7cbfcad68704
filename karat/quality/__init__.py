r"""Quality: contracts on gold and feature tables, ingestion of files, and a project's sample.

Rows that break a contract are set aside, with the reason, in the quarantine table ``TABLE_set_aside``.

A **map** says how a file's columns become those of a gold table. It is a YAML file, ``projects/P/maps/NAME.yaml``::

    description: Invoices as the old shop exports them
    table: orders                     # the gold table
    timezone: Europe/Berlin           # the zone of times without one; by default the contract's, else the project's
    format:                           # of a CSV file; these are the defaults, and the delimiter is detected
      delimiter: ";"                  # whitespace: any number of blanks
      encoding: windows-1252          # utf-8 by default; a byte order mark wins
      quote: '"'
      skip: 0                         # lines before the header
      header: true                    # without one: names: [a, b], else column_1, column_2
      null_values: ["", "NULL"]       # [""] by default; blanks around numbers, dates and times are ignored
    where: "type <> 'Tax'"            # an SQL condition on the file's rows; other rows are left out and not counted
    columns:                          # target column: the file's column, or an SQL expression over its columns
      order_id: "Invoice No"
      placed_at: {sql: "strptime(\"Date\", '%d.%m.%Y %H:%M')"}
      amount: {sql: "CAST(replace(Total, ',', '.') AS DOUBLE)"}
      country: {sql: "'DE'"}

The SQL is DuckDB's, without access to files, network or extensions. In it every column of a CSV file is VARCHAR;
Parquet files and Delta tables keep their types. ``_row`` is the row's number in its file, from 1; ``_file`` is the
file's name. A plain column name keeps its text, and ``check`` reads the contract's type from it. So an expression is
needed only if the text has another form than these: numbers as digits with a point, truth values as true/false,
yes/no, t/f, y/n or 1/0, dates as 2024-09-30, times as 2024-09-30 12:00:00 (a T, a fraction, Z or an offset are
allowed). An expression that fails on a row sets this row aside, and the others continue. ``columns`` may leave out
nullable columns of the contract: they are null. It must have all others.
"""

from karat.quality.check_results import CheckResult
from karat.quality.contract_check import CheckedFrame, check
from karat.quality.gold_check import check_gold, gold_results, reading_checks, valid_rows
from karat.quality.ingest import IngestResult, ingest
from karat.quality.maps import Map, load_map
from karat.quality.origin import awaited_gold, origin, quarantine_name
from karat.quality.quarantine import quarantine_counts
from karat.quality.results_table import latest_results, results
from karat.quality.sample import write_sample

__all__ = [
    "CheckResult",
    "CheckedFrame",
    "IngestResult",
    "Map",
    "awaited_gold",
    "check",
    "check_gold",
    "gold_results",
    "ingest",
    "latest_results",
    "load_map",
    "origin",
    "quarantine_counts",
    "quarantine_name",
    "reading_checks",
    "results",
    "valid_rows",
    "write_sample",
]
