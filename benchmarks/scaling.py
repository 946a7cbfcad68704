"""Growth: 24 windowed features of 1, 5, 20 and 100 million events of 100,000 entities in 90 days, on a warm Ray.

``--events 1,5,20`` takes other sizes (millions), ``--page docs/scaling.md`` puts the table into that page (between its
marks) and draws the picture beside it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.events import compute, warm_ray, write_events
from benchmarks.measure import Claim, conclude, family, machine, peak_memory, take_turns, timed, versions
from karat.features.materialize import ROWS_A_SHARD

LIMIT_GIB = 3
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", default="1,5,20,100", help="millions, separated by commas")
    parser.add_argument("--page", type=Path, help="docs/scaling.md")
    chosen = parser.parse_args()
    sizes = [int(float(size) * 1_000_000) for size in chosen.events.split(",")]
    warm_ray(machine()["cores"])
    points = [measure(size) for size in sizes]
    seconds = {f"{p['events'] / 1e6:g} million events": p["runs"] for p in points}
    growth = [
        Claim(
            f"{big['events'] / 1e6:g} over {small['events'] / 1e6:g} million: time over events, relative",
            big["seconds"] / small["seconds"] / (big["events"] / small["events"]),
            1.1,
        )
        for small, big in pairwise(points)
    ]
    memory = Claim(f"peak of any process over {LIMIT_GIB} GiB", max(p["peak_gib"] for p in points) / LIMIT_GIB, 1)
    conclude("scaling", [*growth, memory], seconds, versions("duckdb", "polars", "ray"), points=points)
    if chosen.page:
        draw(points, chosen.page.with_suffix(".svg"))
        tell(points, chosen.page)


def measure(events: int) -> dict[str, float | list[float]]:
    folder = Path(tempfile.mkdtemp(prefix="karat-bench-"))
    try:
        write_events(folder, events)
        with peak_memory(family) as peak:
            runs = take_turns({"Karat": timed(lambda: compute(folder))}, 1 if events > 50_000_000 else 3)["Karat"]
        return {
            "events": events,
            "seconds": median(runs),
            "runs": runs,
            "peak_gib": round(peak["process"], 2),
            "rows_a_shard": ROWS_A_SHARD,
        }
    finally:
        shutil.rmtree(folder)


def tell(points: list[dict], page: Path) -> None:
    where = machine()
    lines = [
        "",
        "| events, millions | seconds (median) | runs | peak of the largest process, GiB |",
        "|--:|--:|--:|--:|",
    ]
    for p in points:
        lines.append(f"| {p['events'] / 1e6:g} | {p['seconds']:.1f} | {len(p['runs'])} | {p['peak_gib']:.2f} |")
    lines += ["", f"{where['date']}, {where['cores']} cores, load {where['load'][0]}.", ""]
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + BEGIN + "\n".join(lines) + END + rest.partition(END)[2])


def draw(points: list[dict], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    millions = [p["events"] / 1e6 for p in points]
    left.loglog(millions, [p["seconds"] for p in points], "o-")
    first = points[0]["seconds"] / millions[0]
    left.loglog(millions, [first * m for m in millions], "--", color="grey", label="in proportion")
    left.set(xlabel="million events", ylabel="seconds", title="Time, two cores")
    left.legend()
    right.semilogx(millions, [p["peak_gib"] for p in points], "o-")
    right.set(xlabel="million events", ylabel="GiB", title="Peak memory of the largest process", ylim=(0, LIMIT_GIB))
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
