"""Checks between declarations: every name that one uses must be declared by another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from karat.declare.batch_tables import problems_of
from karat.declare.checks import attached
from karat.declare.declarations import Declarations
from karat.declare.feature_tables import FeatureTable
from karat.declare.functions import DeclaredFunction
from karat.declare.gold import GoldTable
from karat.declare.models import UNSUPERVISED, FunctionUse, Lookup, ModelSpec
from karat.declare.project import ProjectSpec
from karat.declare.yaml_source import display_path, position
from karat.dtypes import SEQUENCE_TYPES, Dtype
from karat.errors import did_you_mean


def check_references(
    path: Path,
    gold: Declarations[GoldTable],
    tables: Declarations[FeatureTable],
    functions: Declarations[DeclaredFunction],
    models: Declarations[ModelSpec],
) -> Iterator[str]:
    """Check the names by which feature tables and models refer to other declarations.

    A file that could not be read silences only what depends on it: no name that it may declare is called missing.

    Args:
        path: The project's folder.
        gold: Its gold tables.
        tables: Its feature tables.
        functions: Its feature functions.
        models: Its models.

    Yields:
        Each error, with its file and line.
    """
    for table in tables.values():
        for word, problem in _table_problems(table, gold):
            file = display_path(tables.places[table.name][0])
            yield f"{file}:{tables.line_of(table.name, word)}: {table.name}: {problem}"
    for model in models.values():
        where = next(iter(path.glob(f"models/**/{model.name}.yaml")))
        yield from _check_model(where, model, gold, tables)
        yield from _check_functions(where, model, functions, tables)


def check_feature_sets(path: Path, spec: ProjectSpec, tables: Declarations[FeatureTable]) -> Iterator[str]:
    """Check that the tables of each feature set are declared and share their entities."""
    for name, members in spec.feature_sets.items():
        place = f"{position(path, ('feature_sets', name))}: feature_sets.{name}"
        for member in members:
            if tables.lacks(member):
                yield f"{place}: there is no feature table {member!r}. {did_you_mean(member, tables)}"
        keys = {m: ", ".join(tables[m].entity) for m in members if m in tables}
        if len(set(keys.values())) > 1:
            told = "; ".join(f"{member} by {key}" for member, key in keys.items())
            yield f"{place}: its tables are not of the same entities: {told}"


def check_batch_tables(
    path: Path, spec: ProjectSpec, models: dict[str, ModelSpec], tables: dict[str, FeatureTable]
) -> Iterator[str]:
    """Check that each batch table combines declared models of the same keys."""
    for name, table in spec.batch_tables.items():
        for loc, problem in problems_of(name, table, models, tables):
            place = ("batch_tables", name, *loc)
            yield f"{position(path, place)}: {'.'.join(map(str, place))}: {problem}"


def _table_problems(table: FeatureTable, gold: Declarations[GoldTable]) -> Iterator[tuple[str, str]]:
    """Give (the wrong word, the error) for each name that gold lacks."""
    source = gold.get(table.source)
    if source is None:
        if gold.lacks(table.source):
            yield table.source, f"there is no gold table {table.source!r}. {did_you_mean(table.source, gold)}"
        return
    for column in (*table.entity, *table.gold_time_columns):
        if column not in source.columns:
            near = did_you_mean(column, source.columns)
            yield column, f"gold table {source.name!r} has no column {column!r}. {near}"
    yield from table.source_problems(source)
    yield from _check_keys(table, source)


def _check_keys(table: FeatureTable, source: GoldTable) -> Iterator[tuple[str, str]]:
    """Check quality rules on key columns, whose types only gold knows."""
    dtypes: dict[str, str | None] = {f.name: f.dtype for f in table.stored}
    dtypes |= {k: source.columns[k].dtype if k in source.columns else None for k in table.primary_key}
    try:
        attached(table.checks, f"feature table {table.name!r}", dtypes, table.time, gold=False)
    except ValueError as error:
        yield table.name, str(error)


def _check_model(
    path: Path, model: ModelSpec, gold: Declarations[GoldTable], tables: Declarations[FeatureTable]
) -> Iterator[str]:
    def at(*loc: str | int) -> str:
        return f"{position(path, loc)}"

    if model.label is not None and gold.lacks(model.label.source):
        near = did_you_mean(model.label.source, gold)
        yield f"{at('label', 'source')}: there is no gold table {model.label.source!r}. {near}"
    for index, lookup in enumerate(model.lookups):
        table = tables.get(lookup.table)
        if table is None:
            if tables.lacks(lookup.table):
                near = did_you_mean(lookup.table, tables)
                yield f"{at('lookups', index, 'table')}: there is no feature table {lookup.table!r}. {near}"
            continue
        known = [f.name for f in table.stored]
        named = () if lookup.features == "*" else lookup.features
        for kind, names in (("features", named), ("exclude", lookup.exclude)):
            for name in names:
                if name not in known:
                    near = did_you_mean(name, known)
                    yield f"{at('lookups', index, kind)}: {lookup.table!r} has no feature {name!r}. {near}"
        for loc, problem in (*_default_problems(lookup, table), *_sequence_problems(lookup, table)):
            yield f"{at('lookups', index, *loc)}: {problem}"
    spine = tables.get(model.spine_table)
    if model.spine and tables.lacks(model.spine):
        yield f"{at('spine')}: there is no feature table {model.spine!r}. {did_you_mean(model.spine, tables)}"
    if model.label is not None and spine is not None:
        supervised = model.task not in UNSUPERVISED
        for loc, problem in spine.label_problems(model.label, supervised=supervised):
            yield f"{at(*loc)}: {problem}"
    yield from _check_truth(model, gold, at)
    if not {k.table for k in model.lookups} <= set(tables):
        return  # the columns of the others are unknown
    yield from _check_protected(model, tables, at)
    if model.baseline.feature and spine is not None:
        known = [name for lookup in model.lookups for name in _looked_up_names(lookup, tables.get(lookup.table))]
        if model.baseline.feature not in known:
            near = did_you_mean(model.baseline.feature, known)
            yield f"{at('baseline', 'feature')}: the lookups bring no feature {model.baseline.feature!r}. {near}"


def _sequence_problems(lookup: Lookup, table: FeatureTable) -> Iterator[tuple[tuple[str, ...], str]]:
    """Which features of a lookup no sequence holds: (place, text)."""
    if lookup.sequence_length is None:
        return
    names = set(_looked_up_names(lookup, table))
    texts = [f.name for f in table.stored if f.name in names and f.dtype not in SEQUENCE_TYPES]
    if texts:
        near = f"Leave them out: exclude: [{', '.join([*lookup.exclude, *texts])}]"
        yield ("sequence_length",), f"a sequence holds numbers only, and {', '.join(texts)} are none. {near}"


def _default_problems(lookup: Lookup, table: FeatureTable) -> Iterator[tuple[tuple[str, ...], str]]:
    """What a lookup can't keep of its lookback_window and default_values: (place, text)."""
    if lookup.lookback_window is not None and table.time is None:
        yield ("lookback_window",), f"{lookup.table!r} has no time, so its rows have no age"
    names = set(_looked_up_names(lookup, table))
    taken = {f.name: f.dtype for f in table.stored if f.name in names}
    for name, value in lookup.default_values.items():
        place = ("default_values", name)
        if name not in taken:
            yield place, f"the lookup takes no feature {name!r} of {lookup.table!r}. {did_you_mean(name, taken)}"
        elif not _fits(value, taken[name]):
            yield place, f"the feature {name!r} is {taken[name]}, and {value!r} is not; give a value of its type"


