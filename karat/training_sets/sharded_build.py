"""Training set of any size: labelled, joined, split and digested in shards by entity, and never held by one process.

Every table is cut once into blocks by a hash of the entity. The number of blocks follows from the data. A shard is some
blocks: it runs the code of the one-process path on the rows of each, so that any number of shards gives the same rows,
the same files, the same split and the same digest.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Protocol

import polars as pl

from karat.declare import load_project
from karat.declare.declared_model import DeclaredModel
from karat.declare.gold import GoldTable
from karat.declare.models import ModelSpec
from karat.errors import CodeMismatch, KaratError
from karat.executors import Executor, LocalExecutor, Progress, silent
from karat.features.shard import hash_probe
from karat.lake import Lake
from karat.names import TableName
from karat.quality import valid_rows
from karat.settings import Settings
from karat.training_sets.block_record import JoinedBlock, LabelledBlock, begin_work, finished_blocks, work_of
from karat.training_sets.declared_training_set import declared_features, declared_sources
from karat.training_sets.digest import RowDigest
from karat.training_sets.feature_join import JoinedFeatures, concat_features, function_outputs, join_features
from karat.training_sets.files import (
    TrainingSetFiles,
    arrow_schema,
    commit_files,
    open_files,
    stage_rows,
)
from karat.training_sets.functions import (
    FunctionLibrary,
    PinnedFunction,
    compute_and_pin,
    compute_functions,
    declared_functions,
    resolve_functions,
)
from karat.training_sets.labels import (
    LabelExtent,
    check_counts,
    check_label,
    gold_columns,
    label_extent,
    label_keys,
    label_tables,
)
from karat.training_sets.leakage_report import merge_reports
from karat.training_sets.lookups import PinnedLookup
from karat.training_sets.pins import TrainingPins
from karat.training_sets.rebuild_record import ErasedRows, TrainingSetRecord, check_digest, stored_spine
from karat.training_sets.shard_lake import BlockLake, CutTable, block_count, cut_tables, read_arrow, write_arrow
from karat.training_sets.spine import ROW_NUMBER, StoredSpine, read_spine
from karat.training_sets.training_set import check_matches, plan_features, training_pins

#: Feature tables of fewer rows are read whole for every block.
_SMALL = 100_000
_STEPS = 4


class PartRule(Protocol):
    """Splits rows one by one: a shard is split as the whole is."""

    def parts(self, rows: pl.DataFrame) -> pl.Series:
        """Return the part of each row, ``(rows,)``."""
        ...


#: Makes the rule from the distinct days of all rows, ascending; None without a time.
PartRuleMaker = Callable[[pl.Series | None], PartRule]


@dataclass(frozen=True)
class FileTrainingSet:
    """A training set whose rows are in files; see ``TrainingSet`` for what the attributes mean.

    Attributes:
        files: The rows.
        features: Columns that a model reads, in order.
        label: The label's column.
        exclude_columns: Columns that a model does not read.
        lookups: The pinned lookups.
        functions: The pinned feature functions.
        report: The leakage report, one line per feature; merged from the shards.
        pins: Every table with its Delta version, every function with its source hash.
        columns: Digest of each column.
        spine_columns: The columns of the spine, the label among them.
    """

    files: TrainingSetFiles
    features: tuple[str, ...]
    label: str | None
    exclude_columns: tuple[str, ...]
    lookups: tuple[PinnedLookup, ...]
    functions: tuple[PinnedFunction, ...]
    report: pl.DataFrame = field(repr=False)
    pins: TrainingPins = field(repr=False)
    columns: Mapping[str, str] = field(repr=False)
    spine_columns: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Digest of the rows; it is that of the one-process path."""
        return self.files.digest

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.files.rows


@dataclass(frozen=True)
class _Block:
    """What travels to a worker: names, the declaration and folders. The worker reads the rows itself."""

    project: str
    projects: Path
    spec: ModelSpec
    definition: str
    probe: int
    lake: Path
    environment: str
    folder: Path
    number: int
    cut: Mapping[TableName, tuple[str, ...]]
    extent: LabelExtent = field(default_factory=LabelExtent)
    lookups: tuple[PinnedLookup, ...] = ()
    rule: PartRule | None = None
    stored: StoredSpine | None = None
    functions: tuple[PinnedFunction, ...] | None = None

    @property
    def labelled(self) -> Path:
        """The file of the shard's labelled spine."""
        return self.folder / "labelled" / f"{self.number:05d}.arrow"

    def open(self) -> tuple[DeclaredModel, BlockLake]:
        """Read the declaration, and open the lake as this shard sees it."""
        project = load_project(self.project, Settings(projects=self.projects, environment=self.environment))
        model = DeclaredModel(project, self.spec)
        if model.definition_hash != self.definition or hash_probe() != self.probe:
            raise CodeMismatch(
                f"a worker has another {self.spec.name!r} than the process that started it",
                where=str(self.projects / self.project),
                remedy="bring every node to the same commit and the same versions, then run again",
            )
        return model, BlockLake(self.lake, self.environment, self.folder / "cut", self.number, self.cut)


