"""Writing checked rows: good ones into the gold table, the others into its quarantine table."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from karat.declare import GoldTable
from karat.lake import Commit, Lake, Work
from karat.names import TableName
from karat.quality.contract_check import count_reasons
from karat.quality.origin import create_gold, quarantine_name
from karat.quality.quarantine import RowsBeside, write_quarantine


def write_gold(
    lake: Lake,
    name: TableName,
    contract: GoldTable,
    good: pl.DataFrame,
    beside: RowsBeside,
    *,
    work: Work,
    replaces: bool,
) -> tuple[Commit, dict[str, int]]:
    """Write checked rows, in one commit of the gold table.

    Rows set aside are written first: after a kill in between, the same call completes both.

    Args:
        lake: The lake.
        name: The gold table.
        contract: Its contract.
        good: Rows that keep the contract.
        beside: The original rows to keep beside them.
        work: The work; its detail gets the counts.
        replaces: Whether the rows replace the whole table; else they are merged by key.

    Returns:
        The commit, and how many rows were set aside for each reason.
    """
    reasons = count_reasons(beside.aside)
    recorded = replace(
        work, detail={**work.detail, "rows": good.height, "reasons": reasons, "nulled": count_reasons(beside.nulled)}
    )
    source = recorded.detail["origin"]
    current = lake.info(name).properties.get("karat.origin", source) if lake.exists(name) else source
    create_gold(lake, name, contract, current)  # the property changes after the rows
    write_quarantine(lake, quarantine_name(name), pl.concat([beside.aside, beside.nulled]), work.key, replaces=replaces)
    commit = lake.overwrite(name, good, work=recorded) if replaces else lake.merge(name, good, work=recorded)
    create_gold(lake, name, contract, source)
    return replace(commit, version=lake.version(name)), reasons
