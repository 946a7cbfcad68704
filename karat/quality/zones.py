"""The time zone of naive times: one rule for files that are ingested and for files of keys that are scored."""

from __future__ import annotations

from karat.declare import GoldTable, Project
from karat.quality.maps import Map, load_map


def zone_of_map(project: Project, contract: GoldTable, chosen: Map | None) -> str | None:
    """The zone of the naive times of a file of a gold table.

    Args:
        project: The project.
        contract: The gold table.
        chosen: The map that reads the file; None without one.

    Returns:
        The map's zone, else the contract's, else the project's; None if none of them names one.
    """
    own = project.spec.timezone if "timezone" in project.spec.model_fields_set else None
    return (chosen.timezone if chosen else None) or contract.timezone or own


def zone_of_table(project: Project, contract: GoldTable) -> str | None:
    """The zone of naive times of rows that come without a file, such as keys to score.

    Args:
        project: The project.
        contract: The gold table whose times they are.

    Returns:
        The zone that the table's maps agree on, else the contract's or the project's; None if none names one.
    """
    maps = [load_map(path) for path in sorted((project.path / "maps").glob("*.y*ml"))]
    zones = {m.timezone for m in maps if m.table == contract.name and m.timezone}
    if len(zones) == 1:
        return zones.pop()
    return zone_of_map(project, contract, None)