def build_training_set(
    model: DeclaredModel,
    lake: Lake,
    folder: Path,
    rule: PartRuleMaker,
    *,
    executor: Executor | None = None,
    shards: int | None = None,
    progress: Progress = silent,
) -> FileTrainingSet:
    """Build the training set of a declared model as files, in shards by entity.

    The rows, their split and their digest are those of ``declared_training_set``, for any number of shards. A build
    that is killed leaves a hidden folder; the next build of the same tables, declaration and code goes on with it, and
    any other deletes it. Files of the same build that are there already are kept.

    Args:
        model: The declared model.
        lake: Holds gold and feature tables.
        folder: The folder of the files.
        rule: Makes the rule that splits the rows.
        executor: Runs the shards; in this process by default.
        shards: Most shards, each of one block at least; by default one for each block.
        progress: Receives each step.

    Returns:
        The training set.

    Raises:
        KaratError: what ``label_spine`` and ``create_training_set`` raise.
    """
    executor = executor or LocalExecutor()
    spec, sources = model.spec, declared_sources(model, lake)
    if spec.label is not None:
        check_label(model)
    head = _empty_spine(model, lake)
    plan = plan_features(
        lake,
        head,
        declared_features(model),
        spec.target,
        model.spine_columns,
        catalog=model.project.catalog,
        library=_library(model),
    )
    key = model.spine.entity[0]
    spine = CutTable(
        model.spine_name, lake.version(model.spine_name), key, tuple(model.spine_columns), head.schema[key]
    )
    of = block_count(lake.count(spine.name, spine.version))
    tables = _tables(model, lake, plan.lookups, spine)
    work = work_of("build", model.definition_hash, sources, tables, plan.lookups, of, hash_probe())
    if (finished := finished_blocks(folder, work, of)) is not None:
        return replace(_merged(model, folder, finished, plan.lookups, sources), files=open_files(folder))
    with _build_folder(folder, work) as hidden:
        progress(0, _STEPS, "training set: tables cut by entity")
        cut = cut_tables(lake, tables, hidden / "cut", of, executor)
        extent = label_extent(model, lake)
        base = replace(_first_block(model, lake, hidden, cut), extent=extent, lookups=plan.lookups)
        progress(1, _STEPS, "training set: label")
        days = _labelled(model, executor, _grouped(base, of, shards))
        progress(2, _STEPS, "training set: features")
        joined = _joined(executor, _grouped(replace(base, rule=rule(days)), of, shards))
        progress(3, _STEPS, "training set: commit")
        made = _merged(model, folder, joined, plan.lookups, sources)
        return replace(made, files=commit_files(hidden / "files", made.files))


def rebuild_files(
    model: DeclaredModel,
    lake: Lake,
    record: TrainingSetRecord,
    folder: Path,
    *,
    erased: ErasedRows | None = None,
    executor: Executor | None = None,
    shards: int | None = None,
) -> FileTrainingSet:
    """Reproduce the training set of a model as files, in blocks of entities; see ``rebuild_training_set``.

    Args:
        model: The declaration that the model was trained by.
        lake: The lake.
        record: What the model keeps of its training set.
        folder: The folder of the files; all rows are of the part "train".
        erased: The rows erased since. The digest is then that of what is left.
        executor: Runs the shards; in this process by default.
        shards: Most shards.

    Raises:
        RebuildFailed: The spine was not stored, or the data differ; the message says in what.
        FunctionChanged: A feature function's source is not the one of training.
    """
    executor, pins = executor or LocalExecutor(), record.pins
    stored, key = stored_spine(record), model.spine.entity[0]
    source, version = lake.pinned_source(stored.table, stored.version)
    key_type = lake.scan(source, version).collect_schema()[stored.columns[key]]
    read = (ROW_NUMBER, *stored.columns.values())
    spine = CutTable(source, version, stored.columns[key], read, key_type)
    lookups = tuple(PinnedLookup.from_json(p) for p in pins["lookups"])
    of = block_count(lake.count(source, version))
    tables = [spine, *_lookup_cuts(lake, lookups, key, key_type)]
    work = work_of("rebuild", record.digest, tables, lookups, pins.get("functions"), of, hash_probe())
    with _build_folder(folder, work) as hidden:
        base = replace(
            _first_block(model, lake, hidden, cut_tables(lake, tables, hidden / "cut", of, executor)),
            lookups=lookups,
            stored=stored,
            functions=tuple(PinnedFunction.from_json(p) for p in pins.get("functions", [])),
        )
        joined = _joined(executor, _grouped(base, of, shards))
        made = _merged(model, folder, joined, lookups, pins["sources"])
        missing = pins["spine"]["rows"] - made.rows
        check_digest(record, made.digest, lambda: made.columns, missing=missing, erased=erased)
        return replace(made, pins=pins, files=commit_files(hidden / "files", made.files))


