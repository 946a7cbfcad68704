"""The zone of naive times: the map's, else the contract's, else the project's."""

from __future__ import annotations

from pathlib import Path

import pytest

from karat.declare import load_project
from karat.quality.zones import zone_of_table
from karat.settings import Settings

GOLD = """from karat.declare import Column, GoldTable

visits = GoldTable(
    name="visits", description="One row a visit", key=("visit",), {zone}
    columns={{"visit": Column(dtype="int64")}},
)
"""


@pytest.mark.parametrize(
    ("maps", "contract", "project", "zone"),
    [
        ((), "", "", None),
        ((), "", "Asia/Tokyo", "Asia/Tokyo"),
        ((), "Europe/Berlin", "Asia/Tokyo", "Europe/Berlin"),
        (("America/Lima",), "Europe/Berlin", "Asia/Tokyo", "America/Lima"),
        (("America/Lima", "America/Lima"), "Europe/Berlin", "", "America/Lima"),
        (("America/Lima", "Asia/Tokyo"), "Europe/Berlin", "", "Europe/Berlin"),
    ],
)
def test_the_nearest_declaration_names_the_zone(
    tmp_path: Path, maps: tuple[str, ...], contract: str, project: str, zone: str | None
):
    folder = tmp_path / "projects" / "club"
    (folder / "maps").mkdir(parents=True)
    (folder / "project.yaml").write_text(
        "description: a club\nowner: ann\n" + (f"timezone: {project}\n" if project else "")
    )
    (folder / "gold.py").write_text(GOLD.format(zone=f'timezone="{contract}",' if contract else ""))
    for place, one in enumerate(maps):
        text = f"table: visits\ntimezone: {one}\ncolumns: {{visit: number}}\n"
        (folder / "maps" / f"m{place}.yaml").write_text(text)
    (folder / "maps" / "other.yaml").write_text("table: others\ntimezone: Africa/Cairo\ncolumns: {visit: number}\n")
    loaded = load_project("club", Settings(projects=tmp_path / "projects"))
    assert zone_of_table(loaded, loaded.gold["visits"]) == zone