def _fits(value: bool | int | float | str, dtype: Dtype) -> bool:
    """Whether a default is a value of the type."""
    kinds: dict[Dtype, tuple[type, ...]] = {"float64": (int, float), "int64": (int,), "bool": (bool,), "string": (str,)}
    return isinstance(value, kinds.get(dtype, ())) and isinstance(value, bool) == (dtype == "bool")


def _check_truth(model: ModelSpec, gold: Declarations[GoldTable], at: Callable[..., str]) -> Iterator[str]:
    if model.truth is None:
        return
    source = model.truth.source
    if gold.lacks(source):
        near = did_you_mean(source, [n for n, t in gold.items() if t.truth])
        yield f"{at('truth', 'source')}: there is no gold table {source!r}. {near}"
    elif source in gold and not gold[source].truth:
        yield f"{at('truth', 'source')}: gold table {source!r} is not declared with truth=True, so features may read it"
    # The classes of a multiclass label are only known from its rows.
    parts = model.label.parts if model.label else {}
    named = model.truth.expressions
    for name in (p for p in parts if named and p not in named):
        yield f"{at('truth', 'expressions')}: there is none for {name!r} of the label. It has {', '.join(named)}"
    for name in (n for n in named if parts and n not in parts):
        yield f"{at('truth', 'expressions', name)}: the label has no part {name!r}. {did_you_mean(name, parts)}"


