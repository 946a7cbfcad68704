"""``docs/benchmarks.md`` from what was measured last: claims, seconds, versions and the machine of each benchmark."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import HERE, RESULTS

PAGE = HERE.parent / "docs" / "benchmarks.md"
#: Results that an option of a program writes, and the program's own.
_PROGRAMS = {"window_growth": "window_features --growth", "asof_join_large": "asof_join --large"}
_HEAD = """# Benchmarks

`make bench` measures; `python -m benchmarks --report` writes this page. A benchmark runs both sides in turns on the
same files and compares medians. Peers (Feast, PySpark) have their own environment and keep running, so their imports
and their start do not count. Seconds depend on the machine and on the load named beside them. The claims are ratios.
"""


def write(page: Path = PAGE) -> None:
    found = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))]
    page.write_text("\n".join([_HEAD, _claims(found), *(_section(one) for one in found)]))


def _claims(found: list[dict[str, Any]]) -> str:
    lines = ["| benchmark | claim | ratio | target | |", "|---|---|--:|--:|---|"]
    for one in found:
        for claim in one["claims"]:
            bound = f"at {'least' if claim['at_least'] else 'most'} {claim['target']:g}"
            state = "holds" if claim["holds"] else "**falls short**"
            lines.append(f"| {one['name']} | {claim['what']} | {claim['ratio']:.3g} | {bound} | {state} |")
    return "\n".join(lines) + "\n"


def _section(one: dict[str, Any]) -> str:
    name, where = one["name"], one["machine"]
    program = _PROGRAMS.get(name, name)
    installed = ", ".join(f"{package} {version}" for package, version in one["versions"].items())
    lines = [f"## {name}\n", f"`python -m benchmarks.{program}`. {_told(program.split()[0])}\n"]
    lines += ["| side | median, s | runs | least | most |", "|---|--:|--:|--:|--:|"]
    for side, taken in one["seconds"].items():
        cells = (f"{median(taken):.4g}", str(len(taken)), f"{min(taken):.4g}", f"{max(taken):.4g}")
        lines.append(f"| {side} | {' | '.join(cells)} |")
    lines.append(
        f"\nMeasured on {where['date']}: {where['cores']} cores, {where['memory_gib']} GiB, load {where['load'][0]}; "
        f"{installed}.\n"
    )
    return "\n".join(lines)


def _told(program: str) -> str:
    told = ast.get_docstring(ast.parse((HERE / f"{program}.py").read_text())) or ""
    return " ".join(told.split("\n\n")[0].split())