def _first_block(model: DeclaredModel, lake: Lake, hidden: Path, cut: Mapping[TableName, tuple[str, ...]]) -> _Block:
    return _Block(
        project=model.project.name,
        projects=model.project.path.parent,
        spec=model.spec,
        definition=model.definition_hash,
        probe=hash_probe(),
        lake=lake.root,
        environment=model.project.environment,
        folder=hidden,
        number=0,
        cut=cut,
    )


@contextmanager
def _build_folder(folder: Path, work: str) -> Iterator[Path]:
    """The hidden folder of a build beside ``folder``, deleted at its end; those of other builds are deleted.

    A build that is killed, or whose worker or disk fails, leaves it: the next one of the same work finds it. An error
    of the data or the declaration deletes it.
    """
    hidden = folder.parent / f".{folder.name}-build-{work}"
    for left in folder.parent.glob(f".{folder.name}-build-*"):
        if left != hidden:
            shutil.rmtree(left, ignore_errors=True)
    (hidden / "labelled").mkdir(parents=True, exist_ok=True)
    begin_work(hidden / "files", work)
    try:
        yield hidden
    except KaratError:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    shutil.rmtree(hidden, ignore_errors=True)


def _library(model: DeclaredModel) -> FunctionLibrary:
    return FunctionLibrary(given=model.project.functions.values())


def distinct_days(times: pl.Series) -> pl.Series:
    """Return the days of some times, each once, ascending."""
    return times.cast(pl.Date).unique().drop_nulls().sort()


def _empty_spine(model: DeclaredModel, lake: Lake) -> pl.DataFrame:
    """The spine's columns, without rows; the label's type is not known yet."""
    keys = lake.scan(model.spine_name).select(model.spine_columns).head(0).collect()
    label = model.spec.target
    return keys if label is None else keys.with_columns(pl.lit(None, dtype=pl.Float64).alias(label))


def _tables(model: DeclaredModel, lake: Lake, lookups: Sequence[PinnedLookup], spine: CutTable) -> list[CutTable]:
    """The tables to cut: the spine, and those that are joined by the column that decides."""
    labelling = label_tables(model)
    always = [spine]
    for name in (name for name in labelling if name != spine.name and lake.exists(name)):
        gold = model.project.gold[name.table]
        read = (*gold_columns(model, gold), *_tested_columns(gold))
        always.append(CutTable(name, lake.version(name), labelling[name], read, spine.key_type))
    uses = [u for u in _lookup_uses(lake, lookups, spine.key, spine.key_type) if u.name in labelling]
    others = [c for c in _lookup_cuts(lake, lookups, spine.key, spine.key_type) if c.name not in labelling]
    return [*_merge_uses([*always, *uses]), *others]


def _lookup_cuts(lake: Lake, lookups: Sequence[PinnedLookup], key: str, key_type: pl.DataType) -> list[CutTable]:
    """The looked-up tables that are joined by the spine's column ``key`` and are not small."""
    merged = _merge_uses(_lookup_uses(lake, lookups, key, key_type))
    return [table for table in merged if table.key and lake.count(table.name, table.version) > _SMALL]


def _lookup_uses(lake: Lake, lookups: Sequence[PinnedLookup], key: str, key_type: pl.DataType) -> list[CutTable]:
    uses = []
    for lookup in lookups:
        source, version = lake.pinned_source(lookup.table, lookup.version)
        uses.append(CutTable(source, version, lookup.keys.get(key, ""), tuple(lookup.table_columns), key_type))
    return uses


def _merge_uses(uses: Sequence[CutTable]) -> list[CutTable]:
    """One cut for all uses of a table; without a key if they are not by the same column."""
    merged: dict[TableName, CutTable] = {}
    for use in uses:
        first = merged.setdefault(use.name, use)
        columns = tuple(dict.fromkeys((*first.columns, *use.columns)))
        merged[use.name] = replace(first, key=first.key if first.key == use.key else "", columns=columns)
    return list(merged.values())


def _tested_columns(gold: GoldTable) -> list[str]:
    """The columns that decide which gold rows count."""
    condition = valid_rows(gold)
    return [] if condition is None else [c for c in condition.meta.root_names() if c in gold.columns]