def _check_protected(model: ModelSpec, tables: dict[str, FeatureTable], at: Callable[..., str]) -> Iterator[str]:
    """Check that protected and immutable columns are keys or features of a table that the model reads, or computed."""
    read = [tables[n] for n in (model.spine_table, *(k.table for k in model.lookups)) if n in tables]
    known = [c for table in read for c in (*table.primary_key, *(f.name for f in table.stored))]
    computed = [use.output_name for use in model.functions]
    named = [n for lookup in model.lookups for n in _looked_up_names(lookup, tables.get(lookup.table))]
    for field, columns, others in (
        ("protected", model.protected, known),
        ("immutable", model.immutable, [*known, *named, *computed]),
    ):
        for index, column in enumerate(columns):
            if column not in others:
                near = did_you_mean(column, others)
                yield f"{at(field, index)}: no table that the model looks up holds a column {column!r}. {near}"


def _check_functions(
    path: Path, model: ModelSpec, functions: Declarations[DeclaredFunction], tables: Declarations[FeatureTable]
) -> Iterator[str]:
    """Check that functions are declared and their parameters bound to columns that exist by then."""
    spine = tables.get(model.spine_table)
    known = [
        *(spine.primary_key if spine else ()),
        *(n for k in model.lookups for n in _looked_up_names(k, tables.get(k.table))),
    ]
    whole = {k.table for k in model.lookups} <= set(tables)
    for index, use in enumerate(model.functions):
        place = position(path, ("functions", index))
        for problem in _function_problems(use, functions, known if whole else None):
            yield f"{place}: functions.{index}: {problem}"
        known.append(use.output_name)


def _function_problems(
    use: FunctionUse, functions: Declarations[DeclaredFunction], known: list[str] | None
) -> Iterator[str]:
    """Check one use of a function; ``known`` are the columns that exist by then, None if unknown."""
    declared = functions.get(use.function)
    if functions.lacks(use.function):
        near = did_you_mean(use.function, functions) or "Declare it under features/ with feature_function(...)."
        yield f"there is no feature function {use.function!r}. {near}"
    if declared is not None:
        for parameter in use.inputs:
            if parameter not in declared.parameters:
                near = did_you_mean(parameter, declared.parameters)
                yield f"{use.function!r} has no parameter {parameter!r}. {near}"
        unbound = [p for p, needed in declared.parameters.items() if needed and p not in use.inputs]
        if unbound:
            yield f"the inputs of {use.function!r} do not bind {', '.join(unbound)}"
    if known is None:
        return
    for column in use.inputs.values():
        if column not in known:
            yield f"neither lookups nor keys bring a column {column!r}. {did_you_mean(column, known)}"
    if use.output_name in known:
        yield f"the output {use.output_name!r} is a column already; name another with 'output'"


def _looked_up_names(lookup: Lookup, table: FeatureTable | None) -> list[str]:
    stored = [f.name for f in table.stored] if table else []
    return [n for n in stored if (lookup.features == "*" or n in lookup.features) and n not in lookup.exclude]
