"""The bare script beside `pipeline_25`: one process, no server, nothing kept but files of predictions.

It makes the same feature rows (by the pure function from gold rows to feature rows, without the lake around it), the
labels by one query a model, the same fits with all cores, the same metrics of model and baseline, and scores each
model's days. Called with gold's home, a folder for what it writes and perhaps a domain; its last line is JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl

from karat.declare import FeatureTable, ModelSpec, Project, load_project
from karat.features import compute_frame, sequence_join
from karat.kinds import Model
from karat.lake import Lake
from karat.settings import Settings
from karat.training.baseline import baseline_prediction
from karat.training.evaluation import evaluate
from karat.training.split import TEST, TRAIN, split_rows

CORES = len(os.sched_getaffinity(0))
DAY = timedelta(days=1)
UNSUPERVISED = ("anomaly", "clustering")


def main(home: Path, out: Path, domain: str | None = None) -> None:
    settings = Settings(home=home, projects=Path(__file__).parent.parent / "projects")
    project, lake = load_project("health_monitor", settings), Lake(settings.lake, settings.environment)
    told: dict[str, dict] = {"rows": {}, "features": {}, "models": {}, "metrics": {}}
    chosen = project.select(domain=domain)
    for table in (project.tables[name] for name in project.tables_of(chosen)):
        began = time.perf_counter()
        source = project.gold[table.source]
        features = compute_frame(table, gold(project, lake, table.source), source=source)
        features.write_parquet(out / f"{table.name}.parquet")
        told["rows"][table.name] = features.height
        told["features"][table.name] = round(time.perf_counter() - began, 2)
        for spec in (m for m in chosen.values() if m.spine_table == table.name):
            began = time.perf_counter()
            told["metrics"][spec.name] = one_model(project, lake, spec, features=features, out=out)
            told["models"][spec.name] = round(time.perf_counter() - began, 2)
    print(json.dumps(told))


def gold(project: Project, lake: Lake, name: str) -> pl.LazyFrame:
    return pl.scan_delta(str(lake.path(project.gold_name(name))))


def one_model(project: Project, lake: Lake, spec: ModelSpec, *, features: pl.DataFrame, out: Path) -> dict[str, float]:
    """Label, split, fit, metrics and scores; the primary metric of model and baseline."""
    table = project.tables[spec.spine_table]
    rows, names = inputs(spec, table, features)
    labelled = with_label(project, lake, spec, table, rows)
    split = split_rows(labelled, spec, time=table.time, entity=table.entity)
    learned, test = labelled.filter(split == TRAIN), labelled.filter(split == TEST)
    if spec.task == "anomaly":
        test = test.drop_nulls(spec.target)
    model = Model(
        spec.kind,
        spec.task,
        {**spec.parameters, "n_jobs": CORES},
        seed=spec.seed,
        class_weight=spec.class_weight,
        threshold=spec.threshold,
    )
    y = None if spec.task in UNSUPERVISED else learned[spec.target]
    model.fit(learned.select(names), y, order=learned[str(table.time)])
    X, asked = test.select(names), test[spec.target]
    answers, space = model.predict(X), model.space(X)
    told = {"threshold": model.threshold, "classes": model.classes or None, "space": space}
    found = evaluate(spec.task, asked, answers, **told)
    against = baseline_prediction(
        spec,
        y,
        X,
        asked,
        classes=model.classes,
        threshold=model.threshold,
        prediction=answers,
        space=space,
    )
    scored = rows.filter(pl.col(str(table.time)) > rows[str(table.time)].max() - (spec.scope.last or 10_000 * DAY))
    outputs = pl.DataFrame(model.outputs(model.predict(scored.select(names))))
    scored.select(*table.primary_key).hstack(outputs).write_parquet(out / f"{spec.name}.parquet")
    metric = spec.primary_metric
    return {"model": found[metric], "baseline": against.metrics[metric]}


def inputs(spec: ModelSpec, table: FeatureTable, features: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The rows of the table with what the model reads, and the names of that."""
    (lookup,) = spec.lookups
    names, time = list(lookup.features), str(table.time)
    keys = features.select(table.primary_key)
    if lookup.sequence_length is None:
        return features.select(*table.primary_key, *names), names
    found = sequence_join(
        keys,
        features,
        keys={c: c for c in table.entity},
        time=(time, time),
        length=lookup.sequence_length,
        step=lookup.step,
        short=lookup.short,
        columns=names,
    )
    mask = found.mask.alias(f"{table.name}__mask")
    return keys.hstack(found.values).with_columns(mask), [*names, mask.name]


def with_label(project: Project, lake: Lake, spec: ModelSpec, table: FeatureTable, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows whose horizon is over, each with its label; a supervised model's without one are left out."""
    label, source = spec.labelled, project.gold[spec.labelled.source]
    assert label.horizon is not None
    time, entity = str(table.time), table.entity[0]
    ripe = rows.filter(pl.col(time) <= last_day(project, lake, table) + DAY - spec.horizon_end).with_row_index("_row")
    several = ", ".join(f'"{name}" := ({sql})' for name, sql in label.expressions.items())
    ahead, ends = (int(d / DAY) for d in (label.offset, label.offset + label.horizon))
    query = f"""
        WITH copied AS (
            SELECT *, "{source.event_time}" - unnest(range({ahead}, {ends}))::INTEGER AS _day FROM gold)
        SELECT s._row, {f"struct_pack({several})" if several else label.expression} AS _label
        FROM spine s JOIN copied c ON c._day = s._at AND c."{entity}" = s._entity GROUP BY s._row"""
    with duckdb.connect(config={"threads": CORES}) as connection:
        connection.register("gold", gold(project, lake, label.source).collect())
        connection.register("spine", ripe.select("_row", pl.col(time).alias("_at"), pl.col(entity).alias("_entity")))
        found = connection.sql(query).pl()
    named = ripe.join(found.with_columns(pl.col("_row").cast(pl.UInt32), _found=True), on="_row", how="left")
    value = pl.col("_label") if label.default is None else pl.when("_found").then("_label").otherwise(label.default)
    named = named.with_columns(value.alias(label.name)).drop("_row", "_label", "_found")
    return named if spec.task in UNSUPERVISED else named.drop_nulls(label.name)


def last_day(project: Project, lake: Lake, table: FeatureTable) -> date:
    time = str(project.gold[table.source].event_time)
    found = gold(project, lake, table.source).select(pl.col(time).max()).collect().item()
    assert isinstance(found, date)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