def _grouped(base: _Block, of: int, shards: int | None) -> list[list[_Block]]:
    """The blocks of each shard, which works on them one after the other."""
    blocks = [replace(base, number=number) for number in range(of)]
    count = min(shards or of, of)
    return [blocks[of * n // count : of * (n + 1) // count] for n in range(count)]


def _labelled(model: DeclaredModel, executor: Executor, shards: list[list[_Block]]) -> pl.Series | None:
    """Label the spine of every block; return the distinct days of all rows."""
    found = [each for _, shard in executor.map(_label_shard, shards) for each in shard]
    check_counts(model, reduce(add, (each.counts for each in found)))
    return None if model.spine.time is None else distinct_days(pl.concat(each.days for each in found))


def _joined(executor: Executor, shards: list[list[_Block]]) -> list[JoinedBlock]:
    found = sorted(executor.map(_join_shard, shards), key=lambda pair: pair[0])
    return [block for _, shard in found for block in shard]


def _label_shard(blocks: Sequence[_Block]) -> list[LabelledBlock]:
    return [_label_block(block) for block in blocks]


def _join_shard(blocks: Sequence[_Block]) -> list[JoinedBlock]:
    return [_join_block(block) for block in blocks if block.stored is not None or block.labelled.exists()]


def _label_block(block: _Block) -> LabelledBlock:
    """Label the keys of a block's entities and write them; return their number and their days."""
    record = block.labelled.with_suffix(".json")
    if (finished := LabelledBlock.read(record, block.extent)) is not None:
        return finished
    model, lake = block.open()
    rows, counts = label_keys(model, lake, block.extent)
    if rows.height:
        write_arrow(rows, block.labelled)
    time = model.spine.time
    labelled = LabelledBlock(counts, distinct_days(rows[time]) if time else pl.Series([], dtype=pl.Date))
    labelled.write(record)
    return labelled


def _join_block(block: _Block) -> JoinedBlock:
    """Join, split, digest and write the rows of a block's entities."""
    if (finished := JoinedBlock.read(block.folder / "files", block.number)) is not None:
        return finished
    model, lake = block.open()
    spine = read_arrow([block.labelled]) if block.stored is None else read_spine(lake, block.stored)
    filled = join_features(lake, spine, block.lookups, pinned=True)
    filled, functions = _with_functions(block, model, spine, filled)
    data = pl.DataFrame([*spine, *filled.values])
    whole = pl.repeat("train", data.height, dtype=pl.String, eager=True)
    parts = whole if block.rule is None else block.rule.parts(data).cast(pl.String)
    of_spine, of_rows = RowDigest.of_both(data, spine.width)
    joined = JoinedBlock(
        files=tuple(stage_rows(block.folder / "files", f"rows-{block.number:05d}", data, parts)),
        schema=arrow_schema(data),
        rows=of_rows,
        spine=of_spine,
        report=filled.report,
        functions=functions,
        head=spine.head(3),
    )
    joined.write(block.folder / "files", block.number)
    return joined


def _with_functions(
    block: _Block, model: DeclaredModel, spine: pl.DataFrame, filled: JoinedFeatures
) -> tuple[JoinedFeatures, tuple[PinnedFunction, ...]]:
    """Add the outputs of the functions: of those that are pinned, or of those that are declared now."""
    frame, library = pl.DataFrame([*spine, *filled.values]), _library(model)
    if block.functions is not None:
        pinned, made = block.functions, compute_functions([library.bind(f) for f in block.functions], frame)
    else:
        uses = resolve_functions(declared_functions(block.spec), library, model.project.catalog)
        bound, made = compute_and_pin(uses, frame)
        pinned = tuple(f.pinned for f in bound)
    return (concat_features(filled, function_outputs(made, pinned)) if pinned else filled), pinned


def _merged(
    model: DeclaredModel,
    folder: Path,
    joined: Sequence[JoinedBlock],
    lookups: tuple[PinnedLookup, ...],
    sources: Mapping[str, int],
) -> FileTrainingSet:
    """Merge the shards, and check what only all of them together tell."""
    first, label, excluded = joined[0], model.spec.target, tuple(model.spine_columns)
    report = merge_reports([shard.report for shard in joined])
    check_matches(first.head, report, lookups)
    rows, spine = reduce(add, (s.rows for s in joined)), reduce(add, (s.spine for s in joined))
    features = tuple(c for c in rows.types if c != label and c not in excluded)
    files = TrainingSetFiles(
        folder=folder,
        files=tuple(file for shard in joined for file in shard.files),
        schema=first.schema,
        features=features,
        label=label,
        time=model.spine.time,
        entity=tuple(model.spine.entity),
        digest=str(rows),
        rows=rows.rows,
    )
    return FileTrainingSet(
        files=files,
        features=features,
        label=label,
        exclude_columns=excluded,
        lookups=lookups,
        functions=first.functions,
        report=report,
        pins=training_pins(first.head, spine, lookups, first.functions, sources=sources),
        columns=rows.by_column,
        spine_columns=tuple(first.head.columns),
    )
