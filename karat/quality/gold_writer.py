"""Checked rows into a gold table and what was set aside beside it: the way of ingested and of sample rows."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from karat.declare import GoldTable
from karat.lake import Commit, Lake, Work
from karat.names import TableName
from karat.quality.contract_check import reasons_of
from karat.quality.origin import create_gold, set_aside_name
from karat.quality.quarantine import write_aside


def write_gold(
    lake: Lake,
    name: TableName,
    contract: GoldTable,
    good: pl.DataFrame,
    aside: pl.DataFrame,
    *,
    work: Work,
    replaces: bool,
) -> tuple[Commit, dict[str, int]]:
    """One commit with the good rows, the whole table or by key; ``work.detail`` gets the counts.

    The rows set aside are written first: killed in between, the same call brings both to their end.
    """
    reasons = reasons_of(aside)
    told = replace(work, detail={**work.detail, "rows": good.height, "reasons": reasons})
    came_from = told.detail["origin"]
    stands = lake.info(name).properties.get("karat.origin", came_from) if lake.exists(name) else came_from
    create_gold(lake, name, contract, stands)  # the property follows the rows, never the other way round
    write_aside(lake, set_aside_name(name), aside, work.key, replaces=replaces)
    commit = lake.overwrite(name, good, work=told) if replaces else lake.merge(name, good, work=told)
    create_gold(lake, name, contract, came_from)
    return replace(commit, version=lake.version(name)), reasons
