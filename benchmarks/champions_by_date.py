"""Champions by date: whether the samples make champions of all models, on whatever day they end.

For each end date the program writes the sample gold of that date into a temporary lake, computes the feature tables,
makes a candidate of each model and promotes it through the product's own gates, in a registry without any server.
Each model of each date is one line of JSON in ``--out``. Lines that are there are not computed again while the
project's files stay as they are. The exit status is 1 if a model is refused on a date.
"""

from __future__ import annotations

import argparse
import atexit
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import median

from benchmarks.measure import RESULTS
from karat.declare import Project, load_project
from karat.declare.models import HIGHER_IS_BETTER
from karat.errors import KaratError
from karat.features import compute_table
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.quality import write_sample
from karat.registry import ModelVersion, Registry
from karat.registry.entry import VersionEntry
from karat.settings import Settings

PROJECTS = Path(__file__).parent.parent / "projects"
TWO_YEARS = timedelta(days=730)


@dataclass(frozen=True)
class Outcome:
    """A model on a date.

    ``gain`` is over the baseline in the primary metric, more is better; ``low`` and ``high`` are the ends of its 95 %
    interval; ``attained`` is its share of the planted truth's gain. They are None where they were not computed.
    ``files`` is a fingerprint of the project's files.
    """

    project: str
    model: str
    end: str
    champion: bool
    reason: str
    metric: str = ""
    value: float | None = None
    baseline: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    attained: float | None = None
    rows: str = ""
    seconds: float = 0.0
    scale: float = 1.0
    seed: int = 0
    files: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What it was computed from."""
        return (self.project, self.model, self.end, self.scale, self.seed, self.files)


@dataclass(frozen=True)
class Task:
    """The models of one project on one date."""

    project: str
    models: tuple[str, ...]
    end: date
    scale: float
    seed: int


class PlainRegistry(Registry):
    """A registry whose versions have no pictures, which no gate looks at."""

    def log(self, entry: VersionEntry) -> ModelVersion:
        return super().log(replace(entry, draw=None))


def main() -> None:
    chosen = _arguments()
    dates = chosen.on or spread(chosen.first or chosen.last - TWO_YEARS, chosen.last, chosen.dates)
    wanted = list(_wanted(chosen, dates))
    known = {} if chosen.out is None else {o.key: o for o in _read(chosen.out)}
    keys = [_empty(task, model).key for task in wanted for model in task.models]
    todo = [t for t in (_without(task, known) for task in wanted) if t.models]
    print(f"{len(keys)} models on dates, {sum(len(t.models) for t in todo)} of them to compute", flush=True)
    with nullcontext() if chosen.out is None else chosen.out.open("a") as file:
        for outcome in _outcomes(todo, chosen.processes):
            known[outcome.key] = outcome
            if file:
                print(json.dumps(asdict(outcome)), file=file, flush=True)
            if not outcome.champion:
                print(f"  {outcome.end} {outcome.model}: {outcome.reason}", flush=True)
    found = [known[key] for key in keys]
    print(table(found))
    if not all(outcome.champion for outcome in found):
        sys.exit(1)


def spread(first: date, last: date, number: int) -> list[date]:
    """``number`` dates from ``first`` to ``last``, both included, as evenly as days allow; the last one first."""
    if number == 1:
        return [last]
    return sorted({first + (last - first) * k / (number - 1) for k in range(number)}, reverse=True)


def champions_on(task: Task, home: Path) -> Iterator[Outcome]:
    """Each model of the task, from sample gold to the decision of the gates, in the empty folder ``home``."""
    settings = Settings(home=home, projects=PROJECTS)
    project, lake = load_project(task.project, settings), Lake(settings.lake, settings.environment)
    specs = project.select(models=task.models)
    tables = project.tables_of(specs)
    write_sample(project, lake, scale=task.scale, seed=task.seed, end=task.end, tables=project.gold_of(tables))
    for name in tables:
        compute_table(project, name, lake)
    shutil.copy(_empty_database(), home / "mlflow.db")
    registry = PlainRegistry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")
    for spec in specs.values():
        began = time.perf_counter()
        outcome = _decided(_empty(task, spec.name), ModelContext(project, spec, lake, registry))
        yield replace(outcome, seconds=round(time.perf_counter() - began, 2))


def _decided(empty: Outcome, context: ModelContext) -> Outcome:
    try:
        version = make_candidate(context).version
        decision = promote(context, version)
    except KaratError as error:
        return replace(empty, reason=f"{type(error).__name__}: {error.what}")
    metric, judged = str(version.own_tags.metric), version.judged
    value, baseline = version.metrics.get(metric), version.baseline.get(metric)
    gain = None if value is None or baseline is None else value - baseline
    return replace(
        empty,
        champion=decision.promoted,
        reason=decision.reason,
        metric=metric,
        value=value,
        baseline=baseline,
        gain=gain if gain is None or HIGHER_IS_BETTER[metric] else -gain,
        low=judged.get(f"{metric}_gain_low"),
        high=judged.get(f"{metric}_gain_high"),
        attained=judged.get("attained"),
        rows=json.dumps(version.own_tags.rows),
    )


def table(found: Iterable[Outcome]) -> str:
    """A line a model, those that are refused on most dates first."""
    by: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in found:
        by[outcome.project, outcome.model].append(outcome)
    lines = ["| model | champion on | metric | least gain | median gain | least low | worst date | refused because |"]
    lines.append("|---|--:|---|--:|--:|--:|---|---|")
    for (_, model), each in sorted(by.items(), key=lambda item: sum(o.champion for o in item[1]) / len(item[1])):
        worst = min(each, key=lambda o: (o.champion, _or_least(o.low)))
        gains = [o.gain for o in each if o.gain is not None]
        lows = [o.low for o in each if o.low is not None]
        refused = Counter(_kind(o.reason) for o in each if not o.champion)
        cells = (
            model,
            f"{sum(o.champion for o in each)} of {len(each)}",
            each[0].metric,
            *(f"{figure:.3g}" if gains and lows else "" for figure in (min(gains), median(gains), min(lows))),
            worst.end,
            "; ".join(f"{reason} ({number})" for reason, number in refused.most_common()),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _or_least(value: float | None) -> float:
    return float("-inf") if value is None else value


def _kind(reason: str) -> str:
    """A refusal without its figures, so that equal ones are counted together."""
    return " ".join("N" if word.strip(",.-()").replace(".", "").isdigit() else word for word in reason.split())


def _outcomes(tasks: list[Task], processes: int) -> Iterator[Outcome]:
    for threads in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(threads, "1")  # a process is a core; its libraries read these when they are imported
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_in_a_folder, task) for task in tasks]):
            yield from done.result()


def _in_a_folder(task: Task) -> list[Outcome]:
    home = Path(tempfile.mkdtemp(prefix="karat-champions-"))
    try:
        return list(champions_on(task, home))
    finally:
        shutil.rmtree(home)


def _wanted(chosen: argparse.Namespace, dates: list[date]) -> Iterator[Task]:
    """By date, so that a run that breaks off has seen every model."""
    names = sorted(p.parent.name for p in PROJECTS.glob("*/project.yaml")) if chosen.all else [chosen.project]
    for end in dates:
        for name in names:
            models = tuple(chosen.models) if chosen.models else tuple(_project(name).select(domain=chosen.domain))
            yield Task(name, models, end, chosen.scale, chosen.seed)


def _without(task: Task, known: dict[tuple[object, ...], Outcome]) -> Task:
    return replace(task, models=tuple(m for m in task.models if _empty(task, m).key not in known))


def _empty(task: Task, model: str) -> Outcome:
    return Outcome(
        task.project,
        model,
        task.end.isoformat(),
        champion=False,
        reason="",
        scale=task.scale,
        seed=task.seed,
        files=_fingerprint(task.project),
    )


@cache
def _empty_database() -> Path:
    """MLflow's database without a model, made once a process, since MLflow takes seconds for it."""
    folder = Path(tempfile.mkdtemp(prefix="karat-champions-"))
    atexit.register(shutil.rmtree, folder)
    database = folder / "mlflow.db"
    Registry(f"sqlite:///{database}").client.search_experiments()
    return database


@cache
def _project(name: str) -> Project:
    return load_project(name, Settings(projects=PROJECTS))


@cache
def _fingerprint(project: str) -> str:
    files = sorted(p for p in (PROJECTS / project).rglob("*") if p.suffix in (".py", ".yaml"))
    return hashlib.blake2b(b"".join(p.read_bytes() for p in files), digest_size=6).hexdigest()


def _read(path: Path) -> Iterator[Outcome]:
    if path.exists():
        yield from (Outcome(**json.loads(line)) for line in path.read_text().splitlines() if line.endswith("}"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.champions_by_date", description=__doc__)
    parser.add_argument("--project", default="health_monitor", help="the project (default: %(default)s)")
    parser.add_argument("--domain", help="only the models of this domain")
    parser.add_argument("--models", nargs="+", default=(), metavar="MODEL", help="only these models")
    parser.add_argument("--all", action="store_true", help="all models of all projects")
    parser.add_argument("--dates", type=int, default=12, help="number of end dates (default: %(default)s)")
    parser.add_argument("--first", type=_day, metavar="DATE", help="first end date (default: two years before --last)")
    parser.add_argument("--last", type=_day, default="today", metavar="DATE", help="last end date (default: today)")
    parser.add_argument("--on", type=_day, nargs="+", metavar="DATE", help="these end dates alone")
    parser.add_argument("--scale", type=float, default=1.0, help="of the samples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="dates at a time (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "champions_by_date.jsonl", help="lines of JSON (default: %(default)s)"
    )
    chosen = parser.parse_args()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    return chosen


def _day(text: str) -> date:
    return datetime.now(UTC).date() if text == "today" else date.fromisoformat(text)


if __name__ == "__main__":
    main()
